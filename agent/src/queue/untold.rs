//! What was given up and not told to the far side yet: exact ranges of numbers, kept with the
//! state that gives them up, so that one is never durable without the other.
//!
//! They are taken off once they are told, durably, elsewhere; a crash in between tells them again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spillway_protocol::message::StreamId;
use spillway_protocol::record::LaneName;

use super::api::{Fate, GivenUp};

/// Ranges that are kept while nobody is there to tell them: the newest.
const UNHEARD_MAX: usize = 256;

/// A range as a state keeps it. `to` is the first number behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grave {
    pub(super) fate: Fate,
    pub(super) stream: u32,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) first_ms: u64,
    pub(super) last_ms: u64,
}

/// The ranges of one lane, joined where they touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Untold(BTreeMap<(Fate, u32, u64), Span>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    to: u64,
    first_ms: u64,
    last_ms: u64,
}

impl Untold {
    /// As saved.
    pub(super) fn restore(saved: &[Grave]) -> Self {
        let mut untold = Self::default();
        saved.iter().for_each(|grave| untold.add(*grave));
        untold
    }

    /// For the state.
    pub(super) fn graves(&self) -> Vec<Grave> {
        let grave = |(&(fate, stream, from), span): (&(Fate, u32, u64), &Span)| {
            let Span { to, first_ms, last_ms } = *span;
            Grave { fate, stream, from, to, first_ms, last_ms }
        };
        self.0.iter().map(grave).collect()
    }

    /// Numbers were given up.
    pub(super) fn add(&mut self, grave: Grave) {
        if grave.from >= grave.to {
            return;
        }
        let Grave { fate, stream, mut from, mut to, mut first_ms, mut last_ms } = grave;
        for (other, span) in self.touching(&grave) {
            self.0.remove(&(fate, stream, other));
            (from, to) = (from.min(other), to.max(span.to));
            first_ms = first_ms.min(span.first_ms);
            last_ms = last_ms.max(span.last_ms);
        }
        self.0.insert((fate, stream, from), Span { to, first_ms, last_ms });
    }

    /// These numbers are told.
    pub(super) fn remove(&mut self, told: &Grave) {
        let Grave { fate, stream, from, to, .. } = *told;
        if from >= to {
            return;
        }
        for (start, span) in self.touching(told) {
            self.0.remove(&(fate, stream, start));
            if start < from {
                self.0.insert((fate, stream, start), Span { to: from.min(span.to), ..span });
            }
            if span.to > to {
                self.0.insert((fate, stream, to.max(start)), span);
            }
        }
    }

    /// Ranges that overlap `grave` or end where it begins or begin where it ends.
    fn touching(&self, grave: &Grave) -> Vec<(u64, Span)> {
        let Grave { fate, stream, from, to, .. } = *grave;
        let before = self.0.range((fate, stream, 0)..(fate, stream, from)).next_back();
        let before = before.filter(|(_, span)| span.to >= from);
        let inside = self.0.range((fate, stream, from)..=(fate, stream, to));
        before.into_iter().chain(inside).map(|(&(_, _, from), &span)| (from, span)).collect()
    }

    /// Nobody is there to tell them: only the newest are kept.
    pub(super) fn forget_old(&mut self) {
        while self.0.len() > UNHEARD_MAX {
            let oldest = self.0.iter().min_by_key(|(_, span)| span.last_ms).map(|(key, _)| *key);
            let Some(oldest) = oldest else { return };
            self.0.remove(&oldest);
        }
    }
}

impl GivenUp {
    /// What a state of `lane` keeps, for those who tell it.
    pub(super) fn of(lane: &LaneName, grave: &Grave) -> Self {
        let Grave { fate, stream, from, to, first_ms, last_ms } = *grave;
        let (lane, stream) = (lane.clone(), StreamId(stream));
        Self { lane, stream, from, to: to - 1, fate, first_ms, last_ms }
    }

    /// How many numbers.
    pub fn count(&self) -> u64 {
        let kept = match self.fate {
            Fate::Thinned(every) => {
                let every = u64::from(every.max(1));
                self.to / every - self.from.saturating_sub(1) / every
            }
            _ => 0,
        };
        self.to - self.from + 1 - kept
    }

    /// The same as a state keeps it.
    pub(super) fn grave(&self) -> Grave {
        let Self { fate, from, first_ms, last_ms, .. } = *self;
        Grave { fate, stream: self.stream.0, from, to: self.to + 1, first_ms, last_ms }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn grave(fate: Fate, stream: u32, from: u64, to: u64, at_ms: u64) -> Grave {
        Grave { fate, stream, from, to, first_ms: at_ms, last_ms: at_ms }
    }

    #[test]
    fn what_touches_is_one_range_with_the_times_of_both() {
        let mut untold = Untold::default();
        for (from, to, at_ms) in [(5, 6, 30), (7, 9, 10), (6, 7, 20), (11, 12, 40)] {
            untold.add(grave(Fate::Dead, 1, from, to, at_ms));
        }
        untold.add(grave(Fate::Purged, 1, 9, 10, 50));
        untold.add(grave(Fate::Dead, 2, 9, 10, 50));
        let joined = Grave { last_ms: 30, ..grave(Fate::Dead, 1, 5, 9, 10) };
        assert_eq!(untold.graves()[..2], [joined, grave(Fate::Dead, 1, 11, 12, 40)]);
        assert_eq!(untold.graves().len(), 4);
    }

    #[test]
    fn without_anybody_to_tell_only_the_newest_are_kept() {
        let mut untold = Untold::default();
        let all = UNHEARD_MAX as u64 + 10;
        (0..all).for_each(|n| untold.add(grave(Fate::Dead, 1, n * 2, n * 2 + 1, n)));
        untold.forget_old();
        assert_eq!((untold.graves().len(), untold.graves()[0].from), (UNHEARD_MAX, 20));
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_set_of_numbers(
            steps in prop::collection::vec((any::<bool>(), 0u32..2, 1u64..40, 0u64..8), 0..40),
        ) {
            let mut untold = Untold::default();
            let mut model = BTreeSet::new();
            for (adds, stream, from, length) in steps {
                let grave = grave(Fate::Damaged, stream, from, from + length, 7);
                let numbers = (from..from + length).map(|number| (stream, number));
                if adds {
                    untold.add(grave);
                    model.extend(numbers);
                } else {
                    untold.remove(&grave);
                    model.retain(|known| !numbers.clone().any(|number| number == *known));
                }
                let graves = untold.graves();
                let told: Vec<(u32, u64)> =
                    graves.iter().flat_map(|g| (g.from..g.to).map(|n| (g.stream, n))).collect();
                prop_assert_eq!(told, model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(Untold::restore(&graves).graves(), graves);
            }
        }
    }
}
