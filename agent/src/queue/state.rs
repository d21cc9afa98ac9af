//! What is saved of a chain beside its segments: how far it is settled, and its accounts.

use std::io;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use spillway_protocol::codec;
use spillway_protocol::record::LaneName;

const VERSION: u8 = 1;
/// Most ranges above the watermark that are saved; what lies above them is sent again after a
/// crash.
pub(super) const RANGES_MAX: usize = 4096;

/// State of a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LaneState {
    /// The position after the last durable one.
    pub(super) end: u64,
    /// All below it is settled.
    pub(super) watermark: u64,
    /// Settled ranges above it.
    pub(super) above: Vec<(u64, u64)>,
    /// The accounts count from this position on.
    pub(super) baseline: u64,
    /// Streams, newest last, each with what to take off a position for its number in it.
    pub(super) streams: Vec<(u32, u64)>,
    pub(super) settled: Tally,
    /// Ranges that were lost to damage or given up, as far back as is remembered.
    pub(super) lost: Vec<(u64, u64)>,
}

/// How settled positions ended. Their sum is the number of settled positions since the baseline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) delivered: u64,
    /// Moved to the dead letters, whatever became of them there.
    pub(super) dead: u64,
    pub(super) expired: u64,
    pub(super) dropped: u64,
    pub(super) damaged: u64,
}

impl Tally {
    /// All of them.
    #[cfg(test)]
    pub(super) fn sum(&self) -> u64 {
        self.delivered + self.dead + self.expired + self.dropped + self.damaged
    }
}

/// State of the dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeadState {
    pub(super) end: u64,
    pub(super) watermark: u64,
    pub(super) above: Vec<(u64, u64)>,
    pub(super) left: Vec<(LaneName, Left)>,
}

/// How many letters of a lane have left the dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Left {
    /// Into the lane again.
    pub(super) replayed: u64,
    /// Given up for good.
    pub(super) purged: u64,
}

/// Encodes a state for [`Store::save_state`](super::store::Store::save_state).
pub(super) fn encode<T: Serialize>(state: &T) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    codec::encode_into(VERSION, state, &mut out).map_err(io::Error::other)?;
    Ok(out)
}

/// Decodes a saved state; `None` if it cannot be read, which recovery treats as lost.
pub(super) fn decode<T: DeserializeOwned>(bytes: Option<Vec<u8>>) -> Option<T> {
    codec::decode(VERSION, &bytes?).ok().map(|(state, _)| state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_a_lanes_state() {
        let settled = Tally { delivered: 4, dead: 1, ..Tally::default() };
        let state = LaneState {
            end: 9,
            watermark: 5,
            above: vec![(7, 8)],
            baseline: 1,
            streams: vec![(3, 0)],
            settled,
            lost: vec![(2, 3)],
        };
        let bytes = encode(&state).unwrap();
        assert_eq!(bytes, [1, 9, 5, 1, 7, 8, 1, 1, 3, 0, 4, 1, 0, 0, 0, 1, 2, 3]);
        assert_eq!(decode::<LaneState>(Some(bytes)), Some(state));
    }
}
