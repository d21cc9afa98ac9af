//! Whether the data folder is still the one that was locked: it may be moved, replaced by a copy or
//! mounted over while the agent runs. What is written to it then would not be found at the next
//! start, and what is missing in it is not damaged.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The lock's file, by its path and by what it was at the start.
#[derive(Debug)]
pub(in crate::queue) struct Anchor {
    path: PathBuf,
    held: (u64, u64),
}

impl Anchor {
    /// `held` was opened at `path`.
    pub(in crate::queue) fn new(path: PathBuf, held: &File) -> io::Result<Self> {
        Ok(Self { held: inode(&held.metadata()?), path })
    }

    /// An error if another file, or none, is found there now.
    pub(in crate::queue) fn check(&self) -> io::Result<()> {
        if leads_to(&self.path, self.held) { Ok(()) } else { Err(self.away()) }
    }

    /// An error if `path` does not lead to the open `file`.
    pub(super) fn check_file(&self, path: &Path, file: &File) -> io::Result<()> {
        if leads_to(path, inode(&file.metadata()?)) { Ok(()) } else { Err(self.away()) }
    }

    fn away(&self) -> io::Error {
        let folder = self.path.parent().unwrap_or(&self.path).display();
        io::Error::other(format!(
            "{folder} is not what this agent opened: it was moved, replaced or mounted over; put \
             the folder back, or restart the agent on what is there now"
        ))
    }
}

fn leads_to(path: &Path, held: (u64, u64)) -> bool {
    fs::metadata(path).is_ok_and(|found| inode(&found) == held)
}

fn inode(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_moved_replaced_and_put_back_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let [data, aside] = ["data", "aside"].map(|name| root.path().join(name));
        fs::create_dir(&data).unwrap();
        let lock = data.join("lock");
        let held = File::create(&lock).unwrap();
        let anchor = Anchor::new(lock.clone(), &held).unwrap();
        anchor.check().unwrap();
        fs::rename(&data, &aside).unwrap();
        let error = anchor.check().unwrap_err().to_string();
        assert!(error.starts_with(&data.display().to_string()), "{error}");
        fs::create_dir(&data).unwrap();
        fs::write(&lock, "").unwrap();
        assert!(anchor.check().is_err());
        assert!(anchor.check_file(&lock, &held).is_err());
        fs::remove_dir_all(&data).unwrap();
        fs::rename(&aside, &data).unwrap();
        anchor.check().unwrap();
    }
}
