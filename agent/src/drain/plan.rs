//! What to do next, as a pure decision: link, pace and lanes in, one step out.
//!
//! Smaller priorities go first, absolutely, but each leaves the `min_share` of its sends to the
//! ones below while those wait. Lanes of one priority share by weight (start-time fair queueing).

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::link::Permit;

/// Virtual time one send takes in a lane of weight 1.
const STRIDE: u64 = 1 << 20;

/// A lane as the plan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneView {
    /// Smaller first.
    pub priority: u32,
    /// Share among lanes of one priority.
    pub weight: u32,
    /// Percent of the sends left to lower priorities.
    pub min_share_percent: u32,
    /// What it has.
    pub state: Readiness,
}

/// What a lane has to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// A record may leave now.
    Ready,
    /// Nothing before this moment: a deferred record, or the next probe of a held lane.
    Due(Instant),
    /// Held, and only an event (a new record, an operator) can change it.
    Held,
    /// It has its share of requests in flight; an answer will change that.
    Busy,
    /// Nothing waits.
    Empty,
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A record of this lane leaves.
    Send(usize),
    /// Ask the far end without a record.
    Probe,
    /// Nothing before this moment, unless something happens.
    WaitUntil(Instant),
    /// Records wait but may not leave until something happens.
    Hold(Cause),
    /// Nothing to do until something happens.
    Idle,
}

/// What holds everything that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The link: not configured, or an attempt is under way.
    Link,
    /// Each lane that has records is held.
    Lanes,
}

/// The memory of shares. Indices are those of the lanes given to each call.
#[derive(Debug, Default)]
pub struct Plan {
    /// What each priority owes to the ones below, in percent of a send.
    owed: BTreeMap<u32, u32>,
    /// Virtual time of each priority.
    clocks: BTreeMap<u32, u64>,
    /// Virtual time at which each lane's last send ended.
    ends: Vec<u64>,
}

impl Plan {
    /// Decides. `pace` is when the pacer lets the next record go, if not now.
    pub fn decide(&self, permit: Permit, pace: Option<Instant>, lanes: &[LaneView]) -> Step {
        let record_only = match permit {
            Permit::Never => return Step::Hold(Cause::Link),
            Permit::Wait(at) => return Step::WaitUntil(at),
            Permit::Bare => return Step::Probe,
            Permit::Flow => true,
            Permit::Probe { record_only } => record_only,
        };
        match self.choose(lanes) {
            Some(lane) => pace.map_or(Step::Send(lane), Step::WaitUntil),
            None if !record_only => Step::Probe,
            None => wait(lanes),
        }
    }

    /// Notes that a record of `lane` left while `lanes` stood as given.
    pub fn sent(&mut self, lane: usize, lanes: &[LaneView]) {
        let Some(chosen) = lanes.get(lane) else {
            return;
        };
        for tier in tiers(lanes) {
            let share = share_percent(lanes, tier);
            let owed = self.owed.entry(tier).or_default();
            if tier < chosen.priority {
                *owed = owed.saturating_sub(100 - share);
            } else if tier == chosen.priority && ready(lanes).any(|(_, l)| l.priority > tier) {
                *owed += share;
            }
        }
        let start = self.start(lane, chosen.priority);
        self.clocks.insert(chosen.priority, start);
        self.ends.resize(lanes.len(), 0);
        self.ends[lane] = start + STRIDE / u64::from(chosen.weight.max(1));
    }

    fn choose(&self, lanes: &[LaneView]) -> Option<usize> {
        let tiers = tiers(lanes);
        let lowest = tiers.last().copied()?;
        let due = |tier: u32| {
            let share = share_percent(lanes, tier);
            share > 0 && self.owed.get(&tier).is_some_and(|owed| *owed >= 100 - share)
        };
        let tier = tiers.into_iter().find(|tier| *tier == lowest || !due(*tier))?;
        ready(lanes)
            .filter(|(_, lane)| lane.priority == tier)
            .min_by_key(|(index, _)| (self.start(*index, tier), *index))
            .map(|(index, _)| index)
    }

    /// When a send of `lane` would begin in its priority's virtual time: a lane that was idle does
    /// not get the past back.
    fn start(&self, lane: usize, priority: u32) -> u64 {
        let end = self.ends.get(lane).copied().unwrap_or(0);
        end.max(self.clocks.get(&priority).copied().unwrap_or(0))
    }
}

fn wait(lanes: &[LaneView]) -> Step {
    let due = lanes.iter().filter_map(|lane| match lane.state {
        Readiness::Due(at) => Some(at),
        _ => None,
    });
    match due.min() {
        Some(at) => Step::WaitUntil(at),
        None if lanes.iter().any(|lane| lane.state == Readiness::Held) => Step::Hold(Cause::Lanes),
        None => Step::Idle,
    }
}

fn ready(lanes: &[LaneView]) -> impl Iterator<Item = (usize, &LaneView)> {
    let all = lanes.iter().enumerate();
    all.filter(|(_, lane)| lane.state == Readiness::Ready)
}

/// Priorities with something to send, smallest first.
fn tiers(lanes: &[LaneView]) -> Vec<u32> {
    let mut tiers: Vec<u32> = ready(lanes).map(|(_, lane)| lane.priority).collect();
    tiers.sort_unstable();
    tiers.dedup();
    tiers
}

fn share_percent(lanes: &[LaneView], tier: u32) -> u32 {
    let of_tier = ready(lanes).filter(|(_, lane)| lane.priority == tier);
    of_tier.map(|(_, lane)| lane.min_share_percent.min(100)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn lane(priority: u32, weight: u32, min_share_percent: u32) -> LaneView {
        LaneView { priority, weight, min_share_percent, state: Readiness::Ready }
    }

    /// How often each lane is chosen in `n` sends.
    fn shares(lanes: &[LaneView], n: u32) -> Vec<u32> {
        let mut plan = Plan::default();
        let mut counts = vec![0; lanes.len()];
        for _ in 0..n {
            let Step::Send(lane) = plan.decide(Permit::Flow, None, lanes) else {
                panic!("all are ready");
            };
            plan.sent(lane, lanes);
            counts[lane] += 1;
        }
        counts
    }

    #[test]
    fn smaller_priorities_go_first_but_leave_the_share() {
        assert_eq!(shares(&[lane(2, 1, 0), lane(1, 1, 0)], 100), [0, 100]);
        assert_eq!(shares(&[lane(2, 1, 5), lane(1, 1, 5)], 1000), [50, 950]);
        let three = shares(&[lane(1, 1, 10), lane(2, 1, 10), lane(3, 1, 10)], 10_000);
        assert_eq!(three, [9000, 900, 100]);
    }

    #[test]
    fn equals_share_by_weight_and_in_turns() {
        assert_eq!(shares(&[lane(1, 3, 5), lane(1, 1, 5)], 400), [300, 100]);
        assert_eq!(shares(&[lane(1, 1, 5), lane(1, 1, 5)], 2), [1, 1]);
    }

    #[test]
    fn an_idle_lane_saves_nothing_up() {
        let mut lanes = [lane(1, 1, 0), lane(1, 1, 0)];
        lanes[1].state = Readiness::Empty;
        let mut plan = Plan::default();
        (0..1000).for_each(|_| plan.sent(0, &lanes));
        lanes[1].state = Readiness::Ready;
        let mut first = [0, 0];
        for _ in 0..10 {
            let Step::Send(lane) = plan.decide(Permit::Flow, None, &lanes) else {
                panic!("ready");
            };
            plan.sent(lane, &lanes);
            first[lane] += 1;
        }
        assert_eq!(first, [5, 5]);
    }

    #[test]
    fn link_and_pace_come_before_lanes_and_holds_are_told_from_idleness() {
        let plan = Plan::default();
        let now = Instant::now();
        let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        let mut lanes = [lane(1, 1, 5), lane(2, 1, 5)];
        let probe = Permit::Probe { record_only: false };
        assert_eq!(plan.decide(Permit::Never, None, &lanes), Step::Hold(Cause::Link));
        assert_eq!(plan.decide(Permit::Bare, None, &lanes), Step::Probe);
        assert_eq!(plan.decide(Permit::Wait(later), None, &lanes), Step::WaitUntil(later));
        assert_eq!(plan.decide(Permit::Flow, Some(soon), &lanes), Step::WaitUntil(soon));
        assert_eq!(plan.decide(probe, None, &lanes), Step::Send(0));
        lanes[0].state = Readiness::Held;
        lanes[1].state = Readiness::Due(later);
        assert_eq!(plan.decide(Permit::Flow, None, &lanes), Step::WaitUntil(later));
        assert_eq!(plan.decide(probe, None, &lanes), Step::Probe);
        lanes[1].state = Readiness::Empty;
        assert_eq!(plan.decide(Permit::Flow, None, &lanes), Step::Hold(Cause::Lanes));
        assert_eq!(
            plan.decide(Permit::Probe { record_only: true }, None, &lanes),
            Step::Hold(Cause::Lanes)
        );
        lanes[0].state = Readiness::Empty;
        assert_eq!(plan.decide(Permit::Flow, None, &lanes), Step::Idle);
    }

    proptest! {
        #[test]
        fn every_ready_lane_gets_its_share_and_none_is_starved(
            kinds in prop::collection::vec((1_u32..4, 1_u32..10, 1_u32..50), 1..6),
        ) {
            let lanes: Vec<_> = kinds.iter().map(|(p, w, s)| lane(*p, *w, *s)).collect();
            let counts = shares(&lanes, 2_000);
            for (a, b) in (0..lanes.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
                if lanes[a].priority == lanes[b].priority {
                    let each = |i: usize| f64::from(counts[i]) / f64::from(lanes[i].weight);
                    prop_assert!((each(a) - each(b)).abs() <= 2.0, "{:?}", counts);
                }
            }
            let top = tiers(&lanes)[0];
            let below: u32 = (0..lanes.len())
                .filter(|i| lanes[*i].priority > top).map(|i| counts[i]).sum();
            if lanes.iter().any(|l| l.priority > top) {
                let expected = share_percent(&lanes, top) * 20;
                prop_assert!(below.abs_diff(expected) <= 2, "{below} {expected}");
            }
        }
    }
}
