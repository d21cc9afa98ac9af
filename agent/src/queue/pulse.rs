//! Whether the threads of the queue turn, for those who watch over the process: each counts its
//! rounds, and asks nobody.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One thread's rounds.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    begun: AtomicU64,
    ended: AtomicU64,
    steps: AtomicU64,
    synced: AtomicU64,
    /// When the round that is under way, or its last step, began.
    since: Mutex<Option<Instant>>,
}

/// How far a thread of the queue has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rounds {
    /// What it does: `storing LANE`, or `saving the state`.
    pub part: String,
    /// It is at work, or there is work that it has not taken up.
    pub busy: bool,
    /// Rounds begun and ended, and steps of them; whoever is busy and turns moves it.
    pub rounds: u64,
    /// Those of them after which the disk had what it was given.
    pub synced: u64,
}

impl Pulse {
    /// A round begins.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Relaxed);
        *self.since() = Some(Instant::now());
    }

    /// A part of the round is done.
    pub(super) fn step(&self) {
        self.steps.fetch_add(1, Relaxed);
        *self.since() = Some(Instant::now());
    }

    /// The disk has what it was given.
    pub(super) fn synced(&self) {
        self.synced.fetch_add(1, Relaxed);
    }

    /// The round has ended.
    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Relaxed);
        *self.since() = None;
    }

    /// How long the round that is under way takes already since its last step, if one is.
    pub(super) fn under_way(&self) -> Option<Duration> {
        self.since().map(|since| since.elapsed())
    }

    /// Held for a moment only.
    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it has come; `waiting`: there is work for another round.
    pub(super) fn turn(&self, part: String, waiting: bool) -> Rounds {
        let (begun, ended) = (self.begun.load(Relaxed), self.ended.load(Relaxed));
        let (busy, rounds) = (waiting || begun > ended, begun + ended + self.steps.load(Relaxed));
        Rounds { part, busy, rounds, synced: self.synced.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_under_way_is_work_and_so_is_what_waits() {
        let pulse = Pulse::default();
        let turn = |waiting| pulse.turn("storing a".to_owned(), waiting);
        assert_eq!((turn(false).busy, turn(true).busy), (false, true));
        assert_eq!(pulse.under_way(), None);
        pulse.begin();
        assert_eq!((turn(false).busy, turn(false).rounds), (true, 1));
        assert!(pulse.under_way().is_some());
        pulse.synced();
        pulse.step();
        pulse.end();
        let done = Rounds { part: "storing a".to_owned(), busy: false, rounds: 3, synced: 1 };
        assert_eq!((turn(false), pulse.under_way()), (done, None));
    }
}
