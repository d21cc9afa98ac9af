//! What the marks promise, and what was found: pure comparison.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use spillway::queue::Accounts;

use super::marks::{Mark, Number};
use super::work;

/// What the app knew when the power was cut.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ledger {
    handed: BTreeMap<u64, String>,
    stored: BTreeMap<u64, Number>,
    numbers: BTreeMap<Number, u64>,
    ending: BTreeSet<u64>,
    buried: BTreeSet<u64>,
    replaying: BTreeMap<u64, u64>,
    purged: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    /// Handed over before the last close, and not there any more when it began.
    gone: BTreeSet<u64>,
    going: BTreeSet<u64>,
    /// By lane, how many the agent said to be delivered, and how many of these a state that is
    /// durable knows.
    told: BTreeMap<String, u64>,
    settled: BTreeMap<String, u64>,
}

/// A record that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub record: u64,
    /// Under this number.
    pub number: Number,
    /// It left the dead letters: it has another number than at first.
    pub replayed: bool,
}

/// All that was found after a power cut.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// In the lanes, in the order in which they were leased.
    pub waiting: Vec<Seen>,
    /// In the dead letters.
    pub dead: Vec<Seen>,
    /// Each lane's accounts before anything was settled.
    pub accounts: BTreeMap<String, Accounts>,
    /// The newest number of each lane and stream.
    pub newest: Vec<Number>,
}

impl Ledger {
    /// Notes what `mark` says.
    pub fn note(&mut self, mark: &Mark) {
        match mark {
            Mark::Handed { record, lane } => {
                self.handed.insert(*record, lane.clone());
                self.refused.remove(record);
            }
            Mark::Stored { record, number } => {
                self.stored.insert(*record, number.clone());
                self.numbers.insert(number.clone(), *record);
            }
            Mark::Refused { record } => {
                self.refused.insert(*record);
            }
            Mark::Ending { record, number } => {
                self.ending.insert(*record);
                self.numbers.insert(number.clone(), *record);
            }
            Mark::Buried { record } => {
                self.buried.insert(*record);
            }
            Mark::Replaying { record, number } => {
                *self.replaying.entry(*record).or_default() += 1;
                self.numbers.insert(number.clone(), *record);
            }
            Mark::Purged { record } => {
                self.purged.insert(*record);
            }
            Mark::Present(present) => {
                let gone = |record: &u64| {
                    !present.contains(record)
                        && (self.stored.contains_key(record) || !self.refused.contains(record))
                };
                self.going = self.handed.keys().copied().filter(gone).collect();
            }
            Mark::Closed => self.gone = std::mem::take(&mut self.going),
            Mark::Delivered { lane, count } => {
                self.told.insert(lane.clone(), *count);
            }
        }
    }

    /// How many of the lane's records the agent said to be delivered.
    pub fn told(&self, lane: &str) -> u64 {
        self.told.get(lane).copied().unwrap_or(0)
    }

    /// Another life of the agent began: what the one before said, it may not know.
    pub fn forget_told(&mut self) {
        self.told.clear();
    }

    /// So many deliveries are in a state of the lane that is durable.
    pub fn settle(&mut self, lane: &str, delivered: u64) {
        let settled = self.settled.entry(lane.to_owned()).or_default();
        *settled = delivered.max(*settled);
    }

    /// Acknowledged records that are not settled.
    pub fn owed(&self) -> usize {
        self.stored.keys().filter(|record| !self.ending.contains(record)).count()
    }

    /// The newest records that were acknowledged, with their numbers; not those that may have
    /// another one by now.
    pub fn newest_stored(&self) -> impl Iterator<Item = (u64, &Number)> {
        let newest = self.stored.iter().rev().map(|(record, number)| (*record, number));
        newest.filter(|(record, _)| !self.replaying.contains_key(record))
    }

    /// The greatest number that was acknowledged in a lane and stream.
    pub fn greatest(&self, lane: &str, stream: &str) -> u64 {
        let of = |number: &&Number| number.0 == lane && number.1 == stream;
        self.numbers.keys().filter(of).map(|number| number.2).max().unwrap_or(0)
    }

    /// Records that are there although their app never heard that they are stored, and among them
    /// those that it heard are not.
    pub fn unanswered(&self, found: &Found) -> (usize, usize) {
        let waiting = found.waiting.iter().map(|seen| &seen.record);
        let heard = |record: &&u64| !self.stored.contains_key(*record);
        let refused = waiting.clone().filter(|record| self.refused.contains(record));
        (waiting.filter(heard).count(), refused.count())
    }

    /// Of each lane the positions that are counted as damaged, or will be, although nothing
    /// acknowledged is missing: they were in a group that was never synced, of which a later part
    /// survived and an earlier one did not. None of them was ever given to anybody.
    pub fn torn(&self, found: &Found) -> BTreeMap<String, u64> {
        let mut torn = BTreeMap::new();
        for (lane, stream, newest) in &found.newest {
            let missing = self.missing(found, lane, stream, *newest);
            let beyond = self.greatest(lane, stream);
            if missing.iter().all(|seq| *seq > beyond) {
                *torn.entry(lane.clone()).or_default() += missing.len() as u64;
            }
        }
        torn
    }

    /// Numbers up to the newest that nobody ever had.
    fn missing(&self, found: &Found, lane: &str, stream: &str, newest: u64) -> Vec<u64> {
        let all = found.waiting.iter().chain(&found.dead).map(|seen| &seen.number);
        let had = self.numbers.keys().chain(all).filter(|n| n.0 == lane && n.1 == stream);
        let had: BTreeSet<u64> = had.map(|number| number.2).collect();
        (1..=newest).filter(|seq| !had.contains(seq)).collect()
    }

    /// Everything that should not be, but for what is [`torn`](Self::torn).
    pub fn faults(&self, found: &Found) -> Vec<String> {
        let mut faults = self.losses(found);
        faults.extend(self.inventions(found));
        faults.extend(self.returns(found));
        faults.extend(self.gaps(found));
        faults.extend(self.miscounts(found));
        faults
    }

    /// What is owed and neither arrived, nor is a dead letter, by their ids.
    pub fn missing_of(&self, arrived: &BTreeSet<u64>, dead: &BTreeSet<String>) -> Vec<String> {
        let owed = self.stored.iter().filter(|(record, _)| !self.ending.contains(record));
        let lost = owed
            .filter(|(record, _)| !arrived.contains(record) && !dead.contains(&work::id(**record)));
        lost.map(|(record, number)| format!("{record:x}, {number:?}, is lost")).collect()
    }

    fn losses(&self, found: &Found) -> Vec<String> {
        let all = found.waiting.iter().chain(&found.dead);
        let there: BTreeSet<u64> = all.map(|seen| seen.record).collect();
        let owed = self.stored.iter().filter(|(record, _)| !self.ending.contains(record));
        let lost = owed.filter(|(record, _)| !there.contains(record));
        lost.map(|(record, number)| {
            format!("{record:x} was acknowledged as {number:?} and is lost")
        })
        .collect()
    }

    fn inventions(&self, found: &Found) -> Vec<String> {
        let mut faults = Vec::new();
        for seen in found.waiting.iter().chain(&found.dead) {
            let Seen { record, number, replayed } = seen;
            if !self.handed.contains_key(record) {
                faults.push(format!("{record:x} was never handed over ({number:?})"));
            }
            if self.numbers.get(number).is_some_and(|other| other != record) {
                faults.push(format!("{number:?} is {record:x} and was another's before"));
            }
            let told = self.stored.get(record).filter(|told| !replayed && *told != number);
            faults.extend(told.map(|told| format!("{record:x} is {number:?} and was {told:?}")));
        }
        faults
    }

    /// Records that are there twice, or again.
    fn returns(&self, found: &Found) -> Vec<String> {
        let mut faults = Vec::new();
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        for seen in found.waiting.iter().chain(&found.dead) {
            *times.entry(seen.record).or_default() += 1;
        }
        for (record, times) in times {
            let allowed = 1 + self.replaying.get(&record).copied().unwrap_or(0);
            if times > allowed {
                faults.push(format!("{record:x} is there {times} times"));
            }
            if self.gone.contains(&record) {
                faults.push(format!("{record:x} was gone when the queue was closed"));
            }
        }
        let unmoved = |record: &u64| !self.replaying.contains_key(record);
        for Seen { record, .. } in found.dead.iter().filter(|seen| unmoved(&seen.record)) {
            if self.purged.contains(record) {
                faults.push(format!("{record:x} was purged and is a dead letter"));
            }
        }
        for Seen { record, .. } in found.waiting.iter().filter(|seen| unmoved(&seen.record)) {
            if self.buried.contains(record) {
                faults.push(format!("{record:x} was a dead letter and waits"));
            }
        }
        faults
    }

    /// Numbers below the newest that nobody ever had, and numbers above it.
    fn gaps(&self, found: &Found) -> Vec<String> {
        let mut faults = Vec::new();
        let torn = self.torn(found);
        for (lane, stream, newest) in &found.newest {
            let missing = self.missing(found, lane, stream, *newest);
            if !missing.is_empty() && !torn.contains_key(lane) {
                faults.push(format!("{lane}: nobody had the numbers {missing:?} of {newest}"));
            }
        }
        for Seen { number: (lane, stream, seq), .. } in found.waiting.iter().chain(&found.dead) {
            let newest = found.newest.iter().find(|(l, s, _)| l == lane && s == stream);
            if newest.is_none_or(|(_, _, newest)| seq > newest) {
                faults.push(format!("{lane} has {seq} beyond its newest number, {newest:?}"));
            }
        }
        faults
    }

    fn miscounts(&self, found: &Found) -> Vec<String> {
        let mut faults = Vec::new();
        let torn = self.torn(found);
        for (lane, accounts) in &found.accounts {
            let settled = self.settled.get(lane).copied().unwrap_or(0);
            if accounts.delivered < settled {
                faults.push(format!("{lane}: {accounts:?}, and {settled} were noted as delivered"));
            }
            let torn = torn.get(lane).copied().unwrap_or(0);
            let count = |seen: &[Seen]| seen.iter().filter(|s| s.number.0 == *lane).count() as u64;
            let here = (accounts.waiting, accounts.dead);
            let handed = self.handed.values().filter(|of| *of == lane).count() as u64;
            let replays: u64 = self.replaying.values().sum();
            let stored = self.stored.values().filter(|number| number.0 == *lane).count() as u64;
            let right = accounts.balanced()
                && (accounts.damaged, accounts.expired) == (0, 0)
                && here == (count(&found.waiting) + torn, count(&found.dead))
                && (stored..=handed + replays).contains(&accounts.accepted);
            if !right {
                let counted = (count(&found.waiting), count(&found.dead));
                faults.push(format!(
                    "{lane}: {accounts:?}, but {stored} were stored, {handed} handed over, and \
                     {counted:?} are waiting and dead"
                ));
            }
        }
        faults
    }
}
