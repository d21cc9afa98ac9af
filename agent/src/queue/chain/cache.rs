//! What a chain's readers keep at hand, within fixed bounds.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Pack;
use crate::queue::store::{PackRef, SegmentId, SegmentReader};

/// A sealed segment's reader and where its packs lie.
pub(super) type Index = (Arc<dyn SegmentReader>, Arc<Vec<PackRef>>);

/// The head of the lane, and somebody who looks elsewhere.
const INDEXES: usize = 2;
/// Enough for those who read around the same place.
const PACKS: usize = 4;
const PACKS_BYTES: usize = 512 * 1024;

/// Recently used indexes and packs, newest last.
#[derive(Default)]
pub(super) struct Cache {
    indexes: VecDeque<(SegmentId, Index)>,
    packs: VecDeque<Arc<Pack>>,
}

impl Cache {
    pub(super) fn index(&self, id: SegmentId) -> Option<Index> {
        self.indexes.iter().find(|(known, _)| *known == id).map(|(_, index)| index.clone())
    }

    pub(super) fn keep_index(&mut self, id: SegmentId, index: Index) {
        self.indexes.push_back((id, index));
        if self.indexes.len() > INDEXES {
            self.indexes.pop_front();
        }
    }

    pub(super) fn pack(&self, position: u64) -> Option<Arc<Pack>> {
        self.packs.iter().find(|pack| pack.entry(position).is_some()).cloned()
    }

    pub(super) fn keep_pack(&mut self, pack: Arc<Pack>) {
        self.packs.push_back(pack);
        let bytes = |packs: &VecDeque<Arc<Pack>>| -> usize {
            packs.iter().flat_map(|p| &p.entries).map(|e| e.len()).sum()
        };
        while self.packs.len() > PACKS || (self.packs.len() > 1 && bytes(&self.packs) > PACKS_BYTES)
        {
            self.packs.pop_front();
        }
    }

    /// Drops what belongs to a removed segment.
    pub(super) fn forget(&mut self, id: SegmentId) {
        self.indexes.retain(|(known, _)| *known != id);
        self.packs.clear();
    }
}
