//! The figures of the whole fleet, made out of those of the simulated part.

use serde::Serialize;

use super::fluid::Reader;
use super::{Question, Scale, settings, warning};
use crate::fleet::{Load, Outcome, Policy};

/// What a record takes on the disk beside its body, where each is committed by itself: measured
/// with 8,000 records of 256 bytes, each sent when the one before it was answered. (Where many
/// come together it is 80.)
const ON_DISK_BYTES: f64 = 540.0;
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

/// The plan. Names say the unit; times count from the moment the network is back.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Answer {
    pub fleet: Fleet,
    pub broker: Broker,
    pub simulated: Simulated,
    /// Ours first.
    pub ways: Vec<Way>,
    pub wire: Wire,
    pub consumer: Consumer,
    pub disk: Disk,
    pub settings_toml: String,
    pub warnings: Vec<String>,
}

/// What was asked of the gateways.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Fleet {
    pub gateways: u32,
    pub records_per_s: f64,
    pub records_per_s_per_gateway: f64,
    pub records_per_s_of_the_heaviest: f64,
    pub record_bytes: u64,
    pub outage_s: f64,
    pub backlog_records: f64,
    pub records_in_a_message_of_backlog: f64,
    pub records_in_a_live_message: f64,
}

/// What was asked of the broker.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Broker {
    pub capacity_messages_per_s: f64,
    pub live_messages_per_s: f64,
    pub capacity_over_live: f64,
    pub retention_s: f64,
}

/// How much of it was simulated.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Simulated {
    pub gateways: u32,
    pub outage_s: f64,
    pub first_seed: u64,
    pub seeds: usize,
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
    /// Most messages offered in any second of each step, of the first seed.
    pub load_step_s: f64,
    pub load_messages_per_s: Vec<f64>,
}

/// Requests (what an HTTP API bills) and bytes, without TLS and without what is sent twice.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Wire {
    pub single_record_bytes: f64,
    pub backlog_record_bytes: f64,
    pub live_record_bytes: f64,
    pub backlog_requests: f64,
    pub backlog_bytes: f64,
    pub backlog_requests_per_gateway: f64,
    pub backlog_bytes_per_gateway: f64,
    pub daily_requests: f64,
    pub daily_bytes: f64,
    pub daily_requests_per_gateway: f64,
    pub daily_bytes_per_gateway: f64,
}

/// Those who read from the broker.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Consumer {
    pub rows_per_s: f64,
    /// `null`: never.
    pub caught_up_s: Option<f64>,
    pub unread_records_at_most: f64,
    /// Until it has caught up; `null` where it never does.
    pub deleted_unread_records: Option<f64>,
    pub deleted_unread_records_per_day: f64,
    pub least_rows_per_s: f64,
}

/// What the outage takes on a gateway's disk.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Disk {
    pub record_bytes: f64,
    pub outage_bytes_per_gateway: f64,
    pub outage_bytes_of_the_heaviest: f64,
}

impl Answer {
    /// `runs` of what `scale` makes of `question`, ours first, with seeds from `first_seed` on.
    pub fn new(question: &Question, scale: &Scale, first_seed: u64, runs: &[Run]) -> Self {
        let ours = runs.first().and_then(|run| run.outcomes.first());
        let end = ours.map_or(0, |outcome| outcome.load.records.len());
        let ways = runs.iter().map(|run| way(question, run, end)).collect();
        let mut answer = Self {
            fleet: fleet(question),
            broker: broker(question),
            simulated: Simulated {
                gateways: scale.gateways,
                outage_s: scale.outage.as_secs_f64(),
                first_seed,
                seeds: runs.first().map_or(0, |run| run.outcomes.len()),
            },
            ways,
            wire: wire(question),
            consumer: consumer(question, scale, ours),
            disk: disk(question),
            settings_toml: String::new(),
            warnings: Vec::new(),
        };
        answer.settings_toml = settings::toml(question, &answer);
        answer.warnings = warning::all(question, &answer);
        answer
    }

    /// Whether all of the fleet and of the outage was simulated.
    pub fn is_exact(&self) -> bool {
        self.simulated.gateways == self.fleet.gateways
            && self.simulated.outage_s == self.fleet.outage_s
    }
}

/// A way's name, as the command line has it.
pub(super) fn name(policy: Policy) -> &'static str {
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

fn fleet(question: &Question) -> Fleet {
    Fleet {
        gateways: question.gateways,
        records_per_s: question.live_per_s(),
        records_per_s_per_gateway: question.rate_per_s,
        records_per_s_of_the_heaviest: question.heaviest_per_s(),
        record_bytes: question.record_bytes,
        outage_s: question.outage.as_secs_f64(),
        backlog_records: question.backlog(),
        records_in_a_message_of_backlog: question.in_message(),
        records_in_a_live_message: question.in_live_message(),
    }
}

fn broker(question: &Question) -> Broker {
    Broker {
        capacity_messages_per_s: question.capacity_per_s,
        live_messages_per_s: question.live_messages_per_s(),
        capacity_over_live: question.headroom(),
        retention_s: question.retention.as_secs_f64(),
    }
}

fn way(question: &Question, run: &Run, end: usize) -> Way {
    let worst = |figure: fn(&Outcome) -> f64| run.outcomes.iter().map(figure).fold(0.0, f64::max);
    let ideal_s = question.ideal_s();
    let time = |figure: fn(&Outcome) -> Option<f64>| {
        let times: Option<Vec<f64>> = run.outcomes.iter().map(figure).collect();
        times.map(|times| times.into_iter().fold(0.0, f64::max) * ideal_s)
    };
    let rejected_part = worst(|outcome| outcome.rejected as f64 / outcome.offered.max(1) as f64);
    let peak = worst(|outcome| outcome.peak);
    let messages = run.outcomes.iter().map(|outcome| {
        outcome.rejected as f64 * question.live_messages_per_s() / outcome.live_per_s
    });
    let (load_step_s, load) = curve(question, run, end);
    Way {
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
        load_step_s,
        load_messages_per_s: load,
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

fn wire(question: &Question) -> Wire {
    let gateways = f64::from(question.gateways);
    let (backlog_requests, backlog_bytes) = question.backlog_wire();
    let (daily_requests, daily_bytes) = question.daily_wire();
    let record = |records: f64| question.request_bytes(records) / records;
    Wire {
        single_record_bytes: record(1.0),
        backlog_record_bytes: record(question.in_request()),
        live_record_bytes: record(question.in_live_message()),
        backlog_requests,
        backlog_bytes,
        backlog_requests_per_gateway: backlog_requests / gateways,
        backlog_bytes_per_gateway: backlog_bytes / gateways,
        daily_requests,
        daily_bytes,
        daily_requests_per_gateway: daily_requests / gateways,
        daily_bytes_per_gateway: daily_bytes / gateways,
    }
}

fn consumer(question: &Question, scale: &Scale, ours: Option<&Outcome>) -> Consumer {
    let stretch = scale.stretch(question);
    let arrivals: Vec<f64> = ours.map_or_else(Vec::new, |outcome| {
        // Both count records; the simulated fleet's rate is its own.
        let to_fleet = question.live_messages_per_s() / outcome.live_per_s
            * question.in_live_message()
            * stretch;
        outcome.load.delivered.iter().map(|records| f64::from(*records) * to_fleet).collect()
    });
    let step_s = Load::BIN_US as f64 / 1e6 * stretch;
    let reader = Reader {
        rate_per_s: question.consumer_per_s,
        retention_s: question.retention.as_secs_f64(),
        live_per_s: question.live_per_s(),
    };
    let reading = reader.read(&arrivals, step_s);
    Consumer {
        rows_per_s: question.consumer_per_s,
        caught_up_s: reading.caught_up_s,
        unread_records_at_most: reading.unread,
        deleted_unread_records: reading.deleted,
        deleted_unread_records_per_day: reading.deleted_per_day,
        least_rows_per_s: reader.least_per_s(&arrivals, step_s),
    }
}

fn disk(question: &Question) -> Disk {
    let record_bytes = question.record_bytes as f64 + ON_DISK_BYTES;
    let outage = |rate: f64| rate * question.outage.as_secs_f64() * record_bytes;
    Disk {
        record_bytes,
        outage_bytes_per_gateway: outage(question.rate_per_s),
        outage_bytes_of_the_heaviest: outage(question.heaviest_per_s()),
    }
}
