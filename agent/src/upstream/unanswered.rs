//! Bytes on their way: a slow link needs its time for them, and a deadline has to grant it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The slowest link that is given the time it needs.
const SLOWEST_BYTES_PER_SECOND: u64 = 8 * 1024;

/// Bytes of all requests that have no answer yet; clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Unanswered {
    bytes: Arc<AtomicU64>,
}

impl Unanswered {
    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) == 0
    }

    /// Counts `bytes` as on their way for as long as the result lives.
    pub(super) fn load(&self, bytes: usize) -> Load {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Load { bytes, ahead: before.saturating_add(bytes), total: self.clone() }
    }
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Load {
    bytes: u64,
    ahead: u64,
    total: Unanswered,
}

impl Load {
    /// How long to wait for the answer: `base`, and what a slow link needs for the request's own
    /// bytes and for those that were on their way before it.
    pub(super) fn deadline(&self, base: Duration) -> Duration {
        base + Duration::from_secs(self.ahead / SLOWEST_BYTES_PER_SECOND)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.total.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_grows_with_the_own_bytes_and_those_ahead_until_they_are_answered() {
        let (base, unanswered) = (Duration::from_secs(15), Unanswered::default());
        let first = unanswered.load(4 * 1024 * 1024);
        assert_eq!(first.deadline(base).as_secs(), 15 + 512);
        let second = unanswered.load(80 * 1024);
        assert_eq!(second.deadline(base).as_secs(), 15 + 522);
        drop((first, second));
        assert!(unanswered.is_empty());
        assert_eq!(unanswered.load(300).deadline(base), base);
    }
}
