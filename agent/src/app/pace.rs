//! The file `pace` in the data folder: what the pace learned, for the next start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::written::Written;
use crate::drain::DrainHandle;
use crate::pace::Memory;
use crate::small_file;

/// How often it is looked at; it is written only if it has changed notably.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// See the module. Losing it costs nothing but a while of learning.
#[derive(Debug, Clone)]
pub(super) struct PaceFile(PathBuf);

impl PaceFile {
    pub(super) fn new(data_dir: &Path) -> Self {
        let newer = |bytes: &[u8]| Memory::newer(bytes).map(u64::from);
        Self(small_file::place(data_dir.join("pace"), newer))
    }

    /// What an earlier run learned; nothing where there is no file, or one that is damaged.
    pub(super) fn load(&self) -> Memory {
        let bytes = match fs::read(&self.0) {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %self.0.display(), %error, "cannot be read");
                }
                return Memory::default();
            }
        };
        Memory::decode(&bytes).unwrap_or_else(|error| {
            tracing::warn!(path = %self.0.display(), "{error}");
            Memory::default()
        })
    }

    fn save(&self, memory: &Memory) -> io::Result<()> {
        small_file::replace(&self.0, &memory.encode(), None)
    }

    /// Keeps what `drain` learns until the agent stops.
    pub(super) async fn keep(self, drain: Arc<DrainHandle>, stop: CancellationToken) {
        let (mut saved, written) = (drain.memory(), Written::default());
        let mut ticks = interval(SAVE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            let stopping = tokio::select! {
                biased;
                () = stop.cancelled() => true,
                _ = ticks.tick() => false,
            };
            let memory = drain.memory();
            if memory.is_news_to(&saved) {
                let file = self.clone();
                match spawn_blocking(move || file.save(&memory)).await {
                    Ok(done) => {
                        written.tell(&self.0, &done);
                        saved = if done.is_ok() { memory } else { saved };
                    }
                    Err(error) => tracing::warn!(%error, "the pace is not written down"),
                }
            }
            if stopping {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_found_again_and_damage_is_as_good_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = PaceFile::new(folder.path());
        assert_eq!(file.load(), Memory::default());
        let memory = Memory { own_rate_per_s: 3.0, ..Memory::default() };
        file.save(&memory).unwrap();
        assert_eq!(PaceFile::new(folder.path()).load(), memory);
        fs::write(folder.path().join("pace"), "SWPC").unwrap();
        assert_eq!(file.load(), Memory::default());
        file.save(&memory).unwrap();
        assert_eq!(file.load(), memory);
    }
}
