//! Where a queue lies.

use std::path::PathBuf;
use std::sync::Arc;

use rand::rngs::StdRng;
use tempfile::TempDir;

use crate::queue::recover::{self, Stores};
use crate::queue::store::Store;
use crate::queue::store::disk::folder_bytes;
use crate::queue::store::faulty::{Faults, Faulty};
use crate::queue::store::memory::MemoryStore;
use crate::queue::{Options, identity};

/// See the module.
pub(super) enum Ground {
    /// Knows what a power cut takes.
    Memory { lanes: [MemoryStore; 2], dead: MemoryStore },
    /// On sled. A power cut is a kill here: nothing written is lost.
    Disk(TempDir),
}

impl Ground {
    pub(super) fn memory() -> Self {
        Self::Memory { lanes: Default::default(), dead: MemoryStore::default() }
    }

    /// In memory, too, where the machine has such a file system: its syncs cost nothing.
    pub(super) fn disk() -> Self {
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
        Self::Disk(folder.unwrap())
    }

    pub(super) fn cut_power(&mut self, rng: &mut StdRng) {
        if let Self::Memory { lanes, dead } = self {
            for store in lanes.iter_mut().chain([dead]) {
                *store = store.after_power_cut(rng);
            }
        }
    }

    pub(super) fn folder(&self) -> PathBuf {
        match self {
            Self::Memory { .. } => "/".into(),
            Self::Disk(folder) => folder.path().to_owned(),
        }
    }

    /// Segments of the first lane.
    pub(super) fn segments(&self) -> usize {
        match self {
            Self::Memory { lanes, .. } => lanes[0].segments().unwrap().len(),
            Self::Disk(folder) => std::fs::read_dir(folder.path().join("lanes/a")).unwrap().count(),
        }
    }

    /// Tables of ids, in memory.
    pub(super) fn tables(&self) -> usize {
        match self {
            Self::Memory { lanes, .. } => lanes[0].files("ids-").unwrap().len(),
            Self::Disk(_) => 0,
        }
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        let of = |store: &MemoryStore| -> u64 {
            store.segments().unwrap().into_iter().map(|id| store.segment_bytes(id)).sum()
        };
        match self {
            Self::Memory { lanes, dead } => lanes.iter().chain([dead]).map(of).sum(),
            Self::Disk(folder) => ["lanes/a", "lanes/b", "dead"]
                .iter()
                .flat_map(|chain| {
                    std::fs::read_dir(folder.path().join(chain)).into_iter().flatten()
                })
                .map(|segment| folder_bytes(&segment.unwrap().path()))
                .sum(),
        }
    }

    /// The stores of one run.
    pub(super) fn stores(&self, options: &Options, faults: &Faults) -> Stores {
        let Stores { lanes, dead } = match self {
            Self::Memory { lanes, dead } => {
                let lane = |lane: &MemoryStore| Arc::new(lane.clone()) as Arc<dyn Store>;
                let lanes = lanes.iter().map(lane).collect();
                Stores { lanes, dead: Arc::new(dead.clone()) }
            }
            Self::Disk(folder) => {
                let lock = identity::lock(folder.path()).unwrap();
                recover::stores(options, &lock.anchor).unwrap()
            }
        };
        let faulty = |store| Arc::new(Faulty::new(store, faults.clone())) as Arc<dyn Store>;
        Stores { lanes: lanes.into_iter().map(faulty).collect(), dead: faulty(dead) }
    }
}
