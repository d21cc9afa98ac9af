//! Which file is meant: by descriptor its inode, by name its path below the folder.

use std::ffi::{CStr, c_char, c_int};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};

use libc::{stat, syscall};

use crate::log;

const PATH_BYTES: usize = 4096;

/// The folder. Written once, before any thread is there.
static mut ROOT: [u8; PATH_BYTES] = [0; PATH_BYTES];
static ROOT_BYTES: AtomicU64 = AtomicU64::new(0);
/// The file system that the folder is on.
static DEVICE: AtomicU64 = AtomicU64::new(0);

/// Records what is below `root` from now on.
pub(crate) fn set_root(root: &CStr) -> bool {
    let Some(found) = named(libc::AT_FDCWD, root.as_ptr()) else { return false };
    let bytes = root.to_bytes();
    if bytes.len() >= PATH_BYTES {
        return false;
    }
    // SAFETY: no thread is there yet, and the length was looked at.
    unsafe { (&raw mut ROOT).cast::<u8>().copy_from(bytes.as_ptr(), bytes.len()) };
    DEVICE.store(found.st_dev, Ordering::Relaxed);
    ROOT_BYTES.store(bytes.len() as u64, Ordering::Relaxed);
    true
}

fn root() -> &'static [u8] {
    #[allow(clippy::cast_possible_truncation)] // below PATH_BYTES
    let length = ROOT_BYTES.load(Ordering::Relaxed) as usize;
    // SAFETY: it is not written any more.
    unsafe { std::slice::from_raw_parts((&raw const ROOT).cast::<u8>(), length) }
}

/// What a name stands for, if anything.
pub(crate) fn named(folder: c_int, path: *const c_char) -> Option<stat> {
    let mut found = MaybeUninit::<stat>::uninit();
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: the path is a caller's, and there is room for the answer.
    let failed = unsafe { syscall(libc::SYS_newfstatat, folder, path, found.as_mut_ptr(), flags) };
    // SAFETY: the call has filled it.
    (failed == 0).then(|| unsafe { found.assume_init() })
}

/// What a descriptor stands for.
pub(crate) fn opened(fd: c_int) -> Option<stat> {
    let mut found = MaybeUninit::<stat>::uninit();
    // SAFETY: there is room for the answer.
    let failed = unsafe { syscall(libc::SYS_fstat, fd, found.as_mut_ptr()) };
    // SAFETY: the call has filled it.
    (failed == 0).then(|| unsafe { found.assume_init() })
}

/// The inode behind a descriptor, if changes to it could concern the folder: a file, or with
/// `folders` also a folder, on its file system. Whether it lies in the folder the reader knows.
pub(crate) fn inode(fd: c_int, folders: bool) -> Option<u64> {
    let found = log::is_on().then(|| opened(fd))??;
    let kind = found.st_mode & libc::S_IFMT;
    let concerned = kind == libc::S_IFREG || (folders && kind == libc::S_IFDIR);
    (concerned && found.st_dev == DEVICE.load(Ordering::Relaxed)).then_some(found.st_ino)
}

/// A path below the folder.
pub(crate) struct Place {
    bytes: [u8; PATH_BYTES],
    length: usize,
}

impl Place {
    /// Of a name in `folder`; `None` if it is not below the recorded one.
    pub(crate) fn of(folder: c_int, path: *const c_char) -> Option<Self> {
        if !log::is_on() || path.is_null() {
            return None;
        }
        // SAFETY: callers pass strings that end with 0.
        let name = unsafe { CStr::from_ptr(path) }.to_bytes();
        let mut place = Self { bytes: [0; PATH_BYTES], length: 0 };
        if !name.starts_with(b"/") {
            place.begin_with(folder);
            place.add(b"/");
        }
        place.add(name);
        let below = place.as_bytes().strip_prefix(root())?.starts_with(b"/");
        below.then_some(place)
    }

    /// The path without the recorded folder's.
    pub(crate) fn below(&self) -> &[u8] {
        &self.as_bytes()[root().len() + 1..]
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn add(&mut self, part: &[u8]) {
        let end = self.length + part.len();
        if end > PATH_BYTES {
            log::give_up(c"recorder: a path is too long\n");
        }
        self.bytes[self.length..end].copy_from_slice(part);
        self.length = end;
    }

    /// The path of an open folder, or the working one.
    fn begin_with(&mut self, folder: c_int) {
        let mut name = [0_u8; 32];
        if folder == libc::AT_FDCWD {
            name[..14].copy_from_slice(b"/proc/self/cwd");
        } else {
            write_fd_name(&mut name, folder);
        }
        let (name, room) = (name.as_ptr(), self.bytes.as_mut_ptr());
        // SAFETY: the name ends with 0, and the room has the length that is passed.
        let length =
            unsafe { syscall(libc::SYS_readlinkat, libc::AT_FDCWD, name, room, PATH_BYTES) };
        self.length = usize::try_from(length).unwrap_or(0);
    }
}

/// `/proc/self/fd/N`, without what formatting would need.
fn write_fd_name(name: &mut [u8; 32], fd: c_int) {
    const PREFIX: &[u8] = b"/proc/self/fd/";
    name[..PREFIX.len()].copy_from_slice(PREFIX);
    let digits = (fd.max(1)).ilog10() as usize + 1;
    let mut rest = fd;
    for at in (0..digits).rev() {
        name[PREFIX.len() + at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
}
