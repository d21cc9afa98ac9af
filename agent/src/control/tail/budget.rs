//! How many lines a watcher gets, and which of more than that: pure.

use std::time::Duration;

use tokio::time::Instant;

/// Lines of a second, refilled as time goes on.
#[derive(Debug)]
pub(super) struct Budget {
    per_second: u32,
    left: u64,
    since: Instant,
}

impl Budget {
    /// A full one.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, left: per_second.into(), since: now }
    }

    /// Lines that may be shown now.
    pub(super) fn left(&mut self, now: Instant) -> u64 {
        let per_second = u64::from(self.per_second.max(1));
        let line = Duration::from_secs(1) / self.per_second.max(1);
        let elapsed = now.saturating_duration_since(self.since);
        let more = u64::try_from(elapsed.as_nanos() / line.as_nanos().max(1)).unwrap_or(u64::MAX);
        if self.left.saturating_add(more) >= per_second {
            (self.left, self.since) = (per_second, now);
        } else {
            self.left += more;
            // What is left of a line's time counts for the next one.
            self.since += line * u32::try_from(more).unwrap_or(u32::MAX);
        }
        self.left
    }

    /// So many were shown.
    pub(super) fn spend(&mut self, lines: u64) {
        self.left = self.left.saturating_sub(lines);
    }
}

/// Which `wanted` of `total` things to show, evenly spread, in their order.
pub(super) fn spread(total: u64, wanted: u64) -> impl Iterator<Item = u64> {
    let shown = wanted.min(total);
    let nth = move |n: u64| u128::from(n) * u128::from(total) / u128::from(shown.max(1));
    (0..shown).filter_map(move |n| u64::try_from(nth(n)).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_shown_whole_and_the_rest_evenly() {
        assert_eq!(spread(3, 10).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(spread(10, 4).collect::<Vec<_>>(), [0, 2, 5, 7]);
        assert_eq!(spread(0, 4).count() + spread(4, 0).count(), 0);
        assert_eq!(spread(u64::MAX, 2).last(), Some(u64::MAX / 2));
    }

    #[test]
    fn a_second_gives_what_it_should_however_often_one_looks() {
        let begun = Instant::now();
        let mut budget = Budget::new(100, begun);
        assert_eq!(budget.left(begun), 100);
        budget.spend(100);
        let mut shown = 0;
        for tick in 1..=300 {
            let left = budget.left(begun + Duration::from_millis(tick * 7));
            budget.spend(left);
            shown += left;
        }
        assert_eq!(shown, 210);
        assert_eq!(budget.left(begun + Duration::from_secs(60)), 100, "no more than a second's");
    }
}
