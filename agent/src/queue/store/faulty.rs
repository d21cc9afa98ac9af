//! Any store, of which one operation fails, or at one of which the process dies.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{PackRef, SegmentId, SegmentReader, SegmentWriter, Store};

/// What happens at the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) enum Fault {
    /// It fails as a full disk does, and has no effect.
    Before,
    /// It fails after it had its effect, as where only the sync at its end fails.
    After,
    /// The process dies before it: it has no effect, and neither has any later one.
    Death,
}

#[derive(Debug, Default)]
struct Plan {
    /// Operations until the fault.
    next: Option<(u64, Fault)>,
    dead: bool,
}

/// The faults of one or several stores, shared by all who hold a clone.
#[derive(Debug, Clone, Default)]
pub(in crate::queue) struct Faults(Arc<Mutex<Plan>>);

impl Faults {
    /// The operation after the next `operations` has this fault, once.
    pub(in crate::queue) fn set(&self, operations: u64, fault: Fault) {
        *self.plan() = Plan { next: Some((operations, fault)), dead: false };
    }

    /// All goes well from now on. Whether a fault was still to come.
    pub(in crate::queue) fn clear(&self) -> bool {
        std::mem::take(&mut *self.plan()).next.is_some()
    }

    /// Whether a fault is still to come.
    pub(in crate::queue) fn armed(&self) -> bool {
        self.plan().next.is_some()
    }

    /// Whether the process has died.
    pub(in crate::queue) fn died(&self) -> bool {
        self.plan().dead
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap()
    }

    /// The fault of this operation.
    fn here(&self) -> Option<Fault> {
        let mut plan = self.plan();
        let here = match plan.next {
            _ if plan.dead => return Some(Fault::Death),
            Some((0, fault)) => Some(fault),
            Some((left, fault)) => {
                plan.next = Some((left - 1, fault));
                return None;
            }
            None => return None,
        };
        *plan = Plan { next: None, dead: here == Some(Fault::Death) };
        here
    }

    fn operate<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.here() {
            None => work(),
            Some(fault) => {
                if fault == Fault::After {
                    drop(work());
                }
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }
}

/// See the module.
pub(in crate::queue) struct Faulty {
    store: Arc<dyn Store>,
    faults: Faults,
}

impl Faulty {
    pub(in crate::queue) fn new(store: Arc<dyn Store>, faults: Faults) -> Self {
        Self { store, faults }
    }
}

impl Store for Faulty {
    fn present(&self) -> io::Result<()> {
        self.store.present()
    }

    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        self.faults.operate(|| self.store.segments())
    }

    fn create(&self, id: SegmentId) -> io::Result<Box<dyn SegmentWriter>> {
        let writer = self.faults.operate(|| self.store.create(id))?;
        Ok(Box::new(FaultyWriter { writer, faults: self.faults.clone() }))
    }

    fn open(&self, id: SegmentId) -> io::Result<Arc<dyn SegmentReader>> {
        let reader = self.faults.operate(|| self.store.open(id))?;
        Ok(Arc::new(FaultyReader { reader, faults: self.faults.clone() }))
    }

    fn sync(&self, id: SegmentId) -> io::Result<()> {
        self.faults.operate(|| self.store.sync(id))
    }

    fn cut(&self, id: SegmentId, end: u64) -> io::Result<()> {
        self.faults.operate(|| self.store.cut(id, end))
    }

    fn remove(&self, id: SegmentId) -> io::Result<()> {
        self.faults.operate(|| self.store.remove(id))
    }

    fn quarantine(&self, id: SegmentId) -> io::Result<PathBuf> {
        self.faults.operate(|| self.store.quarantine(id))
    }

    fn segment_bytes(&self, id: SegmentId) -> u64 {
        self.store.segment_bytes(id)
    }

    fn mark_settled(&self, id: SegmentId, at_ms: u64) {
        self.store.mark_settled(id, at_ms);
    }

    fn settled_ms(&self, id: SegmentId) -> Option<u64> {
        self.store.settled_ms(id)
    }

    fn load_state(&self) -> io::Result<Option<Vec<u8>>> {
        self.faults.operate(|| self.store.load_state())
    }

    fn states_are_lost(&self) -> io::Result<bool> {
        self.faults.operate(|| self.store.states_are_lost())
    }

    fn save_state(&self, state: &[u8]) -> io::Result<()> {
        self.faults.operate(|| self.store.save_state(state))
    }

    fn load_file(&self, name: &str) -> io::Result<Vec<u8>> {
        self.faults.operate(|| self.store.load_file(name))
    }

    fn read_file(&self, name: &str, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.faults.operate(|| self.store.read_file(name, at, bytes))
    }

    fn file_bytes(&self, name: &str) -> io::Result<u64> {
        self.faults.operate(|| self.store.file_bytes(name))
    }

    fn save_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.faults.operate(|| self.store.save_file(name, bytes))
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        self.faults.operate(|| self.store.remove_file(name))
    }

    fn files(&self, prefix: &str) -> io::Result<Vec<String>> {
        self.faults.operate(|| self.store.files(prefix))
    }
}

struct FaultyWriter {
    writer: Box<dyn SegmentWriter>,
    faults: Faults,
}

impl SegmentWriter for FaultyWriter {
    fn insert(&mut self, pack: &[u8]) -> io::Result<u64> {
        self.faults.clone().operate(|| self.writer.insert(pack))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.faults.clone().operate(|| self.writer.sync())
    }

    fn prepare(&mut self) {
        self.writer.prepare();
    }

    fn reader(&self) -> Arc<dyn SegmentReader> {
        Arc::new(FaultyReader { reader: self.writer.reader(), faults: self.faults.clone() })
    }
}

struct FaultyReader {
    reader: Arc<dyn SegmentReader>,
    faults: Faults,
}

impl SegmentReader for FaultyReader {
    fn scan(&self) -> io::Result<Vec<PackRef>> {
        self.faults.operate(|| self.reader.scan())
    }

    fn has_traces(&self) -> io::Result<bool> {
        self.faults.operate(|| self.reader.has_traces())
    }

    fn broken(&self) -> io::Result<Vec<Option<u64>>> {
        self.faults.operate(|| self.reader.broken())
    }

    fn newer(&self) -> io::Result<Option<u8>> {
        self.faults.operate(|| self.reader.newer())
    }

    fn read(&self, pack: &PackRef) -> io::Result<Vec<u8>> {
        self.faults.operate(|| self.reader.read(pack))
    }
}
