//! Reads access keys before they end, and when their files change.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Inside;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Wait after a reading that failed; it doubles ...
const RETRY: Duration = Duration::from_secs(5);
/// ... up to this.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Runs until it is aborted.
pub(super) async fn keep(inside: Arc<Inside>) {
    let Some(source) = inside.source.get() else { return };
    let mut seen = look(&source.files).await;
    let mut failures = 0;
    loop {
        let now = Instant::now();
        let there = look(&source.files).await;
        let due = inside.due(failures).is_some_and(|at| at <= now);
        if due || there != seen {
            inside.read_since(now).await;
            let failed = inside.ring().fault().is_some();
            failures = if failed { failures + 1 } else { 0 };
            seen = there;
        }
        sleep(LOOK_EVERY).await;
    }
}

impl Inside {
    /// When the keys are to be read although nobody asks.
    fn due(&self, failures: u32) -> Option<Instant> {
        let (now, read_at) = (Instant::now(), self.read_at());
        let ring = self.ring();
        let empty = ring.grip(now).is_none();
        match (ring.fault(), read_at) {
            (None, _) if !empty => ring.renew_at(),
            (_, None) => Some(now),
            (_, Some(at)) => Some(at + retry(failures)),
        }
    }
}

fn retry(failures: u32) -> Duration {
    RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(RETRY_MAX)
}

/// What tells that a file is another one, or holds something else.
type Stamp = Option<(u64, u64, i64, i64, i64, i64)>;

async fn look(files: &[PathBuf]) -> Vec<Stamp> {
    let mut stamps = Vec::new();
    for file in files {
        let found = tokio::fs::metadata(file).await.ok();
        stamps.push(
            found.map(|m| (m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())),
        );
    }
    stamps
}
