//! Order by key: one active record a key, the others of it parked behind.
//!
//! What is parked is a list of positions, bounded; where a key has more, it remembers only from
//! where on, and looks for them again when the list is used up. So a held key with a million
//! records behind it costs little and holds up nobody.

use std::collections::{HashMap, VecDeque};

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
    /// Makes `position` the active one of `key` (`true`), or parks it behind that.
    pub(super) fn take_or_park(&mut self, key: KeyHash, position: u64) -> bool {
        let Some(behind) = self.busy.get_mut(&key) else {
            self.busy.insert(key, Behind::default());
            return true;
        };
        if behind.beyond.is_some() {
            return false;
        }
        if behind.parked.len() >= PARKED_A_KEY || self.parked >= PARKED {
            behind.beyond = Some(position);
        } else {
            behind.parked.push_back(position);
            self.parked += 1;
        }
        false
    }

    /// The active one of `key` is settled: the next one, if it is known.
    pub(super) fn release(&mut self, key: KeyHash) -> Option<u64> {
        let behind = self.busy.get_mut(&key)?;
        if let Some(next) = behind.parked.pop_front() {
            self.parked -= 1;
            return Some(next);
        }
        if behind.beyond.is_some() {
            self.hungry.push_back(key);
        } else {
            self.busy.remove(&key);
        }
        None
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
