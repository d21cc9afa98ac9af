//! How the agent went over the last hours: depth, totals and link, in two rings; pure.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};
use spillway_protocol::local::status::{LinkState, Status};
use tokio::time::Instant;

/// How far back it goes, and how densely.
const COARSE: (Duration, usize) = (Duration::from_secs(60), 360);
/// The same for the last minutes, while somebody looks.
const FINE: (Duration, usize) = (Duration::from_secs(5), 120);

/// What is taken a little early counts: ticks are not exact.
const EARLY: Duration = Duration::from_millis(500);

/// See the module. Takes 24 KiB at most.
#[derive(Debug)]
pub(super) struct History {
    coarse: Ring,
    fine: Ring,
}

#[derive(Debug)]
struct Ring {
    every: Duration,
    max: usize,
    points: VecDeque<Point>,
}

/// One moment, all lanes together.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    at: Instant,
    waiting: u64,
    accepted: u64,
    delivered: u64,
    link: LinkState,
}

impl Default for History {
    fn default() -> Self {
        Self { coarse: Ring::of(COARSE), fine: Ring::of(FINE) }
    }
}

impl History {
    /// Takes what the agent says at `at`, where it is time for another point.
    pub(super) fn add(&mut self, at: Instant, status: &Status) {
        let sum = |of: fn(&spillway_protocol::local::status::Lane) -> u64| {
            status.lanes.iter().map(of).fold(0, u64::saturating_add)
        };
        let point = Point {
            at,
            waiting: sum(|lane| lane.waiting),
            accepted: sum(|lane| lane.accepted),
            delivered: sum(|lane| lane.delivered),
            link: status.link.state,
        };
        self.coarse.add(point);
        self.fine.add(point);
    }

    /// All points, the oldest first, each as `[ms ago, waiting, accepted, delivered, link]`.
    pub(super) fn told(&self, now: Instant) -> Value {
        let mut all: Vec<_> = self.coarse.points.iter().chain(&self.fine.points).collect();
        all.sort_by_key(|point| point.at);
        all.dedup();
        let told = |point: &Point| {
            let ago = now.saturating_duration_since(point.at).as_millis();
            let ago = u64::try_from(ago).unwrap_or(u64::MAX);
            json!([ago, point.waiting, point.accepted, point.delivered, point.link.word()])
        };
        all.into_iter().map(told).collect()
    }
}

impl Ring {
    fn of((every, max): (Duration, usize)) -> Self {
        Self { every, max, points: VecDeque::new() }
    }

    fn add(&mut self, point: Point) {
        let soon = |last: &Point| point.at.duration_since(last.at) + EARLY < self.every;
        if self.points.back().is_some_and(soon) {
            return;
        }
        let far = self.every * u32::try_from(self.max).unwrap_or(u32::MAX);
        while self.points.len() >= self.max
            || self.points.front().is_some_and(|first| point.at.duration_since(first.at) > far)
        {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::tests::full;
    use super::*;

    fn ages(history: &History, now: Instant) -> Vec<u64> {
        let told = history.told(now);
        told.as_array().unwrap().iter().map(|point| point[0].as_u64().unwrap() / 1000).collect()
    }

    #[test]
    fn hours_are_kept_by_the_minute_and_the_last_minutes_by_seconds() {
        let (mut history, begun) = (History::default(), Instant::now());
        let end = 8 * 3600;
        for second in (0..=end).step_by(2) {
            history.add(begun + Duration::from_secs(second), &full());
        }
        let ages = ages(&history, begun + Duration::from_secs(end));
        assert!(ages.len() <= 480, "{}", ages.len());
        assert!(ages.is_sorted_by(|a, b| a > b));
        assert!((21_000..=21_600).contains(&ages[0]), "{}", ages[0]);
        assert_eq!(ages.iter().filter(|ago| **ago > 720).count(), 347);
        assert!(ages.iter().filter(|ago| **ago <= 600).count() >= 100);
    }

    #[test]
    fn without_anybody_who_looks_it_goes_by_the_minute() {
        let (mut history, begun) = (History::default(), Instant::now());
        for minute in 0..=30 {
            history.add(begun + Duration::from_secs(60 * minute), &full());
        }
        let ages = ages(&history, begun + Duration::from_secs(1800));
        assert_eq!(ages, (0..=30).rev().map(|minute| 60 * minute).collect::<Vec<_>>());
    }

    #[test]
    fn a_point_is_the_sum_of_the_lanes_and_the_link() {
        let (mut history, now) = (History::default(), Instant::now());
        let mut status = full();
        status.lanes.iter_mut().for_each(|lane| lane.waiting = 2);
        status.link.state = LinkState::Offline;
        history.add(now, &status);
        let told = history.told(now + Duration::from_secs(3));
        assert_eq!(told[0][0], 3000);
        assert_eq!(told[0][1], 2 * status.lanes.len());
        assert_eq!(told[0][4], "offline");
        assert!(size_of::<Point>() * (COARSE.1 + FINE.1) <= 24 << 10);
    }
}
