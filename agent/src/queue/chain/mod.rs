//! A chain: a durable, densely numbered log of entries, kept as segments that are filled one
//! after the other and removed whole from the front. A lane is one; the dead letters are one.
//!
//! [`Tail`] appends and is owned by one thread. [`Chain`] reads, by anybody, what is durable.

mod cache;
mod find;
mod going;
mod sizes;
mod tail;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use spillway_protocol::message::StreamId;

use super::cipher::{KeyId, Keys};
use super::ranges::Settled;
use super::store::{PackRef, SegmentId, SegmentReader, Store};
use cache::Cache;
pub(super) use find::{Found, is_damage, last_whole, pick};
use sizes::Sizes;
pub(super) use tail::{Sealed, Tail};

/// A segment without packs that is larger than this held something once.
pub(super) const EMPTY_BYTES_MAX: u64 = 64 * 1024;

/// The readable side.
pub(super) struct Chain {
    store: Arc<dyn Store>,
    keys: Keys,
    /// By first position.
    segments: RwLock<BTreeMap<u64, Segment>>,
    /// The position after the last durable one.
    end: AtomicU64,
    cache: Mutex<Cache>,
    sizes: Sizes,
    /// What is settled and may be gone although something before it is still there.
    absent: RwLock<Settled>,
}

struct Segment {
    id: SegmentId,
    /// While it is being filled.
    live: Option<Live>,
    /// A hole was found: it is put aside rather than removed.
    damaged: bool,
    /// Bytes of its files, from the first look after it was closed on.
    bytes: OnceLock<u64>,
    /// The position after its last, where that is known: those that followed may be gone.
    end: OnceLock<u64>,
}

impl Segment {
    fn new(id: SegmentId, live: Option<Live>) -> Self {
        Self { id, live, damaged: false, bytes: OnceLock::new(), end: OnceLock::new() }
    }

    /// Known once, it stays so.
    fn ends_at(&self, end: u64) {
        let _ = self.end.set(end);
    }
}

struct Live {
    reader: Arc<dyn SegmentReader>,
    packs: Vec<PackRef>,
}

/// The entries of one pack.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) first: u64,
    pub(super) stream: StreamId,
    /// Position minus `base` is the number in the stream.
    pub(super) base: u64,
    pub(super) entries: Vec<Bytes>,
}

impl Pack {
    /// The entry at `position`, if it lies in this pack.
    pub(super) fn entry(&self, position: u64) -> Option<&Bytes> {
        self.entries.get(usize::try_from(position.checked_sub(self.first)?).ok()?)
    }

    /// The position after the last one.
    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}

/// What lies at a position.
#[derive(Debug)]
pub(super) enum Read {
    /// The pack that holds it.
    Pack(Arc<Pack>),
    /// Nothing any more: damage, up to `until`.
    Hole {
        /// The next position that may hold something.
        until: u64,
    },
    /// Records that are whole, but sealed with a key that is not here, up to `until`.
    Locked {
        /// The key.
        key: KeyId,
        /// The position after them.
        until: u64,
    },
    /// Nothing yet.
    End,
}

/// What recovery found at the end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) stream: StreamId,
    pub(super) base: u64,
}

impl Chain {
    /// Takes up what earlier runs left. `saved_end` is the end that the saved state knows: if the
    /// segments reach less far, the difference is a hole. Reads the newest segment only.
    pub(super) fn recover(
        store: Arc<dyn Store>,
        keys: Keys,
        saved_end: Option<u64>,
    ) -> io::Result<(Self, Option<Newest>)> {
        let mut segments: BTreeMap<u64, Segment> = BTreeMap::new();
        for id in store.segments()? {
            let other = segments.get(&id.first).map(|segment| segment.id);
            let id = match other {
                Some(other) => find::choose(store.as_ref(), other, id)?,
                None => id,
            };
            segments.insert(id.first, Segment::new(id, None));
        }
        let chain = Self {
            store,
            keys,
            segments: RwLock::new(segments),
            end: AtomicU64::new(saved_end.unwrap_or(1)),
            cache: Mutex::default(),
            sizes: Sizes::default(),
            absent: RwLock::new(Settled::below(0)),
        };
        let newest = chain.find_end(saved_end)?;
        Ok((chain, newest))
    }

    fn find_end(&self, saved_end: Option<u64>) -> io::Result<Option<Newest>> {
        let Some(id) = self.read_segments().values().next_back().map(|s| s.id) else {
            return Ok(None);
        };
        let last = match self.read_newest(id) {
            Err(error) if is_damage(&error) => None,
            result => result?,
        };
        let found = last.map_or(id.first, |(_, end)| end);
        let end = found.max(saved_end.unwrap_or(1));
        self.end.store(end, Ordering::Release);
        if end == id.first {
            self.discard(id)?;
        }
        match last {
            Some((newest, _)) => Ok(Some(newest)),
            // The state knows the streams; without one, the segments before this have to tell.
            None if saved_end.is_none() => self.newest_before(id),
            None => Ok(None),
        }
    }

    /// What the segments before one that holds nothing whole know. Numbers must not begin anew.
    fn newest_before(&self, id: SegmentId) -> io::Result<Option<Newest>> {
        let before: Vec<SegmentId> =
            self.read_segments().range(..id.first).rev().map(|(_, s)| s.id).collect();
        for id in before {
            match self.read_newest(id) {
                Err(error) if is_damage(&error) => {}
                Err(error) => return Err(error),
                Ok(Some((newest, _))) => return Ok(Some(newest)),
                Ok(None) => {}
            }
        }
        Ok(None)
    }

    /// What the last whole pack of the newest segment knows, and the position after it, after making
    /// sure that all of it is durable.
    fn read_newest(&self, id: SegmentId) -> io::Result<Option<(Newest, u64)>> {
        self.store.sync(id)?;
        let (reader, packs) = self.sealed(id)?;
        last_whole(reader.as_ref(), id, &packs)
    }

    /// Takes away a newest segment that holds nothing: the next one begins at the same position.
    fn discard(&self, id: SegmentId) -> io::Result<()> {
        self.known(id)?;
        let empty = self.sealed(id).and_then(|(reader, _)| Ok(!reader.has_traces()?));
        if empty.unwrap_or(false) && self.store.segment_bytes(id) <= EMPTY_BYTES_MAX {
            self.store.remove(id)?;
        } else {
            let folder = self.store.quarantine(id)?;
            tracing::error!(folder = %folder.display(), "a segment is unreadable; it is kept there");
        }
        self.forget(id);
        Ok(())
    }

    /// The position after the last durable one.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// It reached at least to `end`: what is not there of that is a hole.
    pub(super) fn reaches(&self, end: u64) {
        self.end.fetch_max(end, Ordering::AcqRel);
    }

    /// The first position that any segment could hold.
    pub(super) fn first(&self) -> u64 {
        self.read_segments().keys().next().copied().unwrap_or_else(|| self.end())
    }

    /// The segments' ranges: first position and the position after the last.
    pub(super) fn spans(&self) -> Vec<(u64, u64)> {
        let segments = self.read_segments();
        let firsts = segments.keys().copied();
        firsts.clone().zip(firsts.skip(1).chain([self.end()])).collect()
    }

    /// Reads the pack that holds `position`. An error may pass; damage is a [`Read::Hole`].
    pub(super) fn read(&self, position: u64) -> io::Result<Read> {
        let end = self.end();
        if position >= end {
            return Ok(Read::End);
        }
        if let Some(pack) = self.lock_cache().pack(position) {
            return Ok(Read::Pack(pack));
        }
        let Some((id, limit)) = self.segment_of(position, end) else {
            return Ok(Read::Hole { until: self.first().max(position + 1) });
        };
        match self.find(id, position) {
            Ok(Found::At(pack)) if pack.end() <= limit => {
                self.lock_cache().keep_pack(pack.clone());
                Ok(Read::Pack(pack))
            }
            Ok(Found::Locked { key, until }) if until <= limit => Ok(Read::Locked { key, until }),
            Ok(Found::Before(next)) => self.hole(id, position, next.min(limit)),
            Ok(Found::At(_) | Found::Locked { .. } | Found::Nothing) => {
                self.hole(id, position, limit)
            }
            Err(e) if is_damage(&e) => self.hole(id, position, limit),
            Err(e) => Err(e),
        }
    }

    /// The segment that would hold `position`, and where the next one begins.
    fn segment_of(&self, position: u64, end: u64) -> Option<(SegmentId, u64)> {
        let segments = self.read_segments();
        let (_, segment) = segments.range(..=position).next_back()?;
        let limit = segments.range(position + 1..).next().map_or(end, |(&first, _)| first);
        Some((segment.id, limit))
    }

    fn hole(&self, id: SegmentId, position: u64, until: u64) -> io::Result<Read> {
        self.store.present()?;
        if let Some(end) = self.absent_until(position) {
            return Ok(Read::Hole { until: until.min(end) });
        }
        // A look at all of it, once.
        if !self.read_segments().get(&id.first).is_some_and(|segment| segment.damaged) {
            self.known(id)?;
        }
        self.mark_damaged(id.first);
        Ok(Read::Hole { until })
    }

    /// An error if a newer agent wrote into a segment: what cannot be read there is not damaged.
    fn known(&self, id: SegmentId) -> io::Result<()> {
        find::known(self.store.as_ref(), id)
    }

    /// The segment that holds `position` is to be put aside, not removed.
    pub(super) fn mark_damaged(&self, position: u64) {
        if let Some((_, segment)) = self.write_segments().range_mut(..=position).next_back() {
            segment.damaged = true;
        }
    }

    fn find(&self, id: SegmentId, position: u64) -> io::Result<Found> {
        if let Some((reader, packs)) = self.live(id, position) {
            if let Ok(found) = pick(reader.as_ref(), id, &packs, position, &self.keys) {
                return Ok(found);
            }
            // Sealed meanwhile, or sled fails: the file has everything. It may yet grow, so what
            // is found is not kept.
            let reader = self.store.open(id)?;
            return pick(reader.as_ref(), id, &reader.scan()?, position, &self.keys);
        }
        let (reader, packs) = self.sealed(id)?;
        pick(reader.as_ref(), id, &packs, position, &self.keys)
    }

    /// The live segment's packs around `position`: few, since one entry has few parts.
    fn live(&self, id: SegmentId, position: u64) -> Option<(Arc<dyn SegmentReader>, Vec<PackRef>)> {
        let segments = self.read_segments();
        let live = segments.get(&id.first)?.live.as_ref()?;
        let from = live.packs.partition_point(|p| p.first + u64::from(p.count) <= position);
        let to = from + live.packs[from..].partition_point(|p| p.first <= position);
        let next = live.packs.get(to);
        Some((live.reader.clone(), live.packs[from..to].iter().chain(next).copied().collect()))
    }

    fn sealed(&self, id: SegmentId) -> io::Result<cache::Index> {
        if let Some(index) = self.lock_cache().index(id) {
            return Ok(index);
        }
        let reader = self.store.open(id)?;
        let index: cache::Index = (reader.clone(), Arc::new(reader.scan()?));
        self.lock_cache().keep_index(id, index.clone());
        Ok(index)
    }

    /// Where its files are kept.
    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn read_segments(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_segments(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Segment>> {
        self.segments.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
