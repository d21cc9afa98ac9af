//! What a data folder takes up on disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::Error;

/// Bytes of a block, as the system counts them.
const BLOCK_BYTES: u64 = 512;

/// Bytes held on disk, folders included.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    /// All of it.
    pub bytes: u64,
    /// Of it, the tables of ids that repeats are found by.
    pub id_bytes: u64,
}

impl Held {
    /// By everything in `folder`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(folder: &Path) -> Result<Self, Error> {
        let mut held = Self::default();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // What the agent removes meanwhile is not held.
            let Ok(metadata) = entry.metadata() else { continue };
            let bytes = metadata.blocks() * BLOCK_BYTES;
            held.bytes += bytes;
            if entry.file_name().to_string_lossy().starts_with("ids-") {
                held.id_bytes += bytes;
            }
            if metadata.is_dir()
                && let Ok(below) = Self::of(&entry.path())
            {
                held.bytes += below.bytes;
                held.id_bytes += below.id_bytes;
            }
        }
        Ok(held)
    }
}
