//! Numbers at equal distances, reckoned with, never counted one by one: a tombstone may claim any range.

use crate::ranges::Range;

/// The multiples of a number within a range: at least one, and both ends are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Multiples {
    pub(super) range: Range,
    /// At least 1.
    pub(super) every: u64,
}

impl Multiples {
    /// Those of `every` in `range`, if there are any. One alone is a multiple of 1.
    pub(super) fn of(range: Range, every: u64) -> Option<Self> {
        let first = range.first.checked_next_multiple_of(every)?;
        let last = range.last - range.last % every;
        let every = if first == last { 1 } else { every };
        (first <= last).then_some(Self { range: Range { first, last }, every })
    }

    /// How many.
    pub(super) fn count(&self) -> u64 {
        ((self.range.last - self.range.first) / self.every).saturating_add(1)
    }

    /// The one that has so many above it, if there is one.
    pub(super) fn nth_last(&self, above: u64) -> Option<u64> {
        (above < self.count()).then(|| self.range.last - above * self.every)
    }

    /// Those below `number`, and the rest.
    pub(super) fn split(&self, number: u64) -> (Option<Self>, Option<Self>) {
        let (below, rest) = self.range.split(number);
        let of = |range: Option<Range>| Self::of(range?, self.every);
        (of(below), of(rest))
    }
}

/// The least number that both divide; `None` where it is larger than any.
pub(super) fn common(a: u64, b: u64) -> Option<u64> {
    let (mut divisor, mut rest) = (a, b);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    a.checked_div(divisor)?.checked_mul(b)
}
