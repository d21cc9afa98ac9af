//! Which gaps are missing, and which are young: their records may be on their way.
//!
//! Of a fleet whose links come and go something is always on its way, and each link that breaks leaves a
//! gap where its last requests were. Such a gap stays open for as long as the gateway is silent, and
//! closes soon after its return. So only time counts after which the gateway was heard: first for the
//! grace since its numbers are known, and then for another since a look found them as old as that.

use std::collections::BTreeMap;

/// Places with old gaps, and which look found the first of them, ms since 1970.
#[derive(Debug)]
pub(super) struct Overdue {
    grace_ms: u64,
    since_ms: BTreeMap<u32, u64>,
}

impl Overdue {
    pub(super) fn new(grace_ms: u64) -> Self {
        Self { grace_ms, since_ms: BTreeMap::new() }
    }

    /// What has been known since before then is old, if the gateway came last at `heard_ms`.
    pub(super) fn old_before(&self, heard_ms: u64) -> u64 {
        heard_ms.saturating_sub(self.grace_ms)
    }

    /// A look at `now_ms` found old gaps of a place, or none: whether they are missing.
    pub(super) fn is_missing(
        &mut self,
        place: u32,
        is_old: bool,
        heard_ms: u64,
        now_ms: u64,
    ) -> bool {
        if !is_old {
            self.since_ms.remove(&place);
            return false;
        }
        let since_ms = *self.since_ms.entry(place).or_insert(now_ms);
        heard_ms >= since_ms.saturating_add(self.grace_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at a gap that is known since `known_ms`.
    fn look(overdue: &mut Overdue, known_ms: u64, heard_ms: u64, now_ms: u64) -> bool {
        let is_old = known_ms < overdue.old_before(heard_ms);
        overdue.is_missing(7, is_old, heard_ms, now_ms)
    }

    #[test]
    fn a_gap_is_missing_once_its_gateway_went_on_for_two_graces() {
        let mut overdue = Overdue::new(100);
        assert!(!look(&mut overdue, 1000, 1100, 1100));
        assert!(!look(&mut overdue, 1000, 1101, 1101));
        assert!(!look(&mut overdue, 1000, 1200, 1200));
        assert!(look(&mut overdue, 1000, 1201, 1201));
    }

    #[test]
    fn silence_makes_no_gap_old_and_a_return_has_the_grace_to_close_it() {
        let mut overdue = Overdue::new(100);
        assert!(!look(&mut overdue, 1000, 1010, 90_000));
        // It is back, and says little at first.
        assert!(!look(&mut overdue, 1000, 90_010, 90_010));
        assert!(!look(&mut overdue, 1000, 90_020, 190_000));
        // What was on its way came, and something else is: that gap begins anew.
        assert!(!look(&mut overdue, 190_005, 190_010, 190_010));
        assert!(!look(&mut overdue, 190_005, 190_110, 190_110));
    }

    #[test]
    fn one_that_is_heard_seldom_is_believed_in_the_end() {
        let mut overdue = Overdue::new(100);
        assert!(!look(&mut overdue, 1000, 1000, 1000));
        assert!(!look(&mut overdue, 1000, 5000, 5010));
        assert!(look(&mut overdue, 1000, 9000, 9010));
    }
}
