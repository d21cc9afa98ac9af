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
    marks: Marks,
    /// When this run began, where the lane ended then, and the wall time, if it was set.
    started: (Instant, u64, Option<u64>),
}

impl Ages {
    pub(super) fn new(age: Duration, end: u64, clock: &dyn WallClock, now: Instant) -> Self {
        let wall_ms = clock.is_set().then(|| clock.now_ms());
        Self { marks: Marks::new(age, end, now), started: (now, end, wall_ms) }
    }

    /// The lane ends at `end` now.
    pub(super) fn note(&mut self, end: u64, now: Instant) {
        self.marks.note(end, now);
    }

    /// What waits before the position returned is at least `age` old. May read the disk.
    pub(super) fn older_than(
        &self,
        age: Duration,
        queue: &Queue,
        lane: &LaneName,
        now: Instant,
    ) -> u64 {
        let of_this_run = self.marks.younger_than(age, now);
        let (started, end, wall_ms) = self.started;
        let (0, Some(wall_ms)) = (of_this_run, wall_ms) else { return of_this_run };
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now_ms = wall_ms.saturating_add(ms(now.duration_since(started)));
        queue.first_younger(lane, end, now_ms.saturating_sub(ms(age)))
    }
}
