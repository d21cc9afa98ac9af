//! Why records leave no faster than they do.

use super::State;
use super::cause::Cause;
use super::facts::{Gateway, Lane};
use super::words::{bytes, count, rate, time};

/// What bounds the pace; stands by itself.
pub(super) fn cause(gateway: &Gateway, lane: &Lane) -> Cause {
    if lane.one_at_a_time && lane.waiting > 1 {
        return Cause::new(
            State::Leaving,
            "order = \"lane\" sends one message a round trip, since each waits for the answer to \
             the one before",
            format!(
                "with bundle = {{}} in the lane many would leave in one message, for consumers \
                 that unpack bundles; as it is, {}",
                outlook(gateway)
            ),
        );
    }
    let backlog = lane.freshness.as_ref().map_or(0, |freshness| freshness.backlog);
    if backlog > 0 {
        let are = if backlog == 1 { "is" } else { "are" };
        let why = format!(
            "{} {are} backlog, and live ones leave first when they come",
            count(backlog, "record")
        );
        return Cause::new(State::Leaving, why, drained(gateway));
    }
    if !lane.behind_lanes.is_empty() {
        let why = format!("lanes of smaller priority go first: {}", lane.behind_lanes.join(", "));
        return Cause::new(State::Leaving, why, drained(gateway));
    }
    Cause::new(State::Leaving, pace(gateway), limit(gateway))
}

fn pace(gateway: &Gateway) -> String {
    let reason = &gateway.pace.reason;
    match gateway.pace.allowed_per_s {
        Some(per_s) => format!("up to {} a second may leave now ({reason})", rate(per_s)),
        None => {
            let per_s = bytes(gateway.bounds.bytes_per_second);
            format!("up to {per_s} a second may leave now ({reason})")
        }
    }
}

/// What would make it faster, where that is in an operator's hand.
fn limit(gateway: &Gateway) -> String {
    let bound = gateway.bounds.records_per_second.map(f64::from);
    let at_bound = bound.zip(gateway.pace.allowed_per_s).is_some_and(|(bound, now)| now >= bound);
    let bytes_per_s = gateway.rates.delivered_bytes_per_s;
    // The bound counts what goes with the bodies, too.
    let at_bytes = bytes_per_s > 0.0 && bytes_per_s >= gateway.bounds.bytes_per_second as f64 * 0.7;
    match (at_bound, at_bytes) {
        _ if gateway.waiting == 0 => drained(gateway),
        (true, _) => format!("{}; records_per_second in [drain] is the bound", drained(gateway)),
        (_, true) => format!("{}; bytes_per_second in [drain] is the bound", drained(gateway)),
        _ => drained(gateway),
    }
}

/// What is to be done where it leaves by itself.
fn drained(gateway: &Gateway) -> String {
    format!("nothing to do: {}", outlook(gateway))
}

/// When all is drained, as far as that can be said.
fn outlook(gateway: &Gateway) -> String {
    let rates = gateway.rates;
    match gateway.drained_in_s {
        Some(s) if s > 0 => format!("all is drained in about {}", time(s)),
        None if rates.accepted_per_s > 0.0 => format!(
            "it leaves by itself, though more came in over the last minute ({} a second) than left \
             ({})",
            rate(rates.accepted_per_s),
            rate(rates.delivered_per_s)
        ),
        _ => "it leaves by itself".to_owned(),
    }
}
