//! Where a waiting record stands, for who asks after it.

use tokio::time::Instant;

use super::{Head, KeyHash, State};
use crate::queue::api::{Fate, Ordering, Turn};
use crate::queue::untold::Grave;

impl Head {
    /// What the record of `key` at `position`, which waits, waits for.
    pub(in crate::queue) fn turn(&self, position: u64, key: KeyHash, now: Instant) -> Turn {
        if let Some(active) = self.active.get(&position) {
            return match active.state {
                State::Leased => Turn::Leased,
                State::Delayed(due) if due > now => Turn::Deferred(due),
                State::Ready | State::Delayed(_) => Turn::Ready,
            };
        }
        let before = match self.ordering {
            Ordering::None => None,
            Ordering::Key => self.first_of(key),
            Ordering::Lane => Some(self.next_waiting(0)),
        };
        before.filter(|before| *before < position).map_or(Turn::Ready, Turn::Behind)
    }

    /// The first record of the key that may leave, as far as any was looked at.
    fn first_of(&self, key: KeyHash) -> Option<u64> {
        let of_key = self.active.iter().filter(|(_, active)| active.key == Some(key));
        of_key.map(|(position, _)| *position).min()
    }

    /// How many wait before `position`.
    pub(in crate::queue) fn ahead_of(&self, position: u64) -> u64 {
        self.waiting_in(self.settled.watermark(), position)
    }

    /// Why the record at `position`, which is lost and had this number in its stream, was given
    /// up, where that is still known.
    pub(in crate::queue) fn lost_by(&self, position: u64, stream: u32, seq: u64) -> Option<Fate> {
        let of = |grave: &Grave| grave.stream == stream && (grave.from..grave.to).contains(&seq);
        let grave = self.untold.graves().into_iter().find(of);
        let thinned = || self.thinned.dropped_by(position).map(Fate::Thinned);
        let expired = || self.has_expired(position).then_some(Fate::Expired);
        grave.map(|grave| grave.fate).or_else(expired).or_else(thinned)
    }
}
