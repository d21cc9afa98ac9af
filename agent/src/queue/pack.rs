//! A pack: the entries that one commit brought to one chain, as one sled value with a header of
//! our own. It can be told from any other bytes, and proves itself, without sled and without a key.
//!
//! ```text
//!  0  magic                8     40  stream              4
//!  8  version (1 or 2)     1     44  base                8
//!  9  kind: 0 entries,     1     version 1:
//!     1 part of an entry         52  CRC-32 of 0..52     4
//! 10  part, 12 parts       4         and the payload
//! 14  flags (version 2)    1     56  payload
//! 15  zero                 1     version 2:
//! 16  nonce of the segment 8     52  raw length          4
//! 24  first position       8     56  id of the key       4
//! 32  count of entries     4     60  CRC-32 of 0..60     4
//! 36  payload length       4         and the payload
//!                                64  payload
//! ```
//! All numbers are little-endian. The raw payload is for each entry its length (4) and its bytes; or
//! the bytes of one part of an entry. Version 2 is written only where something was done to it:
//! - flag 1: it is a block of lz4, of a large entry before that is cut into parts. The raw length
//!   is what comes out of it, of all parts together; without the flag it is what goes in.
//! - flag 2: it is sealed with XChaCha20-Poly1305: nonce (24), text, tag (16), beside bytes 0..60.
//!
//! In every later version the fields of version 1 and the CRC stay where version 2 has them, so that
//! a newer pack proves itself to an older agent.
//!
//! The segment's nonce stands in its folder's name too, so that a body which happens to hold an old
//! pack is never taken for one of this segment.

mod opening;
mod packer;
#[cfg(test)]
mod tests;

use spillway_protocol::message::StreamId;

use super::cipher::KeyId;
pub(super) use opening::{Unopened, headers, payload};
pub(super) use packer::{Packed, Packer, claimed};

/// First bytes of every pack.
pub(super) const MAGIC: [u8; 8] = *b"\xF1SPW\r\n\x1A\x01";
/// Least bytes before the payload.
pub(super) const HEADER_BYTES: usize = 56;
/// Those of version 2.
const CODED_HEADER_BYTES: usize = 64;
/// Largest pack. sled puts what outgrows a quarter of its segment into files that it never syncs.
pub(super) const PACK_BYTES_MAX: usize = 60_000;
/// Largest entry that is compressed: so much may be allocated on a header's word. Records are
/// smaller.
const ENTRY_BYTES_MAX: usize = 8 << 20;
const PLAIN: u8 = 1;
const CODED: u8 = 2;
const LZ4: u8 = 1;
const SEALED: u8 = 2;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) nonce: u64,
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) payload_bytes: u32,
    pub(super) stream: StreamId,
    /// Position minus `base` is the number in the stream.
    pub(super) base: u64,
    /// What was done to the payload; nothing in version 1.
    coding: Option<Coding>,
}

/// What the payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whole entries.
    Entries,
    /// Part `part` of `parts` of one entry that is larger than a pack.
    Part { part: u16, parts: u16 },
}

/// What was done to a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Coding {
    lz4: bool,
    raw_bytes: u32,
    key: Option<KeyId>,
}

/// What every pack of a commit shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) nonce: u64,
    pub(super) stream: StreamId,
    pub(super) base: u64,
}

impl Header {
    /// Reads a header, if these bytes begin with one of `nonce`'s segment.
    pub(super) fn parse(bytes: &[u8], nonce: u64) -> Option<Self> {
        let head = bytes.get(..HEADER_BYTES)?;
        if head[..8] != MAGIC || u64_at(head, 16) != nonce {
            return None;
        }
        let kind = match head[9] {
            0 => Kind::Entries,
            1 => Kind::Part { part: u16_at(head, 10), parts: u16_at(head, 12) },
            _ => return None,
        };
        let coding = match head[8] {
            PLAIN => None,
            CODED => Some(Coding::parse(bytes.get(..CODED_HEADER_BYTES)?, kind)?),
            _ => return None,
        };
        let header = Self {
            kind,
            nonce,
            first: u64_at(head, 24),
            count: u32_at(head, 32),
            payload_bytes: u32_at(head, 36),
            stream: StreamId(u32_at(head, 40)),
            base: u64_at(head, 44),
            coding,
        };
        (header.len() <= PACK_BYTES_MAX && header.count > 0).then_some(header)
    }

    /// Where the payload begins.
    pub(super) fn payload_at(&self) -> usize {
        self.coding.map_or(HEADER_BYTES, |_| CODED_HEADER_BYTES)
    }

    /// Length of the whole pack.
    pub(super) fn len(&self) -> usize {
        self.payload_at() + self.payload_bytes as usize
    }

    /// The position after the last one in it.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }
}

impl Coding {
    fn parse(head: &[u8], kind: Kind) -> Option<Self> {
        let flags = head[14];
        let raw_bytes = u32_at(head, 52);
        let most = match kind {
            Kind::Entries => PACK_BYTES_MAX,
            Kind::Part { .. } if flags & LZ4 != 0 => ENTRY_BYTES_MAX,
            Kind::Part { .. } => usize::MAX,
        };
        let key = (flags & SEALED != 0).then(|| KeyId(u32_at(head, 56)));
        let known = flags & !(LZ4 | SEALED) == 0;
        let coding = Self { lz4: flags & LZ4 != 0, raw_bytes, key };
        (known && raw_bytes as usize <= most).then_some(coding)
    }
}

/// Whether `pack`, whose header was read, is whole.
pub(super) fn intact(pack: &[u8]) -> bool {
    match pack.get(8) {
        Some(&CODED) => proves(pack, CODED_HEADER_BYTES),
        _ => proves(pack, HEADER_BYTES),
    }
}

fn proves(pack: &[u8], header_bytes: usize) -> bool {
    pack.len() >= header_bytes && crc(pack, header_bytes) == u32_at(pack, header_bytes - 4)
}

/// The version of the pack at the beginning of `bytes`, if it is a whole one of `nonce`'s segment
/// that a newer agent wrote.
pub(super) fn newer(bytes: &[u8], nonce: u64) -> Option<u8> {
    let head = bytes.get(..CODED_HEADER_BYTES)?;
    let ours = head[..8] == MAGIC && head[8] > CODED && u64_at(head, 16) == nonce;
    let length = ours.then(|| CODED_HEADER_BYTES + u32_at(head, 36) as usize)?;
    proves(bytes.get(..length)?, CODED_HEADER_BYTES).then_some(head[8])
}

/// The entries of an intact pack of [`Kind::Entries`].
pub(super) fn entries(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let length = u32_at(rest.get(..4)?, 0) as usize;
        let entry = rest.get(4..)?.get(..length)?;
        rest = &rest[4 + length..];
        Some(entry)
    })
}

/// Of the header but its last four bytes, where it is kept, and of the payload.
fn crc(pack: &[u8], header_bytes: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&pack[..header_bytes - 4]);
    hasher.update(&pack[header_bytes..]);
    hasher.finalize()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |n, &byte| n << 8 | u32::from(byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Packs `entries` plainly, which take the positions from `first` on.
#[cfg(test)]
pub(super) fn pack(entries: &[Vec<u8>], first: u64, origin: Origin) -> Vec<Packed> {
    Packer::default().pack(entries, first, origin).unwrap()
}
