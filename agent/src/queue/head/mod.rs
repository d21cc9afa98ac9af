//! The reading end of a lane: which record may be sent next, and how those sent ended.
//!
//! [`Head`] holds positions only and reads nothing itself: [`Head::next`] says which position to
//! look at, the lane reads it and tells what it found. So the rules of order are pure.
//!
//! A position is *waiting* until it is looked at; then it is *active* (leased, ready to be leased
//! again, or delayed), or *parked* behind an active one of its order key; then it is settled.

mod dropping;
mod ends;
mod expiring;
mod keys;
mod lost;
mod thinned;
mod turn;

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use super::api::{Fate, Ordering};
use super::ranges::Settled;
use super::state::Tally;
use super::untold::{Grave, Untold};
use ends::Ends;
use keys::Keys;
pub(super) use keys::Refill;
use lost::Lost;
pub(super) use thinned::Comb;
use thinned::Thinned;

/// Most positions that are active at once; beyond it nothing new is looked at.
const ACTIVE_MAX: usize = 16_384;
/// A hash of an order key, as good as the key within one lane.
pub(super) type KeyHash = u64;

/// See the module.
pub(super) struct Head {
    ordering: Ordering,
    settled: Settled,
    baseline: u64,
    tally: Tally,
    ends: Ends,
    /// What has been looked at, and what needs no look: all that is settled. All below its
    /// watermark is; what is above was leased ahead of what is older.
    looked: Settled,
    active: HashMap<u64, Active>,
    ready: BTreeSet<u64>,
    delayed: BTreeSet<(Instant, u64)>,
    keys: Keys,
    thinned: Thinned,
    /// What was lost to damage or given up, for who asks after it.
    lost: Lost,
    /// What was too old.
    expired: Lost,
    /// What was given up and is not told; here, so that it is saved with what is settled.
    pub(super) untold: Untold,
}

#[derive(Debug, Clone, Copy)]
struct Active {
    key: Option<KeyHash>,
    state: State,
    attempts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Leased,
    Ready,
    Delayed(Instant),
}

/// What to look at next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Lease this one: it was looked at before.
    Again(u64),
    /// Look at this one, then call [`Head::found`] or [`Head::damaged`].
    Look(u64),
    /// Look at positions from here on for more of one key, then call [`Head::refill`].
    Refill(Refill),
    /// Nothing may be sent now.
    Nothing,
}

/// How a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Delivered,
    Dead,
    Damaged,
    /// Given up at a limit.
    Dropped,
    /// Given up so that one in so many is kept.
    Thinned(u32),
    /// Given up by an operator.
    Purged,
    /// Given up because of its age.
    Expired,
}

impl End {
    /// What the far side has to hear of it.
    pub(super) fn fate(self) -> Option<Fate> {
        match self {
            Self::Delivered => None,
            Self::Dead => Some(Fate::Dead),
            Self::Damaged => Some(Fate::Damaged),
            Self::Dropped => Some(Fate::Dropped),
            Self::Thinned(every) => Some(Fate::Thinned(every)),
            Self::Purged => Some(Fate::Purged),
            Self::Expired => Some(Fate::Expired),
        }
    }
}

impl Head {
    /// Goes on where a saved state left off.
    pub(super) fn new(ordering: Ordering, settled: Settled, baseline: u64, tally: Tally) -> Self {
        Self {
            ordering,
            looked: settled.clone(),
            ends: Ends::new(&settled),
            settled,
            baseline,
            tally,
            active: HashMap::new(),
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            keys: Keys::default(),
            thinned: Thinned::default(),
            lost: Lost::default(),
            expired: Lost::default(),
            untold: Untold::default(),
        }
    }

    /// With the lost ranges that the saved state remembers, and those that are not told.
    pub(super) fn with_lost(
        mut self,
        lost: &[(u64, u64)],
        untold: &[Grave],
        thinned: &[Comb],
    ) -> Self {
        self.lost = Lost::restore(lost);
        self.untold = Untold::restore(untold);
        self.thinned = Thinned::restore(thinned, |from, to| self.settled.gaps(from, to));
        self.pass_thinned();
        self
    }

    /// Notes that `from..to` are lost, though they count as they were settled.
    pub(super) fn note_lost(&mut self, from: u64, to: u64) {
        self.lost.note(from, to);
    }

    /// Whether `position` was lost, as far back as is remembered.
    pub(super) fn is_lost(&self, position: u64) -> bool {
        self.thinned.dropped(position) || self.lost.holds(position) || self.has_expired(position)
    }

    /// Whether `position` may have been lost longer ago than is remembered.
    pub(super) fn is_forgotten(&self, position: u64) -> bool {
        self.lost.is_forgotten(position)
            || self.expired.is_forgotten(position)
            || self.thinned.is_forgotten(position)
    }

    /// The lost ranges, for the state.
    pub(super) fn lost(&self) -> Vec<(u64, u64)> {
        self.lost.saved()
    }

    /// What may be sent at `now` of a chain that ends at `end`, oldest first; without order,
    /// only from the position `from` on.
    pub(super) fn next(&mut self, now: Instant, from: u64, end: u64) -> Next {
        self.wake(now);
        let again = self.ready.range(from..).next().copied();
        let position = self.next_unlooked(from);
        if let Some(again) = again.filter(|again| *again < position || self.is_full()) {
            return Next::Again(again);
        }
        let scan = self.looked.watermark();
        if let Some(refill) = self.keys.refill_wanted(scan) {
            return Next::Refill(refill);
        }
        let one_at_a_time = self.ordering == Ordering::Lane && !self.active.is_empty();
        if one_at_a_time || self.is_full() || position >= end {
            return again.map_or(Next::Nothing, Next::Again);
        }
        Next::Look(position)
    }

    fn is_full(&self) -> bool {
        self.active.len() >= ACTIVE_MAX
    }

    /// The first position from `from` on that could be leased at `now`, and how many stretches
    /// were leased ahead of what is older.
    pub(super) fn front(&mut self, now: Instant, from: u64, end: u64) -> (Option<u64>, usize) {
        let first = match self.next(now, from, end) {
            Next::Again(position) | Next::Look(position) => Some(position),
            Next::Refill(_) | Next::Nothing => None,
        };
        (first, self.looked.stretches())
    }

    /// The delayed ones whose time has come are ready.
    fn wake(&mut self, now: Instant) {
        while let Some(&(due, position)) = self.delayed.first().filter(|(due, _)| *due <= now) {
            self.delayed.remove(&(due, position));
            self.set(position, State::Ready);
        }
    }

    /// There is a record of `key` at the position looked at. `true`: lease it; `false`: it waits
    /// behind another one of its key. `joins`: it may go with those of its key that are leased,
    /// if it is the next one.
    pub(super) fn found(&mut self, position: u64, key: KeyHash, joins: bool) -> bool {
        self.looked.insert(position, position + 1);
        let key = (self.ordering == Ordering::Key).then_some(key);
        if key.is_some_and(|key| !self.keys.take_or_park(key, position, joins)) {
            return false;
        }
        self.active.insert(position, Active { key, state: State::Leased, attempts: 0 });
        true
    }

    /// Which records wait for each other.
    pub(super) fn ordering(&self) -> Ordering {
        self.ordering
    }

    /// The position that comes next behind what is leased of `key` (or of the lane, where it is
    /// one order), if it is known: leased from now on, to go with them. Look at it; if it cannot
    /// go, [`Head::defer`] puts it back.
    pub(super) fn follower(&mut self, key: KeyHash, end: u64) -> Option<u64> {
        let (position, key) = match self.ordering {
            Ordering::None => return None,
            Ordering::Key => (self.keys.follower(key)?, Some(key)),
            Ordering::Lane => {
                let next = self.looked.watermark();
                if next >= end || self.active.contains_key(&next) {
                    return None;
                }
                self.looked.insert(next, next + 1);
                (next, None)
            }
        };
        self.active.insert(position, Active { key, state: State::Leased, attempts: 0 });
        Some(position)
    }

    /// More positions of a key were looked for up to `scanned_to`.
    pub(super) fn refill(&mut self, refill: Refill, found: Vec<u64>, scanned_to: u64) {
        let settled = &self.settled;
        let found = found.into_iter().filter(|p| !settled.contains(*p)).collect();
        if let Some(position) =
            self.keys.refilled(refill, found, scanned_to, self.looked.watermark())
        {
            self.revive(position, refill.key);
        }
    }

    fn revive(&mut self, position: u64, key: KeyHash) {
        self.active.insert(position, Active { key: Some(key), state: State::Ready, attempts: 0 });
        self.ready.insert(position);
    }

    /// Leases a ready position.
    pub(super) fn lease(&mut self, position: u64) -> u32 {
        self.set(position, State::Leased);
        self.active.get(&position).map_or(0, |active| active.attempts)
    }

    /// Puts a leased position back.
    pub(super) fn defer(&mut self, position: u64, not_before: Option<Instant>, charged: bool) {
        if self.step_back(position) {
            return;
        }
        if let Some(active) = self.active.get_mut(&position) {
            active.attempts += u32::from(charged);
        }
        self.set(position, not_before.map_or(State::Ready, State::Delayed));
    }

    /// Of several of one order that were leased together, only the first waits for its own time;
    /// the others wait behind it again. Whether `position` is such another.
    fn step_back(&mut self, position: u64) -> bool {
        let Some(active) = self.active.get(&position).copied() else { return false };
        match (self.ordering, active.key) {
            (Ordering::Key, Some(key)) if self.keys.step_back(key, position) => {
                self.active.remove(&position);
                if let Some(next) = self.keys.next_if_free(key) {
                    self.revive(next, key);
                }
                true
            }
            (Ordering::Lane, _) if self.settled.next_unsettled(0) < position => {
                self.active.remove(&position);
                // It is to be looked at again, and all behind it that is not settled.
                let from = position.min(self.looked.watermark());
                self.looked = Settled::restore(from, &self.settled.above(usize::MAX));
                true
            }
            _ => false,
        }
    }

    /// The delayed ones need not wait any longer.
    pub(super) fn hasten(&mut self) {
        for (_, position) in std::mem::take(&mut self.delayed) {
            self.set(position, State::Ready);
        }
    }

    fn set(&mut self, position: u64, state: State) {
        let Some(active) = self.active.get_mut(&position) else {
            return;
        };
        match std::mem::replace(&mut active.state, state) {
            State::Ready => drop(self.ready.remove(&position)),
            State::Delayed(due) => drop(self.delayed.remove(&(due, position))),
            State::Leased => {}
        }
        match state {
            State::Ready => drop(self.ready.insert(position)),
            State::Delayed(due) => drop(self.delayed.insert((due, position))),
            State::Leased => {}
        }
    }

    /// Settles an active position; the next one of its key becomes ready.
    pub(super) fn settle(&mut self, position: u64, end: End) {
        self.set(position, State::Leased);
        let Some(active) = self.active.remove(&position) else {
            return;
        };
        self.close(position, position + 1, end);
        if let Some(key) = active.key
            && let Some(next) = self.keys.release(key, position)
        {
            self.revive(next, key);
        }
    }

    /// Nothing is left of `from..to`.
    pub(super) fn damaged(&mut self, from: u64, to: u64) {
        let lost = self.settled.gaps(from, to);
        for position in from..to {
            if self.active.contains_key(&position) {
                self.settle(position, End::Damaged);
            }
        }
        self.close(from, to, End::Damaged);
        lost.into_iter().for_each(|(from, to)| self.note_lost(from, to));
    }

    /// Recovery found `position` among the dead letters.
    pub(super) fn recovered_dead(&mut self, position: u64) {
        self.close(position, position + 1, End::Dead);
    }

    fn close(&mut self, from: u64, to: u64, end: End) {
        self.close_only(from, to, end);
        self.pass_thinned();
    }

    fn close_only(&mut self, from: u64, to: u64, end: End) {
        for (from, to) in self.settled.gaps(from, to) {
            self.ends.note(from, to, end);
        }
        let before = self.settled.count_from(self.baseline);
        self.settled.insert(from, to);
        self.looked.insert(from, to);
        self.thinned.cut(from, to);
        self.ends.forget_below(self.settled.watermark());
        *self.tally.of(end) += self.settled.count_from(self.baseline) - before;
    }

    /// When the earliest delayed one is due, or `now` if there is something to do already.
    pub(super) fn next_due(&mut self, now: Instant, end: u64) -> Option<Instant> {
        match self.next(now, 0, end) {
            Next::Nothing => self.delayed.first().map(|(due, _)| *due),
            _ => Some(now),
        }
    }

    /// Positions leased at this moment.
    pub(super) fn in_flight(&self) -> u64 {
        self.active.values().filter(|active| active.state == State::Leased).count() as u64
    }

    /// What is settled.
    pub(super) fn settled(&self) -> &Settled {
        &self.settled
    }

    /// How the settled ones ended.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// The accounts count from this position on.
    pub(super) fn baseline(&self) -> u64 {
        self.baseline
    }
}

#[cfg(test)]
mod tests;
