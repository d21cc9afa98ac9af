//! How old waiting records are said to be, with a clock that is set meanwhile.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;
use crate::clock::WallClock;

/// Ten minutes after power-on, of a gateway without a battery.
const BOOTED_MS: u64 = 600_000;
const HOUR: Duration = Duration::from_secs(3600);
const HOUR_MS: u64 = 3_600_000;
const NOW_MS: u64 = 1_800_000_000_000;

/// A wall clock that stands, and is set by hand.
struct Hand(AtomicU64);

impl WallClock for Hand {
    fn now_ms(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

fn open_at(folder: &Path, at_ms: u64) -> (Queue, Arc<Hand>) {
    let clock = Arc::new(Hand(AtomicU64::new(at_ms)));
    let queue = Queue::open(options(folder, Ordering::None), clock.clone()).unwrap().0;
    (queue, clock)
}

/// The oldest record's age in whole hours: the test itself takes less than one.
fn age_hours(queue: &Queue) -> u64 {
    queue.oldest_age(&a()).unwrap().as_secs() / HOUR.as_secs()
}

#[test]
fn a_clock_that_is_set_makes_what_waits_no_older_and_no_younger() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, clock) = open_at(folder.path(), BOOTED_MS);
    store(&queue, 0..3);
    for at_ms in [NOW_MS, NOW_MS + 5 * HOUR_MS, NOW_MS - 5 * HOUR_MS, BOOTED_MS] {
        clock.0.store(at_ms, Relaxed);
        assert_eq!(age_hours(&queue), 0, "{at_ms}");
    }
    // What came under each of these clocks is new under any other.
    for n in 3..6 {
        clock.0.store(NOW_MS + u64::from(n % 2) * 9 * HOUR_MS, Relaxed);
        store(&queue, n..n + 1);
    }
    for _ in 0..6 {
        assert_eq!(age_hours(&queue), 0);
        queue.lease(&a(), 1, usize::MAX).into_iter().for_each(Lease::ack);
    }
    assert_eq!(queue.oldest_age(&a()), None);
}

#[test]
fn records_of_an_earlier_run_are_as_old_as_two_clocks_that_were_set_tell() {
    for (stored_ms, opened_ms, then_ms, hours) in [
        (NOW_MS - 7 * HOUR_MS, NOW_MS, NOW_MS, 7),
        // The clock is set only later, and again.
        (NOW_MS - 7 * HOUR_MS, BOOTED_MS, NOW_MS, 7),
        (NOW_MS - 7 * HOUR_MS, NOW_MS, NOW_MS + 100 * HOUR_MS, 7),
        // Nobody measured the time between.
        (BOOTED_MS, NOW_MS, NOW_MS, 0),
        (NOW_MS, BOOTED_MS, BOOTED_MS, 0),
        (NOW_MS, NOW_MS - HOUR_MS, NOW_MS - HOUR_MS, 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (queue, _) = open_at(folder.path(), stored_ms);
        store(&queue, 0..3);
        queue.close();
        drop(queue);
        let (queue, clock) = open_at(folder.path(), opened_ms);
        clock.0.store(then_ms, Relaxed);
        assert_eq!(age_hours(&queue), hours, "{stored_ms} {opened_ms} {then_ms}");
    }
}
