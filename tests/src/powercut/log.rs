//! Reads what the recorder (`tests/recorder`) noted.

use std::path::Path;

use bytes::{Buf, Bytes};

const HEAD_BYTES: usize = 40;
const CREATE: u32 = 2;
const WRITE: u32 = 4;

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

/// Reads a log: events, and when each happened in µs since 1970.
///
/// # Panics
/// If it is none.
pub fn read(path: &Path) -> (Vec<Event>, Vec<u64>) {
    let mut log = Bytes::from(std::fs::read(path).unwrap());
    let mut events = Vec::new();
    while !log.is_empty() {
        events.push(take(&mut log));
    }
    events.into_iter().unzip()
}

fn take(log: &mut Bytes) -> (Event, u64) {
    assert!(log.len() >= HEAD_BYTES, "the log is cut");
    let kind = log.get_u32_le();
    let (first, second) = (log.get_u32_le() as usize, log.get_u32_le() as usize);
    let thread = log.get_u32_le();
    let (inode, at, time_us) = (log.get_u64_le(), log.get_u64_le(), log.get_u64_le());
    let first = log.split_to(first);
    let second = log.split_to(second);
    let text = |bytes: Bytes| String::from_utf8(bytes.into()).unwrap();
    let event = match kind {
        1 => Event::Start,
        CREATE => Event::Create { inode, path: text(first) },
        3 => Event::Folder { inode, path: text(first) },
        WRITE => Event::Write { inode, at, bytes: first },
        5 => Event::Size { inode, bytes: at },
        6 => Event::SyncBegin { thread, inode },
        7 => Event::SyncEnd { thread, inode },
        8 => Event::Rename { from: text(first), to: text(second) },
        9 => Event::Link { from: text(first), to: text(second) },
        10 => Event::Remove { path: text(first) },
        kind => panic!("the log has an event of kind {kind}"),
    };
    (event, time_us)
}

/// A new file, as the recorder notes it.
pub fn create(inode: u64, path: &str) -> Vec<u8> {
    noted(CREATE, inode, path.as_bytes())
}

/// A write into it.
pub fn write(inode: u64, bytes: &[u8]) -> Vec<u8> {
    noted(WRITE, inode, bytes)
}

fn noted(kind: u32, inode: u64, first: &[u8]) -> Vec<u8> {
    let length = u32::try_from(first.len()).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now_us = u64::try_from(now.as_micros()).unwrap();
    let mut event = Vec::new();
    [kind, length, 0, 0].iter().for_each(|n| event.extend(n.to_le_bytes()));
    [inode, 0, now_us].iter().for_each(|n| event.extend(n.to_le_bytes()));
    event.extend(first);
    event
}
