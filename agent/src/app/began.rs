//! When this process began, said the same each time: who hears of another moment takes it for a restart.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Began(Mutex<Option<Told>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    at_ms: u64,
    /// By a clock that had been set.
    clock_set: bool,
}

impl Began {
    /// In ms since 1970, by a clock that says `now_ms` after the process ran for `ran`. It moves once,
    /// where the clock had not been set before.
    pub(super) fn at_ms(&self, now_ms: u64, clock_set: bool, ran: Duration) -> u64 {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ran_ms = u64::try_from(ran.as_millis()).unwrap_or(u64::MAX);
        let now = Told { at_ms: now_ms.saturating_sub(ran_ms), clock_set };
        let first = (*told).filter(|told| told.clock_set || !clock_set).unwrap_or(now);
        *told = Some(first);
        first.at_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_while_the_clock_drifts_and_moves_once_when_that_is_set() {
        let (began, s) = (Began::default(), Duration::from_secs);
        assert_eq!(began.at_ms(100_500, false, s(1)), 99_500);
        assert_eq!(began.at_ms(103_000, false, s(2)), 99_500);
        assert_eq!(began.at_ms(1_800_000_000_000, true, s(10)), 1_799_999_990_000);
        assert_eq!(began.at_ms(1_800_000_009_900, true, s(20)), 1_799_999_990_000);
        assert_eq!(began.at_ms(5, false, s(30)), 1_799_999_990_000);
    }
}
