//! One way to return, in figures of the whole fleet.

use serde::Serialize;

use super::Question;
use crate::fleet::{Load, Outcome, Policy, Stopped};

/// Points of a curve.
const POINTS: usize = 600;
/// Bins of a second.
const SECOND: usize = (1_000_000 / Load::BIN_US) as usize;

/// What was simulated of one way to return.
#[derive(Debug)]
pub struct Run {
    /// The way.
    pub policy: Policy,
    /// Its outcomes, one for each seed, at least one.
    pub outcomes: Vec<Outcome>,
}

/// One way to return; the worst of all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Way {
    pub way: &'static str,
    pub peak_messages_per_s: f64,
    pub peak_over_capacity: f64,
    /// TLS connects count as five messages, rejects as a tenth.
    pub peak_work_over_capacity: f64,
    pub ideal_s: f64,
    /// `null`: not within the simulated time.
    pub half_of_gateways_drained_s: Option<f64>,
    pub gateways_99_percent_drained_s: Option<f64>,
    pub last_gateway_drained_s: Option<f64>,
    pub gateways_drained_part: f64,
    pub rejected_messages: f64,
    pub rejected_part: f64,
    pub live_p99_s: f64,
    pub critical_p99_s: f64,
    /// "events" or "time": that bound ended a run before all gateways had drained; `null`: none.
    pub stopped_by: Option<&'static str>,
    /// So many were simulated, in the longest run.
    pub events: u64,
    /// So long after the network was back the simulation ended, in the longest run.
    pub simulated_s: f64,
    /// Most messages offered in any second of each step, of the first seed.
    pub load_step_s: f64,
    pub load_messages_per_s: Vec<f64>,
}

impl Way {
    /// What the runs say of the whole fleet; the curve up to bin `end`.
    pub(super) fn new(question: &Question, run: &Run, end: usize) -> Self {
        let worst =
            |figure: fn(&Outcome) -> f64| run.outcomes.iter().map(figure).fold(0.0, f64::max);
        let ideal_s = question.ideal_s();
        let time = |figure: fn(&Outcome) -> Option<f64>| {
            let times: Option<Vec<f64>> = run.outcomes.iter().map(figure).collect();
            times.map(|times| times.into_iter().fold(0.0, f64::max) * ideal_s)
        };
        let rejected_part =
            worst(|outcome| outcome.rejected as f64 / outcome.offered.max(1) as f64);
        let peak = worst(|outcome| outcome.peak);
        let messages = run.outcomes.iter().map(|outcome| {
            outcome.rejected as f64 * question.live_messages_per_s() / outcome.live_per_s
        });
        let (load_step_s, load) = curve(question, run, end);
        Self {
            way: name(run.policy),
            peak_messages_per_s: peak * question.capacity_per_s,
            peak_over_capacity: peak,
            peak_work_over_capacity: worst(|outcome| outcome.peak_work),
            ideal_s,
            half_of_gateways_drained_s: time(|outcome| outcome.drained_p50),
            gateways_99_percent_drained_s: time(|outcome| outcome.drained_p99),
            last_gateway_drained_s: time(|outcome| outcome.drained),
            gateways_drained_part: 1.0 - worst(|outcome| 1.0 - outcome.drained_part),
            rejected_messages: messages.fold(0.0, f64::max),
            rejected_part,
            live_p99_s: worst(|outcome| outcome.live.p99_s),
            critical_p99_s: worst(|outcome| outcome.critical.p99_s),
            stopped_by: run.outcomes.iter().find_map(|outcome| outcome.stopped).map(bound),
            events: run.outcomes.iter().map(|outcome| outcome.events).max().unwrap_or(0),
            simulated_s: worst(|outcome| outcome.lasted) * ideal_s,
            load_step_s,
            load_messages_per_s: load,
        }
    }
}

/// The offered load up to bin `end`: of each step the most in any second that begins in it.
fn curve(question: &Question, run: &Run, end: usize) -> (f64, Vec<f64>) {
    let step = end.div_ceil(POINTS).max(SECOND);
    let step_s = step as f64 * Load::BIN_US as f64 / 1e6;
    let Some(outcome) = run.outcomes.first() else {
        return (step_s, Vec::new());
    };
    let bins = &outcome.load.records;
    let to_fleet = question.capacity_per_s / outcome.capacity_per_s;
    let second = |from: usize| {
        let bins = bins.get(from..(from + SECOND).min(bins.len())).unwrap_or_default();
        bins.iter().map(|bin| f64::from(*bin)).sum::<f64>()
    };
    let most = |from: usize| (from..from + step).map(second).fold(0.0, f64::max) * to_fleet;
    // The last second is not a whole one.
    let whole = bins.len().min(end).saturating_sub(SECOND - 1).max(1);
    (step_s, (0..whole).step_by(step).map(most).collect())
}

/// A bound's name.
fn bound(stopped: Stopped) -> &'static str {
    match stopped {
        Stopped::Events => "events",
        Stopped::Time => "time",
    }
}

/// A way's name, as the command line has it.
fn name(policy: Policy) -> &'static str {
    match policy {
        Policy::SelfAnchored => "spillway",
        Policy::Naive => "naive",
        Policy::Exponential => "exponential",
        Policy::FullJitter => "full-jitter",
        Policy::DecorrelatedJitter => "decorrelated-jitter",
        Policy::StaticBucket => "static-bucket",
        Policy::Aimd => "aimd",
    }
}
