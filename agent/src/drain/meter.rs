//! What left over the last minute, for `status`.

use std::time::Duration;

use tokio::time::Instant;

const SECONDS: usize = 60;

/// Counts in buckets of a second.
#[derive(Debug)]
pub(super) struct Meter {
    start: Instant,
    buckets: [(u64, u64, u64); SECONDS],
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self { start: now, buckets: [(0, 0, 0); SECONDS] }
    }

    /// So many records with bodies of `bytes` in all were taken.
    pub(super) fn count(&mut self, records: usize, bytes: usize, now: Instant) {
        let second = self.second(now);
        let bucket = &mut self.buckets[second as usize % SECONDS];
        if bucket.0 != second {
            *bucket = (second, 0, 0);
        }
        bucket.1 += records as u64;
        bucket.2 += bytes as u64;
    }

    /// Records and bytes per second over the last minute, or since the start if that is shorter.
    pub(super) fn rates(&self, now: Instant) -> (f64, f64) {
        let second = self.second(now);
        let recent = self.buckets.iter().filter(|(at, ..)| at + SECONDS as u64 > second);
        let (records, bytes) = recent.fold((0, 0), |sum, (_, n, b)| (sum.0 + n, sum.1 + b));
        let age = now.duration_since(self.start).max(Duration::from_secs(1));
        let span = age.as_secs_f64().min(SECONDS as f64);
        (records as f64 / span, bytes as f64 / span)
    }

    fn second(&self, now: Instant) -> u64 {
        now.duration_since(self.start).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_counts_and_nothing_older() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        for second in 0..120 {
            meter.count(1, 100, start + Duration::from_secs(second));
        }
        assert_eq!(meter.rates(start + Duration::from_millis(119_500)), (1.0, 100.0));
        assert_eq!(meter.rates(start + Duration::from_secs(300)), (0.0, 0.0));
    }

    #[test]
    fn a_young_meter_divides_by_its_age() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        (0..20).for_each(|_| meter.count(1, 1, start));
        assert_eq!(meter.rates(start + Duration::from_secs(2)).0, 10.0);
    }
}
