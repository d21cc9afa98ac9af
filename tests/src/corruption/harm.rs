//! One file is damaged.

use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::made::files;

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The packs of a segment.
    Packs,
    /// What else sled keeps in a segment's folder.
    Sled,
    /// The saved state of a chain.
    State,
    /// A table of ids.
    Ids,
    /// What lies in the data folder itself: identity, lock, and the agent's own.
    Small,
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Damage {
    Flip(u32),
    Zero(usize),
    ZeroAll,
    Cut,
    Remove,
    Swap,
    Garbage,
}

const DAMAGES: [Damage; 9] = [
    Damage::Flip(1),
    Damage::Flip(3),
    Damage::Zero(512),
    Damage::Zero(4096),
    Damage::ZeroAll,
    Damage::Cut,
    Damage::Remove,
    Damage::Swap,
    Damage::Garbage,
];

/// Which file was damaged, and how.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Harm {
    pub kind: Kind,
    pub damage: Damage,
    pub file: PathBuf,
}

impl Kind {
    fn of(file: &Path) -> Option<Self> {
        let name = file.file_name()?.to_str()?;
        let folder = file.parent()?.file_name()?.to_str()?;
        Some(match (folder, name) {
            (folder, "db") if folder.starts_with("seg-") => Self::Packs,
            (folder, _) if folder.starts_with("seg-") => Self::Sled,
            ("data", _) => Self::Small,
            (_, name) if name.starts_with("state-") => Self::State,
            (_, name) if name.starts_with("ids-") => Self::Ids,
            _ => return None,
        })
    }
}

/// Damages one file below `data`, of one of these kinds.
///
/// # Panics
/// If there is none.
pub fn harm(data: &Path, kinds: &[Kind], rng: &mut StdRng) -> Harm {
    let kind = kinds[rng.random_range(0..kinds.len())];
    let mut files = files(data);
    files.retain(|file| Kind::of(file) == Some(kind));
    assert!(!files.is_empty(), "there is no file of {kind:?}");
    let file = files.swap_remove(rng.random_range(0..files.len()));
    let damage = DAMAGES[rng.random_range(0..DAMAGES.len())];
    match damage {
        Damage::Remove => fs::remove_file(&file).unwrap(),
        Damage::Swap => {
            // A state or a table of another lane is whole where it stands: no disk moves it there.
            let near = |other: &PathBuf| other.parent() == file.parent();
            files.retain(|other| near(other) || matches!(kind, Kind::Packs | Kind::Sled));
            if !files.is_empty() {
                swap(&file, &files[rng.random_range(0..files.len())]);
            }
        }
        _ => {
            let mut bytes = fs::read(&file).unwrap();
            spoil(&mut bytes, damage, rng);
            fs::write(&file, bytes).unwrap();
        }
    }
    Harm { kind, damage, file: file.strip_prefix(data).unwrap().to_owned() }
}

fn swap(one: &Path, other: &Path) {
    let (first, second) = (fs::read(one).unwrap(), fs::read(other).unwrap());
    fs::write(one, second).unwrap();
    fs::write(other, first).unwrap();
}

fn spoil(bytes: &mut Vec<u8>, damage: Damage, rng: &mut StdRng) {
    let somewhere = |rng: &mut StdRng, length: usize| rng.random_range(0..length.max(1));
    match damage {
        Damage::Flip(times) => {
            for _ in 0..if bytes.is_empty() { 0 } else { times } {
                let at = somewhere(rng, bytes.len());
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
        }
        Damage::Zero(length) => {
            let from = somewhere(rng, bytes.len());
            let to = (from + length).min(bytes.len());
            bytes[from..to].fill(0);
        }
        Damage::ZeroAll => bytes.fill(0),
        Damage::Cut => bytes.truncate(somewhere(rng, bytes.len())),
        Damage::Garbage => {
            let length = rng.random_range(1..10_000);
            // Half of it is something that stood there before.
            let stale: Vec<u8> = bytes[bytes.len() / 2..].iter().copied().take(length).collect();
            bytes.extend(stale);
            bytes.extend((0..length).map(|_| rng.next_u32() as u8));
        }
        Damage::Remove | Damage::Swap => {}
    }
}
