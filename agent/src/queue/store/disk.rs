//! Segments as small sled databases, laid out so that sled never rewrites a pack ("layout T").
//!
//! What was measured of sled 0.34.7, and what follows from it here:
//! - its `flush` does not reach the platter: [`DiskSegment::sync`] adds an fdatasync of its own;
//! - it rewrites a page at ten fragments and puts what outgrows a quarter segment into `blobs/`,
//!   which it never syncs: a new sled tree begins before either happens;
//! - it does not sync a new database's folder and `conf`: [`DiskStore::create`] does, in a
//!   temporary folder that is renamed when it is whole;
//! - opening a database again writes, can fail for good and can panic: nothing here ever does.
//!   Segments of earlier runs and sealed ones are read by [`scan`](super::scan).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::Dir;

use super::ahead::Ahead;
use super::anchor::Anchor;
use super::scan::{broken, has_traces, newer, scan, traces_from};
use super::slots::Slots;
use super::{PackRef, SegmentId, SegmentReader, SegmentWriter, Store};
use crate::queue::pack::MAGIC;
use crate::queue::quarantine;

const SLED_SEGMENT_BYTES: usize = 512 * 1024;
/// sled keeps its cache in 256 shards that each keep a page, so a smaller one changes nothing.
const SLED_CACHE_BYTES: u64 = 1024 * 1024;
/// A page that would outgrow this goes to `blobs/`.
const TREE_BYTES_MAX: usize = SLED_SEGMENT_BYTES / 4 - 4096;
/// Ten fragments make sled rewrite the page, which is cheap only while it is small.
const TREE_PACKS_MAX: usize = 9;
const TREE_SMALL_BYTES: usize = 32 * 1024;

/// A chain's folder.
pub(in crate::queue) struct DiskStore {
    folder: PathBuf,
    quarantine: PathBuf,
    slots: Slots,
    anchor: Arc<Anchor>,
}

impl DiskStore {
    /// The chain in `folder`; damaged segments go to `quarantine`. Both are made if missing, and lie
    /// in the folder of `anchor`.
    pub(in crate::queue) fn open(
        folder: &Path,
        quarantine: &Path,
        anchor: Arc<Anchor>,
    ) -> io::Result<Self> {
        make_folder(folder)?;
        // Made now, since putting something aside must need no space later.
        make_folder(quarantine)?;
        let slots = Slots::new(folder);
        slots.prepare()?;
        Ok(Self { folder: folder.to_owned(), quarantine: quarantine.to_owned(), slots, anchor })
    }

    /// Makes a segment in the folder `made` and moves it to its place.
    fn make(&self, id: SegmentId, made: &Path) -> io::Result<DiskSegment> {
        let folder = self.folder.join(id.folder());
        fs::DirBuilder::new().mode(0o700).create(made)?;
        let database = Database(Some(open_sled(made)?));
        database.with(|database| database.flush().map(drop))?;
        sync(&made.join("conf"))?;
        let data = File::options().read(true).write(true).open(made.join("db"))?;
        data.sync_all()?;
        sync(made)?;
        fs::rename(made, &folder)?;
        self.sync_folder()?;
        let path = folder.join("db");
        let anchor = self.anchor.at(path.clone(), &data)?;
        let ahead = Ahead::new(&data)?;
        let blobs = Dir::read_from(File::open(folder.join("blobs"))?)?;
        let shared = Arc::new(Live { trees: RwLock::default(), nonce: id.nonce, path });
        Ok(DiskSegment {
            shared,
            database,
            data,
            ahead,
            blobs,
            anchor,
            packs: 0,
            bytes: 0,
            keys: 0,
            unflushed: false,
        })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names =
            fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }

    fn sync_folder(&self) -> io::Result<()> {
        sync(&self.folder)
    }
}

impl Store for DiskStore {
    fn present(&self) -> io::Result<()> {
        self.anchor.check()
    }

    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        let names = self.names()?;
        for name in names.iter().filter(|n| n.starts_with("tmp-") || n.starts_with("dead-")) {
            fs::remove_dir_all(self.folder.join(name))?;
        }
        for name in names.iter().filter(|n| n.starts_with("new-")) {
            fs::remove_file(self.folder.join(name))?;
        }
        let mut ids: Vec<SegmentId> = names.iter().filter_map(|n| SegmentId::parse(n)).collect();
        ids.sort();
        Ok(ids)
    }

    fn create(&self, id: SegmentId) -> io::Result<Box<dyn SegmentWriter>> {
        self.present()?;
        let made = self.folder.join(format!("tmp-{}", id.folder()));
        match self.make(id, &made) {
            Ok(segment) => Ok(Box::new(segment)),
            Err(error) => {
                // Nothing of it may stay: tries would pile up, and a segment whose folder could
                // not be synced would be found at the next start beside the one that replaces it.
                drop(fs::remove_dir_all(&made));
                drop(fs::remove_dir_all(self.folder.join(id.folder())));
                Err(error)
            }
        }
    }

    fn open(&self, id: SegmentId) -> io::Result<Arc<dyn SegmentReader>> {
        open_sealed(&self.folder.join(id.folder()), id.nonce)
    }

    fn sync(&self, id: SegmentId) -> io::Result<()> {
        sync(&self.folder.join(id.folder()).join("db"))
    }

    fn cut(&self, id: SegmentId, end: u64) -> io::Result<()> {
        self.present()?;
        let path = self.folder.join(id.folder()).join("db");
        let data = File::options().read(true).write(true).open(path)?;
        // Again, since one may have hidden another.
        loop {
            let places = traces_from(&data, id.nonce, end)?;
            if places.is_empty() {
                return data.sync_data();
            }
            for at in places {
                data.write_all_at(&[0; MAGIC.len()], at)?;
            }
        }
    }

    fn remove(&self, id: SegmentId) -> io::Result<()> {
        self.present()?;
        let dead = self.folder.join(format!("dead-{}", id.folder()));
        match fs::rename(self.folder.join(id.folder()), &dead) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result?,
        }
        // It is gone; whatever fails now is done at the next start.
        drop(self.sync_folder().and_then(|()| fs::remove_dir_all(dead)));
        Ok(())
    }

    fn quarantine(&self, id: SegmentId) -> io::Result<PathBuf> {
        self.present()?;
        let lane = self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let aside = self.quarantine.join(format!("{lane}-{}", id.folder()));
        match fs::rename(self.folder.join(id.folder()), &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(aside),
            result => result?,
        }
        drop(sync(&self.quarantine).and_then(|()| self.sync_folder()));
        quarantine::tidy(&self.quarantine, quarantine::KEEP_BYTES);
        Ok(aside)
    }

    fn segment_bytes(&self, id: SegmentId) -> u64 {
        folder_bytes(&self.folder.join(id.folder()))
    }

    fn mark_settled(&self, id: SegmentId, at_ms: u64) {
        let file = File::options().append(true).open(self.folder.join(id.folder()).join("db"));
        // Without it the time of its last record counts, which is earlier.
        drop(file.and_then(|f| f.set_modified(UNIX_EPOCH + Duration::from_millis(at_ms))));
    }

    fn settled_ms(&self, id: SegmentId) -> Option<u64> {
        let at = fs::metadata(self.folder.join(id.folder()).join("db")).ok()?.modified().ok()?;
        u64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
    }

    fn load_state(&self) -> io::Result<Option<Vec<u8>>> {
        self.slots.load()
    }

    fn states_are_lost(&self) -> io::Result<bool> {
        self.slots.are_lost()
    }

    fn save_state(&self, state: &[u8]) -> io::Result<()> {
        self.present()?;
        self.slots.save(state)
    }

    fn load_file(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.folder.join(name))
    }

    fn read_file(&self, name: &str, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let file = File::open(self.folder.join(name))?;
        file.read_exact_at(bytes, at)
    }

    fn file_bytes(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.folder.join(name))?.len())
    }

    fn save_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.present()?;
        let made = self.folder.join(format!("new-{name}"));
        let written = write_new(&made, bytes)
            .and_then(|()| fs::rename(&made, self.folder.join(name)))
            .and_then(|()| self.sync_folder());
        // On a full disk every byte counts.
        written.inspect_err(|_| drop(fs::remove_file(&made)))
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        self.present()?;
        fs::remove_file(self.folder.join(name))
    }

    fn files(&self, prefix: &str) -> io::Result<Vec<String>> {
        let mut names = self.names()?;
        names.retain(|name| name.starts_with(prefix));
        names.sort();
        Ok(names)
    }
}

/// Bytes that a folder's files take.
pub(in crate::queue) fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries.flatten().filter_map(|e| e.metadata().ok()).map(|m| m.blocks() * 512).sum()
}

/// Reads the segment in `folder`, which nobody writes any more.
pub(in crate::queue) fn open_sealed(
    folder: &Path,
    nonce: u64,
) -> io::Result<Arc<dyn SegmentReader>> {
    let data = File::open(folder.join("db"))?;
    Ok(Arc::new(Sealed { data, nonce }))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()
}

/// Makes a folder that only the agent's user may enter, and its entry durable.
pub(in crate::queue) fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().mode(0o700).recursive(true).create(path)?;
    path.parent().map_or(Ok(()), sync)
}

/// Makes a file durable, or the names in a folder.
pub(in crate::queue) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn open_sled(folder: &Path) -> io::Result<sled::Db> {
    let config = sled::Config::new()
        .path(folder)
        .segment_size(SLED_SEGMENT_BYTES)
        .cache_capacity(SLED_CACHE_BYTES)
        .flush_every_ms(None);
    guarded(|| config.open())
}

/// Runs sled code: a panic in it becomes an error, and a lane goes on with another segment.
fn guarded<T>(work: impl FnOnce() -> sled::Result<T>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(sled_error),
        Err(_) => Err(io::Error::other("sled panicked")),
    }
}

fn sled_error(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// An open database. sled syncs when it is dropped, and panics if that fails: all that counts is
/// synced by then.
struct Database(Option<sled::Db>);

impl Database {
    fn with<T>(&self, work: impl FnOnce(&sled::Db) -> sled::Result<T>) -> io::Result<T> {
        let Some(database) = &self.0 else { return Err(io::Error::other("segment is closed")) };
        guarded(|| work(database))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let database = self.0.take();
        let closed = guarded(|| {
            drop(database);
            Ok(())
        });
        if closed.is_err() {
            tracing::warn!("sled panicked while closing a segment; all that counts was synced");
        }
    }
}

/// A database being filled. Its readers' trees go before it.
struct DiskSegment {
    shared: Arc<Live>,
    database: Database,
    data: File,
    ahead: Ahead,
    blobs: Dir,
    anchor: Anchor,
    /// Packs and bytes in the newest tree.
    packs: usize,
    bytes: usize,
    keys: u32,
    /// A pack was inserted since the last flush.
    unflushed: bool,
}

impl DiskSegment {
    /// What lies in `blobs/` is never synced, so nothing may lie there.
    fn has_no_blobs(&mut self) -> io::Result<()> {
        self.blobs.rewind();
        for entry in self.blobs.by_ref() {
            if ![c".", c".."].contains(&entry?.file_name()) {
                return Err(io::Error::other("sled put a page into blobs/"));
            }
        }
        Ok(())
    }

    fn needs_tree(&self, pack_bytes: usize) -> bool {
        let bytes = self.bytes + pack_bytes;
        let rewrite = self.packs >= TREE_PACKS_MAX && bytes > TREE_SMALL_BYTES;
        self.keys == 0 || (self.packs > 0 && (bytes > TREE_BYTES_MAX || rewrite))
    }

    fn next_tree(&mut self) -> io::Result<()> {
        let mut trees = self.shared.trees.write().unwrap_or_else(PoisonError::into_inner);
        let name = u16::try_from(trees.len()).map_err(io::Error::other)?.to_be_bytes();
        trees.push(self.database.with(|database| database.open_tree(name))?);
        (self.packs, self.bytes) = (0, 0);
        Ok(())
    }
}

impl SegmentWriter for DiskSegment {
    fn insert(&mut self, pack: &[u8]) -> io::Result<u64> {
        // sled's threads may write a later pack first; a kill then leaves a hole before it.
        if self.unflushed {
            self.database.with(|database| database.flush().map(drop))?;
        }
        if self.needs_tree(pack.len()) {
            self.next_tree()?;
        }
        let trees = self.shared.trees.read().unwrap_or_else(PoisonError::into_inner);
        let Some(tree) = trees.last() else {
            return Err(io::Error::other("segment has no tree"));
        };
        let key = self.keys;
        guarded(|| tree.insert(key.to_be_bytes(), pack))?;
        let address = (trees.len() as u64 - 1) << 32 | u64::from(key);
        self.packs += 1;
        self.bytes += pack.len();
        self.keys += 1;
        self.unflushed = true;
        Ok(address)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.database.with(|database| database.flush().map(drop))?;
        self.unflushed = false;
        self.data.sync_data()?;
        self.ahead.synced();
        // A restart looks for it by its path.
        self.anchor.check()?;
        self.has_no_blobs()
    }

    fn prepare(&mut self) {
        // sled writes when it is flushed: not now.
        if !self.unflushed {
            self.ahead.fill(&self.data);
        }
    }

    fn reader(&self) -> Arc<dyn SegmentReader> {
        self.shared.clone()
    }
}

impl Drop for DiskSegment {
    fn drop(&mut self) {
        self.shared.trees.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Reads the database that is being filled.
struct Live {
    trees: RwLock<Vec<sled::Tree>>,
    nonce: u64,
    path: PathBuf,
}

impl SegmentReader for Live {
    fn scan(&self) -> io::Result<Vec<PackRef>> {
        scan(&File::open(&self.path)?, self.nonce)
    }

    fn has_traces(&self) -> io::Result<bool> {
        has_traces(&File::open(&self.path)?, self.nonce)
    }

    fn newer(&self) -> io::Result<Option<u8>> {
        newer(&File::open(&self.path)?, self.nonce)
    }

    fn broken(&self) -> io::Result<Vec<Option<u64>>> {
        broken(&File::open(&self.path)?, self.nonce)
    }

    #[allow(clippy::cast_possible_truncation)] // the address is a tree and a key
    fn read(&self, pack: &PackRef) -> io::Result<Vec<u8>> {
        let trees = self.trees.read().unwrap_or_else(PoisonError::into_inner);
        let closed = || io::Error::new(io::ErrorKind::NotConnected, "segment is closed");
        let tree = trees.get((pack.at >> 32) as usize).ok_or_else(closed)?;
        let value = guarded(|| tree.get((pack.at as u32).to_be_bytes()))?;
        value.map(|bytes| bytes.to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Reads a segment that nobody writes any more.
struct Sealed {
    data: File,
    nonce: u64,
}

impl SegmentReader for Sealed {
    fn scan(&self) -> io::Result<Vec<PackRef>> {
        scan(&self.data, self.nonce)
    }

    fn has_traces(&self) -> io::Result<bool> {
        has_traces(&self.data, self.nonce)
    }

    fn newer(&self) -> io::Result<Option<u8>> {
        newer(&self.data, self.nonce)
    }

    fn broken(&self) -> io::Result<Vec<Option<u64>>> {
        broken(&self.data, self.nonce)
    }

    fn read(&self, pack: &PackRef) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; pack.bytes as usize];
        self.data.read_exact_at(&mut bytes, pack.at)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use spillway_protocol::message::StreamId;

    use super::*;
    use crate::queue::pack::{Origin, pack};

    fn store(folder: &Path) -> DiskStore {
        let lock = folder.join("lock");
        let anchor = Anchor::new(lock.clone(), &File::create(&lock).unwrap()).unwrap();
        DiskStore::open(&folder.join("lane"), &folder.join("quarantine"), Arc::new(anchor)).unwrap()
    }

    fn fill(store: &DiskStore, id: SegmentId, sizes: &[usize], per_sync: usize) -> Vec<Vec<u8>> {
        let origin = Origin { nonce: id.nonce, stream: StreamId(1), base: 0 };
        let mut writer = store.create(id).unwrap();
        let mut written = Vec::new();
        for (position, size) in (id.first..).zip(sizes) {
            let entry: Vec<u8> = (0..*size).map(|i| (i as u64 * position % 251) as u8).collect();
            let packed = pack(&[entry], position, origin).remove(0).bytes;
            let at = writer.insert(&packed).unwrap();
            if written.len() % per_sync == 0 {
                writer.sync().unwrap();
            }
            let found = PackRef { first: position, count: 1, at, bytes: packed.len() as u32 };
            assert_eq!(writer.reader().read(&found).unwrap(), packed);
            written.push(packed);
        }
        writer.sync().unwrap();
        written
    }

    #[test]
    fn the_raw_scan_finds_every_pack_that_sled_was_given() {
        for (sizes, per_sync) in [
            (vec![300; 4000], 1),
            (vec![59_000; 140], 3),
            ((0..600).map(|i| 1 + i * 97 % 50_000).collect(), 7),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (store, id) = (store(folder.path()), SegmentId { first: 5, nonce: 42 });
            let written = fill(&store, id, &sizes, per_sync);
            let reader = store.open(id).unwrap();
            let found = reader.scan().unwrap();
            assert_eq!(found.len(), written.len());
            for (pack, bytes) in found.iter().zip(&written) {
                assert_eq!(&reader.read(pack).unwrap(), bytes);
            }
            let blobs = folder.path().join("lane").join(id.folder()).join("blobs");
            assert_eq!(fs::read_dir(blobs).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_page_in_blobs_fails_every_sync() {
        let folder = tempfile::tempdir().unwrap();
        let (store, id) = (store(folder.path()), SegmentId { first: 1, nonce: 3 });
        let mut writer = store.create(id).unwrap();
        writer.sync().unwrap();
        fs::write(folder.path().join("lane").join(id.folder()).join("blobs/7"), "").unwrap();
        assert!(writer.sync().is_err());
        assert!(writer.sync().is_err());
    }

    #[test]
    fn disk_use_stays_near_the_payload() {
        let folder = tempfile::tempdir().unwrap();
        let (store, id) = (store(folder.path()), SegmentId { first: 1, nonce: 3 });
        let payload: usize = fill(&store, id, &[59_000; 140], 1).iter().map(Vec::len).sum();
        let ratio = store.segment_bytes(id) as f64 / payload as f64;
        assert!(ratio < 1.3, "{ratio}");
    }

    #[test]
    fn small_packs_go_where_zeroes_lie_and_all_of_them_are_found() {
        // Were sled's question the kernel's, nobody would know how far it has come.
        let folder = tempfile::tempdir().unwrap();
        let (store, id) = (store(folder.path()), SegmentId { first: 1, nonce: 3 });
        let path = folder.path().join("lane").join(id.folder()).join("db");
        let origin = Origin { nonce: id.nonce, stream: StreamId(1), base: 0 };
        let mut writer = store.create(id).unwrap();
        let (mut extended, count) = (0, 400);
        for position in 1..=count {
            let before = fs::metadata(&path).unwrap().len();
            writer.insert(&pack(&[vec![7; 300]], position, origin).remove(0).bytes).unwrap();
            writer.sync().unwrap();
            extended += u64::from(fs::metadata(&path).unwrap().len() > before);
            writer.prepare();
        }
        // The longer ones are pages that sled writes anew, while they are small.
        assert!(extended <= count / 20, "{extended}");
        drop(writer);
        let packs = store.open(id).unwrap().scan().unwrap();
        assert_eq!(packs.len() as u64, count);
        let behind = fs::metadata(&path).unwrap().len() - packs.last().unwrap().at;
        assert!(behind < 128 * 1024, "{behind}");
    }

    #[test]
    fn a_new_segment_is_small() {
        let folder = tempfile::tempdir().unwrap();
        let (store, id) = (store(folder.path()), SegmentId { first: 1, nonce: 3 });
        drop(store.create(id).unwrap());
        let bytes = store.segment_bytes(id);
        assert!(bytes < 32 * 1024, "{bytes}");
    }

    #[test]
    fn half_made_and_half_removed_segments_are_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let id = SegmentId { first: 1, nonce: 2 };
        fill(&store, id, &[10], 1);
        for left in ["tmp-seg-1", "dead-seg-2"] {
            fs::create_dir(folder.path().join("lane").join(left)).unwrap();
        }
        fs::write(folder.path().join("lane/new-ids-1"), "half").unwrap();
        assert_eq!(store.segments().unwrap(), [id]);
        let names = store.names().unwrap();
        assert!(names.iter().all(|n| n.starts_with("state-") || *n == id.folder()), "{names:?}");
        store.remove(id).unwrap();
        assert_eq!(store.segments().unwrap(), []);
    }

    #[test]
    fn a_quarantined_segment_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let id = SegmentId { first: 1, nonce: 2 };
        fill(&store, id, &[10], 1);
        let aside = store.quarantine(id).unwrap();
        assert!(aside.join("db").exists());
        assert_eq!(store.segments().unwrap(), []);
    }
}
