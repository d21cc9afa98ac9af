//! A rate over the last minute, from a count that is sampled now and then.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(60);

/// Samples of a growing count, oldest first.
#[derive(Debug, Default)]
pub(super) struct Meter(VecDeque<(Instant, u64)>);

impl Meter {
    /// Notes the count at `now`.
    pub(super) fn sample(&mut self, count: u64, now: Instant) {
        // The newest sample that is a whole window old stays, as the other end of the rate.
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back((now, count));
    }

    /// When it was last sampled.
    pub(super) fn newest(&self) -> Option<Instant> {
        self.0.back().map(|(at, _)| *at)
    }

    /// Growth per second over the samples.
    pub(super) fn per_second(&self) -> f64 {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else { return 0.0 };
        let seconds = last.0.duration_since(first.0).as_secs_f64();
        if seconds == 0.0 { 0.0 } else { last.1.saturating_sub(first.1) as f64 / seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        assert_eq!(meter.per_second(), 0.0);
        for second in 0..=120u32 {
            let count = if second <= 60 { 0 } else { u64::from(second - 60) * 5 };
            meter.sample(count, start + Duration::from_secs(second.into()));
        }
        assert_eq!(meter.per_second(), 5.0);
        assert!(meter.0.len() <= 62);
    }
}
