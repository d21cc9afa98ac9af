//! Records that are too old are given up. What is leased stays: how its sending ends counts.

use super::lost::Lost;
use super::{End, Head};

impl Head {
    /// With the expired ranges that the saved state remembers.
    pub(in crate::queue) fn with_expired(mut self, expired: &[(u64, u64)]) -> Self {
        self.expired = Lost::restore(expired);
        self
    }

    /// The expired ranges, for the state.
    pub(in crate::queue) fn expired(&self) -> Vec<(u64, u64)> {
        self.expired.saved()
    }

    /// Whether `position` was too old, as far back as is remembered.
    pub(in crate::queue) fn has_expired(&self, position: u64) -> bool {
        self.expired.holds(position) && !self.thinned.dropped(position)
    }

    /// Gives up what waits in `from..to`, and returns it as ranges; what was thinned there counts with
    /// them.
    pub(in crate::queue) fn expire(&mut self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let ranges = self.drop_between(from, to, End::Expired);
        ranges.iter().for_each(|&(from, to)| self.expired.note(from, to));
        ranges
    }

    /// The record at `position`, which was looked at to be leased, is too old.
    pub(in crate::queue) fn expire_looked_at(&mut self, position: u64) {
        if self.active.contains_key(&position) {
            self.settle(position, End::Expired);
        } else {
            self.close(position, position + 1, End::Expired);
        }
        self.expired.note(position, position + 1);
    }
}
