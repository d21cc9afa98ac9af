//! Letters that are sealed with a key that is not here.

use spillway_protocol::record::LaneName;

use super::{Dead, Inner};
use crate::queue::cipher::KeyId;

impl Dead {
    /// How many of the letters that `lane` misses are among those that are sealed with a key that is
    /// not here. Each counts in one lane: the first that missed it.
    pub(in crate::queue) fn locked_of(&self, lane: &LaneName, missing: u64) -> u64 {
        if missing == 0 {
            return 0;
        }
        let mut inner = self.lock();
        let all = inner.locked.map_or(0, |(count, _)| count);
        let counted: u64 = inner.locked_of.values().sum();
        let of_lane = inner.locked_of.entry(lane.clone()).or_default();
        *of_lane += missing.saturating_sub(*of_lane).min(all - counted);
        missing.min(*of_lane)
    }

    /// Letters that are sealed with a key that is not here, and the last such key.
    pub(in crate::queue) fn locked_by(&self) -> Option<(u64, KeyId)> {
        self.lock().locked
    }
}

impl Inner {
    /// Those from `from` up to `until` are.
    pub(super) fn lock_out(&mut self, from: u64, until: u64, key: KeyId) {
        let before = self.locked.map_or(0, |(count, _)| count);
        if self.locked.is_none_or(|(_, known)| known != key) {
            tracing::error!(%key, from, "dead letters are sealed with a key that this agent does not have; they stay, and wait for it: add it to [gateway] former_keys");
        }
        self.locked = Some((before + until - from, key));
    }
}
