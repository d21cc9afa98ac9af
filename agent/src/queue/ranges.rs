//! Which positions of a lane are settled: all below a watermark, and ranges above it.

use std::collections::BTreeMap;

/// A set of positions that grows mostly from its lower end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    watermark: u64,
    /// Start to end (exclusive), disjoint, never touching, all above the watermark.
    above: BTreeMap<u64, u64>,
    /// Positions in them.
    count_above: u64,
}

impl Settled {
    /// Everything below `watermark`.
    pub(super) fn below(watermark: u64) -> Self {
        Self { watermark, above: BTreeMap::new(), count_above: 0 }
    }

    /// As saved.
    pub(super) fn restore(watermark: u64, above: &[(u64, u64)]) -> Self {
        let mut settled = Self::below(watermark);
        above.iter().for_each(|&(from, to)| settled.insert(from, to));
        settled
    }

    /// The first position that is not settled.
    pub(super) fn watermark(&self) -> u64 {
        self.watermark
    }

    /// The lowest `limit` ranges above the watermark.
    pub(super) fn above(&self, limit: usize) -> Vec<(u64, u64)> {
        self.above.iter().take(limit).map(|(&from, &to)| (from, to)).collect()
    }

    /// How many ranges lie above the watermark.
    pub(super) fn stretches(&self) -> usize {
        self.above.len()
    }

    /// The range above the watermark that `position` lies in.
    pub(super) fn stretch_at(&self, position: u64) -> Option<(u64, u64)> {
        let (&from, &to) = self.above.range(..=position).next_back()?;
        (position < to).then_some((from, to))
    }

    /// How many positions from `baseline` on are settled.
    pub(super) fn count_from(&self, baseline: u64) -> u64 {
        self.watermark.saturating_sub(baseline) + self.count_above
    }

    /// How many of `from..to` are settled.
    pub(super) fn count_in(&self, from: u64, to: u64) -> u64 {
        let overlap = |start: u64, end: u64| end.min(to).saturating_sub(start.max(from));
        let start = self.above.range(..from).next_back().map_or(from, |(&start, _)| start);
        let above: u64 = self.above.range(start..to.max(start)).map(|(&s, &e)| overlap(s, e)).sum();
        overlap(0, self.watermark) + above
    }

    /// Whether `position` is settled.
    pub(super) fn contains(&self, position: u64) -> bool {
        position < self.watermark || self.next_unsettled(position) != position
    }

    /// The first position from `position` on that is not settled.
    pub(super) fn next_unsettled(&self, position: u64) -> u64 {
        let position = position.max(self.watermark);
        match self.above.range(..=position).next_back() {
            Some((_, &to)) if to > position => to,
            _ => position,
        }
    }

    /// The first position from `position` on that is settled, if any is.
    pub(super) fn next_settled(&self, position: u64) -> Option<u64> {
        match self.contains(position) {
            true => Some(position),
            false => self.above.range(position..).next().map(|(&from, _)| from),
        }
    }

    /// What of `from..to` is not settled.
    pub(super) fn gaps(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut start = self.next_unsettled(from);
        while start < to {
            let end = self.above.range(start..).next().map_or(to, |(&next, _)| next.min(to));
            gaps.push((start, end));
            start = self.next_unsettled(end);
        }
        gaps
    }

    /// Settles `from..to`.
    pub(super) fn insert(&mut self, from: u64, to: u64) {
        let (mut from, mut to) = (from.max(self.watermark), to);
        if from >= to {
            return;
        }
        if let Some((&start, &end)) = self.above.range(..=from).next_back()
            && end >= from
        {
            from = start;
            to = to.max(end);
        }
        while let Some((&start, &end)) = self.above.range(from..=to).next() {
            self.above.remove(&start);
            self.count_above -= end - start;
            to = to.max(end);
        }
        if from == self.watermark {
            self.watermark = to;
        } else {
            self.above.insert(from, to);
            self.count_above += to - from;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(ranges in prop::collection::vec((1u64..60, 1u64..8), 0..40)) {
            let mut settled = Settled::below(1);
            let mut model = BTreeSet::new();
            for (from, length) in ranges {
                settled.insert(from, from + length);
                model.extend(from..from + length);
                let watermark = (1..).find(|p| !model.contains(p)).unwrap();
                prop_assert_eq!(settled.watermark(), watermark);
                prop_assert_eq!(settled.count_from(1), model.len() as u64);
                for position in 1..70 {
                    let inside = model.range(20..20.max(position)).count() as u64;
                    prop_assert_eq!(settled.count_in(20, 20.max(position)), inside);
                    let gaps = settled.gaps(20, position);
                    let gaps: Vec<u64> = gaps.into_iter().flat_map(|(s, e)| s..e).collect();
                    let unsettled = (20..position).filter(|p| !model.contains(p));
                    prop_assert_eq!(gaps, unsettled.collect::<Vec<_>>());
                    prop_assert_eq!(settled.contains(position), model.contains(&position));
                    let next = (position..).find(|p| !model.contains(p)).unwrap();
                    prop_assert_eq!(settled.next_unsettled(position), next);
                    let next = model.range(position..).next().copied();
                    prop_assert_eq!(settled.next_settled(position), next);
                }
                let saved = Settled::restore(settled.watermark(), &settled.above(usize::MAX));
                prop_assert_eq!(&saved, &settled);
            }
        }
    }
}
