//! The day's bytes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use spillway_protocol::dial::{Carried, Dialer, Endpoint, Target};

use super::fake::Spec;
use super::*;
use crate::budget::Stored;
use crate::clock::WallClock;

const DAY_S: u64 = 24 * 3600;
/// Noon of some day.
const NOON_MS: u64 = (20_600 * 24 + 12) * 3_600_000;

/// A wall clock that goes with the paused one.
struct Noon {
    start: Instant,
    ahead_ms: AtomicU64,
}

impl WallClock for Noon {
    fn now_ms(&self) -> u64 {
        let passed_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap();
        NOON_MS + passed_ms + self.ahead_ms.load(Relaxed)
    }
}

/// Of these lanes, with `used` of 1,000,000 bytes used today.
fn rationed(lanes: Vec<config::Lane>, used: u64) -> Options {
    let settings = config::Budget { bytes_per_day: 1_000_000, reserve_percent: 25 };
    let stored = Stored { bytes: used, date: Some(20_600), ..Stored::default() };
    let budget = budget::Options { settings: Some(settings), stored, carried: Carried::default() };
    Options { budget, ..options(lanes) }
}

/// Two lanes, of which the second goes first, and `used` of 1,000,000 bytes used today.
fn start(used: u64, per_lane: usize) -> (DrainHandle, FakeQueue, Arc<FakeUpstream>, Arc<Noon>) {
    let first = config::Lane { priority: 0, ..lane("first", Order::None) };
    let options = rationed(vec![lane("bulk", Order::None), first], used);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS * 50, delivered()));
    queue.fill(0, per_lane);
    queue.fill(1, per_lane);
    let clock = Arc::new(Noon { start: Instant::now(), ahead_ms: AtomicU64::new(0) });
    let source = Arc::new(queue.clone());
    let handle = Drain::spawn(options, source, Some(upstream.clone()), 7, clock.clone());
    (handle, queue, upstream, clock)
}

#[tokio::test(start_paused = true)]
async fn a_lane_beyond_its_part_waits_for_the_next_day_while_the_first_goes_on() {
    let (handle, queue, upstream, _) = start(750_000, 40);
    sleep(SECOND * 60).await;
    assert_eq!(upstream.seen().len(), 40);
    assert!(upstream.seen().iter().all(|seen| seen.id.starts_with("1-")));
    let status = handle.status();
    assert_eq!(status.link.state, LinkState::Online);
    assert_eq!(status.budget.lanes.iter().map(|l| l.stopped).collect::<Vec<_>>(), [true, false]);
    assert_eq!(status.budget.lanes[1].delivered_today, 40);
    assert_eq!((queue.waiting(), queue.most_attempts()), (40, 0));
    assert!((handle.budget_used() - 0.75).abs() < 1e-9);
    // Nothing keeps heartbeats going meanwhile.
    assert_eq!(upstream.flowing.lock().unwrap().last(), Some(&false));

    // A fleet's days begin together, so it goes on in the gateway's slot.
    sleep(SECOND * (DAY_S as u32 / 2 - 60) + MS * 10).await;
    assert_eq!((handle.budget_used(), queue.waiting()), (0.0, 40));
    drained(&queue, SECOND * 900).await;
}

#[tokio::test(start_paused = true)]
async fn when_all_is_used_the_link_rests_until_the_next_day() {
    let (handle, queue, upstream, _) = start(999_000, 10);
    sleep(SECOND * 60).await;
    let status = handle.status();
    assert_eq!(status.link.state, LinkState::Budget);
    assert_eq!(status.link.next_attempt_in_s, Some(DAY_S / 2 - 60));
    assert!(status.link.reason.contains("1000000 bytes are used"), "{}", status.link.reason);
    assert!(!handle.connection().borrow().up);
    assert!(upstream.seen().is_empty() && upstream.probes() == 0);
    assert_eq!((queue.waiting(), queue.leased(), queue.most_attempts()), (20, 0, 0));
    assert_eq!(upstream.closed(), 1);

    // The kernel's word changes nothing.
    handle.unrouted("eth0 has no carrier");
    handle.way_came();
    sleep(SECOND * (DAY_S as u32 / 2 - 120)).await;
    assert_eq!(handle.status().link.state, LinkState::Budget);
    sleep(SECOND * 60 + MS * 10).await;
    assert_eq!(handle.status().link.state, LinkState::Offline);
    drained(&queue, SECOND * 120).await;
    assert_eq!(upstream.seen().iter().filter(|seen| seen.id.starts_with("0-")).count(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_to_a_later_day_is_noticed() {
    for used in [750_000, 999_000] {
        let (handle, queue, _, clock) = start(used, 10);
        sleep(SECOND * 60).await;
        assert!(queue.waiting() >= 10);
        clock.ahead_ms.store(DAY_S * 1000, Relaxed);
        handle.count();
        drained(&queue, SECOND * 120).await;
    }
}

/// A lane with a backlog, and live records that come once the link is up, some of which are too
/// large for what is left of the day. Returns the numbers of the records that left.
async fn beside_a_backlog(backlog: [usize; 10], live: [usize; 10]) -> Vec<usize> {
    let fresh = config::Lane { freshness: Some(SECOND * 60), ..lane("a", Order::None) };
    let options = rationed(vec![fresh], 980_000);
    let drain =
        config::Drain { adaptive: false, records_per_second: Some(1), ..options.drain.clone() };
    let options = Options { drain, ..options };
    let queue = queue(&options);
    let fill = |sizes: [usize; 10]| {
        sizes.iter().for_each(|bytes| queue.submit(0, Spec { bytes: *bytes, ..Spec::default() }));
    };
    fill(backlog);
    let upstream = FakeUpstream::new(|_, _| (MS * 50, delivered()));
    let clock = Arc::new(Noon { start: Instant::now(), ahead_ms: AtomicU64::new(0) });
    let source = Arc::new(queue.clone());
    let handle = Drain::spawn(options, source, Some(upstream.clone()), 7, clock);
    until(&handle, LinkState::Online).await;
    fill(live);
    sleep(SECOND * 300).await;
    let mut left: Vec<usize> =
        upstream.seen().iter().map(|seen| seen.id[2..].parse().unwrap()).collect();
    left.sort_unstable();
    left
}

#[tokio::test(start_paused = true)]
async fn of_live_records_and_a_backlog_the_side_that_fits_goes_on() {
    const LARGE: usize = 30_000;
    let left = beside_a_backlog([1; 10], [LARGE; 10]).await;
    assert_eq!(left, (0..10).collect::<Vec<_>>(), "what is taken is what was weighed");
    let mut backlog = [LARGE; 10];
    backlog[0] = 1;
    let left = beside_a_backlog(backlog, [1; 10]).await;
    assert_eq!(left, [0, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
}

/// A connection is tried in vain, which costs a little.
fn dial(carried: &Carried) {
    // A port that nobody is handed.
    let endpoint = Endpoint::parse("127.0.0.1:1", true).unwrap();
    let target = Target::new(&endpoint, None, &Dialer::new(None).counting(carried.clone()));
    // In a runtime of its own, where time is not paused.
    let dial = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { assert!(target.unwrap().dial().await.is_err()) });
    };
    std::thread::spawn(dial).join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_comes_when_nothing_may_leave_any_more_goes_back() {
    // Just enough for a connection and a small record.
    let options = rationed(vec![lane("a", Order::None)], 1_000_000 - (10 << 10));
    let carried = options.budget.carried.clone();
    for paused in [true, false] {
        let queue = queue(&options);
        queue.set_lease_time(SECOND);
        queue.fill(0, 10);
        let upstream = FakeUpstream::new(|_, _| (MS * 50, delivered()));
        let clock = Arc::new(Noon { start: Instant::now(), ahead_ms: AtomicU64::new(0) });
        let source = Arc::new(queue.clone());
        let handle = Drain::spawn(options.clone(), source, Some(upstream.clone()), 7, clock);
        sleep(MS * 500).await;
        assert!(queue.leased() > 0 && handle.status().link.state == LinkState::Offline);
        if paused {
            handle.pause(&LaneName::parse("a").unwrap(), true);
        } else {
            dial(&carried);
            handle.count();
        }
        sleep(SECOND * 60).await;
        assert_eq!((queue.leased(), queue.waiting(), upstream.seen().len()), (0, 10, 0));
        let state = if paused { LinkState::Online } else { LinkState::Budget };
        assert_eq!(handle.status().link.state, state);
    }
}
