//! What is kept for a resend, with a clock that is set meanwhile. Times are handed in.

use super::*;
use crate::queue::lane::Lane;
use crate::queue::shelf::Shelf;

const DAY_MS: u64 = 24 * 3_600_000;
const NOW_MS: u64 = 1_800_000_000_000;
/// About seven of the tests' segments.
const BYTES: u64 = 200_000;

/// A queue that keeps all, and the lanes whose segments a shelf of the test's own gives up.
struct Bench {
    queue: Queue,
    lanes: Vec<Arc<Lane>>,
    stored: u32,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keep = Some(Keep { bytes: u64::MAX, time_ms: u64::MAX });
        let options = Options { keep, ..options(folder.path(), Ordering::None) };
        let queue = Queue::open(options, Arc::new(SystemClock)).unwrap().0;
        let lanes = ["a", "b"].map(|name| queue.lane(&LaneName::parse(name).unwrap()));
        let lanes = lanes.into_iter().flatten().collect();
        Self { queue, lanes, stored: 0, _folder: folder }
    }

    /// Stores and delivers about ten segments in the nth lane, which are all alike: each record is a
    /// commit of its own.
    fn fill(&mut self, lane: usize) {
        let lane = self.lanes[lane].name.clone();
        for _ in 0..10 {
            self.stored += 1;
            let record = record(&format!("r{}", self.stored), &"x".repeat(25_000));
            self.queue.submit(&lane, record).wait().unwrap();
        }
        self.queue.lease(&lane, 10_000, usize::MAX).into_iter().for_each(Lease::ack);
        // Segments are done once both slots of the state know it.
        (0..2).for_each(|_| self.queue.save().unwrap());
    }

    /// First positions of the segments that the nth lane keeps.
    fn kept(&self, lane: usize) -> Vec<u64> {
        self.lanes[lane].settled_segments().iter().map(|(id, _)| id.first).collect()
    }
}

#[test]
fn within_a_lane_the_oldest_go_first_though_the_clock_was_put_back() {
    for later_ms in [NOW_MS - DAY_MS, 600_000] {
        let mut bench = Bench::new();
        let mut shelf = Shelf::new(Keep { bytes: BYTES, time_ms: 7 * DAY_MS });
        shelf.tidy(&bench.lanes, NOW_MS);
        bench.fill(0);
        shelf.tidy(&bench.lanes, NOW_MS);
        let before = bench.kept(0);
        bench.fill(0);
        let all = bench.kept(0);
        shelf.tidy(&bench.lanes, later_ms);
        let kept = bench.kept(0);
        assert!(all.ends_with(&kept), "{later_ms}: {kept:?} of {all:?}");
        assert!(kept.len() + 1 >= before.len(), "more went than had to: {before:?}, {kept:?}");
    }
}

#[test]
fn of_several_lanes_what_was_delivered_first_goes_first_though_the_clock_was_put_back() {
    let mut bench = Bench::new();
    let mut shelf = Shelf::new(Keep { bytes: BYTES, time_ms: 7 * DAY_MS });
    shelf.tidy(&bench.lanes, NOW_MS);
    bench.fill(1);
    shelf.tidy(&bench.lanes, NOW_MS);
    let before = bench.kept(1).len();
    bench.fill(0);
    let newest = bench.kept(0).last().copied();
    shelf.tidy(&bench.lanes, NOW_MS - DAY_MS);
    assert!(bench.kept(1).len() < before && bench.kept(0).last().copied() == newest);
    assert!(bench.kept(0).len() + bench.kept(1).len() + 1 >= before, "more went than had to");
}

#[test]
fn what_was_delivered_before_the_clock_was_put_back_counts_from_then_on() {
    let mut bench = Bench::new();
    let mut shelf = Shelf::new(Keep { bytes: u64::MAX, time_ms: DAY_MS });
    shelf.tidy(&bench.lanes, NOW_MS);
    bench.fill(0);
    let all = bench.kept(0);
    for now_ms in [NOW_MS, 600_000, NOW_MS - 300 * DAY_MS, NOW_MS - 299 * DAY_MS] {
        shelf.tidy(&bench.lanes, now_ms);
        assert_eq!(bench.kept(0), all, "{now_ms}");
    }
    shelf.tidy(&bench.lanes, NOW_MS - 299 * DAY_MS + 1);
    assert_eq!(bench.kept(0), [0_u64; 0]);
}
