//! The figures of the whole fleet, made out of those of the simulated part.

use serde::Serialize;

use super::fluid::Reader;
use super::way::{Run, Way};
use super::{Question, Scale, settings, warning};
use crate::fleet::{Load, Outcome};

/// What a record takes on the disk beside its body, where each is committed by itself: measured
/// with 8,000 records of 256 bytes, each sent when the one before it was answered. (Where many
/// come together it is 80.)
const ON_DISK_BYTES: f64 = 540.0;
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
        let ways = runs.iter().map(|run| Way::new(question, run, end)).collect();
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
