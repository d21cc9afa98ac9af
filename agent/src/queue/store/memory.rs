//! A store in memory that knows which of its bytes a power cut would take.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::RngExt;
use rand::rngs::StdRng;

use super::{PackRef, SegmentId, SegmentReader, SegmentWriter, Store};
use crate::queue::pack::Header;

#[derive(Default)]
struct Disk {
    segments: BTreeMap<SegmentId, Segment>,
    state: Option<Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
    quarantined: Vec<SegmentId>,
}

#[derive(Default, Clone)]
struct Segment {
    packs: Vec<Vec<u8>>,
    synced: usize,
    settled_ms: Option<u64>,
}

/// Shared by all who hold a clone: the "disk".
#[derive(Clone, Default)]
pub(in crate::queue) struct MemoryStore(Arc<Mutex<Disk>>);

impl MemoryStore {
    /// What is found after a power cut: everything synced, and of each segment's unsynced packs
    /// a random beginning.
    pub(in crate::queue) fn after_power_cut(&self, rng: &mut StdRng) -> Self {
        let disk = self.lock();
        let survive = |segment: &Segment, rng: &mut StdRng| {
            let kept = rng.random_range(segment.synced..=segment.packs.len());
            let packs = segment.packs[..kept].to_vec();
            Segment { packs, synced: kept, settled_ms: segment.settled_ms }
        };
        let segments = disk.segments.iter().map(|(id, s)| (*id, survive(s, rng))).collect();
        let (state, files) = (disk.state.clone(), disk.files.clone());
        Self(Arc::new(Mutex::new(Disk { segments, state, files, ..Disk::default() })))
    }

    /// Takes packs `from..to` of the segment at `nth` away, as damage would.
    pub(in crate::queue) fn damage(&self, nth: usize, packs: std::ops::Range<usize>) {
        if let Some(segment) = self.lock().segments.values_mut().nth(nth) {
            segment.packs.drain(packs);
            segment.synced = segment.packs.len();
        }
    }

    pub(in crate::queue) fn quarantined(&self) -> usize {
        self.lock().quarantined.len()
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Disk) -> T) -> T {
        work(&mut self.lock())
    }

    fn segment<T>(
        &self,
        id: SegmentId,
        work: impl FnOnce(&mut Segment) -> io::Result<T>,
    ) -> io::Result<T> {
        work(self.lock().segments.get_mut(&id).ok_or(io::ErrorKind::NotFound)?)
    }
}

impl Store for MemoryStore {
    fn present(&self) -> io::Result<()> {
        Ok(())
    }

    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        self.with(|disk| Ok(disk.segments.keys().copied().collect()))
    }

    fn create(&self, id: SegmentId) -> io::Result<Box<dyn SegmentWriter>> {
        self.lock().segments.insert(id, Segment::default());
        Ok(Box::new(Handle { disk: self.clone(), id }))
    }

    fn open(&self, id: SegmentId) -> io::Result<Arc<dyn SegmentReader>> {
        self.segment(id, |_| Ok(()))?;
        Ok(Arc::new(Handle { disk: self.clone(), id }))
    }

    fn sync(&self, id: SegmentId) -> io::Result<()> {
        SegmentWriter::sync(&mut Handle { disk: self.clone(), id })
    }

    fn cut(&self, id: SegmentId, end: u64) -> io::Result<()> {
        self.segment(id, |segment| {
            let stays =
                |pack: &Vec<u8>| Header::parse(pack, id.nonce).is_some_and(|h| h.first < end);
            segment.packs.retain(stays);
            segment.synced = segment.packs.len();
            Ok(())
        })
    }

    fn remove(&self, id: SegmentId) -> io::Result<()> {
        self.with(|disk| {
            disk.segments.remove(&id);
            Ok(())
        })
    }

    fn quarantine(&self, id: SegmentId) -> io::Result<PathBuf> {
        self.with(|disk| {
            if disk.segments.remove(&id).is_some() {
                disk.quarantined.push(id);
            }
            Ok(PathBuf::from(id.folder()))
        })
    }

    fn segment_bytes(&self, id: SegmentId) -> u64 {
        self.lock().segments.get(&id).map_or(0, |s| s.packs.iter().map(|p| p.len() as u64).sum())
    }

    fn mark_settled(&self, id: SegmentId, at_ms: u64) {
        if let Some(segment) = self.lock().segments.get_mut(&id) {
            segment.settled_ms = Some(at_ms);
        }
    }

    fn settled_ms(&self, id: SegmentId) -> Option<u64> {
        self.lock().segments.get(&id)?.settled_ms
    }

    fn load_state(&self) -> io::Result<Option<Vec<u8>>> {
        self.with(|disk| Ok(disk.state.clone()))
    }

    fn states_are_lost(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn save_state(&self, state: &[u8]) -> io::Result<()> {
        self.with(|disk| {
            disk.state = Some(state.to_vec());
            Ok(())
        })
    }

    fn load_file(&self, name: &str) -> io::Result<Vec<u8>> {
        self.with(|disk| disk.files.get(name).cloned().ok_or(io::ErrorKind::NotFound.into()))
    }

    fn read_file(&self, name: &str, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let file = self.load_file(name)?;
        let part = usize::try_from(at).ok().and_then(|at| file.get(at..)?.get(..bytes.len()));
        bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn file_bytes(&self, name: &str) -> io::Result<u64> {
        Ok(self.load_file(name)?.len() as u64)
    }

    fn save_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with(|disk| {
            disk.files.insert(name.to_owned(), bytes.to_vec());
            Ok(())
        })
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        self.with(|disk| {
            disk.files.remove(name);
            Ok(())
        })
    }

    fn files(&self, prefix: &str) -> io::Result<Vec<String>> {
        self.with(|disk| Ok(disk.files.keys().filter(|n| n.starts_with(prefix)).cloned().collect()))
    }
}

struct Handle {
    disk: MemoryStore,
    id: SegmentId,
}

impl SegmentWriter for Handle {
    fn insert(&mut self, pack: &[u8]) -> io::Result<u64> {
        self.disk.segment(self.id, |segment| {
            segment.packs.push(pack.to_vec());
            Ok(segment.packs.len() as u64 - 1)
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.segment(self.id, |segment| {
            segment.synced = segment.packs.len();
            Ok(())
        })
    }

    fn reader(&self) -> Arc<dyn SegmentReader> {
        Arc::new(Handle { disk: self.disk.clone(), id: self.id })
    }
}

impl SegmentReader for Handle {
    fn scan(&self) -> io::Result<Vec<PackRef>> {
        self.disk.segment(self.id, |segment| {
            let found = segment.packs.iter().zip(0..).filter_map(|(pack, at)| {
                let header = Header::parse(pack, self.id.nonce)?;
                let bytes = u32::try_from(pack.len()).ok()?;
                Some(PackRef { first: header.first, count: header.count, at, bytes })
            });
            Ok(found.collect())
        })
    }

    fn has_traces(&self) -> io::Result<bool> {
        Ok(!self.scan()?.is_empty())
    }

    fn broken(&self) -> io::Result<Vec<Option<u64>>> {
        Ok(Vec::new())
    }

    fn newer(&self) -> io::Result<Option<u8>> {
        Ok(None)
    }

    fn read(&self, pack: &PackRef) -> io::Result<Vec<u8>> {
        let found = |segment: &mut Segment| segment.packs.get(pack.at as usize).cloned();
        self.disk.segment(self.id, |segment| {
            found(segment).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }
}
