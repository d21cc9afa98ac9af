//! Full jitter: waits spread evenly over a growing bound, so that a fleet does not return in step.

use std::time::Duration;

use rand::{Rng, RngExt};

use crate::config;

/// Waits of U(0, min(max, initial * 2^failures)).
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
}

impl Backoff {
    /// The bounds of `[backoff]`.
    pub fn new(config: &config::Backoff) -> Self {
        Self { initial: config.initial, max: config.max }
    }

    /// The longest wait after `failures` failures (0 = none but the one that began it).
    pub fn bound(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.initial.saturating_mul(factor).min(self.max)
    }

    /// Draws a wait whose bound is `most`, too, but never less than the first one's.
    pub fn wait_within(&self, failures: u32, most: Duration, rng: &mut impl Rng) -> Duration {
        self.bound(failures).min(most.max(self.bound(0))).mul_f64(rng.random::<f64>())
    }

    /// Draws a wait.
    pub fn wait(&self, failures: u32, rng: &mut impl Rng) -> Duration {
        self.bound(failures).mul_f64(rng.random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn backoff() -> Backoff {
        Backoff::new(&config::Backoff {
            initial: Duration::from_secs(5),
            max: Duration::from_secs(120),
        })
    }

    #[test]
    fn the_bound_doubles_up_to_the_maximum_and_never_overflows() {
        let bounds = [0, 1, 2, 4, 5, 31, 32, u32::MAX].map(|n| backoff().bound(n).as_secs());
        assert_eq!(bounds, [5, 10, 20, 80, 120, 120, 120, 120]);
    }

    #[test]
    fn waits_fill_the_whole_interval() {
        let mut rng = StdRng::seed_from_u64(1);
        let waits: Vec<f64> =
            (0..2000).map(|_| backoff().wait(1, &mut rng).as_secs_f64()).collect();
        let mean = waits.iter().sum::<f64>() / 2000.0;
        assert!((4.7..5.3).contains(&mean), "mean {mean}");
        assert!(waits.iter().any(|w| *w < 0.1) && waits.iter().any(|w| *w > 9.9));
    }

    proptest! {
        #[test]
        fn no_wait_exceeds_its_bound(failures in 0_u32..100, seed: u64) {
            let wait = backoff().wait(failures, &mut StdRng::seed_from_u64(seed));
            prop_assert!(wait <= backoff().bound(failures));
        }
    }
}
