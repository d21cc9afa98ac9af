//! Ranges of positions that will never be sent, for who asks after one of them: the newest.

use std::collections::BTreeMap;

/// Most ranges that are remembered.
const LOST_MAX: usize = 256;

/// See the module. From first to end (exclusive), disjoint, never touching.
#[derive(Debug, Default)]
pub(super) struct Lost(BTreeMap<u64, u64>);

impl Lost {
    /// As saved.
    pub(super) fn restore(saved: &[(u64, u64)]) -> Self {
        Self(saved.iter().copied().collect())
    }

    /// For the state.
    pub(super) fn saved(&self) -> Vec<(u64, u64)> {
        self.0.iter().map(|(&from, &to)| (from, to)).collect()
    }

    /// `from..to` are among them.
    pub(super) fn note(&mut self, from: u64, to: u64) {
        let (mut from, mut to) = (from, to);
        if let Some((&first, &end)) = self.0.range(..=from).next_back()
            && end >= from
        {
            (from, to) = (first, end.max(to));
        }
        self.0.insert(from, to);
        while self.0.len() > LOST_MAX {
            self.0.pop_first();
        }
    }

    /// Whether `position` is, as far back as is remembered.
    pub(super) fn holds(&self, position: u64) -> bool {
        self.0.range(..=position).next_back().is_some_and(|(_, &to)| position < to)
    }

    /// Whether `position` may have been longer ago than is remembered.
    pub(super) fn is_forgotten(&self, position: u64) -> bool {
        let first = self.0.keys().next().filter(|_| self.0.len() >= LOST_MAX);
        first.is_some_and(|first| position < *first)
    }
}
