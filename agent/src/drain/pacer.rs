//! The pace: when the next record may leave. The configured rates are upper bounds, held by
//! governor's token buckets; the ramp below them is the careful part. First sends, retries and
//! probes spend the same tokens.
//!
//! A send is paid for after it left: the next one waits until the debt is paid. So the size of a
//! record need not be known before it is chosen, and one larger than a bucket does not wait for
//! ever: its debt is paid bucket by bucket.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use rand::{Rng, RngExt};
use tokio::time::Instant;

use super::ramp::Ramp;
use crate::config;

/// Bytes of one token: rates and bursts are 32-bit numbers in governor.
const CELL_BYTES: u64 = 1024;
/// A bucket holds this part of a second.
const BURST_PER_SECOND: u64 = 8;
/// How far sends may catch up with the ramp after the loop woke late.
const CATCH_UP: Duration = Duration::from_millis(10);
/// A throttle that names no time pauses this long where there is no ramp to slow down.
const PAUSE: Duration = Duration::from_secs(1);
/// A broker's wish is followed up to here.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Says when the next record may leave.
#[derive(Debug)]
pub struct Pacer {
    ramp: Ramp,
    adaptive: bool,
    next_at: Instant,
    paused_until: Option<Instant>,
    records: Option<Bucket>,
    bytes: Bucket,
    /// Bytes sent that do not yet make a whole cell.
    rest_bytes: u64,
}

impl Pacer {
    /// The pace of `[drain]`.
    pub fn new(config: &config::Drain, now: Instant) -> Self {
        let ramp = match config.adaptive {
            true => Ramp::careful(config.records_per_second, now),
            false => Ramp::fixed(config.records_per_second, now),
        };
        let mut records = config
            .records_per_second
            .map(|rate| Bucket::new(Duration::from_secs(1) / rate.max(1), u64::from(rate)));
        // A bucket begins full; with one token spent, the first send is within the bound, too.
        if let Some(bucket) = &mut records {
            bucket.owed = 1;
        }
        let rate = config.bytes_per_second.max(1);
        let cell = Duration::from_secs_f64(CELL_BYTES as f64 / rate as f64);
        Self {
            ramp,
            adaptive: config.adaptive,
            next_at: now,
            paused_until: None,
            records,
            bytes: Bucket::new(cell, rate / CELL_BYTES),
            rest_bytes: 0,
        }
    }

    /// When the next record may leave; `None` is now.
    pub fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        let records = self.records.as_mut().and_then(Bucket::pay);
        let waits = [
            self.paused_until,
            Some(self.next_at),
            records.map(|wait| now + wait),
            self.bytes.pay().map(|wait| now + wait),
        ];
        waits.into_iter().flatten().max().filter(|at| *at > now)
    }

    /// A message of `bytes` leaves.
    pub fn spend(&mut self, bytes: usize, now: Instant) {
        let behind = now.checked_sub(CATCH_UP).unwrap_or(now);
        self.next_at = self.next_at.max(behind) + self.ramp.interval();
        if let Some(bucket) = &mut self.records {
            bucket.owed += 1;
        }
        self.rest_bytes += bytes as u64;
        self.bytes.owed += self.rest_bytes / CELL_BYTES;
        self.rest_bytes %= CELL_BYTES;
    }

    /// A record was taken.
    pub fn clean(&mut self, now: Instant) {
        self.ramp.clean(now);
    }

    /// The broker asked for less of one topic, for a time that only that one need wait: `after`.
    /// The pace slows down, but nothing pauses. Returns when the topic may come again.
    pub fn throttled_topic(
        &mut self,
        after: Duration,
        sent_at: Instant,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Instant {
        self.ramp.throttled(sent_at, now);
        now + after.min(PAUSE_MAX).mul_f64(1.0 + 0.5 * rng.random::<f64>())
    }

    /// The broker asked for less. Returns when the record may come again.
    pub fn throttled(
        &mut self,
        after: Option<Duration>,
        sent_at: Instant,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Instant {
        self.ramp.throttled(sent_at, now);
        let pause = match after {
            Some(wish) => wish.min(PAUSE_MAX),
            None if self.adaptive => self.ramp.interval(),
            None => PAUSE,
        };
        // Not all at the same moment, and never before the time asked for.
        let until = now + pause.mul_f64(1.0 + 0.5 * rng.random::<f64>());
        self.paused_until = self.paused_until.max(Some(until));
        until
    }

    /// Records flow again after an outage.
    pub fn restart(&mut self, now: Instant) {
        self.ramp.restart(now);
        self.next_at = now;
    }

    /// Whether slow start is over.
    pub fn is_full(&self) -> bool {
        self.ramp.is_full()
    }
}

/// governor's bucket with a debt.
#[derive(Debug)]
struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
    clock: TokioClock,
    burst: u64,
    owed: u64,
}

impl Bucket {
    fn new(cell: Duration, cells_per_second: u64) -> Self {
        let burst = (cells_per_second / BURST_PER_SECOND).clamp(1, u64::from(u32::MAX));
        let size = u32::try_from(burst).ok().and_then(NonZeroU32::new);
        let cell = cell.max(Duration::from_nanos(1));
        let quota = Quota::with_period(cell)
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN))
            .allow_burst(size.unwrap_or(NonZeroU32::MIN));
        let clock = TokioClock(Instant::now());
        Self { limiter: RateLimiter::direct_with_clock(quota, clock), clock, burst, owed: 0 }
    }

    /// Pays what it can; says how long until the next part can be paid.
    fn pay(&mut self) -> Option<Duration> {
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

/// tokio's time for governor, so that a paused clock pauses the buckets.
#[derive(Debug, Clone, Copy)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use tokio::time::{advance, sleep_until};

    use super::*;

    fn config(records: Option<u32>, bytes: u64) -> config::Drain {
        config::Drain {
            adaptive: false,
            records_per_second: records,
            bytes_per_second: bytes,
            reconnect_spread: None,
        }
    }

    /// Sends `sizes` as fast as allowed; the seconds at which each left.
    async fn run(config: &config::Drain, sizes: &[usize]) -> Vec<f64> {
        let start = Instant::now();
        let mut pacer = Pacer::new(config, start);
        let mut times = Vec::new();
        for &size in sizes {
            while let Some(at) = pacer.ready_at(Instant::now()) {
                sleep_until(at).await;
            }
            times.push(start.elapsed().as_secs_f64());
            pacer.spend(size, Instant::now());
        }
        times
    }

    #[tokio::test(start_paused = true)]
    async fn records_keep_their_rate_from_the_first_on() {
        let times = run(&config(Some(2), 1 << 30), &[10; 5]).await;
        let expected = [0.0, 0.5, 1.0, 1.5, 2.0];
        for (time, expected) in times.iter().zip(expected) {
            assert!((time - expected).abs() < 0.01, "{times:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_larger_than_the_bucket_leaves_and_is_paid_for() {
        let four_mib = 4 << 20;
        let times = run(&config(None, 256 << 10), &[four_mib, four_mib, 1]).await;
        assert!(times[0] < 0.01);
        assert!((15.5..16.1).contains(&times[1]), "{times:?}");
        assert!((31.5..32.1).contains(&times[2]), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn small_messages_are_not_rounded_up_to_whole_cells() {
        // 5,000 of 100 bytes at 100 KiB/s: 4.88 s, not the 50 s of a cell each.
        let times = run(&config(None, 100 << 10), &[100; 5000]).await;
        assert!((4.6..5.0).contains(&times[4999]), "{}", times[4999]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_below_one_cell_a_second_is_kept_as_well() {
        let times = run(&config(None, 100), &[1024, 1024, 1024]).await;
        assert!((10.0..10.5).contains(&(times[2] - times[1])), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttle_pauses_at_least_as_long_as_asked() {
        let mut pacer = Pacer::new(&config(None, 1 << 20), Instant::now());
        let mut rng = StdRng::seed_from_u64(3);
        let now = Instant::now();
        let wish = Duration::from_secs(7);
        let until = pacer.throttled(Some(wish), now, now, &mut rng);
        assert!(until >= now + wish && until <= now + wish.mul_f64(1.5));
        assert_eq!(pacer.ready_at(now), Some(until));
        advance(wish.mul_f64(1.5)).await;
        assert_eq!(pacer.ready_at(Instant::now()), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// In no window of a second does more leave than rate and bucket allow.
        #[test]
        fn no_second_exceeds_the_bounds(
            records in 1_u32..300,
            sizes in prop::collection::vec(1_usize..20_000, 1..150),
        ) {
            let bytes = 64 << 10;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time().start_paused(true).build().unwrap();
            let times = runtime.block_on(run(&config(Some(records), bytes), &sizes));
            for (i, start) in times.iter().enumerate() {
                let inside = times[i..].iter().take_while(|t| **t < start + 0.999).count();
                prop_assert!(inside as f64 <= f64::from(records) * 1.125 + 2.0);
                let sent: usize = sizes[i..i + inside].iter().sum();
                prop_assert!(sent as u64 <= bytes + bytes / 8 + 20_000 + 2 * CELL_BYTES);
            }
        }
    }
}
