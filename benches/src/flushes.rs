//! How often a disk was asked to empty its cache: once for each fdatasync, whoever called it. So the
//! groups that any program forms can be counted without looking into it.

use std::fs::{metadata, read_to_string};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// Place of the flushes among a device's figures (`Documentation/block/stat`), from 0.
const FLUSHES_AT: usize = 15;

/// The counter of the disk under a folder.
#[derive(Debug, Clone)]
pub struct Flushes(PathBuf);

impl Flushes {
    /// Of the disk that `folder` lies on.
    ///
    /// # Errors
    /// If the folder is gone.
    pub fn under(folder: &Path) -> Result<Self, Error> {
        let device = metadata(folder)?.dev();
        // As the kernel's headers pack it.
        let major = (device >> 8) & 0xfff;
        let minor = (device & 0xff) | ((device >> 12) & 0xf_ff00);
        let mut path = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
        if path.join("partition").exists() {
            // Only whole disks count them.
            path = path.canonicalize()?.parent().ok_or("a partition without a disk")?.to_owned();
        }
        Ok(Self(path.join("stat")))
    }

    /// So far; 0 where there is no such counter.
    pub fn count(&self) -> u64 {
        let text = read_to_string(&self.0).unwrap_or_default();
        text.split_whitespace().nth(FLUSHES_AT).and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// What `work` returns, and the flushes meanwhile.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> (T, u64) {
        let before = self.count();
        let done = work();
        (done, self.count().saturating_sub(before))
    }
}
