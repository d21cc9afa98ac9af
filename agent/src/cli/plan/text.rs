//! The plan for people: within 100 columns, the return first.

use super::page::{Line, section, wrap};
use crate::cli::human::{self, Column};
use crate::plan::figure::{grouped, span};
use crate::plan::{Answer, Question, Way, plot};

pub(super) fn show(question: &Question, answer: &Answer) -> String {
    let mut parts =
        vec![section("THE FLEET", &fleet(question, answer)), section("ITS RETURN", &back(answer))];
    if answer.ways.len() > 1 {
        parts.push(ways(&answer.ways));
    }
    parts.push(section("ON THE WIRE (without TLS)", &wire(answer)));
    parts.push(section("THE FAR SIDE", &far(answer)));
    parts.push(section("ON A GATEWAY'S DISK", &disk(answer)));
    parts.push(format!("SETTINGS THAT FIT\n{}", answer.settings_toml));
    if !answer.warnings.is_empty() {
        let warnings = answer.warnings.iter().map(|warning| wrap("- ", 2, warning));
        parts.push(format!("WARNINGS\n{}", warnings.collect::<String>()));
    }
    parts.join("\n")
}

fn fleet(question: &Question, answer: &Answer) -> Vec<Line> {
    let (fleet, broker, simulated) = (&answer.fleet, &answer.broker, &answer.simulated);
    let heavy = match question.heavy_part > 0.0 {
        true => format!(
            " ({} % of them {} times what the others make)",
            shortest(100.0 * question.heavy_part),
            question.heavy_times
        ),
        false => String::new(),
    };
    let whole = match answer.is_exact() {
        true => "all of it".to_owned(),
        false => format!(
            "{} of the gateways after {} away, with a like part of the capacity; --exact takes all",
            grouped(f64::from(simulated.gateways)),
            span(simulated.outage_s)
        ),
    };
    let seeds = match simulated.seeds {
        1 => format!("seed {}", simulated.first_seed),
        n => format!("the worst of {n} seeds from {} on", simulated.first_seed),
    };
    vec![
        (
            "gateways",
            format!(
                "{}, {} records/s each in the mean{heavy}, {}",
                grouped(f64::from(fleet.gateways)),
                rate(fleet.records_per_s_per_gateway),
                human::bytes(fleet.record_bytes)
            ),
        ),
        ("they make", format!("{} records/s{}", number(fleet.records_per_s), bundled(answer))),
        (
            "away for",
            format!(
                "{}: {} records wait then",
                span(fleet.outage_s),
                grouped(fleet.backlog_records)
            ),
        ),
        (
            "the broker takes",
            format!(
                "{} messages/s, {:.2} times what they make",
                number(broker.capacity_messages_per_s),
                broker.capacity_over_live
            ),
        ),
        ("simulated", format!("{whole}; {seeds}")),
    ]
}

/// `0.05`, `12`, with three digits that count.
fn rate(value: f64) -> String {
    match value {
        small if small < 0.1 => format!("{small:.4}"),
        value if value < 10.0 => format!("{value:.2}"),
        value => grouped(value),
    }
}

fn number(value: f64) -> String {
    if value < 100.0 { rate(value) } else { grouped(value) }
}

fn bundled(answer: &Answer) -> String {
    let fleet = &answer.fleet;
    match fleet.records_in_a_message_of_backlog {
        most if most <= 1.0 => String::new(),
        most => format!(
            " in {} messages/s (a live one holds {:.1} records, one of a backlog {most:.0})",
            number(answer.broker.live_messages_per_s),
            fleet.records_in_a_live_message
        ),
    }
}

fn back(answer: &Answer) -> Vec<Line> {
    let Some(ours) = answer.ways.first() else { return Vec::new() };
    let rejected = match ours.rejected_messages {
        none if none < 0.5 => "none".to_owned(),
        some => format!("{} messages, {:.2} %", grouped(some), 100.0 * ours.rejected_part),
    };
    vec![
        (
            "peak in any second",
            format!(
                "{} messages, {:.2} times the capacity; with TLS connects {:.2} times",
                grouped(ours.peak_messages_per_s),
                ours.peak_over_capacity,
                ours.peak_work_over_capacity
            ),
        ),
        ("rejected", rejected),
        ("half of them drained", within(ours.half_of_gateways_drained_s)),
        ("99 %", within(ours.gateways_99_percent_drained_s)),
        (
            "the last",
            format!(
                "{}; a perfect drain takes {}",
                within(ours.last_gateway_drained_s),
                span(ours.ideal_s)
            ),
        ),
        (
            "meanwhile",
            format!(
                "99 % of a priority lane's records within {} of the return; live ones, with freshness, {}",
                span(ours.critical_p99_s),
                span(ours.live_p99_s)
            ),
        ),
    ]
}

fn within(time_s: Option<f64>) -> String {
    time_s.map_or_else(
        || "not within the simulated time".to_owned(),
        |s| format!("after {}", span(s)),
    )
}

fn ways(ways: &[Way]) -> String {
    let columns = [
        Column::Left("WAY TO RETURN"),
        Column::Right("PEAK"),
        Column::Right("WITH TLS"),
        Column::Right("REJECTED"),
        Column::Right("HALF"),
        Column::Right("99 %"),
        Column::Right("LAST"),
        Column::Right("DRAINED"),
    ];
    let time = |time_s: Option<f64>| time_s.map_or_else(|| "-".to_owned(), span);
    let row = |way: &Way| {
        vec![
            plot::title(way.way).to_owned(),
            format!("{:.2}", way.peak_over_capacity),
            format!("{:.2}", way.peak_work_over_capacity),
            format!("{:.2} %", 100.0 * way.rejected_part),
            time(way.half_of_gateways_drained_s),
            time(way.gateways_99_percent_drained_s),
            time(way.last_gateway_drained_s),
            format!("{:.1} %", 100.0 * way.gateways_drained_part),
        ]
    };
    let table = human::table(&columns, &ways.iter().map(row).collect::<Vec<_>>());
    format!(
        "{table}{}",
        wrap(
            "",
            0,
            "Peaks over the capacity. The others were stopped at 1.25 times the ideal time, or after ten million events."
        )
    )
}

fn wire(answer: &Answer) -> Vec<Line> {
    let wire = &answer.wire;
    let record = match wire.backlog_record_bytes == wire.single_record_bytes {
        true => format!("{} B", grouped(wire.single_record_bytes)),
        false => format!(
            "{} B of a backlog, {} B live; {} B alone",
            grouped(wire.backlog_record_bytes.round()),
            grouped(wire.live_record_bytes.round()),
            grouped(wire.single_record_bytes)
        ),
    };
    let both = |all: f64, requests: f64, one: f64, own: f64| {
        format!(
            "{} in {} requests; a gateway {} in {}",
            bytes(all),
            grouped(requests),
            bytes(one),
            grouped(own)
        )
    };
    vec![
        ("a record", record),
        (
            "the backlog",
            both(
                wire.backlog_bytes,
                wire.backlog_requests,
                wire.backlog_bytes_per_gateway,
                wire.backlog_requests_per_gateway,
            ),
        ),
        (
            "a day without outage",
            both(
                wire.daily_bytes,
                wire.daily_requests,
                wire.daily_bytes_per_gateway,
                wire.daily_requests_per_gateway,
            ),
        ),
    ]
}

fn far(answer: &Answer) -> Vec<Line> {
    let consumer = &answer.consumer;
    let deleted = match (consumer.deleted_unread_records, consumer.deleted_unread_records_per_day) {
        (_, daily) if daily > 0.0 => format!("{} records a day, for ever", grouped(daily)),
        (Some(deleted), _) if deleted < 1.0 => "nothing".to_owned(),
        (Some(deleted), _) => format!("{} records", grouped(deleted)),
        (None, _) => "some, sooner or later: they never catch up".to_owned(),
    };
    vec![
        (
            "the consumers store",
            format!(
                "{} rows/s; the broker keeps a message for {}",
                number(consumer.rows_per_s),
                span(answer.broker.retention_s)
            ),
        ),
        (
            "caught up",
            match consumer.caught_up_s {
                Some(at_s) if consumer.unread_records_at_most < 1.0 && at_s < 1.0 => {
                    "all the time".to_owned()
                }
                Some(at_s) => format!("{} after the return", span(at_s)),
                None => "never".to_owned(),
            },
        ),
        ("unread at most", format!("{} records", grouped(consumer.unread_records_at_most.round()))),
        ("deleted unread", deleted),
    ]
}

fn disk(answer: &Answer) -> Vec<Line> {
    let disk = &answer.disk;
    vec![
        ("for this outage", bytes(disk.outage_bytes_per_gateway)),
        ("the heaviest gateway", bytes(disk.outage_bytes_of_the_heaviest)),
    ]
}

fn bytes(bytes: f64) -> String {
    human::bytes(bytes.round() as u64)
}

fn shortest(percent: f64) -> f64 {
    (percent * 1000.0).round() / 1000.0
}
