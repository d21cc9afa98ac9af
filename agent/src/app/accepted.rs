//! The file `configuration` in the data folder: the last configuration that was accepted, without
//! secrets, and one that is on trial.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::Kept;
use crate::small_file;

/// Version of the file. A later one keeps `format` where it is.
const FORMAT: u32 = 1;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    format: u32,
    /// It came from a file without a fault; else from what could be read of one.
    pub(super) accepted: bool,
    /// When, ms since 1970.
    pub(super) at_ms: u64,
    #[serde(flatten)]
    pub(super) kept: Kept,
    /// The lane that took records while no lane of a configuration was known.
    #[serde(default)]
    pub(super) stand_in: Option<String>,
    #[serde(default)]
    pub(super) trial: Option<Trial>,
    /// The fingerprint of a configuration that was not kept in time: it is not taken by a start.
    #[serde(default)]
    pub(super) refused: Option<String>,
    /// CRC-32 of the same text with 0 here.
    sum: u32,
}

/// A configuration that is in force until the time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trial {
    pub(super) fingerprint: String,
    /// ms since 1970; 0 where the clock was not set.
    pub(super) from_ms: u64,
    pub(super) until_ms: u64,
}

impl Stored {
    pub(super) fn new(kept: Kept, accepted: bool, at_ms: u64) -> Self {
        let (stand_in, trial, refused) = (None, None, None);
        Self { format: FORMAT, accepted, at_ms, kept, stand_in, trial, refused, sum: 0 }
    }

    fn encode(&self) -> Vec<u8> {
        let text = |sum| serde_json::to_vec(&Self { sum, ..self.clone() }).unwrap_or_default();
        text(crc32fast::hash(&text(0)))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let stored: Self = serde_json::from_slice(bytes).ok()?;
        (stored.format == FORMAT && stored.encode() == bytes).then_some(stored)
    }
}

/// When the last configuration of the agent with this data folder was accepted, ms since 1970, and
/// where it is kept; `None` where none is.
pub fn last_accepted(data_dir: &Path) -> Option<(PathBuf, u64)> {
    let file = data_dir.join("configuration");
    let stored = Stored::decode(&fs::read(&file).ok()?).filter(|stored| stored.accepted)?;
    Some((file, stored.at_ms))
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct AcceptedFile(PathBuf);

impl AcceptedFile {
    pub(super) fn new(data_dir: &Path) -> Self {
        let newer = |bytes: &[u8]| small_file::larger(bytes, "format", FORMAT.into());
        Self(small_file::place(data_dir.join("configuration"), newer))
    }

    /// What is there; nothing where there is no file, or one that is damaged.
    pub(super) fn load(&self) -> Option<Stored> {
        let bytes = match fs::read(&self.0) {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %self.0.display(), %error, "cannot be read");
                }
                return None;
            }
        };
        let stored = Stored::decode(&bytes);
        if stored.is_none() {
            tracing::warn!(path = %self.0.display(), "is damaged: the last accepted configuration is not known");
        }
        stored
    }

    /// Writes it down, if that is news. May block.
    ///
    /// # Errors
    /// The disk's: what was there is still there.
    pub(super) fn save(&self, stored: &Stored) -> io::Result<()> {
        if fs::read(&self.0).is_ok_and(|old| same(&old, stored)) {
            return Ok(());
        }
        small_file::replace(&self.0, &stored.encode(), None)
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

/// Whether `old` says the same, whenever it was written: a gateway that starts often does not write
/// each time.
fn same(old: &[u8], stored: &Stored) -> bool {
    let at_ms = stored.at_ms;
    Stored::decode(old).is_some_and(|old| Stored { at_ms, sum: stored.sum, ..old } == *stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Surroundings};

    fn kept(folder: &Path) -> Kept {
        let file = folder.join("spillway.toml");
        let text = "gateway.id = \"gw\"\n[[lane]]\nname = \"main\"\ntopic = \"t\"\n";
        fs::write(&file, text).unwrap();
        config::read(&file, &Surroundings::of_process()).unwrap().kept
    }

    #[test]
    fn what_was_accepted_is_found_again_and_damage_is_as_good_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = AcceptedFile::new(folder.path());
        assert!(file.load().is_none());
        let mut stored = Stored::new(kept(folder.path()), true, 5);
        let mark = Trial { fingerprint: "f".to_owned(), from_ms: 1, until_ms: 2 };
        (stored.trial, stored.refused) = (Some(mark), Some("g".to_owned()));
        file.save(&stored).unwrap();
        let found = file.load().unwrap();
        assert_eq!(Stored { sum: 0, ..found }, stored);
        let path = folder.path().join("configuration");
        assert_eq!(last_accepted(folder.path()), Some((path.clone(), 5)));
        // A start that finds the same does not write.
        file.save(&Stored { at_ms: 6, ..stored.clone() }).unwrap();
        assert_eq!(file.load().unwrap().at_ms, 5);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.iter().position(|byte| *byte == b'm').unwrap();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(file.load().is_none());
    }

    /// Written by the first build that had it.
    #[test]
    fn the_first_format_stays_readable() {
        let golden = r#"{"format":1,"accepted":true,"at_ms":7,"settings":{"gateway":{"id":"gw"},"lane":[{"name":"main","topic":"t"}]},"retired":[],"stand_in":null,"trial":null,"refused":null,"sum":SUM}"#;
        let sum = crc32fast::hash(golden.replace("SUM", "0").as_bytes());
        let folder = tempfile::tempdir().unwrap();
        let text = golden.replace("SUM", &sum.to_string());
        fs::write(folder.path().join("configuration"), text).unwrap();
        let stored = AcceptedFile::new(folder.path()).load().unwrap();
        let expected = Stored { sum, ..Stored::new(kept(folder.path()), true, 7) };
        assert_eq!(stored, expected);
    }

    #[test]
    fn a_newer_agents_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("configuration");
        fs::write(&path, r#"{"format":2}"#).unwrap();
        let file = AcceptedFile::new(folder.path());
        assert!(file.load().is_none());
        file.save(&Stored::new(kept(folder.path()), true, 5)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"format":2}"#);
        assert!(file.load().is_some());
    }
}
