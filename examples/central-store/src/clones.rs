//! Whether two machines share a gateway's id: a cloned disk, or one id given twice.
//!
//! A stream belongs to one machine: a data folder that finds itself on another draws a new one. So
//! of one gateway a new stream replaces the old, or both live. Each message is a point in two
//! times, when the gateway accepted it and when the broker stored it, and neither alone tells:
//!
//! - a folder that moved brings the old stream's backlog along, and the broker stores it among the
//!   new stream's records. But all of it was accepted before
//! - a new machine whose clock is behind accepts its first records before the old one's last. But the
//!   broker stored these before
//!
//! So two streams both live if their lives overlap in **both** times, and neither has been silent
//! for long. What is sent again (by the agent, RocketMQ or the database's consumer) only repeats
//! times that were there; resends by request and replayed dead letters do not count at all.

use mysql_async::Value;
use spillway_protocol::message::StreamId;

use crate::ranges::Range;

/// A stream from which nothing new has come for so long, while another went on, is over, unless
/// somebody says otherwise: four reports as they are by default.
pub const LIVE_MS: u64 = 3_600_000;
/// Signs of life that are older are forgotten.
pub(crate) const REMEMBERED_MS: u64 = 8 * 86_400_000;
/// Two machines' clocks may differ by so much, in ms, when one takes over from the other.
const SKEW_MS: u64 = 10_000;

/// When the records of a stream were accepted by the gateway and stored by the broker, first and
/// last, in ms since 1970 by either's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// By the gateway.
    pub accepted: Range,
    /// By the broker.
    pub stored: Range,
}

/// A gateway's id that several machines have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloned {
    /// The id.
    pub gateway: String,
    /// Each machine's stream, and when the broker stored its newest record, ms since 1970.
    pub streams: Vec<(StreamId, u64)>,
}

impl Life {
    /// Of one record.
    pub fn at(accepted_ms: u64, stored_ms: u64) -> Self {
        let accepted = Range { first: accepted_ms, last: accepted_ms };
        Self { accepted, stored: Range { first: stored_ms, last: stored_ms } }
    }

    /// Of two parts together, in any order.
    pub fn joined(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (Some(one), Some(other)) = (one, other) else { return one.or(other) };
        let hull =
            |a: Range, b: Range| Range { first: a.first.min(b.first), last: a.last.max(b.last) };
        Some(Self {
            accepted: hull(one.accepted, other.accepted),
            stored: hull(one.stored, other.stored),
        })
    }

    /// The columns `live_*`.
    pub(crate) fn columns(life: Option<Self>) -> [Value; 4] {
        let ends = life.map(|Self { accepted, stored }| {
            [accepted.first, accepted.last, stored.first, stored.last]
        });
        ends.map_or([const { Value::NULL }; 4], |ends| ends.map(Value::from))
    }

    /// From the same.
    pub(crate) fn of_columns(columns: [Option<u64>; 4]) -> Option<Self> {
        let [first, last, stored_first, stored_last] = columns;
        Some(Self {
            accepted: Range { first: first?, last: last? },
            stored: Range { first: stored_first?, last: stored_last? },
        })
    }

    fn overlaps(&self, other: &Self) -> bool {
        let accepted = self.accepted.cut(&other.accepted);
        accepted.is_some_and(|both| both.count() > SKEW_MS)
            && self.stored.cut(&other.stored).is_some()
    }
}

/// Of one gateway's streams those that live beside another, each with the time of its newest record at
/// the broker; none if there is only one machine. `live_ms` is how long a stream may have been silent
/// while another went on, such as [`LIVE_MS`].
pub fn live(lives: &[(StreamId, Life)], live_ms: u64) -> Vec<(StreamId, u64)> {
    let newest_ms = lives.iter().map(|(_, life)| life.stored.last).max().unwrap_or(0);
    let lively = |life: &Life| life.stored.last.saturating_add(live_ms) >= newest_ms;
    let lively: Vec<&(StreamId, Life)> = lives.iter().filter(|(_, life)| lively(life)).collect();
    let beside = |(stream, life): &(StreamId, Life)| {
        lively.iter().any(|(other, others)| other != stream && life.overlaps(others))
    };
    let cloned = lively.iter().filter(|one| beside(one));
    cloned.map(|(stream, life)| (*stream, life.stored.last)).collect()
}

#[cfg(test)]
mod tests;
