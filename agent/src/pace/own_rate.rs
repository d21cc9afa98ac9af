//! How much the gateway produces by itself: the unit in which its pace is measured.

use std::time::Duration;

use tokio::time::Instant;

/// The mean reaches back about this far, so that it spans the rhythm of a shift.
const MEMORY: Duration = Duration::from_secs(4 * 3600);
/// So long must have been watched before the mean is taken for the gateway's habit.
const HABIT: Duration = Duration::from_secs(3600);
/// A gateway without a habit counts as one that makes a record a second.
const UNKNOWN_PER_S: f64 = 1.0;
/// A backlog younger than this is a burst, not a rate; where a habit is known, one needs longer to
/// speak against it.
const BURST: Duration = Duration::from_secs(10);
const BURST_OF_HABIT: Duration = Duration::from_secs(60);
/// Production is counted over spans of at least this.
const SPAN: Duration = Duration::from_secs(5);
/// Less than this is as good as nothing: a record in four months.
const LEAST_PER_S: f64 = 1e-7;

/// What waits, and what was ever accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Records accepted since the queue was made.
    pub accepted: u64,
    /// Records that wait.
    pub waiting: u64,
    /// How long the oldest of them has waited.
    pub oldest_age: Duration,
}

/// The own rate: the larger of the habit and of what the backlog says; one a second where no
/// habit is known.
#[derive(Debug, Clone)]
pub struct OwnRate {
    learned_per_s: f64,
    watched: Duration,
    counted: Option<(u64, Instant)>,
    backlog_per_s: f64,
    held_per_s: f64,
}

impl OwnRate {
    /// As an earlier run learned it, watching so long.
    pub fn new(learned_per_s: f64, watched: Duration) -> Self {
        Self { learned_per_s, watched, counted: None, backlog_per_s: 0.0, held_per_s: 0.0 }
    }

    /// Records per second, never zero.
    pub fn per_s(&self) -> f64 {
        let habit = match self.is_habit() {
            true => self.learned_per_s.max(LEAST_PER_S),
            false => self.learned_per_s.max(UNKNOWN_PER_S),
        };
        habit.max(self.backlog_per_s).max(self.held_per_s)
    }

    /// Mean production, in records per second, and how long it was watched.
    pub fn learned(&self) -> (f64, Duration) {
        (self.learned_per_s, self.watched)
    }

    /// Notes how the queue stands.
    pub fn note(&mut self, standing: Standing, now: Instant) {
        let burst = if self.is_habit() { BURST_OF_HABIT } else { BURST };
        let age_s = standing.oldest_age.max(burst).as_secs_f64();
        self.backlog_per_s = standing.waiting as f64 / age_s;
        if standing.oldest_age <= BURST_OF_HABIT {
            self.held_per_s = 0.0;
        }
        self.learn(standing.accepted, now);
    }

    /// A backlog begins to drain. Newest records first, it will say less and less of how it was
    /// made: what it says now holds until it is gone.
    pub fn hold(&mut self) {
        self.held_per_s = self.backlog_per_s;
    }

    fn learn(&mut self, accepted: u64, now: Instant) {
        let Some((before, at)) = self.counted else {
            self.counted = Some((accepted, now));
            return;
        };
        let span = now.saturating_duration_since(at);
        if span < SPAN {
            return;
        }
        let per_s = accepted.saturating_sub(before) as f64 / span.as_secs_f64();
        self.watched = (self.watched + span).min(MEMORY);
        // A plain mean at first, an exponential one later.
        let weight = span.as_secs_f64() / self.watched.as_secs_f64();
        self.learned_per_s += weight.min(1.0) * (per_s - self.learned_per_s);
        self.counted = Some((accepted, now));
    }

    fn is_habit(&self) -> bool {
        self.watched >= HABIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn standing(accepted: u64, waiting: u64, oldest_s: u32) -> Standing {
        Standing { accepted, waiting, oldest_age: SECOND * oldest_s }
    }

    #[test]
    fn without_a_history_it_is_what_the_backlog_says_and_one_a_second_at_least() {
        let now = Instant::now();
        let mut rate = OwnRate::new(0.0, Duration::ZERO);
        assert_eq!(rate.per_s(), 1.0);
        rate.note(standing(10_000, 10_000, 600), now);
        assert!((16.6..16.7).contains(&rate.per_s()));
        rate.hold();
        rate.note(standing(10_005, 5, 600), now);
        assert!((16.6..16.7).contains(&rate.per_s()), "until the backlog is gone");
        rate.note(standing(10_005, 5, 6), now);
        assert_eq!(rate.per_s(), 1.0);
        rate.note(standing(10_005, 200, 0), now);
        assert_eq!(rate.per_s(), 20.0, "a burst is spread over its bound");
    }

    #[test]
    fn an_hour_of_production_is_a_habit_and_outlasts_a_quiet_night() {
        let start = Instant::now();
        let mut rate = OwnRate::new(0.0, Duration::ZERO);
        for n in 0..=720 {
            rate.note(standing(n, 0, 0), start + SECOND * 5 * u32::try_from(n).unwrap());
        }
        assert!((rate.per_s() - 0.2).abs() < 1e-6, "{}", rate.per_s());
        rate.note(standing(720, 0, 0), start + SECOND * 3 * 3600);
        assert!((0.06..0.07).contains(&rate.per_s()), "{}", rate.per_s());
        rate.note(standing(720, 0, 0), start + SECOND * 300 * 3600);
        assert!(rate.per_s() > 0.0 && rate.per_s() < 0.001);
    }

    #[test]
    fn a_habit_that_changed_shows_in_the_backlog_after_a_minute() {
        let now = Instant::now();
        let mut rate = OwnRate::new(0.1, HABIT);
        rate.note(standing(0, 60, 1), now);
        assert_eq!(rate.per_s(), 1.0);
        rate.note(standing(6000, 6000, 60), now + SECOND * 60);
        assert_eq!(rate.per_s(), 100.0);
    }

    #[test]
    fn a_queue_that_was_replaced_is_no_production() {
        let now = Instant::now();
        let mut rate = OwnRate::new(2.0, HABIT);
        rate.note(standing(1_000_000, 0, 0), now);
        rate.note(standing(3, 0, 0), now + SECOND * 60);
        assert!(rate.per_s() <= 2.0);
    }
}
