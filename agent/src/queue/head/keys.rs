//! Order by key: one active record a key, or a few that follow each other and go together, the
//! others of it parked behind.
//!
//! What is parked is a list of positions, bounded; where a key has more, it remembers only from
//! where on, and looks for them again when the list is used up. So a held key with a million
//! records behind it costs little and holds up nobody.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::KeyHash;

/// Most positions that are parked for one key, and for all.
const PARKED_A_KEY: usize = 4096;
const PARKED: usize = 65_536;

/// Keys that have an active record.
#[derive(Default)]
pub(super) struct Keys {
    busy: HashMap<KeyHash, Behind>,
    parked: usize,
    /// Keys whose list is used up while there are more somewhere.
    hungry: VecDeque<KeyHash>,
}

#[derive(Default)]
struct Behind {
    active: BTreeSet<u64>,
    parked: VecDeque<u64>,
    /// From here on there may be more that are not in the list.
    beyond: Option<u64>,
}

/// A search for more positions of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) struct Refill {
    pub(in crate::queue) key: KeyHash,
    pub(in crate::queue) from: u64,
    /// Exclusive.
    pub(in crate::queue) to: u64,
    /// Enough.
    pub(in crate::queue) limit: usize,
}

impl Keys {
    /// Makes `position` an active one of `key` (`true`), or parks it behind that. It is active if
    /// nothing else of the key is, or if it `joins` and nothing lies between.
    pub(super) fn take_or_park(&mut self, key: KeyHash, position: u64, joins: bool) -> bool {
        let Some(behind) = self.busy.get_mut(&key) else {
            let active = [position].into();
            self.busy.insert(key, Behind { active, ..Behind::default() });
            return true;
        };
        if behind.beyond.is_some() {
            return false;
        }
        if joins && behind.parked.is_empty() {
            return behind.active.insert(position);
        }
        if behind.parked.len() >= PARKED_A_KEY || self.parked >= PARKED {
            behind.beyond = Some(position);
        } else {
            behind.parked.push_back(position);
            self.parked += 1;
        }
        false
    }

    /// The next parked one of `key` becomes active beside those that are.
    pub(super) fn follower(&mut self, key: KeyHash) -> Option<u64> {
        let behind = self.busy.get_mut(&key)?;
        let next = behind.parked.pop_front()?;
        self.parked -= 1;
        behind.active.insert(next);
        Some(next)
    }

    /// Parks an active one again, unless it is the first of its key that is not settled.
    pub(super) fn step_back(&mut self, key: KeyHash, position: u64) -> bool {
        let Some(behind) = self.busy.get_mut(&key) else { return false };
        let first =
            behind.active.first().copied().into_iter().chain(behind.parked.front().copied());
        if first.min().is_none_or(|first| first >= position) || !behind.active.remove(&position) {
            return false;
        }
        let place = behind.parked.partition_point(|parked| *parked < position);
        behind.parked.insert(place, position);
        self.parked += 1;
        true
    }

    /// The next one of `key`, if none is active.
    pub(super) fn next_if_free(&mut self, key: KeyHash) -> Option<u64> {
        let free = self.busy.get(&key).is_some_and(|behind| behind.active.is_empty());
        if free { self.follower(key) } else { None }
    }

    /// An active one of `key` is settled: the next one, if none is active and it is known.
    pub(super) fn release(&mut self, key: KeyHash, position: u64) -> Option<u64> {
        self.busy.get_mut(&key)?.active.remove(&position);
        if !self.busy.get(&key)?.active.is_empty() {
            return None;
        }
        if let Some(next) = self.follower(key) {
            return Some(next);
        }
        let behind = self.busy.get_mut(&key)?;
        if behind.beyond.is_some() {
            self.hungry.push_back(key);
        } else {
            self.busy.remove(&key);
        }
        None
    }

    /// What is parked in `from..to` was given up.
    pub(super) fn forget(&mut self, from: u64, to: u64) {
        for behind in self.busy.values_mut() {
            let count = behind.parked.len();
            behind.parked.retain(|parked| !(from..to).contains(parked));
            self.parked -= count - behind.parked.len();
        }
    }

    /// A key for which more must be looked for, among what was looked at before `scan`.
    pub(super) fn refill_wanted(&self, scan: u64) -> Option<Refill> {
        let key = *self.hungry.front()?;
        let from = self.busy.get(&key)?.beyond?;
        let limit = (PARKED - self.parked.min(PARKED)).clamp(1, PARKED_A_KEY);
        Some(Refill { key, from, to: scan, limit })
    }

    /// `found` are the key's positions in `refill.from..scanned_to`. Returns the one that is
    /// active now.
    pub(super) fn refilled(
        &mut self,
        refill: Refill,
        found: Vec<u64>,
        scanned_to: u64,
        scan: u64,
    ) -> Option<u64> {
        let behind = self.busy.get_mut(&refill.key)?;
        behind.beyond = (scanned_to < scan).then_some(scanned_to);
        behind.parked.extend(&found);
        self.parked += found.len();
        let next = behind.parked.pop_front();
        let more = behind.beyond.is_some();
        behind.active.extend(next);
        if next.is_some() {
            self.parked -= 1;
        }
        if next.is_some() || !more {
            self.hungry.retain(|key| *key != refill.key);
        }
        if next.is_none() && !more {
            self.busy.remove(&refill.key);
        }
        next
    }
}
