//! When to connect again: full jitter, so that the apps of a gateway do not come back together.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Options;

pub(super) struct Backoff {
    initial: Duration,
    max: Duration,
    attempt: u32,
    rng: StdRng,
}

impl Backoff {
    pub(super) fn new(options: &Options) -> Self {
        let seed = options.seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().1);
        Self {
            initial: options.backoff_initial,
            max: options.backoff_max,
            attempt: 0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// The next wait: anything from nothing to the bound, which doubles each time.
    pub(super) fn next_wait(&mut self) -> Duration {
        let bound = self.initial.saturating_mul(2u32.saturating_pow(self.attempt)).min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        bound.mul_f64(self.rng.random_range(0.0..=1.0))
    }

    /// A wait that was asked for, spread a little so that those who were refused together do not
    /// come back together.
    pub(super) fn spread(&mut self, asked: Duration) -> Duration {
        asked.mul_f64(self.rng.random_range(1.0..=1.5))
    }

    /// The far side answers: start small again.
    pub(super) fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_a_doubling_bound_and_repeat_with_the_seed() {
        let options = Options {
            backoff_initial: Duration::from_millis(100),
            backoff_max: Duration::from_millis(350),
            seed: Some(7),
            ..Options::default()
        };
        let mut one = Backoff::new(&options);
        let mut two = Backoff::new(&options);
        for bound_ms in [100, 200, 350, 350] {
            let wait = one.next_wait();
            assert!(wait <= Duration::from_millis(bound_ms));
            assert_eq!(wait, two.next_wait());
        }
        one.reset();
        assert!(one.next_wait() <= Duration::from_millis(100));
        let spread = one.spread(Duration::from_secs(10));
        assert!((10.0..=15.0).contains(&spread.as_secs_f64()));
    }
}
