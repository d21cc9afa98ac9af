//! What of a gap is explained.

use std::cmp::Reverse;

use spillway_protocol::tombstone::Reason;

use super::Books;
use super::multiples::{Multiples, common};
use crate::explained::Explained;
use crate::ranges::Range;

/// A part of a gap that the same is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// How many of its numbers will not come, and why.
    pub(super) explained: Vec<(Reason, u64)>,
    /// Those of which nobody says so.
    pub(super) left: Option<Multiples>,
}

impl Books {
    /// The parts of a gap, lowest first.
    pub(super) fn parts(&self, gap: Range) -> Vec<Part> {
        let told = self.explained.iter();
        let told = told.filter_map(|told| Some((told.range.cut(&gap)?, told)));
        let mut told: Vec<(Range, &Explained)> = told.collect();
        told.sort_by_key(|(cut, _)| cut.first);
        let mut starts: Vec<u64> =
            told.iter().flat_map(|(cut, _)| [cut.first, cut.last.saturating_add(1)]).collect();
        starts.push(gap.first);
        starts.retain(|start| *start <= gap.last);
        starts.sort_unstable();
        starts.dedup();
        let ends = starts.iter().skip(1).map(|start| start - 1).chain([gap.last]);
        let (mut told, mut covering) = (told.into_iter().peekable(), Vec::new());
        let part = |(&first, last)| {
            covering.retain(|(cut, _): &(Range, &Explained)| cut.last >= first);
            covering.extend(std::iter::from_fn(|| told.next_if(|(cut, _)| cut.first <= first)));
            Part::new(Range { first, last }, covering.iter().map(|(_, told)| *told).collect())
        };
        starts.iter().zip(ends).map(part).collect()
    }
}

impl Part {
    /// Of several reasons the one with the highest rank stands. What the first of them keeps, the
    /// next may give up: then only common multiples are left.
    fn new(range: Range, mut covering: Vec<&Explained>) -> Self {
        covering.sort_by_key(|told| Reverse((told.reason.rank(), told.reason)));
        let (mut explained, mut every) = (Vec::new(), Some(1));
        let kept = |every: Option<u64>| Multiples::of(range, every?);
        for told in covering {
            let before = kept(every);
            every = every.filter(|_| told.kept_every > 0);
            every = every.and_then(|every| common(every, told.kept_every.into()));
            let count = |numbers: Option<Multiples>| numbers.map_or(0, |numbers| numbers.count());
            match count(before) - count(kept(every)) {
                0 => {}
                gone => explained.push((told.reason, gone)),
            }
        }
        Self { explained, left: kept(every) }
    }
}
