//! Wall time, passed in so that tests choose it. Monotonic time is tokio's; what outlives the
//! process, or a time in which the machine slept, is measured by the machine's [`Uptime`].

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

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

    /// The machine's uptime.
    fn uptime(&self) -> Uptime {
        Uptime::now()
    }
}

/// Time since the machine was switched on, in which it slept too. Nobody can set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uptime {
    /// Names the time since power-on. `None`: the kernel does not say, and [`Uptime::ms`] is the
    /// time since this process first asked.
    pub boot: Option<u128>,
    /// Milliseconds.
    pub ms: u64,
}

impl Uptime {
    fn now() -> Self {
        static SINCE: OnceLock<(Option<u128>, u64)> = OnceLock::new();
        let (boot, since_ms) = *SINCE.get_or_init(|| match boot() {
            None => (None, boottime_ms()),
            boot => (boot, 0),
        });
        Self { boot, ms: boottime_ms().saturating_sub(since_ms) }
    }
}

fn boot() -> Option<u128> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Uuid::try_parse(text.trim()).ok().map(|id| id.as_u128())
}

fn boottime_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let (s, ns) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    s.unwrap_or(0) * 1000 + ns.unwrap_or(0) / 1_000_000
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
