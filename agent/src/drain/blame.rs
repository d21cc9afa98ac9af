//! Whose fault a refusal of everything is. Some brokers refuse one forbidden topic with the words
//! they have for a wrong key; other topics then tell the difference.

use std::collections::BTreeMap;

use spillway_protocol::record::Topic;

/// Topics remembered at most; beyond it the memory begins anew.
const TOPICS: usize = 1000;

/// Who was asked while the link was held, and who was refused in the link's name.
#[derive(Debug, Default)]
pub(super) struct Blame {
    /// Number of each topic's last probe.
    asked: BTreeMap<(usize, Topic), u64>,
    /// Highest number given out when the topic was first refused.
    refused: BTreeMap<(usize, Topic), u64>,
    newest_delivery: u64,
}

impl Blame {
    /// A record of the topic leaves as `number`, to ask whether the link is still held.
    pub(super) fn asked(&mut self, lane: usize, topic: &Topic, number: u64) {
        remember(&mut self.asked, lane, topic, number);
    }

    /// When the topic was last asked for, as a number; 0 is never.
    pub(super) fn last_asked(&self, lane: usize, topic: &Topic) -> u64 {
        self.asked.get(&(lane, topic.clone())).copied().unwrap_or(0)
    }

    /// When any topic of the lane was last asked for.
    pub(super) fn lane_last_asked(&self, lane: usize) -> u64 {
        let asked = self.asked.iter().filter(|((of, _), _)| *of == lane);
        asked.map(|(_, number)| *number).max().unwrap_or(0)
    }

    /// The topic was refused in the link's name. True if it is the topic's own trouble: a record
    /// of another one, sent after its first such refusal, was delivered, and none of its own.
    pub(super) fn refused(&mut self, lane: usize, topic: &Topic, issued: u64) -> bool {
        let key = (lane, topic.clone());
        if !self.refused.contains_key(&key) {
            remember(&mut self.refused, lane, topic, issued);
        }
        self.refused.get(&key).is_some_and(|first| self.newest_delivery > *first)
    }

    /// A record of the topic, sent as `number`, was delivered.
    pub(super) fn delivered(&mut self, lane: usize, topic: &Topic, number: u64) {
        self.newest_delivery = self.newest_delivery.max(number);
        if !self.refused.is_empty() {
            self.refused.remove(&(lane, topic.clone()));
        }
    }
}

fn remember(of: &mut BTreeMap<(usize, Topic), u64>, lane: usize, topic: &Topic, number: u64) {
    if of.len() >= TOPICS {
        of.clear();
    }
    of.insert((lane, topic.clone()), number);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_topic_that_passes_tells_whose_fault_it_is() {
        let (a, b) = (Topic::parse("a").unwrap(), Topic::parse("b").unwrap());
        let mut blame = Blame::default();
        assert!(!blame.refused(0, &a, 10) && !blame.refused(0, &b, 11));
        blame.delivered(0, &b, 9);
        assert!(!blame.refused(0, &a, 12), "b had left before");
        blame.delivered(0, &b, 13);
        assert!(blame.refused(0, &a, 14) && blame.refused(0, &a, 14));
        blame.delivered(0, &a, 20);
        assert!(!blame.refused(0, &a, 21), "its own fault is over");
    }
}
