//! How large a chain's files are, without asking the disk again for what does not change.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::{Chain, Segment, SegmentId};

/// Of the closed segments.
pub(super) struct Sizes {
    /// Bytes of those that were looked at.
    noted: AtomicU64,
    /// Some were not.
    unnoted: AtomicBool,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { noted: AtomicU64::new(0), unnoted: AtomicBool::new(true) }
    }
}

impl Sizes {
    /// A segment was closed.
    pub(super) fn closed(&self) {
        self.unnoted.store(true, Relaxed);
    }

    /// A segment is gone.
    pub(super) fn forget(&self, segment: &Segment) {
        let bytes = segment.bytes.get().copied().unwrap_or(0);
        self.noted.fetch_sub(bytes, Relaxed);
    }
}

impl Chain {
    /// Bytes of the closed segments' files. Cheap, but for the first call after a segment was
    /// closed.
    pub(in crate::queue) fn closed_bytes(&self) -> u64 {
        if self.sizes.unnoted.swap(false, Relaxed) {
            let known = |segment: &Segment| segment.live.is_some() || segment.bytes.get().is_some();
            let closed: Vec<SegmentId> = {
                let segments = self.read_segments();
                segments.values().filter(|s| !known(s)).map(|segment| segment.id).collect()
            };
            for id in closed {
                self.bytes_of(id);
            }
        }
        self.sizes.noted.load(Relaxed)
    }

    /// The segments' own ranges with the bytes of their files; the open one too, if there is one.
    pub(in crate::queue) fn sizes(&self) -> Vec<(u64, u64, u64)> {
        self.ranges(true)
    }

    /// The same of the closed ones.
    pub(in crate::queue) fn closed_sizes(&self) -> Vec<(u64, u64, u64)> {
        self.ranges(false)
    }

    fn ranges(&self, open_too: bool) -> Vec<(u64, u64, u64)> {
        let end = self.end();
        let segments = self.read_segments();
        let next = segments.keys().skip(1).copied().chain([end]);
        let wanted = segments.values().zip(next).filter(|(s, _)| open_too || s.live.is_none());
        let to = |segment: &Segment, next: u64| segment.end.get().map_or(next, |to| *to.min(&next));
        let wanted: Vec<(SegmentId, u64)> = wanted.map(|(s, next)| (s.id, to(s, next))).collect();
        drop(segments);
        wanted.into_iter().map(|(id, to)| (id.first, to, self.bytes_of(id))).collect()
    }

    /// Bytes of the segments' files.
    pub(in crate::queue) fn disk_bytes(&self) -> u64 {
        let ids: Vec<SegmentId> = self.read_segments().values().map(|s| s.id).collect();
        ids.into_iter().map(|id| self.bytes_of(id)).sum()
    }

    /// Asked of the disk once, after the segment was closed.
    fn bytes_of(&self, id: SegmentId) -> u64 {
        let noted = |segment: &Segment| segment.bytes.get().copied();
        if let Some(bytes) = self.read_segments().get(&id.first).and_then(noted) {
            return bytes;
        }
        let bytes = self.store.segment_bytes(id);
        // Under the lock: whoever removes it takes off what is noted here.
        let segments = self.read_segments();
        let closed = segments.get(&id.first).filter(|s| s.id == id && s.live.is_none());
        if closed.is_some_and(|segment| segment.bytes.set(bytes).is_ok()) {
            self.sizes.noted.fetch_add(bytes, Relaxed);
        }
        bytes
    }
}
