//! Wall time, by this machine's clock and by the server's.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::UNIX_EPOCH;

use super::WallClock;

/// Offsets below this are noise of a header with whole seconds and of the way it took.
const NOISE_MS: i64 = 2_000;

/// This machine's clock, and how far the server's is ahead of it by the last `Date` that was seen.
/// Requests are signed with the server's time, since it refuses dates that are far off.
pub(super) struct ServerClock {
    local: Arc<dyn WallClock>,
    offset_ms: AtomicI64,
}

impl ServerClock {
    pub(super) fn new(local: Arc<dyn WallClock>) -> Self {
        Self { local, offset_ms: AtomicI64::new(0) }
    }

    /// The server's time, ms since 1970; this machine's until a server answered.
    pub(super) fn now_ms(&self) -> u64 {
        self.local.now_ms().saturating_add_signed(self.offset_ms.load(Ordering::Relaxed))
    }

    /// Takes in a server's `Date`, of an answer that is known to be RocketMQ's.
    pub(super) fn observe(&self, server_ms: u64) {
        // `Date` has whole seconds: on average it is half a second old.
        let seen = signed(server_ms) + 500 - signed(self.local.now_ms());
        if (seen - self.offset_ms.load(Ordering::Relaxed)).abs() >= NOISE_MS {
            self.offset_ms.store(seen, Ordering::Relaxed);
        }
    }
}

/// An HTTP date in ms since 1970.
pub(super) fn http_date_ms(text: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(text).ok()?;
    u64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Still;

    impl WallClock for Still {
        fn now_ms(&self) -> u64 {
            60_000
        }
    }

    #[test]
    fn the_servers_date_counts_and_noise_does_not() {
        let clock = ServerClock::new(Arc::new(Still));
        clock.observe(61_000);
        assert_eq!(clock.now_ms(), 60_000);
        let date = http_date_ms("Thu, 07 Mar 2024 18:49:58 GMT").unwrap();
        clock.observe(date);
        assert_eq!(clock.now_ms(), 1_709_837_398_500);
        clock.observe(date + 1_000);
        assert_eq!(clock.now_ms(), 1_709_837_398_500);
    }
}
