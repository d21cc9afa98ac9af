//! Other bounds for a pace that goes on: what it has learned stays, and nothing is sent in a burst
//! because a number changed.

use tokio::time::Instant;

use super::{Pacer, bound_per_s, buckets};
use crate::config;

impl Pacer {
    /// The same pace within the bounds of `config`; for the same far end.
    pub fn rebound(&mut self, config: &config::Drain, now: Instant) {
        let (records, bytes) = buckets(config, now);
        self.records = match (records, &self.records) {
            (Some(new), Some(former)) => Some(new.after(former)),
            (new, _) => new,
        };
        self.bytes = bytes.after(&self.bytes);
        self.bytes_per_s = config.bytes_per_second;
        self.adaptive = config.adaptive;
        self.bound_per_s = bound_per_s(config);
        self.spread = config.reconnect_spread;
        // The next turn is at the new pace: a slow one's may be an hour away.
        self.next_at = self.next_at.min(now + self.interval());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::pace::{Memory, Urgency};

    fn drain(records_per_second: u32) -> config::Drain {
        config::Drain {
            adaptive: false,
            records_per_second: Some(records_per_second),
            bytes_per_second: 1 << 30,
            reconnect_spread: None,
        }
    }

    /// Records that leave within `time`, as soon as they may.
    fn sent(pacer: &mut Pacer, from: Instant, time: Duration) -> u32 {
        let (mut rng, mut now, mut sent) = (StdRng::seed_from_u64(1), from, 0);
        while now < from + time {
            match pacer.ready_at(Urgency::Patient, now) {
                Some(at) => now = at,
                None => {
                    pacer.spend(100, now, &mut rng);
                    sent += 1;
                }
            }
        }
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn many_changes_let_no_more_through_than_the_bound() {
        let (mut now, mut all) = (Instant::now(), 0);
        let mut pacer = Pacer::new(&drain(100), Memory::default(), false, now);
        for round in 0..100 {
            pacer.rebound(&drain(if round % 2 == 0 { 80 } else { 100 }), now);
            all += sent(&mut pacer, now, Duration::from_millis(100));
            now += Duration::from_millis(100);
        }
        assert!((500..=1000).contains(&all), "{all} in 10 s at 80 to 100 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_higher_bound_counts_at_once() {
        let now = Instant::now();
        let mut pacer = Pacer::new(&drain(1), Memory::default(), false, now);
        sent(&mut pacer, now, Duration::from_secs(2));
        pacer.rebound(&drain(100), now);
        assert!(sent(&mut pacer, now, Duration::from_secs(4)) >= 250);
    }

    #[tokio::test(start_paused = true)]
    async fn the_bounds_that_hold_are_told() {
        let now = Instant::now();
        let mut pacer = Pacer::new(&drain(1), Memory::default(), false, now);
        let view = pacer.view(now);
        assert_eq!((view.allowed_per_s, view.allowed_bytes_per_s), (Some(1.0), 1 << 30));
        let bytes = config::Drain { records_per_second: None, bytes_per_second: 7, ..drain(1) };
        pacer.rebound(&bytes, now);
        let view = pacer.view(now);
        assert_eq!((view.allowed_per_s, view.allowed_bytes_per_s), (None, 7));
    }
}
