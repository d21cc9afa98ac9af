//! Zeroes behind what was written last. A sync of data that goes to new blocks also waits for the
//! file system's journal; of data that goes where zeroes lie it does not. So the next few kilobytes
//! are written before they are needed, with the sync that comes next, while groups are small.
//!
//! Measured on ext4 (docs/benchmarks.md): a sync of 512 bytes takes 0.6 of the time and the device
//! writes 0.6 as much; of 40 KiB half the time, and twice as much. What is larger goes to new blocks.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::fstatfs;

use super::inode;
use super::range_sync::Written;

/// Zeroes written at once: a part of what lies before them, within these bounds.
const LEAST_BYTES: u64 = 16 * 1024;
const MOST_BYTES: u64 = 128 * 1024;
const PART: u64 = 8;
/// Syncs that write more than this go to new blocks.
const SYNC_BYTES_MAX: u64 = 64 * 1024;
/// One sync counts one part in so many of the mean.
const MEAN_OF: u64 = 8;

/// File systems that overwrite blocks in place; others would only write twice.
const EXT: u64 = 0xEF53;
const XFS: u64 = 0x5846_5342;

/// Keeps zeroes ahead in one file.
#[derive(Debug)]
pub(super) struct Ahead {
    written: Written,
    /// What is written beyond the last sync begins here.
    synced_to: u64,
    /// Bytes of a sync, about.
    mean_bytes: u64,
    is_off: bool,
}

impl Ahead {
    /// In `file`, to which nobody writes now.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        let written = Written::watch(file)?;
        #[allow(clippy::cast_sign_loss)] // a type is a pattern of bits
        let kind = fstatfs(file)?.f_type as u64;
        let is_off = ![EXT, XFS].contains(&kind);
        Ok(Self { written, synced_to: inode::length(file)?, mean_bytes: 0, is_off })
    }

    /// All that was written is durable.
    pub(super) fn synced(&mut self) {
        let end = self.written.end().max(self.synced_to);
        self.mean_bytes = mean(self.mean_bytes, end - self.synced_to);
        self.synced_to = end;
    }

    /// Writes zeroes behind the end of `file`, if the next sync would come to it. Nobody else writes
    /// to it meanwhile. Where they cannot be written, new blocks serve as well.
    pub(super) fn fill(&mut self, file: &File) {
        if self.is_off {
            return;
        }
        let filled = inode::length(file).and_then(|length| {
            let zeroes = wanted(self.synced_to, length, self.mean_bytes);
            file.write_all_at(&vec![0; zeroes], length)
        });
        self.is_off = filled.is_err();
    }
}

/// The mean of syncs, with one more of `bytes`.
fn mean(of_before: u64, bytes: u64) -> u64 {
    if of_before == 0 { bytes } else { (of_before * (MEAN_OF - 1) + bytes) / MEAN_OF }
}

/// How many zeroes are to be written at the end of a file of `length` bytes, of which all before
/// `used` are in use.
fn wanted(used: u64, length: u64, mean_bytes: u64) -> usize {
    let part = (used / PART).clamp(LEAST_BYTES, MOST_BYTES);
    let is_near = length.saturating_sub(used) < mean_bytes;
    // What would not hold a whole sync would only be written twice.
    if mean_bytes == 0 || mean_bytes > SYNC_BYTES_MAX.min(part) || !is_near {
        return 0;
    }
    // The rest of the last page too: it is written whole either way.
    usize::try_from((length + part).next_multiple_of(4096) - length).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_syncs_find_zeroes_and_large_ones_new_blocks() {
        let [small, large] = [600, SYNC_BYTES_MAX + 1];
        assert_eq!(wanted(4096, 4096, small), 16 * 1024);
        assert_eq!(wanted(4096, 4096, large), 0);
        assert_eq!(wanted(8_000_000, 8_000_000, large), 0);
        // It would not fit.
        assert_eq!(wanted(100_000, 100_000, 30_000), 0);
        assert!(wanted(300_000, 300_000, 30_000) > 30_000);
        // Enough lie there.
        assert_eq!(wanted(4096, 20_480, small), 0);
        // And soon will not.
        assert_eq!(wanted(20_000, 20_480, small), 16 * 1024);
    }

    #[test]
    fn nothing_is_written_ahead_before_the_first_sync() {
        assert_eq!(wanted(0, 0, 0), 0);
        assert_eq!(wanted(16_384, 16_384, 0), 0);
    }

    #[test]
    fn zeroes_are_a_small_part_of_a_file_and_end_with_a_page() {
        for used in [1_000, 100_000, 1_000_000, 8_000_000] {
            let zeroes = wanted(used, used + 100, 700) as u64;
            assert!(
                zeroes <= (used / PART).clamp(LEAST_BYTES, MOST_BYTES) + 4096,
                "{used}: {zeroes}"
            );
            assert_eq!((used + 100 + zeroes) % 4096, 0);
        }
    }

    #[test]
    fn one_large_sync_among_small_ones_changes_little() {
        let after =
            |sizes: &[u64]| sizes.iter().fold(0, |of_before, bytes| mean(of_before, *bytes));
        assert!(after(&[600, 600, 600, 100_000]) < SYNC_BYTES_MAX);
        assert!(after(&[100_000; 20]) > SYNC_BYTES_MAX);
        assert!(after(&[[100_000; 20], [600; 20]].concat()) < SYNC_BYTES_MAX);
    }
}
