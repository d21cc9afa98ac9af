//! How ids stand in tables. Without a key, as their hashes. With one, as what only its owner can make
//! of them: whoever reads the disk could else see whether an id or a short body that he guesses is
//! there.

use super::table::Row;
use super::{IdHash, Key};
use crate::queue::cipher::{self, KeyId, Keys};

/// Of rows that are about to be written, under a key.
pub(super) fn cover(rows: &mut [Row], key: &cipher::Key) {
    for row in rows {
        let (id, mix) = key.mask(&row.id);
        (row.id, row.body) = (id, row.body ^ mix);
    }
}

/// An id that is searched for in tables, which may be written under several keys.
pub(super) struct Sought<'a> {
    pub(super) made_ms: Option<u64>,
    hash: &'a IdHash,
    keys: &'a Keys,
    covered: Option<(KeyId, (IdHash, u64))>,
}

impl<'a> Sought<'a> {
    pub(super) fn new(key: &'a Key, keys: &'a Keys) -> Self {
        Self { made_ms: key.made_ms, hash: &key.hash, keys, covered: None }
    }

    /// What it is in a table under this key, and what the body's column is mixed with. `None`
    /// without that key: nobody knows.
    pub(super) fn under(&mut self, key: Option<KeyId>) -> Option<(IdHash, u64)> {
        let Some(id) = key else { return Some((*self.hash, 0)) };
        if let Some((_, covered)) = self.covered.filter(|(known, _)| *known == id) {
            return Some(covered);
        }
        let covered = self.keys.find(id).ok()?.mask(self.hash);
        self.covered = Some((id, covered));
        Some(covered)
    }
}
