//! Whether the driver turns, for those who watch over the process: it asks nobody.

use std::sync::{Mutex, PoisonError};
// Not tokio's: how long something really takes.
use std::time::{Duration, Instant};

/// What the driver does at this moment.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<Under>);

#[derive(Debug, Default)]
struct Under {
    /// It decides or notes, since then; else it waits for something to happen.
    turn: Option<Instant>,
    /// The queue has not said yet what it leases, since then.
    lease: Option<Instant>,
}

impl Pulse {
    /// A turn begins.
    pub(super) fn begin(&self) {
        self.under(|under| under.turn = Some(Instant::now()));
    }

    /// The turn has ended; whether it left a lease under way.
    pub(super) fn end(&self, leases: bool) {
        self.under(|under| {
            under.turn = None;
            under.lease = leases.then(|| under.lease.unwrap_or_else(Instant::now));
        });
    }

    /// How long what is under way takes already, if something is.
    pub(super) fn under_way(&self) -> Option<Duration> {
        self.under(|under| [under.turn, under.lease].into_iter().flatten().min())
            .map(|since| since.elapsed())
    }

    /// Held for a moment only.
    fn under<T>(&self, with: impl FnOnce(&mut Under) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_and_a_lease_take_as_long_as_they_take() {
        let pulse = Pulse::default();
        assert_eq!(pulse.under_way(), None);
        pulse.begin();
        assert!(pulse.under_way().is_some());
        pulse.end(true);
        let lease = pulse.under_way().unwrap();
        // Others come and go meanwhile.
        pulse.begin();
        pulse.end(true);
        assert!(pulse.under_way().unwrap() >= lease);
        pulse.begin();
        pulse.end(false);
        assert_eq!(pulse.under_way(), None);
    }
}
