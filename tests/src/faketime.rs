//! A wall clock of its own for one process, by libfaketime; its monotonic clock stays as it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::gateway::now_ms;

/// Where Debian's package `libfaketime` puts it, below the folder of each architecture.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// Sets the clock of what is started through [`WallClock::wrapper`], also while it runs.
#[derive(Debug)]
pub struct WallClock {
    file: PathBuf,
}

impl WallClock {
    /// Kept in `file`; right at first.
    pub fn new(file: PathBuf) -> Self {
        let clock = Self { file };
        clock.set_right();
        clock
    }

    /// The machine was just switched on and has no battery: so long after 1970 began.
    pub fn boot(&self, uptime: Duration) {
        let behind_s = now_ms() / 1000 - uptime.as_secs();
        self.set(&format!("-{behind_s}"));
    }

    /// So far ahead of the right time.
    pub fn set_ahead(&self, by: Duration) {
        self.set(&format!("+{}", by.as_secs()));
    }

    /// The right time.
    pub fn set_right(&self) {
        self.set("+0");
    }

    fn set(&self, offset: &str) {
        // Replaced whole: it is read at each look at the clock.
        let next = self.file.with_extension("next");
        std::fs::write(&next, offset).unwrap();
        std::fs::rename(&next, &self.file).unwrap();
    }

    /// Words before a command line that give it this clock.
    pub fn wrapper(&self) -> Vec<String> {
        let variables = [
            format!("LD_PRELOAD={}", library().display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "NO_FAKE_STAT=1".to_owned(),
        ];
        std::iter::once("env".to_owned()).chain(variables).collect()
    }
}

fn library() -> PathBuf {
    let folders = std::fs::read_dir(Path::new("/usr/lib")).unwrap().flatten();
    let mut found = folders.map(|folder| folder.path().join(LIBRARY)).filter(|path| path.exists());
    found.next().expect("libfaketime has to be installed (Debian: apt-get install faketime)")
}
