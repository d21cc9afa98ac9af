//! Whether the data folder is still the one that was locked: it may be moved, replaced by a copy or
//! mounted over while the agent runs. What is written to it then would not be found at the next
//! start, and what is missing in it is not damaged.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::inode::{self, Inode};

/// A file of the folder, by its path and by what it was when it was opened.
#[derive(Debug)]
pub(in crate::queue) struct Anchor {
    folder: PathBuf,
    path: PathBuf,
    held: Inode,
}

impl Anchor {
    /// By the lock's file, which was opened at `path`.
    pub(in crate::queue) fn new(path: PathBuf, lock: &File) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(&path).to_owned();
        Ok(Self { folder, held: inode::of(lock)?, path })
    }

    /// By another file somewhere below, which was opened at `path`.
    pub(super) fn at(&self, path: PathBuf, held: &File) -> io::Result<Self> {
        Ok(Self { folder: self.folder.clone(), held: inode::of(held)?, path })
    }

    /// An error if another file, or none, is found there now.
    pub(in crate::queue) fn check(&self) -> io::Result<()> {
        if inode::at(&self.path).is_ok_and(|found| found == self.held) {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "{} is not what this agent opened: it was moved, replaced or mounted over; put the \
             folder back, or restart the agent on what is there now",
            self.folder.display()
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert!(anchor.at(lock, &held).unwrap().check().is_err());
        fs::remove_dir_all(&data).unwrap();
        fs::rename(&aside, &data).unwrap();
        anchor.check().unwrap();
    }
}
