//! A topic's file: one line of JSON per message and per acknowledgement, only ever appended to.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{StoreError, Stored, TopicId};

const SUFFIX: &str = ".jsonl";

/// One line; `M` is a message, owned when read and borrowed when written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry<M> {
    /// A message; they stand in the order of their offsets.
    Publish(M),
    /// A group is done with a message.
    Ack {
        /// Group.
        group: String,
        /// The message's offset.
        offset: u64,
    },
}

/// A topic as its file has it.
pub(super) struct Loaded {
    pub(super) id: TopicId,
    pub(super) journal: Journal,
    pub(super) entries: Vec<Entry<Stored>>,
}

/// The open file of a topic.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    /// Bytes of whole lines.
    len: u64,
}

impl Journal {
    /// Opens the file of a topic, new or not.
    pub(super) fn create(dir: &Path, id: &TopicId) -> std::io::Result<Self> {
        let path = dir.join(format!("{}@{}{SUFFIX}", id.instance, id.topic));
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }

    /// Appends one line. It is with the operating system, not yet on disk: a broker for
    /// development survives its own end, not the machine's.
    pub(super) fn append(&mut self, entry: &Entry<&Stored>) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // A torn line must not run into the next one; what was refused is not kept either.
            self.file.set_len(self.len)?;
            return Err(error);
        }
        self.len += line.len() as u64;
        Ok(())
    }
}

/// Reads every topic's file in `dir`, which is made if need be.
pub(super) fn load(dir: Option<&Path>) -> Result<Vec<Loaded>, StoreError> {
    let Some(dir) = dir else {
        return Ok(Vec::new());
    };
    let failed = |source| StoreError::Io { path: dir.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut topics = Vec::new();
    for file in std::fs::read_dir(dir).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        if let Some(id) = topic_of(&path) {
            let entries = read(&path)?;
            let journal =
                Journal::create(dir, &id).map_err(|source| StoreError::Io { path, source })?;
            topics.push(Loaded { id, journal, entries });
        }
    }
    Ok(topics)
}

fn topic_of(path: &Path) -> Option<TopicId> {
    let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    let (instance, topic) = name.split_once('@')?;
    Some(TopicId { instance: instance.to_owned(), topic: topic.to_owned() })
}

/// All whole lines. A last line without its end was torn by a kill: it was never answered, so it
/// is cut off.
fn read(path: &Path) -> Result<Vec<Entry<Stored>>, StoreError> {
    let failed = |source| StoreError::Io { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(failed)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole < bytes.len() {
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        file.set_len(whole as u64).map_err(failed)?;
    }
    let mut entries = Vec::new();
    for (index, line) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
        let entry = serde_json::from_slice(line).map_err(|error| StoreError::Damaged {
            path: PathBuf::from(path),
            line: index + 1,
            reason: error.to_string(),
        })?;
        entries.push(entry);
    }
    Ok(entries)
}
