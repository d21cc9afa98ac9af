//! A chain's folder that is only looked at: nothing is made, synced, moved or removed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{folder_bytes, open_sealed};
use super::slots::Slots;
use super::{SegmentId, SegmentReader, SegmentWriter, Store};

/// See the module.
pub(in crate::queue) struct ReadOnly {
    folder: PathBuf,
    /// Segments that an agent would put aside at its start.
    unreadable: Mutex<Vec<SegmentId>>,
}

impl ReadOnly {
    /// Of a folder, which may be missing.
    pub(in crate::queue) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), unreadable: Mutex::default() }
    }

    /// Names of segments that an agent would put aside at its start.
    pub(in crate::queue) fn unreadable(&self) -> Vec<String> {
        self.lock().iter().map(SegmentId::folder).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SegmentId>> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Store for ReadOnly {
    fn present(&self) -> io::Result<()> {
        Ok(())
    }

    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        let mut ids: Vec<SegmentId> =
            self.names()?.iter().filter_map(|name| SegmentId::parse(name)).collect();
        ids.sort();
        Ok(ids)
    }

    fn create(&self, _: SegmentId) -> io::Result<Box<dyn SegmentWriter>> {
        refused()
    }

    fn open(&self, id: SegmentId) -> io::Result<Arc<dyn SegmentReader>> {
        open_sealed(&self.folder.join(id.folder()), id.nonce)
    }

    /// What can be read is looked at; whether it would survive a power cut does not matter.
    fn sync(&self, _: SegmentId) -> io::Result<()> {
        Ok(())
    }

    fn cut(&self, _: SegmentId, _: u64) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: SegmentId) -> io::Result<()> {
        Ok(())
    }

    fn quarantine(&self, id: SegmentId) -> io::Result<PathBuf> {
        self.lock().push(id);
        Ok(self.folder.join(id.folder()))
    }

    fn segment_bytes(&self, id: SegmentId) -> u64 {
        folder_bytes(&self.folder.join(id.folder()))
    }

    fn mark_settled(&self, _: SegmentId, _: u64) {}

    fn settled_ms(&self, _: SegmentId) -> Option<u64> {
        None
    }

    fn load_state(&self) -> io::Result<Option<Vec<u8>>> {
        Slots::new(&self.folder).load()
    }

    fn states_are_lost(&self) -> io::Result<bool> {
        Slots::new(&self.folder).are_lost()
    }

    fn save_state(&self, _: &[u8]) -> io::Result<()> {
        refused()
    }

    fn load_file(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.folder.join(name))
    }

    fn read_file(&self, name: &str, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        File::open(self.folder.join(name))?.read_exact_at(bytes, at)
    }

    fn file_bytes(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.folder.join(name))?.len())
    }

    fn save_file(&self, _: &str, _: &[u8]) -> io::Result<()> {
        refused()
    }

    fn remove_file(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn files(&self, prefix: &str) -> io::Result<Vec<String>> {
        let mut names = self.names()?;
        names.retain(|name| name.starts_with(prefix));
        names.sort();
        Ok(names)
    }
}
