//! What to do next, as a pure decision: link, pace and lanes in, one step out.
//!
//! Each lane keeps its own `min_share` of all sends, whatever the priorities; where those of the
//! lanes that have something come to more than all, each keeps its part of it. The rest goes by priority,
//! smaller first, absolutely, and among lanes of one priority by weight (start-time fair queueing).
//! What a lane gets of the rest counts for its share, too.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::link::Permit;

/// Virtual time one send takes in a lane of weight 1.
const STRIDE: u64 = 1 << 20;
/// One send, as shares are counted.
const ONE: i64 = 100 << 32;
/// Parts are rounded down: what may be missing of a whole send.
const SLACK: i64 = 1 << 20;

/// A lane as the plan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneView {
    /// Smaller first.
    pub priority: u32,
    /// Share among lanes of one priority.
    pub weight: u32,
    /// Percent of all sends that it keeps, whatever the others have.
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
    /// What each lane is owed of its `min_share`, in parts of [`ONE`].
    owed: Vec<i64>,
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
        let for_share = self.due(lanes) == Some(lane);
        self.owe(lane, lanes);
        if for_share {
            return;
        }
        let start = self.start(lane, chosen.priority);
        self.clocks.insert(chosen.priority, start);
        self.ends.resize(lanes.len(), 0);
        self.ends[lane] = start + STRIDE / u64::from(chosen.weight.max(1));
    }

    /// Every lane that has something is owed its part of the send that `lane` made. One that got more
    /// than its part owes at most a send for it: it does not make up for good times.
    fn owe(&mut self, lane: usize, lanes: &[LaneView]) {
        self.owed.resize(lanes.len(), 0);
        let all = percents(lanes);
        ready(lanes).for_each(|(index, view)| self.owed[index] += part(view, all));
        let of_lane = lanes.get(lane).map_or(0, |view| part(view, all));
        self.owed[lane] = (self.owed[lane] - ONE).max(of_lane - ONE);
    }

    fn choose(&self, lanes: &[LaneView]) -> Option<usize> {
        let tier = ready(lanes).map(|(_, lane)| lane.priority).min()?;
        let of_tier = ready(lanes).filter(|(_, lane)| lane.priority == tier);
        let next = of_tier.min_by_key(|(index, _)| (self.start(*index, tier), *index));
        self.due(lanes).or(next.map(|(index, _)| index))
    }

    /// The lane that is owed this send for its share.
    fn due(&self, lanes: &[LaneView]) -> Option<usize> {
        let all = percents(lanes);
        let owed = |index: usize| self.owed.get(index).copied().unwrap_or(0);
        let due = ready(lanes).filter(|(index, lane)| {
            lane.min_share_percent > 0 && owed(*index) + part(lane, all) + SLACK >= ONE
        });
        due.max_by_key(|(index, _)| (owed(*index), Reverse(*index))).map(|(index, _)| index)
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

/// What the shares of all that have something to send come to, but no less than all.
fn percents(lanes: &[LaneView]) -> i64 {
    let percents = ready(lanes).map(|(_, lane)| i64::from(lane.min_share_percent.min(100)));
    percents.sum::<i64>().max(100)
}

/// The part of each send that the lane keeps, of shares that come to `all`.
fn part(lane: &LaneView, all: i64) -> i64 {
    ONE * i64::from(lane.min_share_percent.min(100)) / all
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
    fn smaller_priorities_go_first_but_each_lane_keeps_its_share() {
        assert_eq!(shares(&[lane(2, 1, 0), lane(1, 1, 0)], 100), [0, 100]);
        assert_eq!(shares(&[lane(2, 1, 5), lane(1, 1, 5)], 1000), [50, 950]);
        let three = shares(&[lane(1, 1, 10), lane(2, 1, 10), lane(3, 1, 10)], 10_001);
        assert_eq!(three, [8001, 1000, 1000]);
        let own = shares(&[lane(0, 1, 5), lane(1, 1, 20), lane(5, 1, 50)], 1001);
        assert_eq!(own, [301, 200, 500]);
        let upper = shares(&[lane(0, 1, 40), lane(1, 1, 5)], 1000);
        assert_eq!(upper, [950, 50], "what the upper keeps is nothing to the lower");
    }

    #[test]
    fn shares_of_more_than_all_are_parts_of_all() {
        let lanes = [lane(0, 1, 100), lane(1, 1, 50), lane(2, 1, 50)];
        assert_eq!(shares(&lanes, 1001), [501, 250, 250]);
    }

    #[test]
    fn a_share_beside_weights_leaves_the_weights_of_the_others() {
        let lanes = [lane(1, 3, 0), lane(1, 1, 0), lane(1, 1, 50)];
        assert_eq!(shares(&lanes, 8000), [3000, 1000, 4000]);
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
        fn every_ready_lane_gets_its_share_and_the_rest_goes_by_priority_and_weight(
            kinds in prop::collection::vec((1_u32..4, 1_u32..10, 0_u32..60), 1..7),
        ) {
            const SENDS: u32 = 10_000;
            let lanes: Vec<_> = kinds.iter().map(|(p, w, s)| lane(*p, *w, *s)).collect();
            let counts: Vec<f64> = shares(&lanes, SENDS).into_iter().map(f64::from).collect();
            let all = kinds.iter().map(|(_, _, share)| *share).sum::<u32>().max(100);
            let kept = |i: usize| f64::from(SENDS * lanes[i].min_share_percent) / f64::from(all);
            let first = lanes.iter().map(|lane| lane.priority).min().unwrap_or(0);
            let bound = lanes.len() as f64 + 1.0;
            for lane in 0..lanes.len() {
                prop_assert!(counts[lane] >= kept(lane) - bound, "{lane} of {counts:?}");
                let below = lanes[lane].priority > first;
                prop_assert!(!below || counts[lane] <= kept(lane) + bound, "{lane} of {counts:?}");
            }
            // Those that weight gives more than they keep have it by weight.
            let by_weight = (0..lanes.len())
                .filter(|i| lanes[*i].priority == first && counts[*i] > kept(*i) * 1.2 + 50.0);
            let each = by_weight.map(|i| counts[i] / f64::from(lanes[i].weight));
            let (least, most) = each.fold((f64::MAX, 0.0_f64), |(l, m), e| (l.min(e), m.max(e)));
            prop_assert!(most <= least || most - least <= bound, "{counts:?}");
        }
    }
}
