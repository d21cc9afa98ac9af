//! Ranges of numbers, both ends included.

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// First number.
    pub first: u64,
    /// Last number.
    pub last: u64,
}

impl Range {
    /// How many numbers it has.
    pub fn count(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// What lies below `number`, and the rest.
    pub fn split(&self, number: u64) -> (Option<Self>, Option<Self>) {
        let below =
            (self.first < number).then(|| Self { last: self.last.min(number - 1), ..*self });
        let rest = (self.last >= number).then(|| Self { first: self.first.max(number), ..*self });
        (below, rest)
    }

    /// What two have in common.
    pub fn cut(&self, other: &Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}
