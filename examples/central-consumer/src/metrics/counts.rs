//! What the handler of one topic counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use spillway_protocol::consumer::{Origin, Status};
use tokio::sync::watch;

/// Upper bounds of the lag's histogram, in seconds: from a link that is up to a week at sea.
pub(crate) const BOUNDS_S: [u64; 9] = [1, 5, 30, 120, 900, 3_600, 21_600, 86_400, 604_800];

/// What one commit did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Rows that were added, or all where newer ones take the place of older.
    pub(crate) written: u64,
    /// Records whose row was there.
    pub(crate) duplicates: u64,
    /// Records of which only the number is noted.
    pub(crate) noted: u64,
    /// What gateways tell of themselves.
    pub(crate) own: u64,
}

/// Counts since the start.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) topic: String,
    pub(crate) written: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) noted: AtomicU64,
    pub(crate) own: AtomicU64,
    /// When the last commit ended, ms since 1970; 0: none did.
    pub(crate) committed_ms: AtomicU64,
    /// Records by the time from their acceptance to their commit: one count for each of [`BOUNDS_S`]
    /// and one for what is beyond.
    pub(crate) lags: [AtomicU64; BOUNDS_S.len() + 1],
    pub(crate) lag_sum_ms: AtomicU64,
    /// Times that the database and the broker went away.
    pub(crate) losses: [AtomicU64; 2],
    pub(crate) status: watch::Receiver<Status>,
}

impl Counts {
    /// Of a topic whose consumer has not begun.
    pub(crate) fn new(topic: &str, status: watch::Receiver<Status>) -> Self {
        let zero = AtomicU64::default;
        Self {
            topic: topic.to_owned(),
            written: zero(),
            duplicates: zero(),
            noted: zero(),
            own: zero(),
            committed_ms: zero(),
            lags: std::array::from_fn(|_| zero()),
            lag_sum_ms: zero(),
            losses: [zero(), zero()],
            status,
        }
    }

    /// A batch is durable.
    pub(crate) fn committed(&self, batch: Batch, now_ms: u64) {
        self.written.fetch_add(batch.written, Relaxed);
        self.duplicates.fetch_add(batch.duplicates, Relaxed);
        self.noted.fetch_add(batch.noted, Relaxed);
        self.own.fetch_add(batch.own, Relaxed);
        self.committed_ms.fetch_max(now_ms, Relaxed);
    }

    /// A record of a commit. What is sent again, and what came without a set clock, says nothing of the
    /// way.
    pub(crate) fn arrived(&self, origin: &Origin, now_ms: u64) {
        if !origin.clock_set || origin.flag("resend") || origin.flag("replay") {
            return;
        }
        let lag_ms = now_ms.saturating_sub(origin.accepted_ms);
        let bucket = BOUNDS_S.partition_point(|bound| bound * 1000 < lag_ms);
        self.lags[bucket].fetch_add(1, Relaxed);
        self.lag_sum_ms.fetch_add(lag_ms, Relaxed);
    }

    /// The database, or the broker, has gone.
    pub(crate) fn lost(&self, what: usize) {
        self.losses[what].fetch_add(1, Relaxed);
    }
}
