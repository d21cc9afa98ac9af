//! The newest time that is known to have been, kept in the data folder: a gateway without a battery
//! boots in 1970, where no certificate is valid yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spillway_protocol::dial::CertificateTime;

use crate::small_file;

/// Version of the file.
const FORMAT: u32 = 1;
/// When this program was built, in seconds since 1970.
const BUILT_S: &str = env!("SPILLWAY_BUILT_S");

/// The file `clock` in the data folder.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    format: u32,
    /// Seconds since 1970.
    newest_s: u64,
}

/// What is kept, and the time by which certificates are judged.
#[derive(Debug)]
pub struct KnownTime {
    path: PathBuf,
    saved_s: u64,
    time: CertificateTime,
}

impl KnownTime {
    /// From the data folder; where nothing can be read there, the time of the build.
    pub fn load(data_dir: &Path) -> Self {
        let path = place(data_dir);
        let stored = fs::read(&path).ok().and_then(|text| read(&path, &text));
        let saved_s = stored.map_or(0, |stored| stored.newest_s);
        let built_s = BUILT_S.parse().unwrap_or(0);
        Self { path, saved_s, time: CertificateTime::since(saved_s.max(built_s)) }
    }

    /// It is written down in this folder from now on.
    pub fn keep_in(&mut self, data_dir: &Path) {
        let path = place(data_dir);
        if path != self.path {
            (self.path, self.saved_s) = (path, 0);
        }
    }

    /// The time by which certificates are judged; clones share it.
    pub fn certificates(&self) -> CertificateTime {
        self.time.clone()
    }

    /// Writes it down if it has grown by more than `slack`. What cannot be written is tried again
    /// the next time.
    pub fn save(&mut self, slack: Duration) {
        let stored = Stored { format: FORMAT, newest_s: self.time.floor_s() };
        if stored.newest_s <= self.saved_s.saturating_add(slack.as_secs()) {
            return;
        }
        let content = serde_json::to_vec(&stored).unwrap_or_default();
        match small_file::replace(&self.path, &content, None) {
            Ok(()) => self.saved_s = stored.newest_s,
            Err(error) => tracing::debug!(%error, "the newest time is not written down"),
        }
    }
}

fn place(data_dir: &Path) -> PathBuf {
    let newer = |bytes: &[u8]| small_file::larger(bytes, "format", FORMAT.into());
    small_file::place(data_dir.join("clock"), newer)
}

fn read(path: &Path, text: &[u8]) -> Option<Stored> {
    match serde_json::from_slice::<Stored>(text) {
        Ok(stored) if stored.format == FORMAT => Some(stored),
        Ok(Stored { format, .. }) => {
            tracing::warn!(path = %path.display(), format, "is of another version and not used");
            None
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot be read and is begun anew");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(content: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("clock"), content).unwrap();
        folder
    }

    fn floor_s(folder: &tempfile::TempDir) -> u64 {
        KnownTime::load(folder.path()).certificates().floor_s()
    }

    #[test]
    fn the_newest_of_build_and_file_counts() {
        let built_s: u64 = BUILT_S.parse().unwrap();
        assert!(built_s > 1_767_225_600, "built after 2026-01-01, or the clock was not set");
        assert_eq!(floor_s(&tempfile::tempdir().unwrap()), built_s);
        assert_eq!(floor_s(&folder(r#"{"format":1,"newest_s":5}"#)), built_s);
        assert_eq!(floor_s(&folder(r#"{"format":1,"newest_s":9999999999}"#)), 9_999_999_999);
        for unread in ["", "{", r#"{"format":2,"newest_s":9999999999}"#] {
            assert_eq!(floor_s(&folder(unread)), built_s, "{unread}");
        }
    }

    #[test]
    fn it_is_written_once_when_it_has_grown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clock");
        let mut known = KnownTime::load(folder.path());
        known.time = CertificateTime::since(9_999_999_999);
        known.save(Duration::ZERO);
        assert_eq!(fs::read(&path).unwrap(), br#"{"format":1,"newest_s":9999999999}"#);
        fs::remove_file(&path).unwrap();
        known.save(Duration::ZERO);
        assert!(!path.exists(), "nothing new");
    }

    #[test]
    fn a_little_more_is_worth_no_writing() {
        let folder = folder(r#"{"format":1,"newest_s":9999999999}"#);
        let mut known = KnownTime::load(folder.path());
        let written = |known: &mut KnownTime, newest_s| {
            known.time = CertificateTime::since(newest_s);
            known.save(Duration::from_secs(60));
            floor_s(&folder) == newest_s
        };
        assert!(!written(&mut known, 10_000_000_059));
        assert!(written(&mut known, 10_000_000_060));
    }
}
