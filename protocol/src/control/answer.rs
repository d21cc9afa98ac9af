//! What a gateway answers for records that it cannot send again.

use serde::{Deserialize, Serialize};

/// The body of a message with `sw_flags=answer`.
///
/// A request whose numbers were all sent gets none: the records themselves are the answer. One
/// with many different ends may get several, and after a power cut the same again: take the union.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Gateway id; the same as `sw_gw`.
    pub gateway: String,
    /// Id of the request.
    pub request: String,
    /// Its lane.
    pub lane: String,
    /// Its stream.
    pub stream: String,
    /// How many of its records are sent again, so far.
    pub sent: u64,
    /// The others, by number. Disjoint.
    pub unsent: Vec<Unsent>,
}

/// Numbers that are not sent again: `from` to `to`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsent {
    /// First number.
    pub from: u64,
    /// Last number.
    pub to: u64,
    /// Why.
    pub state: State,
}

/// Why a record is not sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was delivered, and is no longer kept.
    Expired,
    /// No record has had this number here: it, its lane or its stream is unknown.
    NeverExisted,
    /// It has not been sent yet, and will be.
    Waiting,
    /// It is a dead letter: see [tombstones](crate::tombstone).
    Dead,
    /// It was given up: see [tombstones](crate::tombstone).
    Dropped,
    /// The request asks for no numbers: `from` is 0 or above `to`.
    Invalid,
    /// One that this build does not know yet.
    #[serde(other)]
    Other,
}

impl Answer {
    /// As a message's body.
    ///
    /// # Errors
    /// None that can happen: text and numbers always have a JSON form.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// Reads a message's body. Fields that are not known are passed over.
    ///
    /// # Errors
    /// What in it is not an answer.
    pub fn from_json(body: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_is_read_and_written_as_it_is() {
        let vector = include_str!("../../vectors/control-answer.json").trim_end();
        let answer = Answer::from_json(vector.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(answer.to_json().unwrap()).unwrap(), vector);
        let states: Vec<State> = answer.unsent.iter().map(|unsent| unsent.state).collect();
        assert_eq!(states, [State::Expired, State::Dead, State::NeverExisted]);
    }

    #[test]
    fn a_state_of_a_newer_agent_is_read() {
        let vector = include_str!("../../vectors/control-answer.json").replace("expired", "eaten");
        assert_eq!(Answer::from_json(vector.as_bytes()).unwrap().unsent[0].state, State::Other);
    }
}
