//! Whether the disk still answers.

use std::time::Duration;

use spillway_protocol::record::LaneName;

use super::Queue;

impl Queue {
    /// For how long the records that are being stored wait for the disk, where that is longest.
    /// `None` while none are. Cheap, and waits for no disk.
    pub fn stalled(&self) -> Option<(LaneName, Duration)> {
        let inner = self.now();
        let threads = inner.threads();
        let (lane, time) = threads.as_ref()?.storing().max_by_key(|(_, time)| *time)?;
        Some((lane.clone(), time))
    }

    /// For how long the thread that saves the state and tidies up has been at one step. `None` while it
    /// is at none. The same.
    pub fn keeping(&self) -> Option<Duration> {
        self.now().threads().as_ref()?.keeping()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread::sleep;

    use super::*;
    use crate::clock::SystemClock;
    use crate::queue::Ordering;
    use crate::queue::tests::{options, record};

    fn until(reached: impl Fn() -> bool) {
        while !reached() {
            sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_lane_whose_thread_does_not_come_back_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), Ordering::None);
        let queue = Queue::open(options, Arc::new(SystemClock)).unwrap().0;
        assert_eq!(queue.stalled(), None);
        let lane = queue.lanes().swap_remove(1);
        // Its thread is kept from storing.
        let inner = queue.now();
        let turn = inner.ids.turn();
        let ticket = queue.submit(&lane, record("id", "x"));
        let stalled = |least| queue.stalled().filter(|(_, time)| *time >= least);
        until(|| stalled(Duration::from_millis(20)).is_some());
        assert_eq!(queue.stalled().unwrap().0, lane);
        drop(turn);
        ticket.wait().unwrap();
        until(|| queue.stalled().is_none());
    }

    #[test]
    fn a_keeper_that_does_not_come_back_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), Ordering::None);
        let queue = Queue::open(options, Arc::new(SystemClock)).unwrap().0;
        let inner = queue.now();
        let hangs = |least| queue.keeping().is_some_and(|time| time >= least);
        let head = inner.lanes[0].head();
        until(|| hangs(Duration::from_millis(20)));
        drop(head);
        until(|| !hangs(Duration::from_millis(20)));
    }
}
