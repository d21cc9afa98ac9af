//! What is saved of a chain beside its segments: how far it is settled, and its accounts.

use std::io;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use spillway_protocol::codec;
use spillway_protocol::record::LaneName;

use super::api::Fate;
use super::format::unsupported;
use super::head::Comb;
use super::untold::Grave;

const VERSION: u8 = 4;
/// Version 3 had no `expired` and no such fate, version 2 no `thinned`, version 1 no `untold` either.
const EARLIER: [u8; 3] = [1, 2, 3];
/// The version of a state without anything that expired: agents that know no `ttl` read it.
const PLAIN: u8 = 3;
/// Most ranges above the watermark that are saved; what is not saved is sent again after a crash.
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
    /// What of it the far side has not heard.
    pub(super) untold: Vec<Grave>,
    /// Stretches of which one record in so many is kept.
    pub(super) thinned: Vec<Comb>,
    /// Ranges that were too old, as far back as is remembered.
    pub(super) expired: Vec<(u64, u64)>,
}

impl LaneState {
    /// Encodes it for [`Store::save_state`](super::store::Store::save_state).
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let told = |grave: &Grave| grave.fate == Fate::Expired;
        if !self.expired.is_empty() || self.untold.iter().any(told) {
            return encode_as(VERSION, self);
        }
        let mut bytes = encode_as(PLAIN, self)?;
        // The empty list at the end.
        bytes.pop();
        Ok(bytes)
    }
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
    /// What left and the far side has not heard of.
    pub(super) untold: Vec<(LaneName, Vec<Grave>)>,
}

/// How many letters of a lane have left the dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Left {
    /// Into the lane again.
    pub(super) replayed: u64,
    /// Given up for good.
    pub(super) purged: u64,
}

impl DeadState {
    /// Encodes it for [`Store::save_state`](super::store::Store::save_state).
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        encode_as(PLAIN, self)
    }
}

fn encode_as<T: Serialize>(version: u8, state: &T) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    codec::encode_into(version, state, &mut out).map_err(io::Error::other)?;
    Ok(out)
}

/// An error if a newer agent encoded it.
pub(super) fn known(bytes: &[u8]) -> io::Result<()> {
    match bytes.first() {
        Some(version) if *version > VERSION => Err(unsupported("state", *version)),
        _ => Ok(()),
    }
}

/// Decodes a saved state; `None` if it cannot be read, which recovery treats as lost.
///
/// # Errors
/// A newer agent encoded it.
pub(super) fn decode<T: DeserializeOwned>(bytes: Option<Vec<u8>>) -> io::Result<Option<T>> {
    let Some(bytes) = bytes else { return Ok(None) };
    known(&bytes)?;
    Ok(decode_known(bytes))
}

fn decode_known<T: DeserializeOwned>(mut bytes: Vec<u8>) -> Option<T> {
    if bytes.first().is_some_and(|version| EARLIER.contains(version)) {
        // What was added are lists at the end; an empty one is one byte. What is too much is not read.
        bytes[0] = VERSION;
        bytes.extend([0; EARLIER.len()]);
    }
    codec::decode(VERSION, &bytes).ok().map(|(state, _)| state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_a_lanes_state() {
        let grave =
            Grave { fate: Fate::Damaged, stream: 3, from: 2, to: 3, first_ms: 7, last_ms: 8 };
        let settled = Tally { delivered: 4, dead: 1, ..Tally::default() };
        let state = LaneState {
            end: 9,
            watermark: 5,
            above: vec![(7, 8)],
            baseline: 1,
            streams: vec![(3, 0)],
            settled,
            lost: vec![(2, 3)],
            untold: vec![grave],
            thinned: vec![Comb { from: 5, to: 7, every: 2, base: 0 }],
            expired: vec![],
        };
        let bytes = state.encode().unwrap();
        let golden: [&[u8]; 3] = [
            &[3, 9, 5, 1, 7, 8, 1, 1, 3, 0, 4, 1, 0, 0, 0, 1, 2, 3],
            &[1, 3, 3, 2, 3, 7, 8],
            &[1, 5, 7, 2, 0],
        ];
        assert_eq!(bytes, golden.concat());
        assert_eq!(decode::<LaneState>(Some(bytes)).unwrap(), Some(state.clone()));
        let earlier = [&[2], &golden[0][1..], golden[1]].concat();
        let thinned = vec![];
        let state = LaneState { thinned, ..state };
        assert_eq!(decode_known::<LaneState>(earlier), Some(state.clone()));
        let earlier = [&[1], &golden[0][1..]].concat();
        let untold = vec![];
        assert_eq!(decode_known::<LaneState>(earlier), Some(LaneState { untold, ..state }));
    }

    #[test]
    fn only_a_state_of_a_lane_in_which_something_expired_is_of_the_newest_version() {
        let grave =
            Grave { fate: Fate::Expired, stream: 3, from: 2, to: 4, first_ms: 7, last_ms: 8 };
        let settled = Tally { expired: 2, ..Tally::default() };
        let before = LaneState { end: 9, watermark: 4, settled, ..LaneState::default() };
        assert_eq!(before.encode().unwrap(), [3, 9, 4, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0]);
        for (state, golden) in [
            (
                LaneState { expired: vec![(2, 4)], ..before.clone() },
                &[4, 9, 4, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 2, 4][..],
            ),
            (
                LaneState { untold: vec![grave], ..before },
                &[4, 9, 4, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 6, 3, 2, 4, 7, 8, 0, 0],
            ),
        ] {
            let bytes = state.encode().unwrap();
            assert_eq!(bytes, golden);
            assert_eq!(decode_known::<LaneState>(bytes), Some(state));
        }
    }

    #[test]
    fn golden_bytes_of_the_dead_letters_state() {
        let grave =
            Grave { fate: Fate::Purged, stream: 3, from: 2, to: 3, first_ms: 7, last_ms: 8 };
        let lane = LaneName::parse("bulk").unwrap();
        let state = DeadState {
            end: 9,
            watermark: 5,
            above: vec![(7, 8)],
            left: vec![(lane.clone(), Left { replayed: 1, purged: 2 })],
            untold: vec![(lane, vec![grave])],
        };
        let bytes = state.encode().unwrap();
        assert_eq!(
            bytes,
            b"\x03\x09\x05\x01\x07\x08\x01\x04bulk\x01\x02\x01\x04bulk\x01\x01\x03\x02\x03\x07\x08"
        );
        assert_eq!(decode_known::<DeadState>(bytes.clone()), Some(state.clone()));
        let earlier = [&[1], &bytes[1..14]].concat();
        let untold = vec![];
        assert_eq!(decode_known::<DeadState>(earlier), Some(DeadState { untold, ..state }));
    }

    #[test]
    fn a_newer_state_is_neither_read_nor_lost() {
        let newer = decode::<LaneState>(Some(vec![99, 9, 5]));
        assert_eq!(newer.unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert_eq!(decode::<LaneState>(Some(vec![VERSION])).unwrap(), None);
    }
}
