//! The seam below the queue: segments of packs, and small files that are replaced whole.
//!
//! [`disk::DiskStore`] keeps segments in sled databases and is the product; `memory::MemoryStore`
//! knows which of its bytes a power cut would take and is for tests.

mod ahead;
pub(super) mod anchor;
pub(super) mod disk;
#[cfg(test)]
pub(super) mod faulty;
mod inode;
#[cfg(test)]
pub(super) mod memory;
mod range_sync;
pub(super) mod read_only;
pub(super) mod scan;
pub(super) mod slots;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Names a segment: the first position it may hold, and a number that no other segment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SegmentId {
    pub(super) first: u64,
    pub(super) nonce: u64,
}

impl SegmentId {
    /// Name of its folder.
    pub(super) fn folder(&self) -> String {
        format!("seg-{:016x}-{:016x}", self.first, self.nonce)
    }

    /// Reads a folder's name.
    pub(super) fn parse(folder: &str) -> Option<Self> {
        let (first, nonce) = folder.strip_prefix("seg-")?.split_once('-')?;
        let hex = |text: &str| (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok());
        Some(Self { first: hex(first)??, nonce: hex(nonce)?? })
    }
}

/// Where a pack lies in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackRef {
    /// First position in it.
    pub(super) first: u64,
    /// Positions in it.
    pub(super) count: u32,
    /// The store's own address.
    pub(super) at: u64,
    /// Length with its header.
    pub(super) bytes: u32,
}

/// A place for one chain: a lane's, or that of the dead letters.
pub(super) trait Store: Send + Sync + 'static {
    /// An error if the place is not the one that was opened. What is missing then is not damaged.
    fn present(&self) -> io::Result<()>;

    /// Segments left by earlier runs, by first position. Half-made and half-removed ones are
    /// cleared away first.
    fn segments(&self) -> io::Result<Vec<SegmentId>>;

    /// Makes an empty segment; when this returns, it survives a power cut.
    fn create(&self, id: SegmentId) -> io::Result<Box<dyn SegmentWriter>>;

    /// Opens a segment that is no longer written. Needs no free space and changes nothing.
    fn open(&self, id: SegmentId) -> io::Result<Arc<dyn SegmentReader>>;

    /// Makes what is readable in a segment of an earlier run survive a power cut: that run may have
    /// been killed between writing and syncing.
    fn sync(&self, id: SegmentId) -> io::Result<()>;

    /// Takes away, durably, what a segment that nobody writes any more holds from position `end` on:
    /// it was refused, and no restart may find it.
    fn cut(&self, id: SegmentId, end: u64) -> io::Result<()>;

    /// Removes a segment; one that is not there is removed already. Never leaves half of it where [`Store::segments`] would find it.
    fn remove(&self, id: SegmentId) -> io::Result<()>;

    /// Puts a damaged segment aside, where nothing deletes it.
    fn quarantine(&self, id: SegmentId) -> io::Result<PathBuf>;

    /// Bytes of one segment's files.
    fn segment_bytes(&self, id: SegmentId) -> u64;

    /// Notes that everything in a segment was settled at this time.
    fn mark_settled(&self, id: SegmentId, at_ms: u64);

    /// When everything in a segment was settled, or when it was last written.
    fn settled_ms(&self, id: SegmentId) -> Option<u64>;

    /// The newest state saved whole.
    fn load_state(&self) -> io::Result<Option<Vec<u8>>>;

    /// Whether states were saved and none can be read.
    fn states_are_lost(&self) -> io::Result<bool>;

    /// Replaces the state; when this returns, it survives a power cut. A power cut meanwhile
    /// leaves this or the previous one.
    fn save_state(&self, state: &[u8]) -> io::Result<()>;

    /// Small files that outlive segments, by name (the tables of ids).
    fn load_file(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Reads the bytes of such a file from `at` on.
    fn read_file(&self, name: &str, at: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Length of such a file.
    fn file_bytes(&self, name: &str) -> io::Result<u64>;

    /// Writes such a file whole, synced.
    fn save_file(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Removes such a file.
    fn remove_file(&self, name: &str) -> io::Result<()>;

    /// Names of such files that begin with `prefix`.
    fn files(&self, prefix: &str) -> io::Result<Vec<String>>;
}

/// A segment that is being filled. After any error it must be dropped: nothing written since the
/// last [`SegmentWriter::sync`] that succeeded may be counted on.
pub(super) trait SegmentWriter: Send {
    /// Adds a pack and says where it lies.
    fn insert(&mut self, pack: &[u8]) -> io::Result<u64>;

    /// Returns once everything inserted survives a power cut.
    fn sync(&mut self) -> io::Result<()>;

    /// Everything inserted is synced and nobody waits: what makes the next sync shorter is done now.
    fn prepare(&mut self) {}

    /// Reads what was inserted, also while more is.
    fn reader(&self) -> Arc<dyn SegmentReader>;
}

/// A segment to read.
pub(super) trait SegmentReader: Send + Sync {
    /// Finds every intact pack, by first position (parts of one entry in their order).
    fn scan(&self) -> io::Result<Vec<PackRef>>;

    /// Whether anything looks like a pack, whole or not.
    fn has_traces(&self) -> io::Result<bool>;

    /// What is left of packs that are not whole: the first position of each, where that can be read.
    fn broken(&self) -> io::Result<Vec<Option<u64>>>;

    /// The version of a pack that a newer agent wrote, if there is one.
    fn newer(&self) -> io::Result<Option<u8>>;

    /// The bytes of a pack.
    fn read(&self, pack: &PackRef) -> io::Result<Vec<u8>>;
}
