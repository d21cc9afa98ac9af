//! Reads what the recorder (`tests/recorder`) noted.

use std::path::Path;

use bytes::{Buf, Bytes};

const HEAD_BYTES: usize = 32;

/// One change to the recorded folder, or a part of a sync. Paths are below that folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields say what they are
pub enum Event {
    /// A process began; no sync is under way.
    Start,
    /// A new file.
    Create { inode: u64, path: String },
    /// A new folder.
    Folder { inode: u64, path: String },
    /// Bytes were written.
    Write { inode: u64, at: u64, bytes: Bytes },
    /// A file was cut, or grew without data.
    Size { inode: u64, bytes: u64 },
    /// A thread began to sync.
    SyncBegin { thread: u32, inode: u64 },
    /// And ended it.
    SyncEnd { thread: u32, inode: u64 },
    /// A file or folder was moved, over what was there.
    Rename { from: String, to: String },
    /// A file got another name.
    Link { from: String, to: String },
    /// A name is gone.
    Remove { path: String },
}

/// Reads a log.
///
/// # Panics
/// If it is none.
pub fn read(path: &Path) -> Vec<Event> {
    let mut log = Bytes::from(std::fs::read(path).unwrap());
    let mut events = Vec::new();
    while !log.is_empty() {
        events.push(take(&mut log));
    }
    events
}

fn take(log: &mut Bytes) -> Event {
    assert!(log.len() >= HEAD_BYTES, "the log is cut");
    let kind = log.get_u32_le();
    let (first, second) = (log.get_u32_le() as usize, log.get_u32_le() as usize);
    let thread = log.get_u32_le();
    let (inode, at) = (log.get_u64_le(), log.get_u64_le());
    let first = log.split_to(first);
    let second = log.split_to(second);
    let text = |bytes: Bytes| String::from_utf8(bytes.into()).unwrap();
    match kind {
        1 => Event::Start,
        2 => Event::Create { inode, path: text(first) },
        3 => Event::Folder { inode, path: text(first) },
        4 => Event::Write { inode, at, bytes: first },
        5 => Event::Size { inode, bytes: at },
        6 => Event::SyncBegin { thread, inode },
        7 => Event::SyncEnd { thread, inode },
        8 => Event::Rename { from: text(first), to: text(second) },
        9 => Event::Link { from: text(first), to: text(second) },
        10 => Event::Remove { path: text(first) },
        kind => panic!("the log has an event of kind {kind}"),
    }
}
