//! What changes a file's bytes.

use std::ffi::{c_char, c_int, c_long, c_uint, c_void};

use libc::{iovec, mode_t, off64_t, size_t, ssize_t, syscall};

use crate::log::{Kind, Turn, give_up};
use crate::place::{Place, inode, named, opened};

/// Offset that stands for the descriptor's own.
const OWN: off64_t = -1;

#[allow(clippy::cast_possible_truncation)] // descriptors are an int
fn open_in(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's arguments.
    let open = || unsafe { syscall(libc::SYS_openat, folder, path, flags, mode) as c_int };
    let changes = flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
    let Some(place) = changes.then(|| Place::of(folder, path)).flatten() else { return open() };
    let turn = Turn::take();
    let before = named(folder, path);
    let fd = open();
    if let Some(found) = opened(fd).filter(|_| fd >= 0) {
        if before.is_none() {
            turn.note(Kind::Create, (found.st_ino, 0), place.below(), b"");
        } else if flags & libc::O_TRUNC != 0 {
            turn.note(Kind::Size, (found.st_ino, 0), b"", b"");
        }
    }
    fd
}

/// `open` in all its names.
macro_rules! opens {
    ($($open:ident $openat:ident $creat:ident),*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
            open_in(libc::AT_FDCWD, path, flags, mode)
        }
        #[unsafe(no_mangle)]
        extern "C" fn $openat(
            folder: c_int,
            path: *const c_char,
            flags: c_int,
            mode: mode_t,
        ) -> c_int {
            open_in(folder, path, flags, mode)
        }
        #[unsafe(no_mangle)]
        extern "C" fn $creat(path: *const c_char, mode: mode_t) -> c_int {
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
            open_in(libc::AT_FDCWD, path, flags, mode)
        }
    )*};
}

opens!(open openat creat, open64 openat64 creat64);

/// Where a write that took `count` bytes began.
fn begin_of(fd: c_int, at: off64_t, count: c_long) -> u64 {
    if at != OWN {
        return u64::try_from(at).unwrap_or(0);
    }
    // SAFETY: no pointers.
    let end = unsafe { syscall(libc::SYS_lseek, fd, 0, libc::SEEK_CUR) };
    u64::try_from(end - count).unwrap_or(0)
}

/// Does a write of `pieces` and notes what it took.
fn write_pieces(
    fd: c_int,
    at: off64_t,
    pieces: &[iovec],
    write: impl FnOnce() -> c_long,
) -> ssize_t {
    let Some(inode) = inode(fd, false) else { return write() as ssize_t };
    let turn = Turn::take();
    let count = write();
    let (mut left, mut place) = (usize::try_from(count).unwrap_or(0), 0);
    if left > 0 {
        place = begin_of(fd, at, count);
    }
    for piece in pieces {
        let length = piece.iov_len.min(left);
        if length > 0 {
            // SAFETY: the caller's bytes, which the call above has read.
            let bytes = unsafe { std::slice::from_raw_parts(piece.iov_base.cast::<u8>(), length) };
            turn.note(Kind::Write, (inode, place), bytes, b"");
        }
        left -= length;
        place += length as u64;
    }
    count as ssize_t
}

#[unsafe(no_mangle)]
extern "C" fn write(fd: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    let piece = [iovec { iov_base: bytes.cast_mut(), iov_len: count }];
    // SAFETY: the caller's arguments.
    write_pieces(fd, OWN, &piece, || unsafe { syscall(libc::SYS_write, fd, bytes, count) })
}

/// # Safety
/// As of `writev`.
#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, pieces: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the caller's arguments.
    let slice = unsafe { std::slice::from_raw_parts(pieces, usize::try_from(count).unwrap_or(0)) };
    // SAFETY: the same.
    write_pieces(fd, OWN, slice, || unsafe { syscall(libc::SYS_writev, fd, pieces, count) })
}

/// Those that have a name for large files too.
macro_rules! places {
    ($($pwrite:ident $pwritev:ident $ftruncate:ident $fallocate:ident $posix_fallocate:ident),*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $pwrite(fd: c_int, bytes: *const c_void, count: size_t, at: off64_t) -> ssize_t {
            let piece = [iovec { iov_base: bytes.cast_mut(), iov_len: count }];
            // SAFETY: the caller's arguments.
            let write = || unsafe { syscall(libc::SYS_pwrite64, fd, bytes, count, at) };
            write_pieces(fd, at, &piece, write)
        }
        /// # Safety
        /// As of `pwritev`.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $pwritev(
            fd: c_int,
            pieces: *const iovec,
            count: c_int,
            at: off64_t,
        ) -> ssize_t {
            let length = usize::try_from(count).unwrap_or(0);
            // SAFETY: the caller's arguments.
            let slice = unsafe { std::slice::from_raw_parts(pieces, length) };
            // SAFETY: the same; the last 0 is the upper half of the place on smaller machines.
            let write = || unsafe { syscall(libc::SYS_pwritev, fd, pieces, count, at, 0) };
            write_pieces(fd, at, slice, write)
        }
        #[unsafe(no_mangle)]
        extern "C" fn $ftruncate(fd: c_int, bytes: off64_t) -> c_int {
            // SAFETY: no pointers.
            resize(fd, || unsafe { syscall(libc::SYS_ftruncate, fd, bytes) })
        }
        #[unsafe(no_mangle)]
        extern "C" fn $fallocate(fd: c_int, mode: c_int, at: off64_t, bytes: off64_t) -> c_int {
            allocate(fd, mode, at, bytes)
        }
        #[unsafe(no_mangle)]
        extern "C" fn $posix_fallocate(fd: c_int, at: off64_t, bytes: off64_t) -> c_int {
            match allocate(fd, 0, at, bytes) {
                0 => 0,
                // SAFETY: it is this thread's.
                _ => unsafe { *libc::__errno_location() },
            }
        }
    )*};
}

places!(
    pwrite pwritev ftruncate fallocate posix_fallocate,
    pwrite64 pwritev64 ftruncate64 fallocate64 posix_fallocate64
);

fn allocate(fd: c_int, mode: c_int, at: off64_t, bytes: off64_t) -> c_int {
    if mode & !libc::FALLOC_FL_KEEP_SIZE != 0 && inode(fd, false).is_some() {
        give_up(c"recorder: fallocate with a mode is not recorded\n");
    }
    // SAFETY: no pointers.
    resize(fd, || unsafe { syscall(libc::SYS_fallocate, fd, mode, at, bytes) })
}

/// Does what may change a file's size, and notes which it has.
#[allow(clippy::cast_possible_truncation)] // 0 or -1
fn resize(fd: c_int, change: impl FnOnce() -> c_long) -> c_int {
    let Some(inode) = inode(fd, false) else { return change() as c_int };
    let turn = Turn::take();
    let result = change() as c_int;
    if let Some(found) = opened(fd).filter(|_| result == 0) {
        turn.note(Kind::Size, (inode, u64::try_from(found.st_size).unwrap_or(0)), b"", b"");
    }
    result
}

/// # Safety
/// As of `copy_file_range`.
#[unsafe(no_mangle)]
unsafe extern "C" fn copy_file_range(
    from: c_int,
    from_at: *mut off64_t,
    to: c_int,
    to_at: *mut off64_t,
    count: size_t,
    flags: c_uint,
) -> ssize_t {
    // SAFETY: the caller's arguments.
    let copy =
        || unsafe { syscall(libc::SYS_copy_file_range, from, from_at, to, to_at, count, flags) };
    let Some(inode) = inode(to, false) else { return copy() as ssize_t };
    let turn = Turn::take();
    let copied = copy();
    // SAFETY: either null or the caller's.
    let begin = |fd, at: *const off64_t| match unsafe { at.as_ref() } {
        Some(at) => u64::try_from(at - copied).unwrap_or(0),
        None => begin_of(fd, OWN, copied),
    };
    let (mut source, mut target) = (begin(from, from_at), begin(to, to_at));
    let end = source + u64::try_from(copied).unwrap_or(0);
    let mut bytes = [0_u8; 4096];
    while source < end {
        let room = (end - source).min(bytes.len() as u64);
        // SAFETY: there is so much room.
        let read = unsafe { syscall(libc::SYS_pread64, from, bytes.as_mut_ptr(), room, source) };
        let Some(read) = usize::try_from(read).ok().filter(|read| *read > 0) else {
            give_up(c"recorder: what was copied cannot be read\n");
        };
        turn.note(Kind::Write, (inode, target), &bytes[..read], b"");
        (source, target) = (source + read as u64, target + read as u64);
    }
    copied as ssize_t
}
