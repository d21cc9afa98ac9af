//! Chance that can be repeated: `SPILLWAY_SEED` is the seed, and every run says which it had.

use rand::SeedableRng;
use rand::rngs::StdRng;

const SEED: u64 = 20_261_121;

/// The run's seed.
pub fn seed() -> u64 {
    let given = std::env::var("SPILLWAY_SEED").ok();
    let seed = given.map_or(SEED, |text| text.parse().expect("SPILLWAY_SEED is no number"));
    eprintln!("SPILLWAY_SEED={seed}");
    seed
}

/// The generator of one part of a run.
pub fn rng(seed: u64, part: u64) -> StdRng {
    StdRng::seed_from_u64(seed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
