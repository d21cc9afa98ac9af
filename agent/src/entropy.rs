//! Randomness from the system, drawn once at the start and passed in as seeds.

use rand::TryRng;
use rand::rngs::SysRng;

/// A fresh seed. Should the system have no randomness to give, which no Linux since 3.17 does
/// after boot, time and process id serve.
pub fn seed() -> u64 {
    SysRng.try_next_u64().unwrap_or_else(|_| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let nanos = now.map_or(0, |now| now.subsec_nanos());
        u64::from(std::process::id()) << 32 | u64::from(nanos)
    })
}
