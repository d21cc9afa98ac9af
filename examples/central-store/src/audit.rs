//! What is missing, by day: accepted = stored + explained + waiting + young + missing, where
//! *waiting* is still at the gateway by its own word, and *young* may still be on its way.
//!
//! The sum holds by construction, since numbers have no gaps: a number below the highest that is
//! known was given to a record. A number that nobody saw belongs to the day of the one before it
//! that was seen (of the one after it, if it is among the first).

use std::collections::BTreeMap;

use spillway_protocol::tombstone::Reason;

use crate::explained::{Explained, pieces};
use crate::ranges::Range;

mod told;

/// What is known of one gateway, stream and lane.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// Arrived, in any order; they may overlap.
    pub seen: Vec<Seen>,
    /// Will not arrive; the same.
    pub explained: Vec<Explained>,
    /// What the gateway reported, by number.
    pub reported: Vec<Reported>,
}

/// Numbers that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Day of their acceptance, in days since 1970.
    pub day: u64,
    /// Which.
    pub range: Range,
    /// When the first of them arrived, ms since 1970 by the database's clock.
    pub since_ms: u64,
    /// When the last of them did.
    pub until_ms: u64,
}

/// What a report, or several in a row, told of the newest number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// It.
    pub accepted_seq: u64,
    /// How many records waited at the gateway.
    pub waiting: u64,
    /// When both were first told, ms since 1970 by the database's clock.
    pub since_ms: u64,
    /// When they were last told.
    pub until_ms: u64,
    /// When the broker stored the last report that told them, ms since 1970 by its clock.
    pub stored_ms: u64,
}

/// Numbers without a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Which.
    pub range: Range,
    /// Since when it has been known that they exist, ms since 1970 by the database's clock.
    pub since_ms: u64,
}

/// The account of a day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Numbers that were given to records.
    pub accepted: u64,
    /// Arrived at the centre.
    pub stored: u64,
    /// Will not arrive, by reason.
    pub explained: BTreeMap<Reason, u64>,
    /// At the gateway still, by its last report.
    pub waiting: u64,
    /// Known, or gone from the gateway, for less than the grace time.
    pub young: Vec<Gap>,
    /// Known for longer: lost, unless the gateway sends them again.
    pub missing: Vec<Gap>,
}

impl Audit {
    /// How many are missing.
    pub fn missing_count(&self) -> u64 {
        self.missing.iter().map(|gap| gap.range.count()).sum()
    }

    /// How many are young.
    pub fn young_count(&self) -> u64 {
        self.young.iter().map(|gap| gap.range.count()).sum()
    }

    /// How many are explained.
    pub fn explained_count(&self) -> u64 {
        self.explained.values().sum()
    }

    /// Adds another's figures.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.stored += other.stored;
        self.waiting += other.waiting;
        for (reason, count) in &other.explained {
            *self.explained.entry(*reason).or_default() += count;
        }
        self.young.extend(&other.young);
        self.missing.extend(&other.missing);
    }
}

impl Books {
    /// The account of each day. Gaps are missing when they were known before `known_before_ms`.
    pub fn audit(&self, known_before_ms: u64) -> BTreeMap<u64, Audit> {
        let mut days: BTreeMap<u64, Audit> = BTreeMap::new();
        for (day, range) in self.stored() {
            let audit = days.entry(day).or_default();
            audit.accepted += range.count();
            audit.stored += range.count();
        }
        let bounds = self.bounds(known_before_ms);
        for (day, gap) in self.unseen() {
            let audit = days.entry(day).or_default();
            audit.accepted += gap.range.count();
            let old_below = if gap.since_ms < known_before_ms { bounds.left_from } else { 0 };
            self.judge(gap, old_below, bounds.waiting_from, audit);
        }
        days
    }

    /// Sorted by number, each once.
    fn stored(&self) -> Vec<(u64, Range)> {
        let mut seen = self.seen.clone();
        seen.sort_by_key(|seen| seen.range);
        let mut next = 1;
        let mut stored = Vec::new();
        for Seen { day, range, .. } in seen {
            let first = range.first.max(next);
            if first <= range.last {
                stored.push((day, Range { first, last: range.last }));
                next = range.last.saturating_add(1);
            }
        }
        stored
    }

    /// Numbers up to the highest known one that did not arrive, with their days.
    fn unseen(&self) -> Vec<(u64, Gap)> {
        let (mut unseen, news) = (Vec::new(), News::of(self));
        let (mut next, mut day) = (1, None);
        for (of_day, range) in self.stored() {
            if next < range.first {
                let gap = Range { first: next, last: range.first - 1 };
                unseen.extend(news.by_age(gap).into_iter().map(|gap| (day.unwrap_or(of_day), gap)));
            }
            (next, day) = (range.last.saturating_add(1), Some(of_day));
        }
        let top = self.explained.iter().map(|explained| explained.range.last);
        let top = top.chain(self.reported.iter().map(|reported| reported.accepted_seq)).max();
        if let Some(last) = top.filter(|last| *last >= next) {
            // Of a place that nothing came from, the day is that of the first news.
            let told = self.reported.iter().map(|reported| reported.since_ms);
            let told = told.chain(self.explained.iter().map(|explained| explained.first_ms)).min();
            let day = day.unwrap_or_else(|| crate::seen::day(told.unwrap_or(0)));
            let gap = Range { first: next, last };
            unseen.extend(news.by_age(gap).into_iter().map(|gap| (day, gap)));
        }
        unseen
    }

    /// Puts each number of a gap where it belongs: those below `old_below` are missing, those from
    /// `waiting_from` on wait.
    fn judge(&self, gap: Gap, old_below: u64, waiting_from: u64, audit: &mut Audit) {
        for (range, reason) in self.reasons(gap.range) {
            if let Some(reason) = reason {
                *audit.explained.entry(reason).or_default() += range.count();
                continue;
            }
            let (sent, waiting) = range.split(waiting_from);
            audit.waiting += waiting.map_or(0, |waiting| waiting.count());
            let (old, young) = sent.map_or((None, None), |sent| sent.split(old_below));
            old.into_iter().for_each(|range| push(&mut audit.missing, Gap { range, ..gap }));
            young.into_iter().for_each(|range| push(&mut audit.young, Gap { range, ..gap }));
        }
    }

    /// A range in pieces with one reason each, or none.
    fn reasons(&self, range: Range) -> Vec<(Range, Option<Reason>)> {
        let told: Vec<(Range, &Explained)> = self
            .explained
            .iter()
            .filter_map(|explained| Some((explained.range.cut(&range)?, explained)))
            .collect();
        let mut starts: Vec<u64> =
            told.iter().flat_map(|(cut, _)| [cut.first, cut.last.saturating_add(1)]).collect();
        starts.push(range.first);
        starts.retain(|start| *start <= range.last);
        starts.sort_unstable();
        starts.dedup();
        let ends = starts.iter().skip(1).map(|start| start - 1).chain([range.last]);
        let parts = starts.iter().zip(ends).map(|(first, last)| Range { first: *first, last });
        let judged = |part: Range| {
            let covering = told.iter().filter(|(cut, _)| cut.cut(&part).is_some());
            let covering: Vec<&Explained> = covering.map(|(_, explained)| *explained).collect();
            // Where something explains all, nothing was kept.
            let every = covering.iter().map(|explained| explained.kept_every).min().unwrap_or(0);
            pieces(part, every).map(move |piece| (piece, reason(piece.first, &covering)))
        };
        parts.flat_map(judged).collect()
    }
}

/// Why `number` does not come, if any of those that cover it says so.
fn reason(number: u64, covering: &[&Explained]) -> Option<Reason> {
    let giving_up = covering.iter().filter(|explained| !explained.keeps(number));
    giving_up.map(|explained| explained.reason).max_by_key(|reason| reason.rank())
}

/// Numbers, sorted, and since when it has been known that they, and so all below, exist.
struct News(Vec<(u64, u64)>);

impl News {
    fn of(books: &Books) -> Self {
        let arrived = books.seen.iter().map(|seen| (seen.range.last, seen.since_ms));
        let reported = books.reported.iter().map(|told| (told.accepted_seq, told.since_ms));
        let mut news: Vec<(u64, u64)> = arrived.chain(reported).collect();
        news.sort_unstable();
        let mut earliest = u64::MAX;
        for (_, since_ms) in news.iter_mut().rev() {
            earliest = earliest.min(*since_ms);
            *since_ms = earliest;
        }
        Self(news)
    }

    /// A gap in pieces of one age. Above all news only tombstones are.
    fn by_age(&self, gap: Range) -> Vec<Gap> {
        let mut pieces: Vec<Gap> = Vec::new();
        let mut first = gap.first;
        let begin = self.0.partition_point(|(number, _)| *number < first);
        let above = (u64::MAX, u64::MAX);
        for (number, since_ms) in self.0[begin..].iter().copied().chain([above]) {
            if first > gap.last {
                break;
            }
            let last = number.min(gap.last);
            if first <= last {
                push(&mut pieces, Gap { range: Range { first, last }, since_ms });
                first = last.saturating_add(1);
            }
        }
        pieces
    }
}

/// Neighbours of one age are one gap.
fn push(list: &mut Vec<Gap>, gap: Gap) {
    match list.last_mut() {
        Some(last)
            if last.since_ms == gap.since_ms
                && last.range.last.checked_add(1) == Some(gap.range.first) =>
        {
            last.range.last = gap.range.last;
        }
        _ => list.push(gap),
    }
}

#[cfg(test)]
mod tests;
