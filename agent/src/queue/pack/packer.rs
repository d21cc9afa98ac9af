//! Makes packs of entries: grouped, compressed, sealed, in this order, and proven by a checksum.

use std::borrow::Cow;
use std::io;

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

use super::{
    CODED, CODED_HEADER_BYTES, ENTRY_BYTES_MAX, HEADER_BYTES, Kind, LZ4, MAGIC, Origin,
    PACK_BYTES_MAX, PLAIN, SEALED, crc,
};
use crate::queue::cipher::{Keys, NONCE_BYTES, TAG_BYTES};

/// A buffer that grew beyond this for a large entry is not kept.
const BLOCK_BYTES_KEPT: usize = 2 * PACK_BYTES_MAX;

/// A pack and the positions in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::queue) struct Packed {
    pub(in crate::queue) first: u64,
    pub(in crate::queue) count: u32,
    pub(in crate::queue) bytes: Vec<u8>,
}

/// How a chain's packs are made. By default plainly.
#[derive(Default)]
pub(in crate::queue) struct Packer {
    lz4: Option<Lz4>,
    keys: Keys,
}

/// What compressing needs, kept for the next time.
#[derive(Default)]
struct Lz4 {
    table: CompressTable,
    block: Vec<u8>,
}

/// A pack under way: room for what comes before the payload, and the payload.
struct Draft {
    first: u64,
    count: u32,
    kind: Kind,
    bytes: Vec<u8>,
    payload_at: usize,
    lz4: bool,
    /// See the header.
    raw_bytes: usize,
}

impl Packer {
    /// Compresses with `lz4`, and seals if `keys` have a current one.
    pub(in crate::queue) fn new(lz4: bool, keys: Keys) -> Self {
        Self { lz4: lz4.then(Lz4::default), keys }
    }

    /// Packs `entries`, which take the positions from `first` on, into as few packs as fit.
    pub(in crate::queue) fn pack(
        &mut self,
        entries: &[impl AsRef<[u8]>],
        first: u64,
        origin: Origin,
    ) -> io::Result<Vec<Packed>> {
        let front = self.front(false);
        let room = self.room(front);
        let mut rest: usize = entries.iter().map(|entry| 4 + entry.as_ref().len()).sum();
        let mut drafts = Vec::new();
        let mut open: Option<Draft> = None;
        for (position, entry) in (first..).zip(entries) {
            let entry = entry.as_ref();
            let need = 4 + entry.len();
            if open.as_ref().is_some_and(|draft| draft.payload().len() + need > room) {
                drafts.extend(open.take());
            }
            if need > room {
                drafts.extend(open.take());
                self.cut(entry, position, &mut drafts);
                rest -= need;
                continue;
            }
            let draft = open.get_or_insert_with(|| {
                let mut draft = Draft::new(position, Kind::Entries, front);
                draft.bytes.reserve(rest.min(room) + TAG_BYTES);
                draft
            });
            rest -= need;
            #[allow(clippy::cast_possible_truncation)] // an entry here is shorter than a pack
            draft.bytes.extend((entry.len() as u32).to_le_bytes());
            draft.bytes.extend(entry);
            draft.count += 1;
        }
        drafts.extend(open);
        drafts.into_iter().map(|draft| self.finish(draft, origin)).collect()
    }

    /// Bytes before the payload.
    fn front(&self, lz4: bool) -> usize {
        match (self.keys.current(), lz4) {
            (Some(_), _) => CODED_HEADER_BYTES + NONCE_BYTES,
            (None, true) => CODED_HEADER_BYTES,
            (None, false) => HEADER_BYTES,
        }
    }

    /// Bytes of payload behind those.
    fn room(&self, front: usize) -> usize {
        let back = if self.keys.current().is_some() { TAG_BYTES } else { 0 };
        PACK_BYTES_MAX - front - back
    }

    /// Cuts an entry that is larger than a pack.
    #[allow(clippy::cast_possible_truncation)] // 6 MiB in parts of 60 kB: about 100
    fn cut(&mut self, entry: &[u8], position: u64, drafts: &mut Vec<Draft>) {
        let lz4 = self.lz4.as_mut().filter(|_| entry.len() <= ENTRY_BYTES_MAX);
        let block = lz4.and_then(|lz4| lz4.compress(entry).map(<[u8]>::to_vec));
        let lz4 = block.is_some();
        let stored = block.map_or(Cow::Borrowed(entry), Cow::Owned);
        let front = self.front(lz4);
        let chunks = stored.chunks(self.room(front));
        let parts = chunks.len() as u16;
        drafts.extend((0..).zip(chunks).map(|(part, chunk)| {
            let mut draft = Draft::new(position, Kind::Part { part, parts }, front);
            draft.bytes.extend(chunk);
            Draft { count: 1, lz4, raw_bytes: entry.len(), ..draft }
        }));
        self.lz4.iter_mut().for_each(Lz4::forget);
    }

    fn finish(&mut self, mut draft: Draft, origin: Origin) -> io::Result<Packed> {
        if draft.kind == Kind::Entries {
            draft.raw_bytes = draft.payload().len();
            self.shrink(&mut draft);
        }
        let key = self.keys.current();
        draft.write_head(origin, key.is_some());
        let Draft { first, count, mut bytes, payload_at, lz4, .. } = draft;
        if let Some(key) = key {
            bytes[56..60].copy_from_slice(&key.id.0.to_le_bytes());
            let (head, text) = bytes.split_at_mut(payload_at);
            let (head, place) = head.split_at_mut(CODED_HEADER_BYTES);
            let (nonce, tag) = key.seal(&head[..CODED_HEADER_BYTES - 4], text)?;
            place.copy_from_slice(&nonce);
            bytes.extend(tag);
        }
        prove(&mut bytes, if lz4 || key.is_some() { CODED_HEADER_BYTES } else { HEADER_BYTES });
        Ok(Packed { first, count, bytes })
    }

    /// Compresses a draft, if that makes a smaller pack of it.
    fn shrink(&mut self, draft: &mut Draft) {
        let front = self.front(true);
        let Some(lz4) = &mut self.lz4 else { return };
        let Some(block) = lz4.compress(draft.payload()) else { return };
        if front + block.len() < draft.bytes.len() {
            draft.bytes.clear();
            draft.bytes.resize(front, 0);
            draft.bytes.extend(block);
            (draft.payload_at, draft.lz4) = (front, true);
        }
    }
}

/// Notes the checksum, which is the last of the header.
fn prove(pack: &mut [u8], header_bytes: usize) {
    let crc = crc(pack, header_bytes);
    pack[header_bytes - 4..header_bytes].copy_from_slice(&crc.to_le_bytes());
}

/// Packs of one entry that claim to become `raw_bytes` out of this `block`, whatever it is: nothing
/// writes such ones, and readers have to bear them.
#[allow(clippy::cast_possible_truncation)] // about a hundred parts
pub(in crate::queue) fn claimed(block: &[u8], raw_bytes: usize, origin: Origin) -> Vec<Vec<u8>> {
    let chunks = block.chunks(PACK_BYTES_MAX - CODED_HEADER_BYTES);
    let parts = chunks.len() as u16;
    let pack = |(part, chunk): (u16, &[u8])| {
        let mut draft = Draft::new(1, Kind::Part { part, parts }, CODED_HEADER_BYTES);
        draft.bytes.extend(chunk);
        let mut draft = Draft { count: 1, lz4: true, raw_bytes, ..draft };
        draft.write_head(origin, false);
        prove(&mut draft.bytes, CODED_HEADER_BYTES);
        draft.bytes
    };
    (0..).zip(chunks).map(pack).collect()
}

impl Lz4 {
    /// `raw` compressed, if that is any shorter.
    fn compress(&mut self, raw: &[u8]) -> Option<&[u8]> {
        let most = get_maximum_output_size(raw.len());
        if self.block.len() < most {
            self.block.resize(most, 0);
        }
        let length = compress_into_with_table(raw, &mut self.block, &mut self.table).ok()?;
        (length < raw.len()).then(|| &self.block[..length])
    }

    fn forget(&mut self) {
        if self.block.len() > BLOCK_BYTES_KEPT {
            *self = Self::default();
        }
    }
}

impl Draft {
    fn new(first: u64, kind: Kind, payload_at: usize) -> Self {
        let bytes = vec![0; payload_at];
        Self { first, count: 0, kind, bytes, payload_at, lz4: false, raw_bytes: 0 }
    }

    fn payload(&self) -> &[u8] {
        &self.bytes[self.payload_at..]
    }

    /// Everything before the checksum but the key's id.
    #[allow(clippy::cast_possible_truncation)] // a pack is shorter than PACK_BYTES_MAX
    fn write_head(&mut self, origin: Origin, sealed: bool) {
        let around = if sealed { NONCE_BYTES + TAG_BYTES } else { 0 };
        let payload_bytes = (self.payload().len() + around) as u32;
        let head = &mut self.bytes;
        head[..8].copy_from_slice(&MAGIC);
        head[8] = PLAIN;
        if let Kind::Part { part, parts } = self.kind {
            head[9] = 1;
            head[10..12].copy_from_slice(&part.to_le_bytes());
            head[12..14].copy_from_slice(&parts.to_le_bytes());
        }
        head[16..24].copy_from_slice(&origin.nonce.to_le_bytes());
        head[24..32].copy_from_slice(&self.first.to_le_bytes());
        head[32..36].copy_from_slice(&self.count.to_le_bytes());
        head[36..40].copy_from_slice(&payload_bytes.to_le_bytes());
        head[40..44].copy_from_slice(&origin.stream.0.to_le_bytes());
        head[44..52].copy_from_slice(&origin.base.to_le_bytes());
        if self.lz4 || sealed {
            head[8] = CODED;
            head[14] = (u8::from(self.lz4) * LZ4) | (u8::from(sealed) * SEALED);
            head[52..56].copy_from_slice(&(self.raw_bytes as u32).to_le_bytes());
        }
    }
}
