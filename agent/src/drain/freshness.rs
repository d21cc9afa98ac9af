//! The share of a lane between what was accepted just now and the backlog. Pure.
//!
//! The *live front* begins at a position that moves on: what is behind it and waits is live, what
//! is before it is backlog. Live records leave first, but the backlog keeps a part of what leaves
//! while it waits. A front that lags by more than the goal is given up for a newer one, and what
//! it did not send is backlog. Each of these costs a range in the saved state, so there is a bound: at it
//! the front stays where it is and drains in its order, late but still before the backlog.

use std::time::Duration;

use tokio::time::Instant;

use super::marks::Marks;

/// Percent of the records that leave which the backlog keeps, while it waits.
const BACKLOG_PERCENT: u64 = 20;
/// What the backlog is owed at most: about 500 records. Where its own topic is held, live records
/// of others go on leaving, and it must not have all of that later.
const OWED_MOST: u64 = 500 * (100 - BACKLOG_PERCENT);
/// Most fronts that leave something behind.
pub(super) const FRONTS_MAX: usize = 64;
/// A front that could not be read is tried again no sooner.
const AGAIN: Duration = Duration::from_millis(250);

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Freshness {
    goal: Duration,
    marks: Marks,
    /// Where the live front begins.
    from: u64,
    /// What live records owe to the backlog, in percent of a record.
    owed: u64,
    again_at: Option<Instant>,
}

impl Freshness {
    /// Of a lane that ends at `end`: what is there already is backlog.
    pub(super) fn new(goal: Duration, end: u64, now: Instant) -> Self {
        Self { goal, marks: Marks::new(goal, end, now), from: end, owed: 0, again_at: None }
    }

    /// Where the live front begins.
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    /// Whether `position` is live.
    pub(super) fn is_live(&self, position: u64) -> bool {
        position >= self.from
    }

    /// The lane ends at `end` now, `oldest` is the oldest live record that has not left, and so
    /// many `fronts` have left something behind.
    pub(super) fn note(&mut self, end: u64, oldest: Option<u64>, fronts: usize, now: Instant) {
        self.marks.note(end, now);
        let late = oldest.is_some_and(|oldest| oldest < self.marks.younger_than(self.goal, now));
        if late && fronts < FRONTS_MAX {
            // Half a goal is left to the new front, so that the next is not given up at once.
            self.from = self.from.max(self.marks.younger_than(self.goal / 2, now));
        }
    }

    /// Whether the next record to leave is a live one, where there is one (`live`) and perhaps
    /// one of the backlog.
    pub(super) fn prefers_live(&self, live: bool, backlog: bool) -> bool {
        live && !(backlog && self.owed >= 100 - BACKLOG_PERCENT)
    }

    /// So many live records and so many of the backlog leave; of the latter more wait (`waits`).
    pub(super) fn sent(&mut self, live: u64, backlog: u64, waits: bool) {
        if waits || backlog > 0 {
            self.owed = (self.owed + live * BACKLOG_PERCENT).min(OWED_MOST);
        }
        self.owed = self.owed.saturating_sub(backlog * (100 - BACKLOG_PERCENT));
    }

    /// A lease of live records brought nothing.
    pub(super) fn came_back_empty(&mut self, now: Instant) {
        self.again_at = Some(now + AGAIN);
    }

    /// Until when live records are not asked for.
    pub(super) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.again_at.filter(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOAL: Duration = Duration::from_secs(5);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_was_there_is_backlog_and_what_comes_is_live() {
        let now = Instant::now();
        let freshness = Freshness::new(GOAL, 100, now);
        assert!(!freshness.is_live(99) && freshness.is_live(100));
    }

    #[test]
    fn a_front_that_keeps_up_stays_and_one_that_is_late_is_given_up() {
        let start = Instant::now();
        let mut freshness = Freshness::new(GOAL, 100, start);
        // Ten records a second; the oldest that waits is two seconds old, later six.
        for second in 1..=20 {
            let now = start + SECOND * second;
            let end = 100 + u64::from(second) * 10;
            freshness.note(end, Some(end - 20), 0, now);
        }
        assert_eq!(freshness.from(), 100);
        freshness.note(310, Some(250), FRONTS_MAX, start + SECOND * 21);
        assert_eq!(freshness.from(), 100, "at the bound it goes on, late");
        freshness.note(310, Some(250), 0, start + SECOND * 21);
        assert_eq!(freshness.from(), 280, "what is younger than half a goal");
    }

    #[test]
    fn after_a_pause_in_the_lane_nothing_new_is_late() {
        let start = Instant::now();
        let mut freshness = Freshness::new(GOAL, 100, start);
        freshness.note(101, Some(100), 0, start + SECOND * 3600);
        assert_eq!(freshness.from(), 100);
        freshness.note(101, Some(100), 0, start + SECOND * 3606);
        assert_eq!(freshness.from(), 101, "six seconds later it is");
    }

    #[test]
    fn live_records_go_first_and_a_fifth_is_the_backlogs() {
        let mut freshness = Freshness::new(GOAL, 1, Instant::now());
        let mut sent = [0, 0];
        for _ in 0..100 {
            let live = freshness.prefers_live(true, true);
            freshness.sent(u64::from(live), u64::from(!live), true);
            sent[usize::from(live)] += 1;
        }
        assert_eq!(sent, [20, 80]);
        assert!(!freshness.prefers_live(false, true));
        (0..100).for_each(|_| freshness.sent(1, 0, false));
        assert!(freshness.prefers_live(true, false), "nobody else waits");
    }

    proptest! {
        /// A queue in small: so many come and leave in each step of 100 ms.
        #[test]
        fn the_backlog_gets_its_part_and_fronts_stay_few(
            steps in prop::collection::vec((0_u64..20, 0_usize..10), 1..400),
        ) {
            let start = Instant::now();
            let mut freshness = Freshness::new(GOAL, 1001, start);
            let mut waiting: Vec<u64> = (1..=1000).collect();
            let (mut end, mut left, mut of_backlog, mut fronts) = (1001, 0_u64, 0_u64, 0);
            for (step, (come, leave)) in steps.into_iter().enumerate() {
                let now = start + Duration::from_millis(100) * u32::try_from(step).unwrap();
                waiting.extend(end..end + come);
                end += come;
                let before = freshness.from();
                let oldest = waiting.iter().copied().find(|p| *p >= before);
                freshness.note(end, oldest, fronts, now);
                fronts += usize::from(freshness.from() != before);
                prop_assert!(fronts <= FRONTS_MAX);
                prop_assert!(freshness.from() >= before && freshness.from() <= end);
                for _ in 0..leave {
                    let live = waiting.iter().position(|p| freshness.is_live(*p));
                    let backlog = waiting.first().is_some_and(|p| !freshness.is_live(*p));
                    let Some(live_goes) = (live.is_some() || backlog).then(|| {
                        freshness.prefers_live(live.is_some(), backlog)
                    }) else { break };
                    waiting.remove(if live_goes { live.unwrap() } else { 0 });
                    freshness.sent(u64::from(live_goes), u64::from(!live_goes), backlog);
                    left += u64::from(backlog);
                    of_backlog += u64::from(!live_goes);
                    prop_assert!(of_backlog * 100 + 400 >= left * BACKLOG_PERCENT);
                }
            }
        }
    }
}
