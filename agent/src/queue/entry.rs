//! What a chain's entries hold: a record with what the agent knew when it took it in, or a dead
//! letter. Golden bytes hold the formats.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use spillway_protocol::codec::{self, DecodeError};
use spillway_protocol::message::{Flags, Stamp, StreamId};
use spillway_protocol::record::{LaneName, Record};

use super::format::unsupported;

const VERSION: u8 = 1;
/// Version of a [`Copied`].
const COPIED: u8 = 2;

/// What an entry mostly has beside its record's texts and body: times, flags, lengths.
const BESIDE_BYTES: usize = 48;

/// A record in a lane. `R` is `&Record` to write and `Record` to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored<R> {
    /// When it was accepted, ms since 1970 by this machine's clock.
    pub(super) accepted_ms: u64,
    /// Whether that clock had been set.
    pub(super) clock_set: bool,
    /// Bits of [`Flags`].
    pub(super) flags: u8,
    pub(super) record: R,
}

impl<R> Stored<R> {
    /// What is known of it, with its number.
    pub(super) fn stamp(
        &self,
        gateway: &str,
        (lane, stream, seq): (LaneName, StreamId, u64),
    ) -> Stamp {
        Stamp {
            gateway: gateway.to_owned(),
            lane,
            stream,
            seq,
            accepted_ms: self.accepted_ms,
            clock_set: self.clock_set,
            flags: Flags::from_bits(self.flags),
        }
    }
}

/// A delivered record that is sent again, under the number it had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Copied<R> {
    pub(super) origin: Origin,
    pub(super) stored: Stored<R>,
}

/// Where a copy comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    pub(super) lane: LaneName,
    pub(super) stream: u32,
    pub(super) seq: u64,
}

/// A record that was given up, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Letter {
    pub(super) lane: LaneName,
    /// Where it stood in its lane.
    pub(super) position: u64,
    pub(super) stream: u32,
    pub(super) seq: u64,
    pub(super) died_ms: u64,
    pub(super) attempts: u32,
    pub(super) code: String,
    pub(super) reason: String,
    pub(super) stored: Stored<Record>,
}

/// Encodes an entry.
pub(super) fn encode<T: Serialize>(value: &T) -> std::io::Result<Vec<u8>> {
    encode_as(VERSION, value, 256)
}

/// Encodes a record.
pub(super) fn encode_record(stored: &Stored<&Record>) -> std::io::Result<Vec<u8>> {
    encode_as(VERSION, stored, stored.record.size_bytes() + BESIDE_BYTES)
}

/// Encodes a copy.
pub(super) fn encode_copy(copy: &Copied<&Record>) -> std::io::Result<Vec<u8>> {
    encode_as(COPIED, copy, copy.stored.record.size_bytes() + BESIDE_BYTES)
}

/// `expected_bytes`: it mostly has no more.
fn encode_as<T: Serialize>(
    version: u8,
    value: &T,
    expected_bytes: usize,
) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(expected_bytes);
    codec::encode_into(version, value, &mut out).map_err(std::io::Error::other)?;
    Ok(out)
}

/// Decodes an entry of a lane, and where it comes from if it is a copy.
pub(super) fn decode_record(bytes: &[u8]) -> Result<(Stored<Record>, Option<Origin>), DecodeError> {
    if bytes.first() != Some(&COPIED) {
        return Ok((decode(bytes)?, None));
    }
    let (copied, _): (Copied<Record>, _) = codec::decode(COPIED, bytes)?;
    Ok((copied.stored, Some(copied.origin)))
}

/// An error if a newer agent encoded it.
pub(super) fn known(bytes: &[u8]) -> std::io::Result<()> {
    match bytes.first() {
        Some(version) if *version > COPIED => Err(unsupported("an entry", *version)),
        _ => Ok(()),
    }
}

/// Decodes an entry.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    codec::decode(VERSION, bytes).map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use spillway_protocol::record::{Draft, RecordId};

    use super::*;

    fn record() -> Record {
        let draft = Draft {
            id: Some("id".into()),
            tag: Some("t".into()),
            properties: [("p".to_owned(), "v".to_owned())].into(),
            body: "body".into(),
            ..Draft::default()
        };
        draft.parse(|| RecordId::parse("x").unwrap()).unwrap()
    }

    #[test]
    fn golden_bytes_of_a_stored_record() {
        let stored = Stored { accepted_ms: 5, clock_set: true, flags: 0, record: &record() };
        let bytes = encode(&stored).unwrap();
        let golden = b"\x01\x05\x01\x00\x02id\x00\x00\x00\x01\x01t\x00\x01\x01p\x01v\x04body";
        assert_eq!(bytes, golden);
        let read: Stored<Record> = decode(&bytes).unwrap();
        assert_eq!(read.record, record());
    }

    #[test]
    fn golden_bytes_of_a_copy() {
        let stored = Stored { accepted_ms: 5, clock_set: true, flags: 8, record: &record() };
        let origin = Origin { lane: LaneName::parse("bulk").unwrap(), stream: 7, seq: 2 };
        let bytes = encode_copy(&Copied { origin: origin.clone(), stored }).unwrap();
        let golden = b"\x02\x04bulk\x07\x02\x05\x01\x08\x02id\x00\x00\x00\x01\x01t\x00\x01\x01p\x01v\x04body";
        assert_eq!(bytes, golden);
        let (stored, found) = decode_record(&bytes).unwrap();
        assert_eq!((stored.record, found), (record(), Some(origin)));
        let plain = Stored { accepted_ms: 5, clock_set: true, flags: 0, record: &record() };
        assert_eq!(decode_record(&encode(&plain).unwrap()).unwrap().1, None);
    }

    #[test]
    fn golden_bytes_of_a_dead_letter() {
        let letter = Letter {
            lane: LaneName::parse("bulk").unwrap(),
            position: 300,
            stream: 7,
            seq: 2,
            died_ms: 9,
            attempts: 3,
            code: "c".into(),
            reason: "r".into(),
            stored: Stored { accepted_ms: 5, clock_set: true, flags: 1, record: record() },
        };
        let bytes = encode(&letter).unwrap();
        assert_eq!(&bytes[..20], b"\x01\x04bulk\xFB\x2C\x01\x07\x02\x09\x03\x01c\x01r\x05\x01\x01");
        assert_eq!(decode::<Letter>(&bytes).unwrap(), letter);
    }
}
