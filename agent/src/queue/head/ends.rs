//! How what is settled above the watermark ended, and which of it a state keeps where it cannot keep
//! all: the accounts of the state are those of what it keeps.

use std::collections::BTreeMap;

use super::{End, Head};
use crate::queue::ranges::Settled;
use crate::queue::state::{RANGES_MAX, Tally};

/// Most ranges that every state has to keep.
const PINNED_MAX: usize = RANGES_MAX / 2;

/// What a state keeps of the settled ranges above the watermark, and the accounts with only these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::queue) struct Kept {
    pub(in crate::queue) above: Vec<(u64, u64)>,
    pub(in crate::queue) tally: Tally,
}

/// Positions above the watermark that were not delivered: disjoint ranges.
#[derive(Debug)]
pub(super) struct Ends {
    ranges: BTreeMap<u64, (u64, End)>,
    /// How many those are.
    tally: Tally,
    /// What every state has to keep: how those ended that an earlier state knew as settled is not
    /// known, and of others the files are gone.
    pinned: Settled,
}

impl Ends {
    /// Nothing is known of what is settled already.
    pub(super) fn new(settled: &Settled) -> Self {
        Self { ranges: BTreeMap::new(), tally: Tally::default(), pinned: settled.clone() }
    }

    /// `from..to`, none of which was settled before, ended so.
    pub(super) fn note(&mut self, from: u64, to: u64, end: End) {
        if end == End::Delivered {
            return;
        }
        *self.tally.of(end) += to - from;
        if let Some((_, (last, same))) = self.ranges.range_mut(..from).next_back()
            && (*last, *same) == (from, end)
        {
            *last = to;
            return;
        }
        self.ranges.insert(from, (to, end));
    }

    /// All below `watermark` is in every state.
    pub(super) fn forget_below(&mut self, watermark: u64) {
        while let Some(first) = self.ranges.first_entry().filter(|first| *first.key() < watermark) {
            let from = *first.key();
            let (to, end) = first.remove();
            *self.tally.of(end) -= to - from;
        }
        self.pinned.insert(0, watermark);
    }

    /// What of all that is above the watermark is not in these settled ranges, which are among it:
    /// `count` positions. A state can have millions of ranges and is saved often.
    fn outside(&self, ranges: &[(u64, u64)], count: u64) -> Tally {
        let mut left = self.tally;
        for (start, (end, how)) in ranges.iter().flat_map(|&(from, to)| self.ranges.range(from..to))
        {
            *left.of(*how) -= end - start;
        }
        let Tally { delivered: _, dead, expired, dropped, damaged } = left;
        Tally { delivered: count.saturating_sub(dead + expired + dropped + damaged), ..left }
    }
}

impl Tally {
    /// The count of what ended so.
    pub(super) fn of(&mut self, end: End) -> &mut u64 {
        match end {
            End::Delivered => &mut self.delivered,
            End::Dead => &mut self.dead,
            End::Damaged => &mut self.damaged,
            End::Expired => &mut self.expired,
            End::Dropped | End::Thinned(_) | End::Purged => &mut self.dropped,
        }
    }

    fn less(self, other: Self) -> Self {
        Self {
            delivered: self.delivered.saturating_sub(other.delivered),
            dead: self.dead.saturating_sub(other.dead),
            expired: self.expired.saturating_sub(other.expired),
            dropped: self.dropped.saturating_sub(other.dropped),
            damaged: self.damaged.saturating_sub(other.damaged),
        }
    }
}

impl Head {
    /// Every state from now on keeps `from..to`, all of which is settled and saved. `false`: there are
    /// too many such ranges already.
    pub(in crate::queue) fn pin(&mut self, from: u64, to: u64) -> bool {
        let pinned = &mut self.ends.pinned;
        let joins = |position: u64| pinned.contains(position);
        if pinned.stretches() >= PINNED_MAX && !joins(from) && !joins(from - 1) && !joins(to) {
            return false;
        }
        pinned.insert(from, to);
        true
    }

    /// What a state keeps that has room for `most` ranges: those that it has to, and the lowest of
    /// the others. What it does not keep waits again after a
    /// crash, and counts as waiting there.
    pub(in crate::queue) fn kept(&self, most: usize) -> Kept {
        if self.settled.stretches() <= most {
            return Kept { above: self.settled.above(most), tally: self.tally };
        }
        let pinned = self.ends.pinned.above(usize::MAX).into_iter();
        let mut above: Vec<_> =
            pinned.filter_map(|(from, _)| self.settled.stretch_at(from)).collect();
        above.dedup();
        let mut others = self.settled.above(most);
        others.retain(|range| above.binary_search(range).is_err());
        others.truncate(most.saturating_sub(above.len()));
        above.extend(others);
        above.sort_unstable();
        let kept: u64 = above.iter().map(|(from, to)| to - from).sum();
        let count = self.settled.count_from(self.settled.watermark()) - kept;
        let tally = self.tally.less(self.ends.outside(&above, count));
        Kept { above, tally }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::queue::api::Ordering;

    fn settle(head: &mut Head, position: u64, end: End) {
        match end {
            End::Damaged => head.damaged(position, position + 1),
            _ if head.settled.contains(position) => {}
            _ => {
                head.found(position, 0, false);
                head.settle(position, end);
            }
        }
    }

    fn end() -> impl Strategy<Value = End> {
        use End::{Damaged, Dead, Delivered, Dropped, Expired, Thinned};
        prop::sample::select(vec![Delivered, Dead, Damaged, Dropped, Thinned(3), Expired])
    }

    proptest! {
        /// However often it is saved with too little room and restored: each state's accounts are
        /// those of its ranges.
        #[test]
        fn a_state_that_keeps_only_some_ranges_has_their_accounts(
            lives in prop::collection::vec(prop::collection::vec((1u64..80, end()), 0..40), 1..5),
            most in 0usize..8,
        ) {
            let mut ended: BTreeMap<u64, End> = BTreeMap::new();
            let mut head = Head::new(Ordering::None, Settled::below(1), 1, Tally::default());
            for life in lives {
                for (position, end) in life {
                    ended.entry(position).or_insert(end);
                    settle(&mut head, position, end);
                }
                let kept = head.kept(most);
                let settled = Settled::restore(head.settled().watermark(), &kept.above);
                ended.retain(|position, _| settled.contains(*position));
                let mut expected = Tally::default();
                ended.values().for_each(|end| *expected.of(*end) += 1);
                prop_assert_eq!(kept.tally, expected);
                prop_assert!(kept.above.len() <= most);
                head = Head::new(Ordering::None, settled, 1, kept.tally);
            }
        }
    }

    #[test]
    fn what_is_not_kept_is_sent_again_and_counted_once() {
        let mut head = Head::new(Ordering::None, Settled::below(1), 1, Tally::default());
        let ends = [(2, End::Delivered), (4, End::Dead), (6, End::Dropped), (8, End::Damaged)];
        ends.into_iter().for_each(|(position, end)| settle(&mut head, position, end));
        let kept = head.kept(2);
        assert_eq!(kept.above, [(2, 3), (4, 5)]);
        assert_eq!(kept.tally, Tally { delivered: 1, dead: 1, ..Tally::default() });
        let settled = Settled::restore(1, &kept.above);
        let mut head = Head::new(Ordering::None, settled, 1, kept.tally);
        assert!(matches!(head.next(Instant::now(), 5, 9), super::super::Next::Look(5)));
        settle(&mut head, 6, End::Dropped);
        assert_eq!(head.tally(), Tally { delivered: 1, dead: 1, dropped: 1, ..Tally::default() });
    }
}
