//! A pack: the entries that one commit brought to one chain, as one sled value with a header of
//! our own. It can be told from any other bytes, and proves itself, without sled.
//!
//! ```text
//!  0  magic                8     40  stream              4
//!  8  version (1)          1     44  base                8
//!  9  kind: 0 entries,     1     52  CRC-32 of 0..52     4
//!     1 part of an entry             and the payload
//! 10  part, 12 parts       4     56  payload: for each entry its
//! 14  zero                 2         length (4) and its bytes;
//! 16  nonce of the segment 8         or the bytes of one part
//! 24  first position       8
//! 32  count of entries     4     all numbers little-endian
//! 36  payload length       4
//! ```
//! Magic, version, nonce, payload length and CRC-32 stay where they are in every later version, so
//! that a newer pack proves itself to an older agent. The nonce stands in the segment's folder name too, so that a body which happens to hold an old
//! pack is never taken for one of this segment.

use spillway_protocol::message::StreamId;

/// First bytes of every pack.
pub(super) const MAGIC: [u8; 8] = *b"\xF1SPW\r\n\x1A\x01";
/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 56;
/// Largest pack. sled puts what outgrows a quarter of its segment into files that it never syncs.
pub(super) const PACK_BYTES_MAX: usize = 60_000;
const VERSION: u8 = 1;
const CRC_AT: usize = 52;

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
}

/// What the payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whole entries.
    Entries,
    /// Part `part` of `parts` of one entry that is larger than a pack.
    Part { part: u16, parts: u16 },
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
        if head[..8] != MAGIC || head[8] != VERSION || u64_at(head, 16) != nonce {
            return None;
        }
        let kind = match head[9] {
            0 => Kind::Entries,
            1 => Kind::Part { part: u16_at(head, 10), parts: u16_at(head, 12) },
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
        };
        (header.len() <= PACK_BYTES_MAX && header.count > 0).then_some(header)
    }

    /// Length of the whole pack.
    pub(super) fn len(&self) -> usize {
        HEADER_BYTES + self.payload_bytes as usize
    }
}

/// Whether `pack`, whose header was read, is whole.
pub(super) fn intact(pack: &[u8]) -> bool {
    pack.len() >= HEADER_BYTES && crc(pack) == u32_at(pack, CRC_AT)
}

/// The version of the pack at the beginning of `bytes`, if it is a whole one of `nonce`'s segment
/// that a newer agent wrote.
pub(super) fn newer(bytes: &[u8], nonce: u64) -> Option<u8> {
    let head = bytes.get(..HEADER_BYTES)?;
    let ours = head[..8] == MAGIC && head[8] > VERSION && u64_at(head, 16) == nonce;
    let length = ours.then(|| HEADER_BYTES + u32_at(head, 36) as usize)?;
    intact(bytes.get(..length)?).then_some(head[8])
}

/// The entries of an intact pack of [`Kind::Entries`].
pub(super) fn entries(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let length = u32_at(rest.get(..4)?, 0) as usize;
        let entry = rest.get(4..4 + length)?;
        rest = &rest[4 + length..];
        Some(entry)
    })
}

/// A pack and the positions in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) bytes: Vec<u8>,
}

/// Packs `entries`, which take the positions from `first` on, into as few packs as fit.
pub(super) fn pack(entries: &[Vec<u8>], first: u64, origin: Origin) -> Vec<Packed> {
    let mut packs = Vec::new();
    let mut open: Option<Packed> = None;
    for (position, entry) in (first..).zip(entries) {
        let need = 4 + entry.len();
        if open.as_ref().is_some_and(|p| p.bytes.len() + need > PACK_BYTES_MAX) {
            packs.extend(open.take());
        }
        if HEADER_BYTES + need > PACK_BYTES_MAX {
            packs.extend(open.take());
            packs.extend(parts(entry, position));
            continue;
        }
        let pack = open.get_or_insert_with(|| start(position, Kind::Entries));
        #[allow(clippy::cast_possible_truncation)] // an entry here is shorter than a pack
        pack.bytes.extend((entry.len() as u32).to_le_bytes());
        pack.bytes.extend(entry);
        pack.count += 1;
    }
    packs.extend(open);
    packs.iter_mut().for_each(|pack| seal(pack, origin));
    packs
}

fn start(first: u64, kind: Kind) -> Packed {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8] = VERSION;
    if let Kind::Part { part, parts } = kind {
        bytes[9] = 1;
        bytes[10..12].copy_from_slice(&part.to_le_bytes());
        bytes[12..14].copy_from_slice(&parts.to_le_bytes());
    }
    Packed { first, count: 0, bytes }
}

#[allow(clippy::cast_possible_truncation)] // 6 MiB in parts of 60 kB: about 100
fn parts(entry: &[u8], position: u64) -> impl Iterator<Item = Packed> {
    let chunks = entry.chunks(PACK_BYTES_MAX - HEADER_BYTES);
    let parts = chunks.len() as u16;
    chunks.enumerate().map(move |(part, chunk)| {
        let mut pack = start(position, Kind::Part { part: part as u16, parts });
        pack.bytes.extend(chunk);
        pack.count = 1;
        pack
    })
}

#[allow(clippy::cast_possible_truncation)] // a pack is shorter than PACK_BYTES_MAX
fn seal(pack: &mut Packed, origin: Origin) {
    let payload_bytes = (pack.bytes.len() - HEADER_BYTES) as u32;
    let head = &mut pack.bytes[..HEADER_BYTES];
    head[16..24].copy_from_slice(&origin.nonce.to_le_bytes());
    head[24..32].copy_from_slice(&pack.first.to_le_bytes());
    head[32..36].copy_from_slice(&pack.count.to_le_bytes());
    head[36..40].copy_from_slice(&payload_bytes.to_le_bytes());
    head[40..44].copy_from_slice(&origin.stream.0.to_le_bytes());
    head[44..52].copy_from_slice(&origin.base.to_le_bytes());
    let crc = crc(&pack.bytes);
    pack.bytes[CRC_AT..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
}

fn crc(pack: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&pack[..CRC_AT]);
    hasher.update(&pack[HEADER_BYTES..]);
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

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { nonce: 0xABCD, stream: StreamId(7), base: 3 };

    #[test]
    fn a_commit_becomes_one_pack_that_proves_itself() {
        let packs = pack(&[b"one".to_vec(), b"two".to_vec()], 10, ORIGIN);
        assert_eq!(packs.len(), 1);
        let header = Header::parse(&packs[0].bytes, ORIGIN.nonce).unwrap();
        assert_eq!((header.first, header.count), (10, 2));
        assert_eq!((header.stream, header.base), (StreamId(7), 3));
        assert!(intact(&packs[0].bytes));
        let read: Vec<&[u8]> = entries(&packs[0].bytes[HEADER_BYTES..]).collect();
        assert_eq!(read, [b"one", b"two"]);
    }

    #[test]
    fn any_flipped_byte_is_seen() {
        let whole = pack(&[vec![5; 40]], 1, ORIGIN).remove(0).bytes;
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            assert!(Header::parse(&bad, ORIGIN.nonce).is_none() || !intact(&bad), "byte {at}");
        }
    }

    #[test]
    fn packs_stay_below_the_bound_and_number_without_gaps() {
        let entries: Vec<Vec<u8>> = (0..200).map(|i| vec![1; 1 + i * 37]).collect();
        let mut next = 1;
        for pack in pack(&entries, 1, ORIGIN) {
            assert!(pack.bytes.len() <= PACK_BYTES_MAX);
            assert_eq!(pack.first, next);
            next += u64::from(pack.count);
        }
        assert_eq!(next, 201);
    }

    #[test]
    fn an_entry_larger_than_a_pack_is_cut_into_parts() {
        let large: Vec<u8> = (0..150_000u32).map(|i| i as u8).collect();
        let packs = pack(&[b"a".to_vec(), large.clone(), b"b".to_vec()], 5, ORIGIN);
        let kinds: Vec<_> =
            packs.iter().map(|p| Header::parse(&p.bytes, ORIGIN.nonce).unwrap()).collect();
        assert_eq!(kinds.iter().map(|h| h.first).collect::<Vec<_>>(), [5, 6, 6, 6, 7]);
        assert_eq!(kinds[2].kind, Kind::Part { part: 1, parts: 3 });
        let joined: Vec<u8> =
            packs[1..4].iter().flat_map(|p| p.bytes[HEADER_BYTES..].to_vec()).collect();
        assert_eq!(joined, large);
    }

    #[test]
    fn a_pack_of_another_segment_is_not_taken_for_ours() {
        let foreign = pack(&[b"x".to_vec()], 1, Origin { nonce: 1, ..ORIGIN }).remove(0).bytes;
        assert_eq!(Header::parse(&foreign, ORIGIN.nonce), None);
    }

    #[test]
    fn a_newer_pack_is_known_by_its_checksum_and_a_flipped_version_is_damage() {
        let mut newer_pack = pack(&[b"one".to_vec()], 1, ORIGIN).remove(0).bytes;
        newer_pack[8] = 99;
        assert_eq!(newer(&newer_pack, ORIGIN.nonce), None);
        let sum = crc(&newer_pack);
        newer_pack[CRC_AT..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(newer(&newer_pack, ORIGIN.nonce), Some(99));
        assert_eq!(newer(&newer_pack, 1), None);
        assert_eq!(Header::parse(&newer_pack, ORIGIN.nonce), None);
    }

    #[test]
    fn golden_bytes() {
        let bytes = pack(&[b"one".to_vec()], 0x0102, ORIGIN).remove(0).bytes;
        let golden: [&[u8]; 8] = [
            b"\xF1SPW\r\n\x1A\x01\x01\0\0\0\0\0\0\0", // magic, version, kind, parts
            b"\xCD\xAB\0\0\0\0\0\0",                  // nonce
            b"\x02\x01\0\0\0\0\0\0",                  // first position
            b"\x01\0\0\0\x07\0\0\0",                  // count, payload length
            b"\x07\0\0\0",                            // stream
            b"\x03\0\0\0\0\0\0\0",                    // base
            &bytes[CRC_AT..HEADER_BYTES],
            b"\x03\0\0\0one",
        ];
        assert_eq!(bytes, golden.concat());
        assert!(intact(&bytes));
    }
}
