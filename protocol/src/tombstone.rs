//! What a gateway tells of records that will never arrive under their numbers: messages to
//! `[report] topic` with `sw_flags=tombstone`, whose body is the JSON of [`Tombstones`].
//!
//! ```json
//! {"gateway":"gw-0042","ranges":[{"lane":"critical","stream":"00c0ffee","from":41,"to":43,
//!  "reason":"dead","count":3,"first_ms":1700000000123,"last_ms":1700000000456}]}
//! ```
//!
//! How the far side reads them:
//! - A range is exact: every number from `from` to `to`, both included, was given up for the
//!   reason; nothing between was delivered as far as the gateway knows. `count` is their number. Of a
//!   `thinned` range the multiples of `kept_every` were not given up: they have arrived, or will.
//! - Each is told at least once, so the same ranges may come again, cut or joined differently:
//!   take the union, by number.
//! - Arrived wins: a record may have arrived although its acknowledgement was lost, and then have
//!   been given up. A number that is stored and has a tombstone is stored.
//! - A number may get several reasons, in any order: see [`Reason::rank`] for the one that stands.
//! - `replayed`: an operator sent a dead letter again. It gets a **new number** of its lane and
//!   carries `sw_flags=replay` and the same id; the old number stays explained by the tombstone,
//!   and the new one is expected like any other.
//! - The gateway's own lane `_agent` may itself have tombstones: should the disk have lost some of
//!   its records, ranges told there may be missing.

use serde::{Deserialize, Serialize};

/// Why a record will not arrive under its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// RocketMQ refused it; it lies in the gateway's dead letters.
    Dead,
    /// It was a dead letter and was sent again under a new number.
    Replayed,
    /// It was older than the lane's `ttl`.
    Expired,
    /// It was given up at a limit.
    Dropped,
    /// It was given up so that one in so many is kept: see [`Range::kept_every`].
    Thinned,
    /// An operator gave it up.
    Purged,
    /// It was lost to a damaged file.
    Damaged,
    /// A reason that this build does not know yet.
    #[serde(other)]
    Other,
}

impl Range {
    /// Whether `number` was given up, if it lies in the range.
    pub fn gives_up(&self, number: u64) -> bool {
        let kept = self.kept_every.is_some_and(|every| number.is_multiple_of(every.max(1).into()));
        (self.from..=self.to).contains(&number) && !kept
    }
}

impl Reason {
    /// Of several reasons for one number, the one with the highest rank stands: a dead letter is
    /// purged or replayed later, never the other way round.
    pub fn rank(self) -> u8 {
        match self {
            Self::Other => 0,
            Self::Dead => 1,
            Self::Damaged | Self::Expired | Self::Dropped | Self::Thinned => 2,
            Self::Purged => 3,
            Self::Replayed => 4,
        }
    }
}

/// Numbers of one lane and stream that were given up for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Lane.
    pub lane: String,
    /// Stream, 8 hex digits.
    pub stream: String,
    /// First number.
    pub from: u64,
    /// Last number.
    pub to: u64,
    /// Why.
    pub reason: Reason,
    /// How many: all from `from` to `to`, but for those that were kept.
    pub count: u64,
    /// Of a thinned range: the numbers that are multiples of this were kept, and arrive like any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_every: Option<u32>,
    /// When the first of them was given up, ms since 1970 by the gateway's clock.
    pub first_ms: u64,
    /// When the last of them was.
    pub last_ms: u64,
}

/// The body of a tombstone message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstones {
    /// Gateway id; the same as `sw_gw`.
    pub gateway: String,
    /// Disjoint for one lane, stream and reason.
    pub ranges: Vec<Range>,
}

impl Tombstones {
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
    /// What in it is not a tombstone.
    pub fn from_json(body: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_is_read_and_written_as_it_is() {
        let vector = include_str!("../vectors/tombstone.json").trim_end();
        let told = Tombstones::from_json(vector.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(told.to_json().unwrap()).unwrap(), vector);
        let reasons: Vec<Reason> = told.ranges.iter().map(|range| range.reason).collect();
        assert_eq!(reasons, [Reason::Dead, Reason::Purged, Reason::Damaged]);
        assert!(told.ranges.iter().all(|range| range.count == range.to - range.from + 1));
    }

    #[test]
    fn a_reason_of_a_newer_agent_still_explains() {
        let vector = include_str!("../vectors/tombstone.json").replace("damaged", "eaten");
        let told = Tombstones::from_json(vector.as_bytes()).unwrap();
        assert_eq!(told.ranges[2].reason, Reason::Other);
    }

    #[test]
    fn what_becomes_of_a_dead_letter_stands_above_its_death() {
        for later in [Reason::Purged, Reason::Replayed, Reason::Damaged] {
            assert!(later.rank() > Reason::Dead.rank());
        }
    }
}
