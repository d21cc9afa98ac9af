//! Which records are committed together: all that came while the group before was being synced,
//! and, for a moment, those that its answers bring.
//!
//! Apps that keep a number of records outstanding send as many again when they are answered. If
//! half of them are being synced while the other half waits, groups stay half as large as they
//! could be, and a sync takes nearly as long for half as many. So a group waits until as many are
//! there as were outstanding, at most as long as the commit before it took; less where such waits
//! were in vain. A lone record, or one after a pause, does not wait.

use std::time::{Duration, Instant};

use super::inbox::{Group, Inbox, Wait};

/// Least part of a commit's time that a group waits: one in so many.
const SHARE_MAX: u32 = 8;

/// Forms the groups of one lane.
pub(super) struct Gatherer<'a> {
    inbox: &'a Inbox,
    /// Records without an answer when the last commit ended, its own among them.
    outstanding: usize,
    /// Until when the next group may wait for as many.
    until: Instant,
    /// A group waits for one part in so many of the time of the commit before.
    share: u32,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(inbox: &'a Inbox) -> Self {
        Self { inbox, outstanding: 0, until: Instant::now(), share: 1 }
    }

    /// The next group; `None` once the inbox was closed and everything in it was taken.
    pub(super) fn next(&mut self) -> Option<Group> {
        let (group, wait) = self.inbox.take(self.outstanding, self.until);
        self.share = match wait {
            Wait::Worth => (self.share / 2).max(1),
            Wait::InVain => (self.share * 2).min(SHARE_MAX),
            Wait::None => self.share,
        };
        (!group.is_empty()).then_some(group)
    }

    /// Everything that is there: what must fail with the group that failed.
    pub(super) fn rest(&mut self) -> Group {
        self.inbox.take_all()
    }

    /// A commit of `records` is over that took so long, and none of them is answered yet: what
    /// waits now are others.
    pub(super) fn committed(&mut self, records: usize, took: Duration) {
        self.until = Instant::now() + took / self.share;
        self.outstanding = records + self.inbox.len();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::queue::inbox::tests::submissions;

    const LONG: Duration = Duration::from_secs(60);

    fn fill(inbox: &Inbox, count: usize) {
        submissions(count, 1).for_each(|submission| inbox.put(submission));
    }

    #[test]
    fn a_group_waits_for_as_many_as_were_outstanding() {
        let inbox = Inbox::default();
        let mut gatherer = Gatherer::new(&inbox);
        // Two wait while two others are committed. Those come again when they are answered.
        fill(&inbox, 2);
        gatherer.committed(2, LONG);
        thread::scope(|scope| {
            scope.spawn(|| fill(&inbox, 2));
            assert_eq!(gatherer.next().unwrap().len(), 4);
        });
    }

    #[test]
    fn a_lone_record_does_not_wait_nor_one_after_a_pause() {
        let inbox = Inbox::default();
        let mut gatherer = Gatherer::new(&inbox);
        let begun = Instant::now();
        gatherer.committed(1, LONG);
        fill(&inbox, 1);
        assert_eq!(gatherer.next().unwrap().len(), 1);
        // The time to wait for these hundred is over when the next one comes.
        gatherer.committed(100, Duration::ZERO);
        fill(&inbox, 1);
        assert_eq!(gatherer.next().unwrap().len(), 1);
        assert!(begun.elapsed() < LONG / 2);
    }

    #[test]
    fn waits_in_vain_become_shorter_and_longer_again_once_they_are_worth_it() {
        let inbox = Inbox::default();
        let mut gatherer = Gatherer::new(&inbox);
        for share in [2, 4, 8, 8] {
            fill(&inbox, 1);
            gatherer.committed(100, Duration::from_millis(80));
            assert_eq!(gatherer.next().unwrap().len(), 1);
            assert_eq!(gatherer.share, share);
        }
        for share in [4, 2, 1, 1] {
            gatherer.committed(2, LONG);
            fill(&inbox, 2);
            assert_eq!(gatherer.next().unwrap().len(), 2);
            assert_eq!(gatherer.share, share);
        }
    }

    #[test]
    fn what_waits_fails_with_the_group_before() {
        let inbox = Inbox::default();
        let mut gatherer = Gatherer::new(&inbox);
        fill(&inbox, 3);
        gatherer.committed(1, Duration::ZERO);
        fill(&inbox, 2);
        assert_eq!(gatherer.rest().len(), 5);
    }

    #[test]
    fn what_came_before_the_close_is_still_taken() {
        let inbox = Inbox::default();
        fill(&inbox, 3);
        inbox.close();
        let mut gatherer = Gatherer::new(&inbox);
        gatherer.committed(9, LONG);
        assert_eq!(gatherer.next().unwrap().len(), 3);
        assert!(gatherer.next().is_none());
    }
}
