//! How many letters of each lane are here for which code.

use std::collections::BTreeMap;
use std::sync::Arc;

use spillway_protocol::record::LaneName;

use super::Dead;

/// Counts of each lane by the broker's code.
#[derive(Debug, Default)]
pub(super) struct Reasons(BTreeMap<LaneName, BTreeMap<Arc<str>, u64>>);

impl Reasons {
    /// Counts a letter; its code, of which there is one copy for all.
    pub(super) fn add(&mut self, lane: &LaneName, code: &str) -> Arc<str> {
        let codes = self.0.entry(lane.clone()).or_default();
        let code = codes.get_key_value(code).map_or_else(|| code.into(), |(code, _)| code.clone());
        *codes.entry(code.clone()).or_default() += 1;
        code
    }

    /// It left.
    pub(super) fn remove(&mut self, lane: &LaneName, code: &str) {
        let Some(codes) = self.0.get_mut(lane) else { return };
        if let Some(count) = codes.get_mut(code) {
            *count -= 1;
        }
        codes.retain(|_, count| *count > 0);
    }

    /// Those of `lane`, the most frequent first.
    fn of(&self, lane: &LaneName) -> Vec<(String, u64)> {
        let codes = self.0.get(lane).into_iter().flatten();
        let mut all: Vec<_> = codes.map(|(code, count)| (code.to_string(), *count)).collect();
        all.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        all
    }
}

impl Dead {
    /// How many letters of `lane` are here for which code, the most frequent first. Those that are
    /// sealed with a key that is not here are not among them.
    pub(in crate::queue) fn reasons(&self, lane: &LaneName) -> Vec<(String, u64)> {
        self.lock().reasons.of(lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_most_frequent_comes_first_and_what_left_is_not_there() {
        let mut reasons = Reasons::default();
        let (main, other) = (LaneName::parse("main").unwrap(), LaneName::parse("other").unwrap());
        for code in ["b", "a", "c", "b"] {
            reasons.add(&main, code);
        }
        reasons.add(&other, "b");
        assert_eq!(reasons.of(&main), [("b".into(), 2), ("a".into(), 1), ("c".into(), 1)]);
        reasons.remove(&main, "a");
        reasons.remove(&main, "b");
        assert_eq!(reasons.of(&main), [("b".into(), 1), ("c".into(), 1)]);
        assert_eq!(reasons.of(&other), [("b".into(), 1)]);
        reasons.remove(&main, "never seen");
    }

    #[test]
    fn letters_of_one_code_share_its_text() {
        let (mut reasons, lane) = (Reasons::default(), LaneName::parse("main").unwrap());
        let (first, second) = (reasons.add(&lane, "refused"), reasons.add(&lane, "refused"));
        assert!(Arc::ptr_eq(&first, &second));
    }
}
