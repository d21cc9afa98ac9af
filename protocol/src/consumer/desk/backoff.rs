//! Waits with full jitter, each below a bound that doubles.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

/// Bounds of the waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    pub(crate) initial: Duration,
    pub(crate) max: Duration,
}

impl Backoff {
    /// The wait after `failures` in a row, which are at least 1.
    pub(crate) fn wait(self, failures: u32, rng: &mut StdRng) -> Duration {
        let doubled = 2u32.saturating_pow(failures.saturating_sub(1));
        let bound = self.initial.saturating_mul(doubled).min(self.max);
        bound.mul_f64(rng.random_range(0.0..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn waits_stay_below_a_doubling_bound_and_repeat_with_the_seed() {
        let backoff =
            Backoff { initial: Duration::from_millis(100), max: Duration::from_millis(350) };
        let (mut one, mut two) = (StdRng::seed_from_u64(7), StdRng::seed_from_u64(7));
        for (failures, bound_ms) in [(1, 100), (2, 200), (3, 350), (u32::MAX, 350)] {
            let wait = backoff.wait(failures, &mut one);
            assert!(wait <= Duration::from_millis(bound_ms), "{failures}: {wait:?}");
            assert_eq!(wait, backoff.wait(failures, &mut two));
        }
    }
}
