//! The careful pace: slow start, doubling each second while answers are clean, halved on a throttle.

use std::time::Duration;

use tokio::time::Instant;

/// Records per second after a start or an outage.
const START: f64 = 4.0;
/// Never slower, however often the broker throttles.
const FLOOR: f64 = 1.0;
/// The bound where none is configured.
const AUTO: f64 = 500.0;
/// Above the rate a throttle left, growth per second is this part of it.
const CAREFUL: f64 = 0.1;

/// A rate in records per second that grows with clean answers.
#[derive(Debug, Clone)]
pub(super) struct Ramp {
    rate: f64,
    bound: f64,
    /// Above it the rate grows by steps instead of doubling: the broker has throttled there.
    threshold: f64,
    fixed: bool,
    grown_at: Instant,
    cut_at: Option<Instant>,
}

impl Ramp {
    /// Slow start up to `bound`, or to 500 records/s where there is none.
    pub(super) fn careful(bound: Option<u32>, now: Instant) -> Self {
        Self::new(bound.map_or(AUTO, f64::from), false, now)
    }

    /// No slow start: the configured rates alone (`adaptive = false`).
    pub(super) fn fixed(bound: Option<u32>, now: Instant) -> Self {
        Self::new(bound.map_or(f64::INFINITY, f64::from), true, now)
    }

    fn new(bound: f64, fixed: bool, now: Instant) -> Self {
        Self {
            rate: if fixed { bound } else { START.min(bound) },
            bound,
            threshold: f64::INFINITY,
            fixed,
            grown_at: now,
            cut_at: None,
        }
    }

    /// Time between two sends.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.rate)
    }

    /// Whether there is nothing left to grow to.
    pub(super) fn is_full(&self) -> bool {
        self.rate >= self.bound
    }

    /// Back to the beginning, after an outage.
    pub(super) fn restart(&mut self, now: Instant) {
        if !self.fixed {
            *self = Self::new(self.bound, false, now);
        }
    }

    /// A record was taken.
    pub(super) fn clean(&mut self, now: Instant) {
        let seconds = now.duration_since(self.grown_at).as_secs_f64().min(1.0);
        self.grown_at = now;
        if self.fixed {
            return;
        }
        let grown = if self.rate < self.threshold {
            (self.rate * 2_f64.powf(seconds)).min(self.threshold)
        } else {
            self.rate + seconds * (self.threshold * CAREFUL).max(FLOOR)
        };
        self.rate = grown.min(self.bound);
    }

    /// The broker throttled a request sent at `sent_at`. Requests that had left before the last
    /// cut say nothing of the rate after it.
    pub(super) fn throttled(&mut self, sent_at: Instant, now: Instant) {
        if self.fixed || self.cut_at.is_some_and(|cut| sent_at < cut) {
            return;
        }
        self.cut_at = Some(now);
        self.grown_at = now;
        self.rate = (self.rate / 2.0).max(FLOOR.min(self.bound));
        self.threshold = self.rate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    #[test]
    fn it_doubles_each_second_up_to_five_hundred() {
        let start = Instant::now();
        let mut ramp = Ramp::careful(None, start);
        let mut rates = Vec::new();
        for tick in 1..=80 {
            ramp.clean(start + seconds(0.1) * tick);
            if tick % 10 == 0 {
                rates.push(ramp.rate.round());
            }
        }
        assert_eq!(rates, [8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 500.0, 500.0]);
        assert!(ramp.is_full());
    }

    #[test]
    fn answers_that_come_rarely_double_once_each() {
        let start = Instant::now();
        let mut ramp = Ramp::careful(None, start);
        ramp.clean(start + seconds(60.0));
        assert_eq!(ramp.rate, 8.0);
    }

    #[test]
    fn a_throttle_halves_once_per_round_trip_and_growth_is_careful_thereafter() {
        let start = Instant::now();
        let mut ramp = Ramp::careful(Some(400), start);
        (1..=10).for_each(|n| ramp.clean(start + seconds(1.0) * n));
        assert_eq!(ramp.rate, 400.0);
        let cut = start + seconds(11.0);
        for _ in 0..64 {
            ramp.throttled(cut - seconds(0.1), cut);
        }
        assert_eq!(ramp.rate, 200.0);
        ramp.clean(cut + seconds(1.0));
        assert_eq!(ramp.rate, 220.0);
        for n in 2..40 {
            ramp.throttled(cut + seconds(1.0) * n, cut + seconds(1.0) * n);
        }
        assert_eq!(ramp.rate, FLOOR, "never stops");
    }

    #[test]
    fn without_adaptation_the_bound_alone_counts() {
        let now = Instant::now();
        let mut ramp = Ramp::fixed(Some(50), now);
        ramp.throttled(now, now);
        ramp.restart(now);
        assert_eq!((ramp.interval(), ramp.is_full()), (seconds(0.02), true));
        assert_eq!(Ramp::fixed(None, now).interval(), Duration::ZERO);
    }
}
