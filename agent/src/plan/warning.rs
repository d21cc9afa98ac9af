//! What an operator should know before the fleet is out there.

use super::figure::{grouped, span};
use super::settings::{contacts_s, heaviest_share, longer_max, own_window, probes};
use super::{Answer, Company, Question};
use crate::config::{Backoff, Order};

/// Above this a peak is more than the noise of a small fleet.
const PEAK: f64 = 1.2;
/// Below this a capacity leaves little for a drain.
const HEADROOM: f64 = 1.2;
/// What `[limits] disk` allows at most.
const DISK_BYTES: f64 = 4.0 * (1u64 << 30) as f64;
/// A bundle is worth waiting for from so many records on, and then for so many more.
const WORTH: f64 = 2.0;
const WANTED: f64 = 3.0;
/// What the configuration takes at most.
const LINGER_MAX_S: f64 = 60.0;

pub(super) fn all(question: &Question, answer: &Answer) -> Vec<String> {
    let mut warnings = ordered(question);
    let found = [
        headroom(question),
        ours(answer),
        connects(question),
        returns(question),
        bounds(question),
        disk(answer),
        bundles(question),
        reading(question, answer),
    ];
    warnings.extend(found.into_iter().flatten());
    warnings
}

/// Lanes of one order: one message a round trip.
fn ordered(question: &Question) -> Vec<String> {
    let trip_ms = question.round_trip.as_millis();
    let time = |rate: f64| match question.one_at_a_time(rate).1 {
        Some(s) => format!("needs {} for this outage", span(s)),
        None => "never drains".to_owned(),
    };
    let (most, _) = question.one_at_a_time(0.0);
    let (mean, heaviest) = (question.rate_per_s, question.heaviest_per_s());
    let mut names: Vec<String> = Vec::new();
    if question.order == Order::Lane && question.in_message() <= 1.0 {
        names.push(question.lane.0.clone());
    }
    names.extend(question.ordered_lanes.iter().cloned());
    let warning = |name: &String| {
        format!(
            "lane {name} (order = \"lane\") drains one message a round trip, since each waits for \
             the one before it: at {trip_ms} ms that is {most:.1} a second. A gateway of {mean:.2} \
             records/s {}, the heaviest of {heaviest:.2} {}. bundle = {{}} (--bundle) sends many in \
             one message",
            time(mean),
            time(heaviest),
        )
    };
    names.iter().map(warning).collect()
}

fn headroom(question: &Question) -> Option<String> {
    let headroom = question.headroom();
    (headroom < HEADROOM).then(|| {
        format!(
            "the broker takes only {headroom:.2} times what the fleet makes: a perfect drain takes \
             {:.0} times the outage; --capacity {:.0} would take as long as the outage",
            question.ideal_s() / question.outage.as_secs_f64(),
            2.0 * question.live_messages_per_s(),
        )
    })
}

fn ours(answer: &Answer) -> Option<String> {
    let way = answer.ways.first()?;
    let share = 100.0 * way.gateways_drained_part;
    match () {
        () if way.stopped_by == Some("events") => Some(format!(
            "the simulation was stopped after {} events, before all gateways had drained: {share:.1} \
             % had, {} after the network was back. Times and peaks are those until then; a larger \
             --capacity, a shorter --outage or fewer --gateways need fewer events",
            grouped(way.events as f64),
            span(way.simulated_s),
        )),
        () if way.stopped_by.is_some() => Some(format!(
            "not all gateways drain within {}, the time that was simulated: {share:.1} % do",
            span(way.simulated_s)
        )),
        () if way.peak_over_capacity > PEAK => Some(format!(
            "the peak is {:.2} times the capacity: leave the broker that much room. Chance does \
             that in a small fleet, or where few gateways make most; so does a fleet that makes \
             few records, since each of them is then more of a second",
            way.peak_over_capacity
        )),
        () => None,
    }
}

fn connects(question: &Question) -> Option<String> {
    let (needed_s, own_s) = (contacts_s(question), own_window(question).as_secs_f64());
    (needed_s > own_s).then(|| {
        format!(
            "TLS connects of {} gateways within {own_s:.0} s would take more than a fifth of the \
             capacity: reconnect_spread is set to {needed_s:.0} s below",
            question.gateways
        )
    })
}

fn returns(question: &Question) -> Option<String> {
    let max = longer_max(question)?;
    let (within_s, times) = probes(question);
    let backoff = Backoff { max, ..question.backoff.clone() };
    let (_, then) = probes(&Question { backoff, ..question.clone() });
    Some(format!(
        "while the far end is away each gateway tries it again within {within_s:.0} s ([backoff] \
         max), so the TLS connects of the return begin with {times:.1} times the capacity, until \
         most have had one. With max = \"{}s\", as set below, it is {then:.1} times; the end of an \
         outage is then noticed by as much later, where the gateway's own network was up",
        max.as_secs()
    ))
}

fn bounds(question: &Question) -> Option<String> {
    let (messages_per_s, bytes_per_s) = heaviest_share(question);
    let records_per_s = messages_per_s * question.in_message();
    let bound = question.drain.records_per_second.map(f64::from);
    match bound.filter(|bound| *bound < records_per_s) {
        Some(bound) => Some(format!(
            "[drain] records_per_second = {bound} is less than the {records_per_s:.0} of the \
             heaviest gateway's share: it drains later than the others"
        )),
        None if (question.drain.bytes_per_second as f64) < bytes_per_s => Some(format!(
            "[drain] bytes_per_second = {} B is less than the {bytes_per_s:.0} B of the heaviest \
             gateway's share: it drains later than the others",
            question.drain.bytes_per_second
        )),
        None => None,
    }
}

fn disk(answer: &Answer) -> Option<String> {
    let bytes = answer.disk.outage_bytes_of_the_heaviest;
    (bytes > DISK_BYTES).then(|| {
        format!(
            "the heaviest gateway needs {:.1} GiB for this outage, more than the 4 GiB of \
             [limits] disk: give it that much room",
            bytes / (1u64 << 30) as f64
        )
    })
}

fn bundles(question: &Question) -> Option<String> {
    let live = question.in_live_message();
    match question.company {
        Company::Bundle { linger, .. } if live < WORTH => {
            let rate = question.class_rates_per_s().0;
            let longer_s = (WANTED / rate).ceil().min(LINGER_MAX_S);
            Some(format!(
                "within a linger of {} hardly two records meet, so live ones leave alone and only \
                 a backlog is bundled; with {longer_s:.0}s a message of an ordinary gateway holds \
                 {:.1}, and they are late by as much",
                humantime::format_duration(linger),
                1.0 + rate * longer_s
            ))
        }
        Company::Bundle { .. } if question.order == Order::Key => Some(
            "with order = \"key\" a bundle holds records of one order key: the figures hold where \
             each key has many"
                .to_owned(),
        ),
        Company::Batch { .. } => Some(
            "batches need brokers of 5.3.4 or later and have one receipt for all; the broker is \
             reckoned to do as much work as for single messages"
                .to_owned(),
        ),
        _ => None,
    }
}

fn reading(question: &Question, answer: &Answer) -> Option<String> {
    let consumer = &answer.consumer;
    let live_per_s = question.live_per_s();
    let least = consumer.least_rows_per_s.ceil();
    if consumer.rows_per_s <= live_per_s {
        return Some(format!(
            "the far side stores {} rows/s and the fleet makes {}: it never catches up, and \
             delivered is not read: the broker deletes {} records a day unread. It needs {} rows/s",
            grouped(consumer.rows_per_s),
            grouped(live_per_s),
            grouped(consumer.deleted_unread_records_per_day),
            grouped(least),
        ));
    }
    let deleted = consumer.deleted_unread_records.filter(|deleted| *deleted >= 1.0)?;
    Some(format!(
        "delivered is not read: the broker deletes {} records unread, because they wait longer \
         than its retention; {} rows/s, or a longer retention, would lose none",
        grouped(deleted),
        grouped(least),
    ))
}
