//! The file `budget` in the data folder: what today's connections have cost, for the next start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use spillway_protocol::dial::Carried;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::written::Written;
use crate::budget::{Options, Stored};
use crate::config::Config;
use crate::drain::DrainHandle;
use crate::small_file;

/// A count that moved by this is worth a write at once ...
const NEWS_BYTES: u64 = 64 << 10;
/// ... and by less, after this.
const NEWS_AFTER: Duration = Duration::from_secs(10);
/// The same where there is no bound, so that nothing depends on it.
const UNBOUNDED_AFTER: Duration = Duration::from_secs(60);
/// Running time passes even if nothing is carried, and a bounded day ends by it.
const AGED: Duration = Duration::from_secs(600);

/// See the module. A kill loses at most the bytes of the last 10 seconds, and of these at most
/// 64 KiB and what the last second brought.
#[derive(Debug, Clone)]
pub(super) struct BudgetFile {
    path: PathBuf,
    /// There is a bound.
    bounded: bool,
    written: Arc<Written>,
}

impl BudgetFile {
    /// The file, and what the budget is told at the start; connections count at `carried`.
    pub(super) fn open(config: &Config, carried: Carried) -> (Self, Options) {
        let file = Self::of(config);
        let options = Options { settings: config.budget, stored: file.load(), carried };
        (file, options)
    }

    /// Of the data folder of `config`.
    pub(super) fn of(config: &Config) -> Self {
        Self::new(&config.gateway.data_dir, config.budget.is_some())
    }

    fn new(data_dir: &Path, bounded: bool) -> Self {
        let path = small_file::place(data_dir.join("budget"), Stored::newer);
        Self { path, bounded, written: Arc::default() }
    }

    /// What earlier runs have counted; nothing where there is no file, or one that is damaged.
    fn load(&self) -> Stored {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %self.path.display(), %error, "cannot be read");
                }
                return Stored::default();
            }
        };
        Stored::decode(&bytes).unwrap_or_else(|error| {
            tracing::warn!(path = %self.path.display(), "{error}");
            Stored::default()
        })
    }

    /// Writes it down. May block.
    pub(super) fn save(&self, stored: &Stored) {
        self.written.tell(&self.path, &small_file::replace(&self.path, &stored.encode(), None));
    }

    /// Counts and writes until the agent stops.
    pub(super) async fn keep(self, drain: Arc<DrainHandle>, stop: CancellationToken) {
        let (mut saved, mut saved_at) = (drain.count(), Instant::now());
        let mut ticks = interval(if self.bounded { Duration::from_secs(1) } else { NEWS_AFTER });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let stored = drain.count();
            if self.is_news(&stored, &saved, saved_at.elapsed()) {
                let (file, copy) = (self.clone(), stored.clone());
                if spawn_blocking(move || file.save(&copy)).await.is_err() {
                    tracing::warn!("the day's bytes are not written down");
                }
                (saved, saved_at) = (stored, Instant::now());
            }
        }
    }

    fn is_news(&self, stored: &Stored, saved: &Stored, age: Duration) -> bool {
        let after = if self.bounded { NEWS_AFTER } else { UNBOUNDED_AFTER };
        match stored.bytes.abs_diff(saved.bytes) {
            NEWS_BYTES.. if self.bounded => true,
            1.. => age >= after,
            0 => self.bounded && stored.bytes > 0 && age >= AGED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(bytes: u64) -> Stored {
        Stored { bytes, ..Stored::default() }
    }

    #[test]
    fn what_was_counted_is_found_again_and_damage_is_as_good_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = BudgetFile::new(folder.path(), true);
        assert_eq!(file.load(), Stored::default());
        file.save(&counted(5));
        assert_eq!(BudgetFile::new(folder.path(), false).load(), counted(5));
        fs::write(folder.path().join("budget"), "{}").unwrap();
        assert_eq!(file.load(), Stored::default());
        file.save(&counted(6));
        assert_eq!(file.load(), counted(6));
    }

    #[test]
    fn little_is_written_after_a_while_and_much_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let news = |bounded: bool, bytes: u64, age_s: u64| {
            let file = BudgetFile::new(folder.path(), bounded);
            file.is_news(&counted(1000 + bytes), &counted(1000), Duration::from_secs(age_s))
        };
        assert!(!news(true, 0, 599) && news(true, 0, 600) && !news(false, 0, 100_000));
        assert!(!news(true, 1, 9) && news(true, 1, 10));
        assert!(news(true, NEWS_BYTES, 1));
        assert!(!news(false, NEWS_BYTES, 59) && news(false, 1, 60));
        let file = BudgetFile::new(folder.path(), true);
        assert!(!file.is_news(&counted(0), &counted(0), AGED), "nothing was ever carried");
    }
}
