//! Stretches of a lane of which only each so-manieth record is kept.
//!
//! The others count as dropped from the moment the stretch is noted, but each gap between two
//! kept records becomes a settled range only when the reading end comes there: a long stretch
//! costs one entry here instead of thousands of ranges in the state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most stretches that are noted; beyond it nothing more is thinned until old ones are done.
const COMBS_MAX: usize = 256;

/// Positions `from..to`, of which those are kept whose number in the stream is a multiple of
/// `every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::queue) struct Comb {
    pub(in crate::queue) from: u64,
    pub(in crate::queue) to: u64,
    pub(in crate::queue) every: u32,
    /// Position minus `base` is the number in the stream.
    pub(in crate::queue) base: u64,
}

impl Comb {
    fn every(&self) -> u64 {
        u64::from(self.every.max(1))
    }

    fn keeps(&self, position: u64) -> bool {
        position.saturating_sub(self.base).is_multiple_of(self.every())
    }

    /// How many of its positions within `from..to` are dropped.
    fn dropped_in(&self, from: u64, to: u64) -> u64 {
        let (from, to) = (from.max(self.from), to.min(self.to));
        if from >= to {
            return 0;
        }
        let kept_below = |position: u64| (position - 1).saturating_sub(self.base) / self.every();
        (to - from) - (kept_below(to) - kept_below(from))
    }

    /// Where it begins if it is one with the last of `known`, where that is of its kind and ends
    /// where it begins.
    fn joined(&self, known: &BTreeMap<u64, Self>) -> u64 {
        let last = known.range(..self.from).next_back().map(|(_, last)| last);
        let joins = |last: &&Self| {
            last.to == self.from && (last.every, last.base) == (self.every, self.base)
        };
        last.filter(joins).map_or(self.from, |last| last.from)
    }

    /// The first position from `from` on that is dropped.
    fn next_dropped(&self, from: u64) -> Option<u64> {
        // Of two that follow each other only one is a multiple, unless each is.
        (from.max(self.from)..self.to).take(2).find(|position| !self.keeps(*position))
    }

    /// Where the run of dropped positions ends that `position` lies in.
    fn run_end(&self, position: u64) -> u64 {
        let number = position.saturating_sub(self.base);
        (self.base + number.next_multiple_of(self.every())).min(self.to)
    }
}

/// All stretches of a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Thinned {
    /// By first position, as far back as is remembered.
    all: BTreeMap<u64, Comb>,
    /// The parts of them that are no settled ranges yet.
    pending: BTreeMap<u64, Comb>,
}

impl Thinned {
    /// As saved; `unsettled` are the gaps of a range in what is settled.
    pub(super) fn restore(saved: &[Comb], unsettled: impl Fn(u64, u64) -> Vec<(u64, u64)>) -> Self {
        let mut thinned = Self::default();
        for comb in saved {
            thinned.all.insert(comb.from, *comb);
            for (from, to) in unsettled(comb.from, comb.to) {
                thinned.pending.insert(from, Comb { from, to, ..*comb });
            }
        }
        thinned
    }

    /// For the state.
    pub(super) fn saved(&self) -> Vec<Comb> {
        self.all.values().copied().collect()
    }

    /// Notes a stretch in which nothing is settled or noted. Returns whether there was room.
    pub(super) fn add(&mut self, comb: Comb, watermark: u64) -> bool {
        let from = comb.joined(&self.all);
        if from == comb.from && self.all.len() >= COMBS_MAX {
            // The oldest may be forgotten once it is settled.
            match self.all.first_key_value() {
                Some((_, oldest)) if oldest.to <= watermark => drop(self.all.pop_first()),
                _ => return false,
            }
        }
        self.all.insert(from, Comb { from, ..comb });
        let from = comb.joined(&self.pending);
        self.pending.insert(from, Comb { from, ..comb });
        true
    }

    /// Whether the record at `position` was dropped so, as far back as is remembered.
    pub(super) fn dropped(&self, position: u64) -> bool {
        self.dropped_by(position).is_some()
    }

    /// Of how many one was kept where it was dropped.
    pub(super) fn dropped_by(&self, position: u64) -> Option<u32> {
        let (_, comb) = self.all.range(..=position).next_back()?;
        (position < comb.to && !comb.keeps(position)).then_some(comb.every)
    }

    /// Whether `position` may have been dropped so longer ago than is remembered.
    pub(super) fn is_forgotten(&self, position: u64) -> bool {
        let first = self.all.keys().next().filter(|_| self.all.len() >= COMBS_MAX);
        first.is_some_and(|first| position < *first)
    }

    /// The first position from `position` on that is dropped and not yet settled.
    pub(super) fn next_pending(&self, position: u64) -> Option<u64> {
        let before = self.pending.range(..=position).next_back();
        let mut combs = before.into_iter().chain(self.pending.range(position + 1..));
        combs.find_map(|(_, comb)| comb.next_dropped(position))
    }

    /// Where the run of dropped and not yet settled positions ends that `position` lies in.
    pub(super) fn run_at(&self, position: u64) -> Option<u64> {
        let (_, comb) = self.pending.range(..=position).next_back()?;
        (position < comb.to && !comb.keeps(position)).then(|| comb.run_end(position))
    }

    /// `from..to` is settled.
    pub(super) fn cut(&mut self, from: u64, to: u64) {
        let before = self.pending.range(..from).next_back().map(|(&first, _)| first);
        let first = before.unwrap_or(from);
        let touched: Vec<Comb> = self.pending.range(first..to).map(|(_, comb)| *comb).collect();
        for comb in touched.into_iter().filter(|comb| comb.to > from) {
            self.pending.remove(&comb.from);
            if comb.from < from {
                self.pending.insert(comb.from, Comb { to: from, ..comb });
            }
            if comb.to > to {
                self.pending.insert(to, Comb { from: to, ..comb });
            }
        }
    }

    /// How many positions of `from..to` are dropped and not yet settled.
    pub(super) fn pending_in(&self, from: u64, to: u64) -> u64 {
        self.pending.range(..to).map(|(_, comb)| comb.dropped_in(from, to)).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_behaves_like_a_set_of_numbers(
            lengths in prop::collection::vec((0_u64..5, 1_u64..40), 1..6),
            every in 2_u32..7,
            base in 0_u64..3,
            cuts in prop::collection::vec((1_u64..150, 0_u64..30), 0..10),
        ) {
            let (mut thinned, mut dropped, mut next) = (Thinned::default(), BTreeSet::new(), 4);
            for (gap, length) in lengths {
                let comb = Comb { from: next + gap, to: next + gap + length, every, base };
                prop_assert!(thinned.add(comb, 1));
                let goes = |p: &u64| !(p - base).is_multiple_of(u64::from(every));
                dropped.extend((comb.from..comb.to).filter(goes));
                next = comb.to;
            }
            let mut pending = dropped.clone();
            for (from, length) in cuts {
                thinned.cut(from, from + length);
                pending.retain(|p| !(from..from + length).contains(p));
            }
            for position in 1..300 {
                prop_assert_eq!(thinned.dropped(position), dropped.contains(&position));
                let run = thinned.run_at(position);
                prop_assert_eq!(run.is_some(), pending.contains(&position));
                let next = pending.range(position..).next().copied();
                prop_assert_eq!(thinned.next_pending(position), next);
                if let Some(end) = run {
                    prop_assert!((position..end).all(|p| pending.contains(&p)));
                }
                let count = pending.range(20..20.max(position)).count() as u64;
                prop_assert_eq!(thinned.pending_in(20, position), count);
            }
            let settled = |p: u64| !pending.contains(&p) && dropped.contains(&p);
            let gaps = |from, to| (from..to).filter(|p| !settled(*p)).map(|p| (p, p + 1)).collect();
            let again = Thinned::restore(&thinned.saved(), gaps);
            prop_assert_eq!(again.pending_in(0, 300), thinned.pending_in(0, 300));
        }
    }

    #[test]
    fn stretches_that_touch_are_one_and_others_are_bounded() {
        let mut thinned = Thinned::default();
        let comb = |from, to| Comb { from, to, every: 10, base: 0 };
        (0..1000).for_each(|n| assert!(thinned.add(comb(n * 7 + 1, n * 7 + 8), 1)));
        assert_eq!(thinned.saved(), [comb(1, 7001)]);
        assert_eq!((thinned.pending.len(), thinned.pending_in(0, 9000)), (1, 6300));
        let mut apart = (0..1000).map(|n| thinned.add(comb(8000 + n * 9, 8005 + n * 9), 1));
        assert_eq!(apart.by_ref().take_while(|added| *added).count(), COMBS_MAX - 1);
        assert!(thinned.add(comb(20_000, 20_005), 7001), "the first is done");
    }
}
