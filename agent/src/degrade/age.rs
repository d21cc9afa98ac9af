//! Which waiting records of a lane are older than some age.
//!
//! Of this run the monotonic clock tells. Records of earlier runs have a wall time; it counts
//! where the clock was set then and at the start of this run, with the time since the start by the
//! monotonic clock. So a clock that jumps while the agent runs makes nothing old, and a record
//! whose age nobody knows is as old as this run.

use std::time::Duration;

use spillway_protocol::record::LaneName;
use tokio::time::Instant;

use crate::clock::WallClock;
use crate::drain::marks::Marks;
use crate::queue::Queue;

/// See the module.
#[derive(Debug)]
pub(super) struct Ages {
    age: Duration,
    marks: Marks,
    /// When this run began, where the lane ended then, and the wall time, if it was set.
    started: (Instant, u64, Option<u64>),
    /// What waits before this was found to be too old, and grows no younger.
    searched: u64,
}

impl Ages {
    pub(super) fn new(age: Duration, end: u64, clock: &dyn WallClock, now: Instant) -> Self {
        let wall_ms = clock.is_set().then(|| clock.now_ms());
        Self { age, marks: Marks::new(age, end, now), started: (now, end, wall_ms), searched: 0 }
    }

    /// The lane ends at `end` now.
    pub(super) fn note(&mut self, end: u64, now: Instant) {
        self.marks.note(end, now);
    }

    /// What waits before the position returned is too old. Reads the disk; a long backlog is
    /// looked through in several calls.
    pub(super) fn too_old(&mut self, queue: &Queue, lane: &LaneName, now: Instant) -> u64 {
        let found = self.older_than(self.age, (self.searched, u64::MAX), queue, lane, now);
        self.searched = self.searched.max(found);
        self.searched
    }

    /// Whether the record at `position`, the oldest that waits, is less than a tenth too young.
    /// May read the disk.
    pub(super) fn is_near(
        &self,
        position: u64,
        queue: &Queue,
        lane: &LaneName,
        now: Instant,
    ) -> bool {
        let range = (position, position.saturating_add(1));
        position < self.older_than(self.age * 9 / 10, range, queue, lane, now)
    }

    /// Up to where in the range all that waits is at least `age` old.
    fn older_than(
        &self,
        age: Duration,
        (from, below): (u64, u64),
        queue: &Queue,
        lane: &LaneName,
        now: Instant,
    ) -> u64 {
        let of_this_run = self.marks.younger_than(age, now);
        let (started, end, wall_ms) = self.started;
        let (0, Some(wall_ms)) = (of_this_run, wall_ms) else { return of_this_run };
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now_ms = wall_ms.saturating_add(ms(now.duration_since(started)));
        queue.first_younger(lane, (from, below.min(end)), now_ms.saturating_sub(ms(age)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use spillway_protocol::record::{Draft, Record, RecordId};

    use super::*;
    use crate::queue::{LaneOptions, Options, Ordering};

    const HOUR: Duration = Duration::from_secs(3600);
    const NOW_MS: u64 = 1_800_000_000_000;

    struct At(u64);

    impl WallClock for At {
        fn now_ms(&self) -> u64 {
            self.0
        }
    }

    fn record(number: usize) -> Record {
        let draft = Draft { body: number.to_string().into(), ..Draft::default() };
        draft.parse(|| RecordId::parse(format!("r{number}")).unwrap()).unwrap()
    }

    /// A queue in which so many records wait that were accepted at this time, and its lane.
    fn queue(folder: &std::path::Path, count: usize, accepted_ms: u64) -> (Queue, LaneName) {
        let lane = LaneName::parse("a").unwrap();
        let options = Options {
            data_dir: folder.to_owned(),
            gateway: "gw".into(),
            host: "host".into(),
            lanes: vec![LaneOptions { name: lane.clone(), ordering: Ordering::None, ttl: None }],
            segment_bytes: 4 << 20,
            limits: Default::default(),
            dead_keep_bytes: 1 << 20,
            waiting_bytes_max: 64 << 20,
            tell: false,
            keep: None,
            packing: Default::default(),
            seed: 7,
        };
        let queue = Queue::open(options, Arc::new(At(accepted_ms))).unwrap().0;
        let tickets: Vec<_> = (0..count).map(|n| queue.submit(&lane, record(n))).collect();
        tickets.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
        (queue, lane)
    }

    #[test]
    fn a_long_backlog_of_an_earlier_run_is_searched_once_and_to_its_end() {
        const COUNT: usize = 30_000;
        let folder = tempfile::tempdir().unwrap();
        let (queue, lane) = queue(folder.path(), COUNT, NOW_MS - 2 * 3_600_000);
        let (end, now) = (queue.front(&lane, 0).end, Instant::now());
        let mut ages = Ages::new(HOUR, end, &At(NOW_MS), now);
        let looks = [0, 1, 2].map(|_| ages.too_old(&queue, &lane, now));
        assert!(looks[0] < end, "one look is short: {looks:?}");
        assert_eq!(looks[1..], [end, end]);
    }

    #[test]
    fn the_oldest_is_near_from_nine_tenths_of_the_age_on_and_what_came_later_is_not_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let (queue, lane) = queue(folder.path(), 10, NOW_MS - 54 * 60_000);
        let (end, now) = (queue.front(&lane, 0).end, Instant::now());
        for (wall_ms, near) in [(NOW_MS, false), (NOW_MS + 1, true)] {
            let mut ages = Ages::new(HOUR, end, &At(wall_ms), now);
            assert_eq!(
                (ages.too_old(&queue, &lane, now), ages.is_near(1, &queue, &lane, now)),
                (1, near)
            );
            let ages = Ages::new(HOUR, 1, &At(wall_ms), now);
            assert!(!ages.is_near(1, &queue, &lane, now), "of this run");
        }
    }
}
