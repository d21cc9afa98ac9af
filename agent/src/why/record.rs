//! One record.

use super::cause::{self, Cause};
use super::facts::{Failure, Gateway, Head, Lane, Letter, Loss, Lot, Part, Record, Waiting};
use super::words::{count, quoted, refusal, time};
use super::{Answer, Kind, State, failure, loss, pace};

/// The same id would be taken for the record that was given up.
pub(super) const AGAIN: &str = "the app may send it again, under another id";

/// Where the record asked after as `id` is, and why.
pub fn answer(id: &str, gateway: &Gateway, lane: &Lane, record: &Record) -> Answer {
    let place = format!("record {id} (lane {}, number {})", record.lane, record.seq);
    let Cause { state, why, help } = match &record.lot {
        Lot::Waiting(waiting) => {
            let since = record.age_s.map(|s| format!(" for {}", time(s))).unwrap_or_default();
            let Cause { state, why, help } = self::waiting(gateway, lane, waiting);
            Cause::new(state, format!("{place} has been here{since}: {why}"), help)
        }
        Lot::Delivered { kept } => delivered(&place, record, *kept),
        Lot::Dead(letter) => dead(&place, letter),
        Lot::GivenUp(loss) => given_up(&place, lane, *loss),
        Lot::Forgotten => forgotten(&place),
    };
    let facts = serde_json::json!({ "gateway": gateway, "lane": lane, "record": record });
    Answer::new((Kind::Id, id), state, (why, help), &facts)
}

/// Why a waiting record has not left; the clause is about "it".
pub(super) fn waiting(gateway: &Gateway, lane: &Lane, record: &Waiting) -> Cause {
    if let Some(s) = record.sending_s {
        let why = format!("it is being sent at this moment (for {})", time(s));
        return Cause::new(State::Sending, why, "nothing to do: RocketMQ's answer decides");
    }
    let blocked = cause::of_gateway(gateway);
    if let Some(cause) = blocked {
        return behind_others(record, cause);
    }
    if let Some(failure) = &record.failure {
        return failed(lane, failure, record.again_in_s);
    }
    if let Some(cause) = cause::of_lane(gateway, lane) {
        return behind_others(record, cause);
    }
    if let Some(head) = &record.behind {
        return behind(lane, head);
    }
    if let Some(s) = record.again_in_s {
        let last = lane.last_error.as_ref().map(|error| format!(" ({})", quoted(error)));
        let why = format!("its last try did not get through{}", last.unwrap_or_default());
        let help = format!("nothing to do: it is tried again by itself in {}", time(s));
        return Cause::new(State::Retry, why, help);
    }
    leaving(gateway, lane, record)
}

/// `it waits, with 3 others before it, because ...`
fn behind_others(record: &Waiting, cause: Cause) -> Cause {
    let ahead = match record.ahead {
        0 => "it is the next of its lane and waits".to_owned(),
        n => format!("it waits, with {} of its lane before it,", count(n, "record")),
    };
    Cause::new(cause.state, format!("{ahead} because {}", cause.why), cause.help)
}

fn leaving(gateway: &Gateway, lane: &Lane, record: &Waiting) -> Cause {
    let pace = pace::cause(gateway, lane);
    let why = match record.ahead {
        _ if lane.freshness.is_some() && !record.backlog => {
            "it is live, and leaves before its lane's backlog".to_owned()
        }
        0 => "it is the next of its lane to leave".to_owned(),
        1 => format!("1 record of its lane leaves before it; {}", pace.why),
        n => format!("{n} records of its lane leave before it; {}", pace.why),
    };
    Cause::new(State::Leaving, why, pace.help)
}

fn failed(lane: &Lane, failure: &Failure, again_in_s: Option<u64>) -> Cause {
    let why = failure::clause("it", failure);
    let Some(hold) = &lane.hold else {
        return Cause::new(State::Retry, why, failure::help(lane, failure, again_in_s));
    };
    let what = if lane.held_part == Part::OneTopic { "topic" } else { "lane" };
    let held = format!("its {what} has been held for {} ({})", time(hold.since_s), hold.code);
    Cause::new(State::Held, format!("{why}; {held}"), cause::remedy(hold, again_in_s))
}

/// Another record of its order has to leave first.
fn behind(lane: &Lane, head: &Head) -> Cause {
    let first = failure::named(head);
    let Some(failure) = &head.failure else {
        return Cause::new(
            State::Order,
            format!("it waits for {first}, which is before it in the same order"),
            "nothing to do: it leaves by itself after that one; spillway why --id asks after that",
        );
    };
    let why = format!(
        "it waits for {first}, which is before it in the same order: {}",
        failure::clause("that one", failure)
    );
    Cause::new(State::Order, why, failure::help(lane, failure, head.again_in_s))
}

fn delivered(place: &str, record: &Record, kept: bool) -> Cause {
    let Record { lane, seq, stream, .. } = record;
    let stream = if record.present_stream { String::new() } else { format!(" --stream {stream}") };
    let help = match kept {
        true => format!(
            "nothing to do; its copy is still kept, and spillway resend --lane \
             {lane}{stream} --from {seq} --to {seq} sends it again"
        ),
        false => "nothing to do here; look for it at the far side".to_owned(),
    };
    Cause::new(State::Delivered, format!("{place} has left: RocketMQ acknowledged it"), help)
}

fn dead(place: &str, letter: &Letter) -> Cause {
    let Letter { number, code, reason, died_ago_s } = letter;
    let said = refusal(code, reason);
    let since = time(*died_ago_s);
    Cause::new(
        State::Dead,
        format!("{place} has been in the dead letters for {since}, because of {said}"),
        format!("put right what was refused; then spillway dead replay {number} sends it again"),
    )
}

/// It is long settled, and so many were given up since that how this one ended is not known.
fn forgotten(place: &str) -> Cause {
    Cause::new(
        State::Gone,
        format!("{place} is no longer here: delivered, or given up longer ago than is remembered"),
        "look for it at the far side; with [report] that was told of what was given up",
    )
}

fn given_up(place: &str, lane: &Lane, loss: Option<Loss>) -> Cause {
    let (state, why) = loss::clause(lane, loss);
    let more = match state {
        State::Damaged => "what is left of the file is in quarantine/",
        _ => "with [report] the far side is told of its number",
    };
    let help = format!("{AGAIN}; {more}");
    Cause::new(state, format!("{place} will not be sent: it {why}"), help)
}
