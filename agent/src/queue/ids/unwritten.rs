//! Closed segments of one lane whose ids are only in memory yet.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::Ids;
use crate::queue::chain::Sealed;

/// Pause before a table that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(in crate::queue) struct Unwritten {
    segments: Vec<Sealed>,
    /// Not to be tried before this.
    retry_at: Option<Instant>,
    no_room: bool,
}

impl Unwritten {
    /// One more, and all are due at once.
    pub(in crate::queue) fn push(&mut self, sealed: Sealed) {
        self.segments.push(sealed);
        self.retry_at = None;
    }

    /// Writes the tables that are due; the first error, if there was one.
    pub(in crate::queue) fn write(
        &mut self,
        ids: &Ids,
        lane: usize,
        now_ms: u64,
    ) -> io::Result<()> {
        let paused = self.retry_at.is_some_and(|at| Instant::now() < at);
        if self.segments.is_empty() || paused {
            return Ok(());
        }
        let mut result = Ok(());
        self.segments.retain(|sealed| {
            let written = ids.seal(lane, sealed.first, sealed.end, now_ms);
            let failed = written.is_err();
            result = std::mem::replace(&mut result, Ok(())).and(written);
            failed
        });
        self.no_room = result.as_ref().is_err_and(is_full);
        self.retry_at = Some(Instant::now() + RETRY);
        result
    }

    /// The first position of the segments that have to stay, since a crash would forget their ids.
    ///
    /// Where there is no room for a table they need not: only their going makes room. An id of
    /// theirs could be taken for new after a crash in between; the far side knows it by then.
    pub(in crate::queue) fn keeps(&self) -> Option<u64> {
        let first = self.segments.iter().map(|sealed| sealed.first).min();
        first.filter(|_| !self.no_room)
    }
}

/// Whether the disk, or what one may have of it, is full.
pub(in crate::queue) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
