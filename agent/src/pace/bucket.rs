//! governor's token bucket with a debt: what is spent may be more than there is, and the next
//! waits until it is paid. Its clock is the moment it is given, so that virtual time works.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// A bucket holds this part of a second.
const BURST_PER_SECOND: u64 = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, GivenClock, NoOpMiddleware<Duration>>,
    clock: GivenClock,
    start: Instant,
    burst: u64,
    owed: u64,
}

impl Bucket {
    /// A full bucket that gets a cell each `cell`.
    pub(super) fn new(cell: Duration, cells_per_second: u64, now: Instant) -> Self {
        let burst = (cells_per_second / BURST_PER_SECOND).clamp(1, u64::from(u32::MAX));
        let size = u32::try_from(burst).ok().and_then(NonZeroU32::new);
        let cell = cell.max(Duration::from_nanos(1));
        let quota = Quota::with_period(cell)
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN))
            .allow_burst(size.unwrap_or(NonZeroU32::MIN));
        let clock = GivenClock::default();
        let limiter = RateLimiter::direct_with_clock(quota, clock.clone());
        Self { limiter, clock, start: now, burst, owed: 0 }
    }

    /// The same, empty, with what `former` still owed: another rate is no reason for a burst.
    pub(super) fn after(self, former: &Self) -> Self {
        let owed = self.burst + former.owed;
        Self { owed, ..self }
    }

    /// `cells` are spent, paid or not.
    pub(super) fn owe(&mut self, cells: u64) {
        self.owed += cells;
    }

    /// Pays what it can; says how long until the next part can be paid.
    pub(super) fn pay(&mut self, now: Instant) -> Option<Duration> {
        if self.owed == 0 {
            return None;
        }
        self.clock.set(now.saturating_duration_since(self.start));
        while self.owed > 0 {
            let part = self.owed.min(self.burst);
            let cells = u32::try_from(part).ok().and_then(NonZeroU32::new)?;
            match self.limiter.check_n(cells) {
                Ok(Ok(())) => self.owed -= part,
                Ok(Err(early)) => return Some(early.wait_time_from(self.clock.now())),
                // Cannot be: a part is never larger than the bucket. It would be wrong to stop.
                Err(_) => self.owed = 0,
            }
        }
        None
    }
}

/// The moment last given, for governor: time since the bucket was made, in nanoseconds.
#[derive(Debug, Clone, Default)]
struct GivenClock(Arc<AtomicU64>);

impl GivenClock {
    fn set(&self, elapsed: Duration) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.0.store(nanos, Ordering::Relaxed);
    }
}

impl Clock for GivenClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}
