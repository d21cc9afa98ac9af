//! What is in flight, and who may add to it. The bounds hold for those that have something in
//! flight already; the first request of a topic in a lane may go up to twice beyond them, so that
//! slow ones, however many, do not keep it waiting.

use std::collections::BTreeMap;

use spillway_protocol::record::Topic;

/// Requests in flight in all.
const REQUESTS: usize = 80;
/// One topic of one lane may have this many times the requests that are still free: a slow one
/// never takes the last, however many there are.
const GREED: usize = 4;

#[derive(Debug, Clone, Copy, Default)]
struct Share {
    requests: usize,
    bytes: usize,
}

/// Requests in flight, by lane and topic.
#[derive(Debug)]
pub(super) struct Load {
    /// Bytes in flight in all; one message may be larger.
    bytes_max: usize,
    all: Share,
    shares: BTreeMap<(usize, Topic), Share>,
}

impl Load {
    /// Nothing in flight, and `bytes_max` at most to come.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, all: Share::default(), shares: BTreeMap::new() }
    }

    /// Whether a message of `bytes` may join.
    pub(super) fn has_room(&self, lane: usize, topic: &Topic, bytes: usize) -> bool {
        let share = self.share(lane, topic);
        let fits = |used: Share, limit| used.requests == 0 || used.bytes + bytes <= limit;
        if share.requests == 0 {
            return self.all.requests < 2 * REQUESTS
                && fits(self.all, self.bytes_max.saturating_mul(2));
        }
        // Of bytes, too, one topic never takes the last.
        let topic_max = self.bytes_max - self.bytes_max / 4;
        share.requests < GREED * self.free()
            && fits(self.all, self.bytes_max)
            && fits(share, topic_max)
    }

    /// Requests that could still be made.
    pub(super) fn free(&self) -> usize {
        REQUESTS.saturating_sub(self.all.requests)
    }

    pub(super) fn add(&mut self, lane: usize, topic: &Topic, bytes: usize) {
        let share = self.shares.entry((lane, topic.clone())).or_default();
        for share in [share, &mut self.all] {
            share.requests += 1;
            share.bytes += bytes;
        }
    }

    pub(super) fn remove(&mut self, lane: usize, topic: &Topic, bytes: usize) {
        let key = (lane, topic.clone());
        let Some(share) = self.shares.get_mut(&key) else {
            return;
        };
        for share in [share, &mut self.all] {
            share.requests -= 1;
            share.bytes -= bytes;
        }
        if self.share(lane, topic).requests == 0 {
            self.shares.remove(&key);
        }
    }

    fn share(&self, lane: usize, topic: &Topic) -> Share {
        let key = (lane, topic.clone());
        self.shares.get(&key).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(load: &mut Load, lane: usize, topic: &str, bytes: usize) -> usize {
        let topic = Topic::parse(topic).unwrap();
        let mut count = 0;
        while load.has_room(lane, &topic, bytes) {
            load.add(lane, &topic, bytes);
            count += 1;
        }
        count
    }

    #[test]
    fn slow_lanes_and_topics_always_leave_room_for_another() {
        let mut load = Load::new(8 << 20);
        let counts: Vec<usize> =
            (0..60).map(|n| fill(&mut load, n / 2, &format!("t{}", n % 2), 100)).collect();
        assert!(counts[0] >= 48, "{counts:?}");
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
        assert!(load.all.requests <= 2 * REQUESTS);
    }

    #[test]
    fn bytes_are_bounded_but_one_message_always_fits() {
        let mut load = Load::new(8 << 20);
        let counts = [0, 1, 2, 3, 4].map(|lane| fill(&mut load, lane, "a", 4 << 20));
        assert_eq!(counts, [1, 1, 1, 1, 0]);
        let mut load = Load::new(8 << 20);
        assert_eq!(fill(&mut load, 0, "a", 20 << 20), 1);
        let mut load = Load::new(8 << 20);
        assert_eq!(fill(&mut load, 0, "a", 1 << 20), 6);
    }

    #[test]
    fn a_small_memory_bounds_what_is_in_flight() {
        let counts = [1 << 20, 4 << 20, 16 << 20].map(|bytes_max| {
            let mut load = Load::new(bytes_max);
            (0..40).map(|lane| fill(&mut load, lane, "a", 512 << 10)).sum::<usize>()
        });
        assert_eq!(counts, [4, 16, 64]);
    }

    #[test]
    fn what_comes_back_is_free_again() {
        let mut load = Load::new(8 << 20);
        let topic = Topic::parse("a").unwrap();
        load.add(0, &topic, 5);
        load.remove(0, &topic, 5);
        assert!(load.all.requests == 0 && load.shares.is_empty() && load.all.bytes == 0);
    }
}
