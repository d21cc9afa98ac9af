//! Which lines must not be stored because one before them, in the same order, was refused.

use std::collections::HashSet;

use spillway_protocol::local::json::KnownKey;
use spillway_protocol::record::OrderKey;

use super::super::LaneInfo;
use crate::queue::Ordering;

/// Refused order keys that are remembered one by one; beyond it, all count as refused.
const REMEMBERED_MAX: usize = 10_000;

/// The orders that a line stands in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// It is of this order key.
    key: Option<Box<str>>,
    /// It waits for all others of this lane that say the same.
    lane: Option<Box<str>>,
    /// Its lane keeps an order.
    ordered: bool,
}

impl Chain {
    pub(super) fn new(lane: &LaneInfo, key: Option<&OrderKey>) -> Self {
        let of_lane = match lane.ordering {
            Ordering::Lane => true,
            Ordering::Key => key.is_none(),
            Ordering::None => false,
        };
        Self {
            key: key.map(|key| key.as_str().into()),
            lane: of_lane.then(|| lane.name.as_str().into()),
            ordered: lane.ordering != Ordering::None,
        }
    }

    /// Whether it stands in any.
    pub(super) fn is_bound(&self) -> bool {
        self.key.is_some() || self.lane.is_some()
    }
}

/// What has been refused in this request.
#[derive(Debug, Default)]
pub(super) struct Chains {
    keys: HashSet<Box<str>>,
    lanes: HashSet<Box<str>>,
    /// A line was refused whose key is not known.
    any_ordered: bool,
    /// Too many keys were refused to remember each.
    any_key: bool,
}

impl Chains {
    /// Whether a line before this one, in the same order, was refused.
    pub(super) fn bars(&self, chain: &Chain) -> bool {
        let key = |key: &str| self.any_key || self.keys.contains(key);
        (self.any_ordered && chain.ordered)
            || chain.key.as_deref().is_some_and(key)
            || chain.lane.as_deref().is_some_and(|lane| self.lanes.contains(lane))
    }

    /// A line of this chain was refused.
    pub(super) fn bar(&mut self, chain: Chain) {
        if let Some(key) = chain.key {
            self.bar_key(key);
        }
        self.lanes.extend(chain.lane);
    }

    /// A line was refused before it was a record.
    pub(super) fn bar_unread(&mut self, lane: Option<&LaneInfo>, key: KnownKey) {
        match (key, lane) {
            (KnownKey::Unknown, _) => self.any_ordered = true,
            (KnownKey::Key(key), None) => self.bar_key(key.into()),
            (KnownKey::Key(key), Some(lane)) => {
                self.bar_key(key.into());
                if lane.ordering == Ordering::Lane {
                    self.bar(Chain::new(lane, None));
                }
            }
            (KnownKey::None, Some(lane)) => self.bar(Chain::new(lane, None)),
            (KnownKey::None, None) => {}
        }
    }

    fn bar_key(&mut self, key: Box<str>) {
        if self.keys.len() < REMEMBERED_MAX {
            self.keys.insert(key);
        } else {
            self.any_key = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::fake::lane;

    fn chain(lane: &LaneInfo, key: Option<&str>) -> Chain {
        let key = key.map(|key| OrderKey::parse(key).unwrap());
        Chain::new(lane, key.as_ref())
    }

    #[test]
    fn a_refused_key_bars_its_own_in_every_lane_and_no_other() {
        let free = lane("free", Ordering::None);
        let mut chains = Chains::default();
        chains.bar(chain(&free, Some("k")));
        assert!(chains.bars(&chain(&free, Some("k"))));
        assert!(chains.bars(&chain(&lane("other", Ordering::Key), Some("k"))));
        assert!(!chains.bars(&chain(&free, Some("l"))));
        assert!(!chains.bars(&chain(&free, None)));
    }

    #[test]
    fn a_line_without_a_key_bars_only_where_that_is_an_order() {
        let mut chains = Chains::default();
        let (free, keyed, laned) = (
            lane("free", Ordering::None),
            lane("keyed", Ordering::Key),
            lane("laned", Ordering::Lane),
        );
        for lane in [&free, &keyed, &laned] {
            chains.bar(chain(lane, None));
        }
        assert!(!chains.bars(&chain(&free, None)));
        assert!(chains.bars(&chain(&keyed, None)));
        assert!(!chains.bars(&chain(&keyed, Some("k"))));
        assert!(chains.bars(&chain(&laned, None)));
        assert!(chains.bars(&chain(&laned, Some("k"))));
    }

    #[test]
    fn a_key_that_was_not_read_may_be_any_in_ordered_lanes() {
        let mut chains = Chains::default();
        chains.bar_unread(None, KnownKey::Unknown);
        assert!(chains.bars(&chain(&lane("keyed", Ordering::Key), Some("k"))));
        assert!(!chains.bars(&chain(&lane("free", Ordering::None), Some("k"))));
    }

    #[test]
    fn more_refused_keys_than_are_remembered_bar_all_keys() {
        let free = lane("free", Ordering::None);
        let mut chains = Chains::default();
        for i in 0..=REMEMBERED_MAX {
            chains.bar_key(i.to_string().into());
        }
        assert!(chains.bars(&chain(&free, Some("never seen"))));
        assert!(!chains.bars(&chain(&free, None)));
    }
}
