//! What is missing, by day: accepted = stored + explained + waiting + young + missing, where
//! *waiting* is still at the gateway by its own word, and *young* may still be on its way.
//!
//! The sum holds by construction, since numbers have no gaps: a number below the highest that is
//! known was given to a record. A number that nobody saw belongs to the day of the one before it
//! that was seen (of the one after it, if it is among the first).

use std::collections::BTreeMap;

use spillway_protocol::tombstone::Reason;

use self::multiples::Multiples;
use self::news::News;
use crate::explained::Explained;
use crate::ranges::Range;

mod multiples;
mod news;
mod reasons;
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
    /// The first and the last of them.
    pub range: Range,
    /// Of these the multiples of this: 1 is all; another where a stretch was thinned.
    pub every: u64,
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

impl Gap {
    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.numbers().count()
    }

    /// Which numbers.
    fn numbers(&self) -> Multiples {
        Multiples { range: self.range, every: self.every }
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.range.fmt(f)?;
        match self.every {
            1 => Ok(()),
            every => write!(f, " (multiples of {every})"),
        }
    }
}

/// Anybody can claim numbers without end.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

impl Audit {
    /// How many are missing.
    pub fn missing_count(&self) -> u64 {
        sum(self.missing.iter().map(Gap::count))
    }

    /// How many are young.
    pub fn young_count(&self) -> u64 {
        sum(self.young.iter().map(Gap::count))
    }

    /// How many are explained.
    pub fn explained_count(&self) -> u64 {
        sum(self.explained.values().copied())
    }

    /// Adds another's figures.
    pub fn add(&mut self, other: &Self) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.stored = self.stored.saturating_add(other.stored);
        self.waiting = self.waiting.saturating_add(other.waiting);
        for (reason, count) in &other.explained {
            self.explain(*reason, *count);
        }
        self.young.extend(&other.young);
        self.missing.extend(&other.missing);
    }

    fn explain(&mut self, reason: Reason, count: u64) {
        let sum = self.explained.entry(reason).or_default();
        *sum = sum.saturating_add(count);
    }
}

impl Books {
    /// The account of each day. Gaps are missing when they were known before `known_before_ms`.
    pub fn audit(&self, known_before_ms: u64) -> BTreeMap<u64, Audit> {
        let mut days: BTreeMap<u64, Audit> = BTreeMap::new();
        for (day, range) in self.stored() {
            let audit = days.entry(day).or_default();
            audit.accepted = audit.accepted.saturating_add(range.count());
            audit.stored = audit.stored.saturating_add(range.count());
        }
        let unseen = self.unseen();
        let is_old = |gap: &Gap| gap.since_ms < known_before_ms;
        let waiting_from = self.waiting_from();
        let left_from = match unseen.iter().any(|(_, gap)| is_old(gap)) {
            true => self.left_from(known_before_ms),
            false => 0,
        };
        for (day, gap) in unseen {
            let audit = days.entry(day).or_default();
            audit.accepted = audit.accepted.saturating_add(gap.count());
            self.judge(gap, if is_old(&gap) { left_from } else { 0 }, waiting_from, audit);
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
        for part in self.parts(gap.range) {
            part.explained.into_iter().for_each(|(reason, count)| audit.explain(reason, count));
            let Some(left) = part.left else { continue };
            let (sent, waiting) = left.split(waiting_from);
            let waiting = waiting.map_or(0, |waiting| waiting.count());
            audit.waiting = audit.waiting.saturating_add(waiting);
            let (old, young) = sent.map_or((None, None), |sent| sent.split(old_below));
            let gap = |Multiples { range, every }| Gap { range, every, ..gap };
            old.into_iter().for_each(|numbers| push(&mut audit.missing, gap(numbers)));
            young.into_iter().for_each(|numbers| push(&mut audit.young, gap(numbers)));
        }
    }
}

/// Neighbours of one age are one gap.
fn push(list: &mut Vec<Gap>, gap: Gap) {
    match list.last_mut() {
        Some(last)
            if (last.since_ms, last.every, gap.every) == (gap.since_ms, 1, 1)
                && last.range.last.checked_add(1) == Some(gap.range.first) =>
        {
            last.range.last = gap.range.last;
        }
        _ => list.push(gap),
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
