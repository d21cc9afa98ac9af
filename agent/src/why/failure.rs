//! A record that failed and is still in the queue.

use super::facts::{Failure, Head, Lane};
use super::words::{quoted, refusal, time};

/// How `it` failed, as a clause.
pub(super) fn clause(it: &str, failure: &Failure) -> String {
    let reason = quoted(&failure.reason);
    let times = match failure.tries {
        0 | 1 => String::new(),
        n => format!(" {n} times"),
    };
    match failure.code.as_str() {
        "connection" => {
            format!("requests with {it} fail while the connection itself works: {reason}")
        }
        "unknown" => format!("RocketMQ gave no valid answer to {it}{times}: {reason}"),
        code => format!("RocketMQ refused {it}{times}: {}", refusal(code, &reason)),
    }
}

/// What would help a record of `lane` whose next try is in so many seconds.
pub(super) fn help(lane: &Lane, failure: &Failure, again_in_s: Option<u64>) -> String {
    let name = &lane.name;
    let again = again_in_s.filter(|s| *s > 0);
    let again = again.map_or("it is tried again by itself".to_owned(), |s| {
        format!("it is tried again by itself in {}", time(s))
    });
    match failure.code.as_str() {
        "connection" => format!(
            "see what on the way to RocketMQ refuses or cuts it (its size, a proxy, a time-out); \
             {again}"
        ),
        "unknown" => format!(
            "see why RocketMQ's answers are not valid; {again}, or spillway dead accept {name} \
             moves it to the dead letters"
        ),
        _ if lane.buries && lane.hold.is_none() => format!(
            "put right what RocketMQ refuses; {again}, and moves to the dead letters if it is refused \
             once a later record of its topic has passed; spillway dead accept {name} moves it there now"
        ),
        _ => format!(
            "put right what RocketMQ refuses; {again}, or spillway dead accept {name} moves it to \
             the dead letters"
        ),
    }
}

/// `record 12 (id x)`.
pub(super) fn named(head: &Head) -> String {
    let id = head.id.as_ref().map(|id| format!(" (id {id})")).unwrap_or_default();
    format!("record {}{id}", head.seq)
}
