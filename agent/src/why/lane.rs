//! A lane.

use spillway_protocol::local::status::Degraded;

use super::cause::{self, Cause};
use super::facts::{Gateway, Head, Lane};
use super::words::{count, time};
use super::{Answer, Kind, State, failure, pace};

/// Why the lane's records have not left. Beside the link's own answer (`beside_link`) it does not
/// say again what that says.
pub fn answer(gateway: &Gateway, lane: &Lane, beside_link: bool) -> Answer {
    let Cause { state, why, help } = cause(gateway, lane, beside_link);
    let why = format!("{why}{}{}", gives_way(lane), refuses(lane));
    let facts = serde_json::json!({ "gateway": gateway, "lane": lane });
    let why = format!("lane {}: {why}", lane.name);
    Answer::new((Kind::Lane, &lane.name), state, (why, help), &facts)
}

fn cause(gateway: &Gateway, lane: &Lane, beside_link: bool) -> Cause {
    if lane.waiting == 0 {
        return Cause::new(State::Idle, "nothing waits", "nothing to do");
    }
    let waiting = waiting(lane);
    if let Some(all) = cause::of_gateway(gateway) {
        return match beside_link {
            true => Cause::new(
                all.state,
                format!("{waiting} for the same reason"),
                "what helps the link helps the lane",
            ),
            false => because(&waiting, all),
        };
    }
    let own = cause::of_lane(gateway, lane).or_else(|| failed(lane));
    if let Some(own) = own {
        return because(&waiting, own);
    }
    if let Some(head) = &lane.held_key {
        return held_key(&waiting, lane, head);
    }
    let pace = pace::cause(gateway, lane);
    let leaving = format!("{waiting} and leaving: {}", pace.why);
    match cause::of_part(lane) {
        Some(part) => Cause::new(pace.state, format!("{leaving}; {}", part.why), part.help),
        None => Cause::new(pace.state, leaving, pace.help),
    }
}

/// Whether something of the lane stays though the link is up.
pub(super) fn is_blocked(gateway: &Gateway, lane: &Lane) -> bool {
    let own = || cause::of_lane(gateway, lane).or_else(|| failed(lane));
    lane.waiting > 0 && (lane.hold.is_some() || lane.held_key.is_some() || own().is_some())
}

/// `12 records are waiting, the oldest for 5 min,`
fn waiting(lane: &Lane) -> String {
    let are = if lane.waiting == 1 { "is" } else { "are" };
    let oldest = match (lane.waiting, lane.oldest_age_s) {
        (_, None) => String::new(),
        (1, Some(s)) => format!(", for {},", time(s)),
        (_, Some(s)) => format!(", the oldest for {},", time(s)),
    };
    format!("{} {are} waiting{oldest}", count(lane.waiting, "record"))
}

fn because(waiting: &str, cause: Cause) -> Cause {
    Cause::new(cause.state, format!("{waiting} because {}", cause.why), cause.help)
}

/// A rule that takes records out of it.
fn gives_way(lane: &Lane) -> String {
    let given = lane.degraded.as_ref();
    let given = given.filter(|given| !given.paused && given.since_s.is_some());
    let words = |given: &Degraded| {
        let dropped = count(given.dropped, "record");
        format!("; its degrade rule \"{}\" is in force and has dropped {dropped}", given.rule)
    };
    given.map(words).unwrap_or_default()
}

/// New records do not come in.
fn refuses(lane: &Lane) -> String {
    let full = lane
        .full
        .as_ref()
        .map(|full| full.replacen(&format!("lane {} is full: ", lane.name), "", 1));
    full.map(|full| format!("; it is full and refuses new records: {full}")).unwrap_or_default()
}

/// All that waits has failed before.
fn failed(lane: &Lane) -> Option<Cause> {
    let head = lane.failure.as_ref().filter(|_| lane.failed >= lane.waiting)?;
    let failure = head.failure.as_ref()?;
    let why = failure::clause(if lane.waiting == 1 { "it" } else { "the oldest" }, failure);
    Some(Cause::new(State::Retry, why, failure::help(lane, failure, head.again_in_s)))
}

fn held_key(waiting: &str, lane: &Lane, head: &Head) -> Cause {
    let keys = match lane.held_keys {
        0 | 1 => "those of one order key wait".to_owned(),
        n => format!("those of {n} order keys wait"),
    };
    let failure = head.failure.clone().unwrap_or_default();
    let why = format!(
        "{}; {keys} for the first of them: {}",
        waiting.trim_end_matches(','),
        failure::clause(&failure::named(head), &failure)
    );
    Cause::new(State::Order, why, failure::help(lane, &failure, head.again_in_s))
}
