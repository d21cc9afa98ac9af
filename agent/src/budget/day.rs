//! When a day of the budget ends.
//!
//! It is a day of UTC by the wall clock. Only a later date begins a new one: a clock that jumps
//! ahead gives the rest of one day's bytes too early, one that falls back gives none. What cannot
//! be told by the clock is told by running time: after 24 hours where the clock is not set, and
//! after 25 hours whatever it says, so that a jump back by years stops nothing for years.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Longer than any day by the clock that only was put right a little.
const LONGEST: Duration = Duration::from_secs(25 * 3600);
const DAY_MS: u64 = 24 * 3600 * 1000;

/// One day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Day {
    /// Days since 1970 at which it began, where that is known.
    pub date: Option<u64>,
    /// Running time that it has lasted.
    pub ran: Duration,
}

impl Day {
    /// So much time has gone by; the clock on the wall now shows `wall_ms`, if it is set. True if
    /// another day has begun.
    pub fn pass(&mut self, time: Duration, wall_ms: Option<u64>) -> bool {
        self.ran += time;
        let today = wall_ms.map(date);
        let later = today.zip(self.date).is_some_and(|(today, date)| today > date);
        if later || self.ran >= self.longest(today) {
            *self = Self { date: today, ran: Duration::ZERO };
            return true;
        }
        // The clock was set meanwhile: the day goes on, and ends as others do.
        self.date = self.date.or(today);
        false
    }

    /// How long it still lasts, if the clock on the wall goes on as it does.
    pub fn left(&self, wall_ms: Option<u64>) -> Duration {
        let today = wall_ms.map(date);
        let longest = self.longest(today).saturating_sub(self.ran);
        match wall_ms {
            Some(ms) if today == self.date => {
                longest.min(Duration::from_millis(DAY_MS - ms % DAY_MS))
            }
            _ => longest,
        }
    }

    fn longest(&self, today: Option<u64>) -> Duration {
        match (today, self.date) {
            (Some(_), Some(_)) => LONGEST,
            _ => DAY,
        }
    }
}

fn date(wall_ms: u64) -> u64 {
    wall_ms / DAY_MS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const HOUR_MS: u64 = 3_600_000;
    const YEARS_MS: u64 = 14 * 365 * DAY_MS;
    /// Noon of some day.
    const NOON_MS: u64 = 20_000 * DAY_MS + 12 * HOUR_MS;

    fn noon() -> Day {
        let mut day = Day::default();
        assert!(!day.pass(Duration::ZERO, Some(NOON_MS)));
        day
    }

    #[test]
    fn it_ends_at_midnight() {
        let mut day = noon();
        assert_eq!(day.left(Some(NOON_MS)), 12 * HOUR);
        assert!(!day.pass(11 * HOUR, Some(NOON_MS + 11 * HOUR_MS)));
        assert_eq!(day.left(Some(NOON_MS + 11 * HOUR_MS)), HOUR);
        assert!(day.pass(HOUR, Some(NOON_MS + 12 * HOUR_MS)));
        assert_eq!(day, Day { date: Some(20_001), ran: Duration::ZERO });
        assert!(!day.pass(Duration::ZERO, Some(NOON_MS + 12 * HOUR_MS)));
    }

    #[test]
    fn days_without_power_are_over() {
        let mut day = noon();
        assert!(day.pass(Duration::ZERO, Some(NOON_MS + 3 * DAY_MS)));
    }

    #[test]
    fn without_a_clock_it_lasts_a_day_of_running_time() {
        let mut day = Day::default();
        for hour in 1..24 {
            assert!(!day.pass(HOUR, None), "{hour}");
            assert_eq!(day.left(None), (24 - hour) * HOUR);
        }
        assert!(day.pass(HOUR, None));
        assert_eq!(day.left(None), DAY);
    }

    #[test]
    fn a_clock_that_is_set_meanwhile_begins_nothing_anew() {
        let mut day = Day::default();
        assert!(!day.pass(HOUR, None));
        assert!(!day.pass(HOUR, Some(NOON_MS)));
        assert_eq!(day.left(Some(NOON_MS)), 12 * HOUR);
        assert!(day.pass(12 * HOUR, Some(NOON_MS + 12 * HOUR_MS)));
        // And one that is lost at a restart does not, either.
        assert!(!day.pass(HOUR, None));
        assert!(!day.pass(HOUR, Some(NOON_MS + 14 * HOUR_MS)));
    }

    #[test]
    fn a_jump_ahead_and_back_gives_one_day_and_blocks_for_one() {
        let mut day = noon();
        assert!(day.pass(Duration::ZERO, Some(NOON_MS + YEARS_MS)));
        let mut begun = 0;
        for _ in 0..10 {
            begun += u32::from(day.pass(HOUR, Some(NOON_MS)));
            begun += u32::from(day.pass(HOUR, Some(NOON_MS + YEARS_MS)));
        }
        assert_eq!(begun, 0, "each jump would give a budget");
        assert_eq!(day.left(Some(NOON_MS)), 5 * HOUR);
        assert!(day.pass(5 * HOUR, Some(NOON_MS)), "it must not wait for the year of the jump");
        assert_eq!(day.date, Some(20_000));
        assert_eq!(day.left(Some(NOON_MS)), 12 * HOUR);
    }

    #[test]
    fn a_clock_that_is_put_back_a_little_does_not_make_two_days_of_one() {
        let mut day = noon();
        let midnight_ms = NOON_MS + 12 * HOUR_MS;
        assert!(day.pass(12 * HOUR, Some(midnight_ms)));
        assert!(!day.pass(HOUR, Some(midnight_ms - 30_000)));
        assert!(!day.pass(23 * HOUR + HOUR / 2, Some(midnight_ms + DAY_MS - HOUR_MS / 2)));
        assert!(day.pass(HOUR / 2, Some(midnight_ms + DAY_MS)));
    }

    proptest! {
        #[test]
        fn none_lasts_longer_than_25_hours_of_running_time(
            walls in prop::collection::vec(prop::option::of(0_u64..40_000 * DAY_MS), 1..200),
        ) {
            let mut day = Day::default();
            let mut ran = Duration::ZERO;
            for wall_ms in walls {
                prop_assert!(day.left(wall_ms) <= LONGEST);
                ran += HOUR;
                if day.pass(HOUR, wall_ms) {
                    ran = Duration::ZERO;
                }
                prop_assert!(ran < LONGEST);
                prop_assert!(day.left(wall_ms) > Duration::ZERO);
            }
        }
    }
}
