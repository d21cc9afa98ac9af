//! The questions: where a record is, and how the agent is.

use hyper::{Response, StatusCode};
use serde::Serialize;
use spillway_protocol::local::status::{RecordState, RecordStatus};
use spillway_protocol::local::{Code, Refusal};
use spillway_protocol::message::StreamId;
use spillway_protocol::record::RecordId;

use super::super::Intake;
use super::{Out, json_response, refused};
use crate::queue::Place;

pub(super) fn status(intake: &Intake) -> Response<Out> {
    answer(&intake.queue.status())
}

pub(super) fn by_id(id: &str, intake: &Intake) -> Response<Out> {
    let id = unescape("id", id).and_then(|id| Ok(RecordId::parse(id)?));
    match id.and_then(|id| own(intake.queue.find_id(&id), intake)) {
        Ok(found) => answer(&place(found)),
        Err(refusal) => refused(&refusal),
    }
}

pub(super) fn by_number(query: &str, intake: &Intake) -> Response<Out> {
    match number(query, intake) {
        Ok(found) => answer(&place(found)),
        Err(refusal) => refused(&refusal),
    }
}

fn number(query: &str, intake: &Intake) -> Result<Place, Refusal> {
    let (mut lane, mut stream, mut seq) = (None, None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match name {
            "lane" => &mut lane,
            "stream" => &mut stream,
            "seq" => &mut seq,
            _ => {
                return Err(bad(name, "is not a known parameter; lane, stream and seq are"));
            }
        };
        *slot = Some(unescape(name, value)?);
    }
    let lane = lane.ok_or_else(|| bad("lane", "is missing; ask with lane=, stream= and seq="))?;
    let lane = intake.own_lane(Some(&lane))?.name;
    let stream = match stream {
        Some(text) => text
            .parse::<StreamId>()
            .map_err(|_| bad("stream", "is not a stream id of 8 hex digits"))?,
        None => intake.queue.stream(),
    };
    let seq = seq
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| bad("seq", "is missing or no number"))?;
    Ok(intake.queue.find_seq(&lane, stream, seq))
}

/// A record of a lane that the client may use, or one that nobody knows.
fn own(found: Place, intake: &Intake) -> Result<Place, Refusal> {
    let lane = match &found {
        Place::Waiting { lane, .. }
        | Place::Delivered { lane, .. }
        | Place::Dead { lane, .. }
        | Place::Expired { lane, .. }
        | Place::Dropped { lane, .. } => lane.as_str(),
        Place::Unknown => return Ok(found),
    };
    if !intake.rights().has(lane) {
        return Err(intake.rights().not_yours(lane, true));
    }
    Ok(found)
}

fn bad(field: &str, message: &str) -> Refusal {
    Refusal::of(field, Code::BadRecord, message)
}

pub(super) fn place(place: Place) -> RecordStatus {
    let known = |state, lane: String, stream: StreamId, seq| RecordStatus {
        state,
        lane: Some(lane),
        stream: Some(stream.to_string()),
        seq: Some(seq),
    };
    match place {
        Place::Waiting { lane, stream, seq } => {
            known(RecordState::Waiting, lane.into(), stream, seq)
        }
        Place::Delivered { lane, stream, seq } => {
            known(RecordState::Delivered, lane.into(), stream, seq)
        }
        Place::Dead { lane, stream, seq } => known(RecordState::Dead, lane.into(), stream, seq),
        Place::Expired { lane, stream, seq } => {
            known(RecordState::Expired, lane.into(), stream, seq)
        }
        Place::Dropped { lane, stream, seq } => {
            known(RecordState::Dropped, lane.into(), stream, seq)
        }
        Place::Unknown => {
            RecordStatus { state: RecordState::Unknown, lane: None, stream: None, seq: None }
        }
    }
}

fn answer(value: &impl Serialize) -> Response<Out> {
    match serde_json::to_string(value) {
        Ok(text) => json_response(StatusCode::OK, text),
        Err(error) => {
            let message = format!("the answer could not be written: {error}");
            json_response(
                StatusCode::INTERNAL_SERVER_ERROR,
                Refusal::new(Code::Malformed, message).to_json(),
            )
        }
    }
}

/// Undoes the `%XX` of a path or query.
fn unescape(field: &str, text: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()];
        let value = match digits {
            [Some(high), Some(low)] => hex(high).zip(hex(low)),
            _ => None,
        };
        let (high, low) = value.ok_or_else(|| bad(field, "has a % without two hex digits"))?;
        bytes.push(high * 16 + low);
    }
    String::from_utf8(bytes).map_err(|_| bad(field, "is not UTF-8"))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_or_refused() {
        assert_eq!(unescape("id", "a%2Fb%c3%a9").unwrap(), "a/bé");
        for bad in ["%", "%2", "%zz", "%ff", "%+1"] {
            assert_eq!(unescape("id", bad).unwrap_err().field.as_deref(), Some("id"), "{bad}");
        }
    }
}
