//! The writing side of a chain: one commit after the other, each durable before it is told.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::Rng;
use rand::rngs::StdRng;
use spillway_protocol::message::StreamId;

use super::{Chain, Live, Segment};
use crate::queue::pack::{Origin, Packed, Packer};
use crate::queue::store::{PackRef, SegmentId, SegmentWriter};

/// What a segment's files take up before anything is in it, and the first zeroes behind what is.
const EMPTY_BYTES: u64 = 32 * 1024;
/// A segment is closed at so many times its bytes of entries, however small they were packed.
const RAW_TIMES: u64 = 2;
/// A segment is closed at so many entries, however small they are: their ids are in memory until
/// then. A hash map of 2^15 places has room for these and one group more.
const ENTRIES_MAX: u64 = 24 << 10;
/// Of the payload, one part in so many comes on top: headers, alignment, the index, zeroes.
const OVERHEAD: u64 = 8;

/// Appends to a chain. There is one per chain.
pub(in crate::queue) struct Tail {
    chain: Arc<Chain>,
    writer: Option<(SegmentId, Box<dyn SegmentWriter>)>,
    /// Bytes written to the open segment.
    payload_bytes: u64,
    /// Bytes of the entries in it.
    raw_bytes: u64,
    segment_bytes: u64,
    packer: Packer,
    stream: StreamId,
    base: u64,
    rng: StdRng,
    /// A segment in which nothing was ever durable and that could not be removed yet.
    failed: Option<SegmentId>,
    abandoned: Option<Sealed>,
}

/// A segment that was closed, and the positions in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) struct Sealed {
    pub(in crate::queue) first: u64,
    pub(in crate::queue) end: u64,
}

impl Tail {
    /// Appends to `chain` entries of `stream`, as `packer` packs them; a segment is closed at
    /// `segment_bytes` of payload.
    pub(in crate::queue) fn new(
        chain: Arc<Chain>,
        packer: Packer,
        segment_bytes: u64,
        stream: StreamId,
        base: u64,
        rng: StdRng,
    ) -> Self {
        Self {
            chain,
            writer: None,
            payload_bytes: 0,
            raw_bytes: 0,
            segment_bytes,
            packer,
            stream,
            base,
            rng,
            failed: None,
            abandoned: None,
        }
    }

    /// The position that the next entry takes.
    pub(in crate::queue) fn next(&self) -> u64 {
        self.chain.end()
    }

    /// Appends `entries` and returns once they survive a power cut. They take the positions from
    /// [`Tail::next`] on. After an error none of them counts: they may not be acknowledged.
    pub(in crate::queue) fn append(&mut self, entries: &[impl AsRef<[u8]>]) -> io::Result<()> {
        let first = self.next();
        let result = self.write(entries, first);
        match result {
            Ok(packs) => self.publish(packs, first + entries.len() as u64),
            Err(e) => {
                self.abandon();
                return Err(e);
            }
        }
        Ok(())
    }

    fn write(&mut self, entries: &[impl AsRef<[u8]>], first: u64) -> io::Result<Vec<PackRef>> {
        if self.writer.is_none() {
            self.begin(first)?;
        }
        let Some((id, writer)) = &mut self.writer else {
            return Err(io::Error::other("no segment is open"));
        };
        let origin = Origin { nonce: id.nonce, stream: self.stream, base: self.base };
        let packs = self.packer.pack(entries, first, origin)?;
        let refs = packs.iter().map(|pack| Ok(reference(pack, writer.insert(&pack.bytes)?)));
        let refs = refs.collect::<io::Result<Vec<_>>>()?;
        writer.sync()?;
        self.payload_bytes += refs.iter().map(|pack| u64::from(pack.bytes)).sum::<u64>();
        self.raw_bytes += entries.iter().map(|entry| entry.as_ref().len() as u64).sum::<u64>();
        Ok(refs)
    }

    fn begin(&mut self, first: u64) -> io::Result<()> {
        if let Some(id) = self.failed {
            self.chain.store.remove(id)?;
            self.failed = None;
        }
        let id = SegmentId { first, nonce: self.rng.next_u64() };
        self.failed = Some(id);
        let writer = self.chain.store.create(id)?;
        self.failed = None;
        let live = Live { reader: writer.reader(), packs: Vec::new() };
        self.chain.write_segments().insert(first, Segment::new(id, Some(live)));
        self.writer = Some((id, writer));
        (self.payload_bytes, self.raw_bytes) = (0, 0);
        Ok(())
    }

    fn publish(&mut self, packs: Vec<PackRef>, end: u64) {
        if let Some((id, _)) = &self.writer
            && let Some(live) =
                self.chain.write_segments().get_mut(&id.first).and_then(|s| s.live.as_mut())
        {
            live.packs.extend(packs);
        }
        self.chain.end.store(end, Ordering::Release);
    }

    /// Gives up the open segment after an error: what is durable in it stays readable, what is
    /// not is hidden, since the next segment begins at the first position that did not count, and
    /// taken out of the file, in case a restart comes before that.
    fn abandon(&mut self) {
        let Some((id, writer)) = self.writer.take() else {
            return;
        };
        let mut segments = self.chain.write_segments();
        if id.first == self.chain.end() {
            segments.remove(&id.first);
            self.failed = Some(id);
        } else if let Some(segment) = segments.get_mut(&id.first) {
            segment.live = None;
            self.chain.sizes.closed();
            self.abandoned = Some(Sealed { first: id.first, end: self.chain.end() });
        }
        drop(segments);
        drop(writer);
        // Nothing that counts is in it. What stays is removed before the next one begins.
        if self.failed == Some(id) && self.chain.store.remove(id).is_ok() {
            self.failed = None;
            return;
        }
        if let Err(error) = self.chain.store.cut(id, self.chain.end()) {
            tracing::warn!(%error, "refused records may come back, if a restart comes soon");
        }
    }

    /// Nobody waits: what makes the next append shorter is done now.
    pub(in crate::queue) fn prepare(&mut self) {
        self.writer.iter_mut().for_each(|(_, writer)| writer.prepare());
    }

    /// About the bytes of the open segment's files, once it holds `more` bytes of entries too.
    pub(in crate::queue) fn open_bytes(&self, more: u64) -> u64 {
        let held = if self.writer.is_some() { self.payload_bytes } else { 0 };
        match held.saturating_add(more) {
            0 if self.writer.is_none() => 0,
            payload => Self::alone(payload),
        }
    }

    /// About the bytes of a segment's files that holds nothing but entries of so many bytes.
    pub(in crate::queue) fn alone(payload: u64) -> u64 {
        EMPTY_BYTES + payload + payload / OVERHEAD
    }

    /// The most bytes of an entry that alone takes no more than `bytes`.
    pub(in crate::queue) fn largest_entry(bytes: u64) -> u64 {
        let rest = u128::from(bytes.saturating_sub(EMPTY_BYTES)) + 1;
        // Of p and p / OVERHEAD, rounded down: all below the next whole byte.
        let most = (rest * u128::from(OVERHEAD)).div_ceil(u128::from(OVERHEAD) + 1) - 1;
        u64::try_from(most).unwrap_or(u64::MAX)
    }

    /// The first position of the open segment.
    pub(in crate::queue) fn open_first(&self) -> Option<u64> {
        self.writer.as_ref().map(|(id, _)| id.first)
    }

    /// A segment that was closed because of an error, once.
    pub(in crate::queue) fn take_abandoned(&mut self) -> Option<Sealed> {
        self.abandoned.take()
    }

    /// Closes the open segment if it is full (or, with `force`, whatever it holds). The next
    /// append begins another one.
    pub(in crate::queue) fn seal(&mut self, force: bool) -> Option<Sealed> {
        let full = self.payload_bytes >= self.segment_bytes
            || self.raw_bytes >= self.segment_bytes.saturating_mul(RAW_TIMES)
            || self.open_first().is_some_and(|first| self.next() - first >= ENTRIES_MAX);
        if !force && !full {
            return None;
        }
        let (id, writer) = self.writer.take()?;
        if let Some(segment) = self.chain.write_segments().get_mut(&id.first) {
            segment.live = None;
        }
        drop(writer);
        self.chain.sizes.closed();
        Some(Sealed { first: id.first, end: self.chain.end() })
    }
}

#[allow(clippy::cast_possible_truncation)] // a pack is shorter than PACK_BYTES_MAX
fn reference(pack: &Packed, at: u64) -> PackRef {
    PackRef { first: pack.first, count: pack.count, at, bytes: pack.bytes.len() as u32 }
}
