//! Wall time, passed in so that tests choose it. Monotonic time is tokio's.

use std::time::{SystemTime, UNIX_EPOCH};

/// 2026-01-01: no gateway that runs this build has a set clock before it.
const BUILT_MS: u64 = 1_767_225_600_000;

/// A clock on the wall.
pub trait WallClock: Send + Sync + 'static {
    /// Milliseconds since 1970; may jump either way.
    fn now_ms(&self) -> u64;

    /// Whether the clock has been set since power-on: a gateway without a battery boots in 1970.
    fn is_set(&self) -> bool {
        was_set(self.now_ms())
    }
}

/// Whether a clock that said `at_ms` (ms since 1970) had been set. Times before and after it was
/// cannot be compared: nobody measured what lies between them.
pub fn was_set(at_ms: u64) -> bool {
    at_ms >= BUILT_MS
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}
