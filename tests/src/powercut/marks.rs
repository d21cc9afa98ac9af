//! What the app was told, noted among the recorded events by writing it into a file that the recorder
//! records too: one write a mark, in the order of what happened.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::log::{self, Event};

/// Name of the file below the recorded folder.
pub const FILE: &str = "marks";

/// A record's number in its lane, which nothing else has: lane, stream, number.
pub type Number = (String, String, u64);

/// One mark. A record is named by a number of its own, `record`, which its body says too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// It is about to be handed over.
    #[allow(missing_docs)]
    Handed { record: u64, lane: String },
    /// The queue said that it is stored, under this number.
    #[allow(missing_docs)]
    Stored { record: u64, number: Number },
    /// The queue said that it is not.
    #[allow(missing_docs)]
    Refused { record: u64 },
    /// It is about to be settled, purged or dropped: from here on it may be gone.
    #[allow(missing_docs)]
    Ending { record: u64, number: Number },
    /// The queue said that it is a dead letter.
    #[allow(missing_docs)]
    Buried { record: u64 },
    /// It is about to leave the dead letters for its lane.
    #[allow(missing_docs)]
    Replaying { record: u64, number: Number },
    /// The queue said that it is gone from the dead letters for good.
    #[allow(missing_docs)]
    Purged { record: u64 },
    /// All that waits or is dead, with nobody at work.
    Present(BTreeSet<u64>),
    /// The queue was closed since.
    Closed,
    /// The agent said how many records of the lane are delivered.
    #[allow(missing_docs)]
    Delivered { lane: String, count: u64 },
}

/// Where a program writes its marks.
#[derive(Debug)]
pub struct Marks {
    file: File,
    /// By another program, into the log itself.
    beside: bool,
}

/// Inode of the file that is only in the log: no file system has it.
const BESIDE: u64 = u64::MAX;

impl Marks {
    /// In the recorded folder.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn open(root: &Path) -> Self {
        let file = File::options().append(true).create(true).open(root.join(FILE)).unwrap();
        Self { file, beside: false }
    }

    /// Of one that is not recorded, beside one that is: into its log, between the events. What it
    /// knows of the other comes after the events that made it so.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn beside(log: &Path) -> Self {
        let file = File::options().append(true).create(true).open(log).unwrap();
        let marks = Self { file, beside: true };
        marks.write(&log::create(BESIDE, FILE));
        marks
    }

    /// Writes one.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn put(&self, mark: &Mark) {
        let line = serde_json::to_vec(mark).unwrap();
        match self.beside {
            true => self.write(&log::write(BESIDE, &line)),
            false => self.write(&line),
        }
    }

    fn write(&self, bytes: &[u8]) {
        let written = (&self.file).write(bytes).unwrap();
        assert_eq!(written, bytes.len(), "a mark is one write");
    }
}

/// The marks among `events`, each with its place there.
///
/// # Panics
/// If one cannot be read.
pub fn among(events: &[Event]) -> Vec<(usize, Mark)> {
    let mut file = None;
    let mut marks = Vec::new();
    for (nth, event) in events.iter().enumerate() {
        match event {
            Event::Create { inode, path } if path == FILE => file = Some(*inode),
            Event::Write { inode, bytes, .. } if Some(*inode) == file => {
                marks.push((nth, parse(bytes)));
            }
            _ => {}
        }
    }
    marks
}

fn parse(bytes: &Bytes) -> Mark {
    serde_json::from_slice(bytes).unwrap()
}
