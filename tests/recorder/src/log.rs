//! The log: events in the order of their effects.
//!
//! An event is a head of 40 bytes, then its bytes `first` and `second`. Numbers are little-endian:
//! kind 4, length of `first` 4, length of `second` 4, tag 4, inode 8, at 8, time 8 (microseconds
//! since 1970, after the effect).

use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};

use libc::{c_long, iovec, syscall};

use crate::place;

/// What happened. The reader has the same numbers.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Kind {
    /// A process began to record. Syncs that another one was in never ended.
    Start = 1,
    /// `first` is a new file, of `inode`.
    Create = 2,
    /// `first` is a new folder, of `inode`.
    Folder = 3,
    /// `first` was written into `inode` at `at`.
    Write = 4,
    /// `inode` has `at` bytes.
    Size = 5,
    /// The thread `tag` began to sync `inode`.
    SyncBegin = 6,
    /// And ended it, without an error.
    SyncEnd = 7,
    /// `first` is called `second`; what had that name is gone.
    Rename = 8,
    /// `second` is another name of `first`.
    Link = 9,
    /// The name `first` of a file, or an empty folder, is gone.
    Remove = 10,
}

static LOCK: AtomicBool = AtomicBool::new(false);
/// Below 0: nothing is recorded.
static LOG: AtomicI32 = AtomicI32::new(-1);
static EVENTS: AtomicI64 = AtomicI64::new(0);
/// Below 0: never.
static KILL_AT: AtomicI64 = AtomicI64::new(-1);
/// Calls of `fdatasync` until one fails; below 0: none does.
static FAIL_IN: AtomicI64 = AtomicI64::new(-1);
static SYNC_US: AtomicU64 = AtomicU64::new(0);

/// The right to change a file and to note it.
pub(crate) struct Turn;

impl Turn {
    pub(crate) fn take() -> Self {
        while LOCK.swap(true, Ordering::Acquire) {
            // SAFETY: no arguments.
            unsafe { syscall(libc::SYS_sched_yield) };
        }
        Self
    }

    /// Notes an event. A log with a gap would prove nothing, so the process ends if it cannot.
    pub(crate) fn note(&self, kind: Kind, (inode, at): (u64, u64), first: &[u8], second: &[u8]) {
        self.note_tagged(kind, 0, (inode, at), first, second);
    }

    fn note_tagged(
        &self,
        kind: Kind,
        tag: u32,
        (inode, at): (u64, u64),
        first: &[u8],
        second: &[u8],
    ) {
        let mut head = [0; 40];
        #[allow(clippy::cast_possible_truncation)] // one call never writes 4 GiB
        let lengths = (first.len() as u32, second.len() as u32);
        head[..4].copy_from_slice(&(kind as u32).to_le_bytes());
        head[4..8].copy_from_slice(&lengths.0.to_le_bytes());
        head[8..12].copy_from_slice(&lengths.1.to_le_bytes());
        head[12..16].copy_from_slice(&tag.to_le_bytes());
        head[16..24].copy_from_slice(&inode.to_le_bytes());
        head[24..32].copy_from_slice(&at.to_le_bytes());
        head[32..].copy_from_slice(&now_us().to_le_bytes());
        let pieces = [piece(&head), piece(first), piece(second)];
        let length = (head.len() + first.len() + second.len()) as c_long;
        // SAFETY: the pieces are slices that live until the call returns.
        let written =
            unsafe { syscall(libc::SYS_writev, LOG.load(Ordering::Relaxed), &raw const pieces, 3) };
        if written != length {
            give_up(c"recorder: an event could not be noted\n");
        }
        let count = EVENTS.fetch_add(1, Ordering::Relaxed) + 1;
        if count == KILL_AT.load(Ordering::Relaxed) {
            // SAFETY: no pointers. The lock is still held: nothing happens after this event.
            unsafe { syscall(libc::SYS_kill, libc::getpid(), libc::SIGKILL) };
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        LOCK.store(false, Ordering::Release);
    }
}

#[allow(clippy::cast_sign_loss)] // it is after 1970
fn now_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the answer.
    unsafe { syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut now) };
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

fn piece(bytes: &[u8]) -> iovec {
    iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// Whether anything is recorded.
pub(crate) fn is_on() -> bool {
    LOG.load(Ordering::Relaxed) >= 0
}

/// Notes a sync by this thread; `event` is its begin or its end.
pub(crate) fn note_sync(event: Kind, inode: u64) {
    // SAFETY: no arguments.
    let thread = unsafe { syscall(libc::SYS_gettid) };
    let thread = u32::try_from(thread).unwrap_or_default();
    Turn::take().note_tagged(event, thread, (inode, 0), b"", b"");
}

/// Whether this `fdatasync` is the one to fail.
pub(crate) fn fails() -> bool {
    FAIL_IN.load(Ordering::Relaxed) > 0 && FAIL_IN.fetch_sub(1, Ordering::Relaxed) == 1
}

/// The time that a sync takes longer.
pub(crate) fn linger() {
    let us = SYNC_US.load(Ordering::Relaxed);
    if us > 0 {
        #[allow(clippy::cast_possible_wrap)] // below a million, and some microseconds
        let time = libc::timespec {
            tv_sec: (us / 1_000_000) as i64,
            tv_nsec: (us % 1_000_000 * 1000) as i64,
        };
        // SAFETY: the time lives until the call returns.
        unsafe { syscall(libc::SYS_nanosleep, &raw const time, 0) };
    }
}

/// Ends the process: what follows could not be recorded.
pub(crate) fn give_up(why: &CStr) -> ! {
    // SAFETY: the text lives for ever.
    unsafe {
        syscall(libc::SYS_write, 2, why.as_ptr(), why.count_bytes());
        libc::abort()
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

/// Called when the library is loaded, before any thread is there.
extern "C" fn begin() {
    let (Some(root), Some(log)) = (variable(c"RECORDER_ROOT"), variable(c"RECORDER_LOG")) else {
        return;
    };
    if !place::set_root(root) {
        give_up(c"recorder: RECORDER_ROOT is no folder\n");
    }
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
    // SAFETY: the path is the environment's.
    let fd = unsafe { syscall(libc::SYS_openat, libc::AT_FDCWD, log.as_ptr(), flags, 0o600) };
    if fd < 0 {
        give_up(c"recorder: RECORDER_LOG cannot be written\n");
    }
    KILL_AT.store(number(c"RECORDER_KILL_AT").unwrap_or(-1), Ordering::Relaxed);
    FAIL_IN.store(number(c"RECORDER_FAIL_FDATASYNC").unwrap_or(-1), Ordering::Relaxed);
    let sync_us = number(c"RECORDER_SYNC_US").unwrap_or(0);
    SYNC_US.store(u64::try_from(sync_us).unwrap_or(0), Ordering::Relaxed);
    LOG.store(c_int::try_from(fd).unwrap_or(-1), Ordering::Relaxed);
    Turn::take().note(Kind::Start, (0, 0), b"", b"");
}

fn variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: the name ends with 0; no thread is there that could change the environment.
    let value: *const c_char = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: the environment's strings end with 0, and these stay.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}

fn number(name: &CStr) -> Option<i64> {
    variable(name)?.to_str().ok()?.parse().ok()
}
