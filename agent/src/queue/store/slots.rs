//! The state of a chain in two slots that are written in turn, so that one is always whole.
//!
//! A slot is overwritten in place: once it has its size, saving needs no free space, and one
//! fdatasync makes it durable. Layout: magic 8 (its last byte is the version), generation 8,
//! length 4, CRC-32 4, state. The CRC of version 1 is that of generation, length and state; in any
//! later version the magic comes before them, so that a flipped bit is not taken for a version.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::queue::format::unsupported;

const MAGIC: [u8; 8] = *b"SPWSTAT\x01";
const VERSION_AT: usize = MAGIC.len() - 1;
const HEADER_BYTES: usize = 24;
/// A slot's size from the beginning: the largest state fits, so that saving never needs space.
const SLOT_BYTES: usize = 96 * 1024;

/// Two files `state-0` and `state-1`.
pub(super) struct Slots {
    folder: PathBuf,
    /// Generation last written; its lowest bit names the slot.
    generation: Mutex<u64>,
}

impl Slots {
    /// Slots in `folder`, which exists.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), generation: Mutex::new(0) }
    }

    /// Makes the slots, so that later saves overwrite what is there.
    pub(super) fn prepare(&self) -> io::Result<()> {
        let missing: Vec<PathBuf> = (0..2).map(|n| self.path(n)).filter(|p| !p.exists()).collect();
        for path in &missing {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(path)?;
            file.write_all_at(&[0; SLOT_BYTES], 0)?;
            file.sync_all()?;
        }
        if missing.is_empty() { Ok(()) } else { File::open(&self.folder)?.sync_all() }
    }

    /// The newest whole state. A damaged slot is passed over; the other one holds. A newer one is
    /// an error: it must not be overwritten.
    pub(super) fn load(&self) -> io::Result<Option<Vec<u8>>> {
        let mut newest: Option<(u64, Vec<u8>)> = None;
        for slot in 0..2 {
            let found = match std::fs::read(self.path(slot)) {
                Ok(bytes) => match newer(&bytes) {
                    Some(version) => return Err(unsupported(name(slot), version)),
                    None => parse(&bytes),
                },
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                // A bad sector is damage like any other.
                Err(e) if is_bad_sector(&e) => None,
                Err(e) => return Err(e),
            };
            if let Some((generation, state)) = found
                && newest.as_ref().is_none_or(|(best, _)| generation > *best)
            {
                newest = Some((generation, state));
            }
        }
        *self.lock() = newest.as_ref().map_or(0, |(generation, _)| *generation);
        Ok(newest.map(|(_, state)| state))
    }

    /// Whether both slots were written once and neither can be read. While one was not, nothing was
    /// ever removed on a state's word.
    pub(super) fn are_lost(&self) -> io::Result<bool> {
        if !self.folder.is_dir() {
            return Ok(false);
        }
        for slot in 0..2 {
            match std::fs::read(self.path(slot)) {
                Ok(bytes) if parse(&bytes).is_some() || is_unwritten(&bytes) => return Ok(false),
                Err(e) if e.kind() != io::ErrorKind::NotFound && !is_bad_sector(&e) => {
                    return Err(e);
                }
                _ => {}
            }
        }
        Ok(true)
    }

    /// Writes the slot that does not hold the newest state.
    pub(super) fn save(&self, state: &[u8]) -> io::Result<()> {
        let mut generation = self.lock();
        let next = *generation + 1;
        let path = self.path(next % 2);
        let fresh = !path.exists();
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        file.write_all_at(&render(next, state), 0)?;
        file.sync_data()?;
        if fresh {
            File::open(&self.folder)?.sync_all()?;
        }
        *generation = next;
        Ok(())
    }

    fn path(&self, slot: u64) -> PathBuf {
        self.folder.join(name(slot))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, u64> {
        self.generation.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn name(slot: u64) -> String {
    format!("state-{slot}")
}

#[allow(clippy::cast_possible_truncation)] // a state is at most some 100 kB
fn render(generation: u64, state: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + state.len());
    bytes.extend(MAGIC);
    bytes.extend(generation.to_le_bytes());
    bytes.extend((state.len() as u32).to_le_bytes());
    bytes.extend(crc(&bytes[8..20], state).to_le_bytes());
    bytes.extend(state);
    bytes
}

/// Whether these are the bytes of a slot that something happened to; one that was only made is none.
pub(in crate::queue) fn is_damaged(bytes: &[u8]) -> bool {
    parse(bytes).is_none() && newer(bytes).is_none() && !is_unwritten(bytes)
}

fn is_unwritten(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn is_bad_sector(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EIO)
}

/// The version of a slot that a newer agent wrote.
pub(in crate::queue) fn newer(bytes: &[u8]) -> Option<u8> {
    let version = *bytes.get(VERSION_AT)?;
    let ours = bytes.starts_with(&MAGIC[..VERSION_AT]) && version > MAGIC[VERSION_AT];
    let (head, state) = ours.then(|| split(bytes)).flatten()?;
    (head[20..] == crc(&head[..20], state).to_le_bytes()).then_some(version)
}

/// The header, and the state of the length that it names.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let head = bytes.get(..HEADER_BYTES)?;
    let length = u32::from_le_bytes(head[16..20].try_into().ok()?) as usize;
    Some((head, bytes.get(HEADER_BYTES..HEADER_BYTES.checked_add(length)?)?))
}

fn parse(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (head, state) = split(bytes)?;
    let whole = head[..8] == MAGIC && head[20..24] == crc(&head[8..20], state).to_le_bytes();
    let generation = u64::from_le_bytes(head[8..16].try_into().ok()?);
    whole.then(|| (generation, state.to_vec()))
}

fn crc(head: &[u8], state: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(state);
    hasher.finalize()
}

/// Reads any bytes, for fuzzing.
pub(in crate::queue) fn fuzz(bytes: &[u8]) {
    let _ = (parse(bytes), newer(bytes));
    if let Ok(state) = std::str::from_utf8(bytes) {
        assert!(parse(&render(1, state.as_bytes())).is_some_and(|(_, found)| found == bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_state_comes_back_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let slots = Slots::new(folder.path());
        assert_eq!(slots.load().unwrap(), None);
        for state in [&b"one"[..], b"two", b"three"] {
            slots.save(state).unwrap();
            let again = Slots::new(folder.path());
            assert_eq!(again.load().unwrap().as_deref(), Some(state));
            again.save(state).unwrap();
            slots.load().unwrap();
        }
    }

    #[test]
    fn a_torn_save_leaves_the_state_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let slots = Slots::new(folder.path());
        slots.save(b"before").unwrap();
        slots.save(&[7; 3000]).unwrap();
        let path = folder.path().join("state-0");
        let whole = std::fs::read(&path).unwrap();
        for keep in [0, 10, 30, 512, 2048] {
            let mut torn = whole[..keep].to_vec();
            torn.resize(whole.len(), 0);
            std::fs::write(&path, torn).unwrap();
            assert_eq!(Slots::new(folder.path()).load().unwrap().unwrap(), b"before", "{keep}");
        }
    }

    #[test]
    fn golden_bytes_and_a_newer_slot_that_is_neither_damage_nor_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let slots = Slots::new(folder.path());
        slots.save(b"one").unwrap();
        let path = folder.path().join("state-1");
        let bytes = std::fs::read(&path).unwrap();
        let crc_of = |bytes: &[u8]| crc32fast::hash(bytes).to_le_bytes();
        let numbers = [1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0];
        let sum = crc_of(&[&numbers[..], b"one"].concat());
        assert_eq!(bytes, [b"SPWSTAT\x01", &numbers[..], &sum[..], b"one"].concat());

        // A flipped bit of the version is damage.
        let flipped = [b"SPWSTAT\x03", &numbers[..], &sum[..], b"one"].concat();
        assert!(newer(&flipped).is_none() && is_damaged(&flipped));
        let sum = crc_of(&[b"SPWSTAT\x63", &numbers[..], b"one"].concat());
        let later = [b"SPWSTAT\x63", &numbers[..], &sum[..], b"one"].concat();
        std::fs::write(&path, &later).unwrap();
        assert!(newer(&later) == Some(99) && !is_damaged(&later));
        let error = Slots::new(folder.path()).load().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }
}
