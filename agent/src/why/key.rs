//! The records of one key, in one lane.

use super::cause::Cause;
use super::facts::{Gateway, Key, Lane, Lot};
use super::words::{count, refusal};
use super::{Answer, Kind, State, record};

/// What waits of the key, and why its first record has not left.
pub fn answer(gateway: &Gateway, lane: &Lane, key: &Key) -> Answer {
    let Cause { state, why, help } = cause(gateway, lane, key);
    let facts = serde_json::json!({ "gateway": gateway, "lane": lane, "key": key });
    Answer::new((Kind::Key, &key.key), state, (why, help), &facts)
}

fn cause(gateway: &Gateway, lane: &Lane, key: &Key) -> Cause {
    let (name, place, first) = (&key.key, &key.lane, &key.first);
    let id = first.id.as_ref().map(|id| format!(", id {id}")).unwrap_or_default();
    let seq = first.seq;
    let dead = match key.dead {
        0 => String::new(),
        1 => " (another one is in the dead letters)".to_owned(),
        n => format!(" (another {n} are in the dead letters)"),
    };
    match &first.lot {
        Lot::Waiting(waiting) => {
            let Cause { state, why, help } = record::waiting(gateway, lane, waiting);
            let wait = if key.waiting == 1 { "waits" } else { "wait" };
            let most = if key.at_least { "at least " } else { "" };
            let records = format!("{most}{} of key {name} {wait}", count(key.waiting, "record"));
            let which = if key.waiting == 1 { "it" } else { "the first" };
            let why =
                format!("{records} in lane {place}{dead}; {which} is number {seq}{id}: {why}");
            Cause::new(state, why, help)
        }
        Lot::Dead(letter) => Cause::new(
            State::Dead,
            format!(
                "nothing of key {name} waits in lane {place}, but {} in the dead letters, the \
                 newest (number {seq}{id}) because of {}",
                lie(key.dead),
                refusal(&letter.code, &letter.reason)
            ),
            format!(
                "put right what was refused; then spillway dead replay {} sends it again",
                letter.number
            ),
        ),
        Lot::Delivered { .. } => Cause::new(
            State::Delivered,
            format!(
                "nothing of key {name} waits in lane {place}: the newest that is still here \
                 (number {seq}{id}) has been delivered"
            ),
            "nothing to do here; look for it at the far side",
        ),
        Lot::Forgotten => Cause::new(
            State::Gone,
            format!(
                "nothing of key {name} waits in lane {place}: the newest of it (number {seq}{id}) \
                 was delivered, or given up longer ago than is remembered"
            ),
            "look for it at the far side",
        ),
        Lot::GivenUp(_) => Cause::new(
            State::Dropped,
            format!(
                "nothing of key {name} waits in lane {place}: the newest that is still here \
                 (number {seq}{id}) was given up"
            ),
            record::AGAIN,
        ),
    }
}

fn lie(n: u64) -> String {
    if n == 1 { "1 record is".to_owned() } else { format!("{n} records are") }
}
