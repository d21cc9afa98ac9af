//! How long records have waited.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Lane;
use crate::queue::timeline::{Accepted, Timeline};

impl Lane {
    /// Records from the position `from` on are about to be stored.
    pub(in crate::queue) fn note_clock(&self, from: u64) {
        let wall_ms = self.now_ms();
        self.timeline().note(from, wall_ms, Instant::now());
        self.note_lived(from);
    }

    /// How long the oldest waiting record has waited.
    pub(in crate::queue) fn oldest_age(&self) -> Option<Duration> {
        let (position, accepted) = self.oldest()?;
        Some(self.age(position, accepted))
    }

    /// When it was accepted, by the clock of then, ms since 1970.
    pub(in crate::queue) fn oldest_accepted_ms(&self) -> Option<u64> {
        self.oldest().map(|(_, accepted)| accepted.ms)
    }

    /// See [`Queue::split`](crate::queue::Queue::split).
    pub(in crate::queue) fn split(&self, from: u64) -> (u64, Option<Duration>) {
        let (before, oldest) = {
            let head = self.head();
            let from = from.min(self.chain.end());
            (head.waiting_in(head.settled().watermark(), from), head.next_waiting(from))
        };
        (before, self.accepted(oldest).map(|accepted| self.age(oldest, accepted)))
    }

    pub(super) fn oldest(&self) -> Option<(u64, Accepted)> {
        let position = self.head().next_waiting(0);
        let mut oldest = self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        if oldest.is_none_or(|(known, _)| known != position) {
            *oldest = Some((position, self.accepted(position)?));
        }
        *oldest
    }

    fn accepted(&self, position: u64) -> Option<Accepted> {
        let there = position < self.chain.end();
        let (_, stored) = there.then(|| self.stored_at(position).ok().flatten()).flatten()?;
        Some(Accepted { ms: stored.accepted_ms, clock_set: stored.clock_set })
    }

    pub(super) fn age(&self, position: u64, accepted: Accepted) -> Duration {
        Duration::from_millis(self.age_ms(position, accepted))
    }

    pub(super) fn age_ms(&self, position: u64, accepted: Accepted) -> u64 {
        if let Some((_, lived)) = &self.ttl {
            return lived.age_ms(position, accepted);
        }
        let wall_ms = self.now_ms();
        self.timeline().age_ms(position, accepted, wall_ms, Instant::now())
    }

    fn timeline(&self) -> MutexGuard<'_, Timeline> {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
