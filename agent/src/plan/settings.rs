//! Settings that fit, as TOML that `spillway check` takes: a file of its own, or one in conf.d.

use std::time::Duration;

use super::{Answer, Company, Question};
use crate::config::Order;
use crate::pace::spread;

/// The bound on records leaves the heaviest gateway so much more than its share.
const MARGIN: f64 = 1.5;
/// Work of a TLS connect, in messages, and the part of the capacity that all may take.
const CONNECT: f64 = 5.0;
const CONNECTS_PART: f64 = 0.2;
/// The contract's defaults.
const BYTES_PER_S: f64 = 262_144.0;
const KEEP_FOR_DAYS: f64 = 7.0;
const DAY_S: f64 = 86_400.0;

/// Seconds over which the first contacts of the fleet have to be spread, so that they take a
/// fifth of the capacity.
pub(super) fn contacts_s(question: &Question) -> f64 {
    f64::from(question.gateways) * CONNECT / (CONNECTS_PART * question.capacity_per_s)
}

/// The window that an ordinary gateway takes by itself.
pub(super) fn own_window(question: &Question) -> Duration {
    spread::window(None, question.class_rates_per_s().0)
}

/// Seconds within which an ordinary gateway tries again while the far end is away, and the TLS connects
/// with which the fleet's return begins by that, in messages a second over the capacity.
pub(super) fn probes(question: &Question) -> (f64, f64) {
    let within_s = question.backoff.max.min(probes_most(question)).as_secs_f64();
    let connects_per_s = f64::from(question.gateways) / (within_s / 2.0);
    (within_s, CONNECT * connects_per_s / question.capacity_per_s)
}

/// A longer `[backoff] max` would change nothing.
fn probes_most(question: &Question) -> Duration {
    spread::probe_window(question.class_rates_per_s().0)
}

/// A `[backoff] max` with which those connects take a fifth of the capacity, or as little more as can
/// be; none where the present one does.
pub(super) fn longer_max(question: &Question) -> Option<Duration> {
    let needed_s = (2.0 * contacts_s(question)).min(probes_most(question).as_secs_f64()).ceil();
    (probes(question).1 > CONNECTS_PART && needed_s > question.backoff.max.as_secs_f64())
        .then(|| Duration::from_secs_f64(needed_s))
}

/// Messages and bytes per second that the heaviest gateway sends while it drains.
pub(super) fn heaviest_share(question: &Question) -> (f64, f64) {
    let messages = question.heaviest_per_s() / question.in_live_message() * question.headroom();
    (messages, messages * question.message_body_bytes(question.in_message()))
}

pub(super) fn toml(question: &Question, answer: &Answer) -> String {
    let (messages_per_s, bytes_per_s) = heaviest_share(question);
    let records_per_s = messages_per_s * question.in_message() * MARGIN;
    let window = own_window(question);
    let contacts_s = contacts_s(question);
    let spread = match contacts_s > window.as_secs_f64() {
        true => format!("{:?}", format!("{}s", contacts_s.ceil())),
        false => "\"auto\"".to_owned(),
    };
    let longer = longer_max(question);
    let daily = question.rate_per_s * DAY_S * KEEP_FOR_DAYS * answer.disk.record_bytes;
    let lines = [
        ("[[lane]]".to_owned(), "your lanes; this one stands for all"),
        (format!("name = {:?}", question.lane.0), ""),
        (format!("topic = {:?}", question.lane.1), ""),
        (format!("order = {:?}", order(question.order)), ""),
        (company(question), ""),
        (freshness(question.order).to_owned(), "live records before a backlog, as simulated"),
        ("[drain]".to_owned(), "upper bounds: the controller is below them"),
        (
            format!("records_per_second = {}", round(records_per_s.max(10.0))),
            "one and a half times the heaviest gateway's share",
        ),
        (format!("bytes_per_second = {:?}", size((bytes_per_s * MARGIN).max(BYTES_PER_S))), ""),
        (format!("reconnect_spread = {spread}"), "first contacts within a fifth of the capacity"),
        (longer.map_or(String::new(), |_| "[backoff]".to_owned()), ""),
        (
            longer.map_or(String::new(), |max| format!("max = \"{}s\"", max.as_secs())),
            "probes of an outage apart, too",
        ),
        ("[audit]".to_owned(), "optional: delivered records kept for a resend"),
        (format!("keep = {:?}", size(daily)), "seven days of a mean gateway"),
        (format!("keep_for = \"{KEEP_FOR_DAYS}d\""), ""),
    ];
    let lines = lines.iter().filter(|(setting, _)| !setting.is_empty());
    let line = |(setting, comment): &(String, &str)| match comment.is_empty() {
        true => format!("{setting}\n"),
        false => format!("{setting:<34} # {comment}\n"),
    };
    lines.map(line).collect()
}

fn freshness(order: Order) -> &'static str {
    match order {
        Order::None => "freshness = \"10s\"",
        Order::Key | Order::Lane => "",
    }
}

fn company(question: &Question) -> String {
    match question.company {
        Company::Alone => String::new(),
        Company::Bundle { records, bytes, linger } => format!(
            "bundle = {{ records = {records}, bytes = {:?}, linger = \"{}ms\" }}",
            exact_size(bytes),
            linger.as_millis()
        ),
        Company::Batch { records } => format!("batch = {{ records = {records} }}"),
    }
}

fn order(order: Order) -> &'static str {
    match order {
        Order::None => "none",
        Order::Key => "key",
        Order::Lane => "lane",
    }
}

/// Two digits are enough for a bound.
fn round(value: f64) -> f64 {
    let unit = 10_f64.powf((value.log10().floor() - 1.0).max(0.0));
    (value / unit).ceil() * unit
}

/// A size as it is.
fn exact_size(bytes: u64) -> String {
    if bytes.is_multiple_of(1024) { format!("{} KiB", bytes / 1024) } else { format!("{bytes} B") }
}

/// A size in whole KiB or MiB.
fn size(bytes: f64) -> String {
    match bytes / 1_048_576.0 {
        small if small < 4.0 => format!("{} KiB", (bytes / 1024.0).ceil()),
        mib => format!("{} MiB", round(mib)),
    }
}
