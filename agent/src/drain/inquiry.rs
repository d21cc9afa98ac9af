//! What the drain knows of one lane and of one record, for who asks why it has not left.

use std::time::Duration;

use spillway_protocol::local::status::{Hold, Link, LinkState};
use spillway_protocol::record::{LaneName, Topic};
use tokio::time::Instant;

use super::breaker::Breaker;
use super::handle::DrainHandle;
use super::state::{Flight, LaneState, State};
use crate::config::Order;

/// How the link's reason begins while the far end can be reached and answers no record.
pub(super) const MUTE: &str = "reached, but no record is answered: ";

/// What goes wrong with records while the far end can be reached and answers none.
pub fn mute_reason(link: &Link) -> Option<&str> {
    let away = matches!(link.state, LinkState::Offline | LinkState::Probing);
    link.reason.strip_prefix(MUTE).filter(|_| away)
}

/// What keeps a lane's records here, apart from link and pace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneOutlook {
    /// The first send after a start or an outage is due after this; priority lanes wait less.
    pub first_send_in: Option<Duration>,
    /// A new day of `[budget]` has begun, and this gateway's turn comes after this.
    pub rests_for: Option<Duration>,
    /// Records that failed and wait for another try.
    pub failed: usize,
    /// Of the order keys that are held, the first record of one.
    pub held_key: Option<(u64, Mishap)>,
    /// Where its live front begins, if it has one.
    pub live_from: Option<u64>,
}

/// What keeps the records of one topic of a lane here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicOutlook {
    /// It is held.
    pub hold: Option<Hold>,
    /// The next probe is due after this.
    pub asked_in: Option<Duration>,
    /// Nothing of it leaves for so long.
    pub paused_for: Option<Duration>,
}

/// What went wrong with one record that is still in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mishap {
    /// The broker's code, `unknown` or `connection`.
    pub code: String,
    /// The broker's words.
    pub reason: String,
    /// How often.
    pub tries: u32,
}

/// A request under way, by the records that it carries.
#[derive(Debug)]
pub(super) struct Aloft {
    lane: usize,
    positions: Vec<u64>,
    since: Instant,
}

impl Aloft {
    pub(super) fn of(flight: &Flight) -> Self {
        let positions = flight.positions().collect();
        Self { lane: flight.facts.lane, positions, since: flight.sent_at }
    }
}

impl DrainHandle {
    /// What keeps the records of `lane` here.
    pub fn lane_outlook(&self, lane: &LaneName) -> Option<LaneOutlook> {
        let shared = self.shared();
        let state = shared.state();
        Some(state.lane_outlook(state.lane_index(lane)?, Instant::now()))
    }

    /// What keeps those of them here that go to `topic`.
    pub fn topic_outlook(&self, lane: &LaneName, topic: &Topic) -> Option<TopicOutlook> {
        let shared = self.shared();
        let state = shared.state();
        Some(state.topic_outlook(state.lane_index(lane)?, topic, Instant::now()))
    }

    /// What went wrong with the record at `position`, if it failed and still waits.
    pub fn mishap(&self, lane: &LaneName, position: u64) -> Option<Mishap> {
        let shared = self.shared();
        let state = shared.state();
        state.mishap(state.lane_index(lane)?, position)
    }

    /// How long the request with the record at `position` is under way, if one is.
    pub fn sending(&self, lane: &LaneName, position: u64) -> Option<Duration> {
        let shared = self.shared();
        let state = shared.state();
        let lane = state.lane_index(lane)?;
        let carries = |a: &&Aloft| a.lane == lane && a.positions.contains(&position);
        let aloft = state.aloft.values().find(carries)?;
        Some(Instant::now().duration_since(aloft.since))
    }
}

impl State {
    fn lane_index(&self, name: &LaneName) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.config.name == *name)
    }

    fn lane_outlook(&self, lane: usize, now: Instant) -> LaneOutlook {
        let state = &self.lanes[lane];
        let urgent = self.link.urgent_from(now).filter(|_| self.is_urgent(lane));
        let first = urgent.or_else(|| self.link.first_send_at(now));
        LaneOutlook {
            first_send_in: first.and_then(|at| left(at, now)),
            rests_for: state.rested_until.and_then(|at| left(at, now)),
            failed: state.failed(),
            held_key: self.held_key(lane),
            live_from: state.live_from,
        }
    }

    fn held_key(&self, lane: usize) -> Option<(u64, Mishap)> {
        let lane = Some(&self.lanes[lane]).filter(|lane| lane.config.order == Order::Key)?;
        let refused = lane.breakers.values().find_map(Breaker::first_stuck);
        refused.or_else(|| lane.breakages.first_suspect())
    }

    fn topic_outlook(&self, lane: usize, topic: &Topic, now: Instant) -> TopicOutlook {
        let lane = &self.lanes[lane];
        let breaker = lane.breaker(topic);
        TopicOutlook {
            hold: lane.hold_of(topic, now).or_else(|| lane.broken(now)),
            asked_in: breaker.and_then(Breaker::asked_at).and_then(|at| left(at, now)),
            paused_for: breaker.and_then(Breaker::paused_until).and_then(|at| left(at, now)),
        }
    }

    fn mishap(&self, lane: usize, position: u64) -> Option<Mishap> {
        let lane = &self.lanes[lane];
        let refused = lane.breakers.values().find_map(|breaker| breaker.mishap(position));
        refused.or_else(|| lane.breakages.mishap(position))
    }
}

impl LaneState {
    /// Records that were refused or broke the connection; one that did both counts once.
    fn failed(&self) -> usize {
        let refused = self.breakers.values().flat_map(Breaker::suspect_positions);
        let refused: Vec<u64> = refused.collect();
        let broke_too = refused.iter().filter(|at| self.breakages.mishap(**at).is_some());
        refused.len() + self.breakages.suspects().count() - broke_too.count()
    }
}

fn left(at: Instant, now: Instant) -> Option<Duration> {
    Some(at.saturating_duration_since(now)).filter(|left| !left.is_zero())
}
