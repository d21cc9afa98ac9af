//! Packs as they lie in a segment's file, read by somebody who knows only how they are written down
//! (`agent/src/queue/pack.rs`): which records are where.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::Error;

const MAGIC: &[u8] = b"\xF1SPW\r\n\x1A\x01";
const HEADER_BYTES: usize = 56;
/// Of version 2: packs that are compressed or sealed.
const CODED_HEADER_BYTES: usize = 64;
/// In front of each entry.
const LENGTH_BYTES: usize = 4;

/// One pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Where its bytes are in the file.
    pub bytes: Range<usize>,
    /// Positions of its records.
    pub positions: Range<u64>,
    /// Bytes of its records with their lengths, before anything was done to them.
    raw_bytes: u64,
}

impl Pack {
    /// Bytes of its records.
    pub fn entry_bytes(&self) -> u64 {
        self.raw_bytes - LENGTH_BYTES as u64 * self.records()
    }

    /// How many records it has.
    pub fn records(&self) -> u64 {
        self.positions.end - self.positions.start
    }
}

/// All packs of a file of which nothing is damaged.
///
/// # Errors
/// If they are of another version.
pub fn packs(file: &[u8]) -> Result<Vec<Pack>, Error> {
    let mut packs = Vec::new();
    let mut at = 0;
    while let Some(found) = file[at..].windows(MAGIC.len()).position(|bytes| bytes == MAGIC) {
        let from = at + found;
        let head = file.get(from..from + HEADER_BYTES).ok_or("half a pack")?;
        let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|nth| head[at + nth]));
        let (header_bytes, raw_bytes) = match head[8] {
            1 => (HEADER_BYTES, number(36)),
            2 => (CODED_HEADER_BYTES, number(52)),
            version => return Err(format!("packs of version {version}; this reads 1 and 2").into()),
        };
        let first = u64::from(number(24)) | u64::from(number(28)) << 32;
        at = from + header_bytes + number(36) as usize;
        let positions = first..first + u64::from(number(32));
        packs.push(Pack { bytes: from..at, positions, raw_bytes: raw_bytes.into() });
    }
    Ok(packs)
}

/// The segments' files of a lane, oldest first.
///
/// # Errors
/// If its folder cannot be read.
pub fn files(lane: &Path) -> Result<Vec<PathBuf>, Error> {
    let names =
        fs::read_dir(lane)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, Error>>()?;
    let is_segment = |path: &PathBuf| path.to_string_lossy().contains("/seg-");
    let mut files: Vec<_> =
        names.into_iter().filter(is_segment).map(|path| path.join("db")).collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_are_found_wherever_they_lie() {
        let mut pack = vec![0; HEADER_BYTES + 20];
        pack[..8].copy_from_slice(MAGIC);
        (pack[8], pack[24], pack[32], pack[36]) = (1, 7, 2, 20);
        let file = [&[1; 5][..], &pack, &[0; 3], &pack].concat();
        let found = packs(&file).unwrap();
        assert_eq!(found[0], Pack { bytes: 5..81, positions: 7..9, raw_bytes: 20 });
        assert_eq!((found.len(), found[1].bytes.start, found[0].entry_bytes()), (2, 84, 12));
        pack[8] = 3;
        assert!(packs(&pack).is_err());
    }
}
