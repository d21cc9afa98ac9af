//! How the state went while it was watched: rates of each lane and the last minutes' depth; pure.

use std::collections::VecDeque;
use std::time::Duration;

use spillway_protocol::local::status::{Lane, Status};

/// Over how long the rates of a lane are taken.
const RATE_OVER: Duration = Duration::from_secs(10);
/// Points of a plot that are kept.
const POINTS_MAX: usize = 600;

/// What is known of the agent.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// States of the last [`RATE_OVER`] and the one before, the oldest first.
    states: VecDeque<(Duration, Status)>,
    points: VecDeque<Point>,
    /// Why the agent does not answer, while it does not.
    pub(super) lost: Option<String>,
}

/// A moment of the plots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// Records that wait, of all lanes.
    pub(super) waiting: u64,
    /// Records that came since the last moment, a second.
    pub(super) accepted_per_s: f64,
    /// Records that left since then, a second.
    pub(super) delivered_per_s: f64,
}

/// Records a second that came and left.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Flow {
    pub(super) accepted_per_s: f64,
    pub(super) delivered_per_s: f64,
}

impl Course {
    /// Adds what the agent said at `now`. One that was started anew begins a new course of rates.
    pub(super) fn add(&mut self, now: Duration, status: Status) {
        self.lost = None;
        if self.states.back().is_some_and(|(_, last)| last.pid != status.pid) {
            self.states.clear();
        }
        let flow = self.states.back().map(|(then, last)| {
            flow(now.saturating_sub(*then), last.lanes.iter(), status.lanes.iter())
        });
        let flow = flow.unwrap_or_default();
        self.points.push_back(Point {
            waiting: status.lanes.iter().map(|lane| lane.waiting).sum(),
            accepted_per_s: flow.accepted_per_s,
            delivered_per_s: flow.delivered_per_s,
        });
        if self.points.len() > POINTS_MAX {
            self.points.pop_front();
        }
        self.states.push_back((now, status));
        while self.states.get(1).is_some_and(|(then, _)| now.saturating_sub(*then) >= RATE_OVER) {
            self.states.pop_front();
        }
    }

    /// The agent does not answer.
    pub(super) fn lost(&mut self, reason: String) {
        self.lost = Some(reason);
    }

    /// What it said last.
    pub(super) fn last(&self) -> Option<&Status> {
        self.states.back().map(|(_, status)| status)
    }

    /// A lane's rates over the last seconds.
    pub(super) fn flow(&self, lane: &Lane) -> Flow {
        let (Some((from, then)), Some((to, _))) = (self.states.front(), self.states.back()) else {
            return Flow::default();
        };
        let before = then.lanes.iter().filter(|before| before.name == lane.name);
        flow(to.saturating_sub(*from), before, std::iter::once(lane))
    }

    /// The last `count` points of a plot.
    pub(super) fn points(&self, count: usize) -> impl Iterator<Item = &Point> {
        self.points.iter().skip(self.points.len().saturating_sub(count))
    }
}

/// What came and left between two states. Totals may go back a little after a kill: that is none.
fn flow<'a>(
    over: Duration,
    before: impl Iterator<Item = &'a Lane>,
    after: impl Iterator<Item = &'a Lane>,
) -> Flow {
    let sum = |(a, d): (u64, u64), lane: &Lane| (a + lane.accepted, d + lane.delivered);
    let (before, after) = (before.fold((0, 0), sum), after.fold((0, 0), sum));
    let seconds = over.as_secs_f64();
    if seconds <= 0.0 {
        return Flow::default();
    }
    Flow {
        accepted_per_s: after.0.saturating_sub(before.0) as f64 / seconds,
        delivered_per_s: after.1.saturating_sub(before.1) as f64 / seconds,
    }
}
