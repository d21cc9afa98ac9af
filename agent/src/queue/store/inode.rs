//! Which file it is, and how long, without asking when it was written: since Linux 6.13 that
//! question makes the next write note a new time, and the sync behind it write the inode as well.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, major, minor, statx};

/// A file among all of this machine.
pub(super) type Inode = (u32, u32, u64);

/// The one that is open.
pub(super) fn of(file: &File) -> io::Result<Inode> {
    match statx(file.as_fd(), "", AtFlags::EMPTY_PATH, StatxFlags::INO) {
        Ok(known) => Ok(inode(&known)),
        // Where statx is not allowed, the longer way serves.
        Err(_) => file.metadata().map(|known| inode_of(&known)),
    }
}

/// The one at `path`.
pub(super) fn at(path: &Path) -> io::Result<Inode> {
    match statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
        Ok(known) => Ok(inode(&known)),
        Err(_) => fs::metadata(path).map(|known| inode_of(&known)),
    }
}

/// Bytes in it.
pub(super) fn length(file: &File) -> io::Result<u64> {
    match statx(file.as_fd(), "", AtFlags::EMPTY_PATH, StatxFlags::SIZE) {
        Ok(known) => Ok(known.stx_size),
        Err(_) => file.metadata().map(|known| known.len()),
    }
}

fn inode(known: &Statx) -> Inode {
    (known.stx_dev_major, known.stx_dev_minor, known.stx_ino)
}

fn inode_of(known: &Metadata) -> Inode {
    (major(known.dev()), minor(known.dev()), known.ino())
}
