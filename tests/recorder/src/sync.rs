//! What makes changes durable. `sync_file_range` is not among it: it reaches neither a drive's cache
//! nor a file's metadata.

use std::ffi::{c_int, c_long};

use libc::syscall;

use crate::log::{Kind, fails, linger, note_sync};
use crate::place::inode;

/// Notes begin and end of a sync; one that fails has no end.
#[allow(clippy::cast_possible_truncation)] // 0 or -1
fn sync(fd: c_int, number: c_long) -> c_int {
    let inode = inode(fd, true);
    inode.into_iter().for_each(|inode| note_sync(Kind::SyncBegin, inode));
    if inode.is_some() && number == libc::SYS_fdatasync && fails() {
        // SAFETY: it is this thread's.
        unsafe { *libc::__errno_location() = libc::EIO };
        return -1;
    }
    // SAFETY: no pointers.
    let result = unsafe { syscall(number, fd) } as c_int;
    if let Some(inode) = inode.filter(|_| result == 0) {
        linger();
        note_sync(Kind::SyncEnd, inode);
    }
    result
}

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fsync)
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fdatasync)
}
