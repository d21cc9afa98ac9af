//! The agent and its link.

use super::cause::{self, Cause};
use super::facts::{Gateway, Lane};
use super::words::{count, time};
use super::{Answer, Kind, State, lane, pace};

/// Why nothing leaves this gateway, or how fast it does. The answers of `lanes`, in which something
/// waits, stand below it.
pub fn answer(facts: &Gateway, lanes: &[Lane]) -> Answer {
    let Cause { state, mut why, help } = cause(facts, lanes);
    if let Some(configuration) = &facts.configuration {
        why.push_str(&format!("; the configuration: {configuration}"));
    }
    Answer::new((Kind::Link, &facts.gateway), state, (why, help), facts)
}

fn cause(facts: &Gateway, lanes: &[Lane]) -> Cause {
    let wait = if facts.waiting == 1 { "waits" } else { "wait" };
    let waiting = match facts.waiting {
        0 => "nothing waits".to_owned(),
        n => format!("{} {wait}", count(n, "record")),
    };
    // What keeps any lane while the link is up.
    let any = Lane { first_send_in_s: facts.first_send_in_s, ..Lane::default() };
    let blocked = cause::of_gateway(facts)
        .or_else(|| cause::of_lane(facts, &any).filter(|_| facts.waiting > 0));
    if let Some(Cause { state, why, help }) = blocked {
        return Cause::new(state, format!("{why}; {waiting}"), help);
    }
    let since = facts.link.as_ref().map(|link| time(link.since_s)).unwrap_or_default();
    let reached = format!("RocketMQ has been reached for {since}{}", key(facts));
    if facts.waiting == 0 {
        return Cause::new(State::Idle, format!("{reached}, and {waiting}"), "nothing to do");
    }
    let pace = pace::cause(facts, &Lane::default());
    let help = match lanes.iter().any(|lane| lane::is_blocked(facts, lane)) {
        true => "see the lanes below".to_owned(),
        false => pace.help,
    };
    Cause::new(State::Leaving, format!("{reached}, and {waiting}: {}", pace.why), help)
}

/// The access key in use, where it is one of several or ends by itself.
fn key(facts: &Gateway) -> String {
    let keys = facts.access_keys.as_ref();
    let Some((keys, number)) = keys.and_then(|keys| Some((keys, keys.in_use?))) else {
        return String::new();
    };
    let ends = keys.expires_in_s.map(|s| format!(", which ends in {}", time(s)));
    match keys.of > 1 || ends.is_some() {
        true => format!(" with access key {number} of {}{}", keys.of, ends.unwrap_or_default()),
        false => String::new(),
    }
}
