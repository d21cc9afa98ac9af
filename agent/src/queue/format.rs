//! What the data folder is written at, and what in it a newer agent wrote.
//!
//! A folder has a [`Level`], kept in the file `identity`. An agent writes nothing there that the
//! agent of that level could not read, so that the old firmware of two can be booted again, until
//! `spillway upgrade --commit`. A file whose version is newer than all we know is never damage: it
//! proves itself by its checksum, stays as it is, and the queue begins anew in a folder beside it.

pub(super) mod gate;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::handle::Queue;
use super::store::Store;
use super::store::read_only::ReadOnly;
use super::{identity, ids, state};

/// Begins the name of a folder beside; the level that it is written at follows.
const BESIDE: &str = "beside-";

/// What a data folder is written at. Each reads all earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What the first agents wrote.
    One,
    /// Records that expire, packs that are compressed or encrypted.
    Two,
}

/// What a folder of the first level must not hold, since its agents would take it for damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Records that are given up because of their age.
    Expiry,
    /// Compressed packs.
    Compression,
    /// Encrypted packs.
    Encryption,
}

impl Level {
    /// All of them, oldest first.
    pub const ALL: [Self; 2] = [Self::One, Self::Two];
    /// A fresh folder begins at this one.
    pub const NEWEST: Self = Self::Two;

    /// As it stands in `identity`.
    pub fn number(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// The level of a number; `None` if it is none that this agent knows.
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.number() == number)
    }

    /// Whether a folder of this level may hold what `feature` writes.
    pub fn allows(self, feature: Feature) -> bool {
        match feature {
            Feature::Expiry | Feature::Compression | Feature::Encryption => self >= Self::Two,
        }
    }
}

/// A file of a version that this agent does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newer {
    /// The file, or the segment's folder.
    pub path: PathBuf,
    /// Its version.
    pub version: u32,
}

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, version } = self;
        write!(f, "{}: its format {version} is newer than this agent", path.display())
    }
}

/// Why the folder's level was not raised. It is what it was.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A newer agent wrote it.
    #[error(
        "{path}: its format {format} is newer than this agent, which leaves it alone; install the \
         newer agent again and commit with that"
    )]
    Newer {
        /// The file that says so.
        path: PathBuf,
        /// The format found.
        format: u32,
    },
    /// Nobody knows what the level is.
    #[error("{path}: is damaged or missing; start the agent once, which writes it anew")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The disk or its permissions.
    #[error("{path}: {source}; free some space and let the agent's user write there")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// How a data folder stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What its queue is written at.
    pub level: Level,
    /// Where its queue is: the data folder, or a folder beside what is newer.
    pub root: PathBuf,
    /// What a newer agent wrote, if anything: nothing of it is touched.
    pub newer: Option<Newer>,
    /// The queue lies beside that, and not in the data folder.
    pub aside: bool,
    /// Folders beside whose records were not taken over yet.
    pub beside: Vec<PathBuf>,
}

/// How the folder stands that nobody may have opened. Writes nothing. `None` if there is no queue.
///
/// # Errors
/// The disk's.
pub fn look(data_dir: &Path) -> io::Result<Option<Standing>> {
    standing(data_dir, site(data_dir))
}

/// The same where the site of the queue is known.
pub(super) fn standing(data_dir: &Path, site: Site) -> io::Result<Option<Standing>> {
    let Site { root, newer } = site;
    let level = match identity::level_known(&root)? {
        Some(level) => level,
        None if newer.is_some() => Level::NEWEST,
        None => return Ok(None),
    };
    let aside = newer.is_some();
    Ok(Some(Standing { level, beside: beside(data_dir, &root), root, newer, aside }))
}

/// The level of a folder, if it is one that we know.
pub(super) fn level_of(root: &Path) -> Option<Level> {
    identity::level_known(root).ok().flatten()
}

/// Where the queue of a data folder lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) root: PathBuf,
    pub(super) newer: Option<Newer>,
}

/// In the data folder, unless something there is newer. What cannot be read is not: whoever opens
/// it says why.
pub(super) fn site(data_dir: &Path) -> Site {
    match newer_in(data_dir) {
        Some(newer) => Site::beside(data_dir, newer),
        None => Site { root: data_dir.to_owned(), newer: None },
    }
}

impl Site {
    /// Beside what is newer.
    pub(super) fn beside(data_dir: &Path, newer: Newer) -> Self {
        let root = data_dir.join(format!("{BESIDE}{}", Level::NEWEST.number()));
        Self { root, newer: Some(newer) }
    }
}

/// The site of an open queue, and its level.
pub(super) struct Folder {
    site: Site,
    level: AtomicU32,
    /// What turned out to be newer since it was opened.
    found: OnceLock<Newer>,
}

impl Folder {
    /// Of a queue that was opened.
    pub(super) fn new(site: Site, level: Level) -> Self {
        Self { site, level: level.number().into(), found: OnceLock::new() }
    }

    /// The data folder, whether the queue lies in it or beside what is newer.
    pub(super) fn data_dir(&self) -> &Path {
        let Site { root, newer } = &self.site;
        newer.as_ref().and_then(|_| root.parent()).unwrap_or(root)
    }

    /// Looks at an error of the queue in it: what lies behind a newer file waits until its agent
    /// is back.
    pub(super) fn note(&self, error: &io::Error) {
        if let Some(Newer { version, .. }) = newer(error, &self.site.root) {
            let found = Newer { path: self.site.root.clone(), version };
            drop(self.found.set(found));
        }
    }

    pub(super) fn level(&self) -> Level {
        Level::of(self.level.load(Relaxed)).unwrap_or(Level::NEWEST)
    }
}

impl Queue {
    /// What its folder is written at. Features that need more are switched on at the next start
    /// after [`Queue::commit_level`].
    pub fn level(&self) -> Level {
        self.folder().level()
    }

    /// How its folder stands. Reads the disk.
    pub fn standing(&self) -> Standing {
        let (folder, Site { root, newer }) = (self.folder(), self.folder().site.clone());
        let (aside, beside) = (newer.is_some(), beside(folder.data_dir(), &root));
        let newer = newer.or_else(|| folder.found.get().cloned());
        Standing { level: folder.level(), root, newer, aside, beside }
    }

    /// Raises the level to the newest, durably and for good; says what it was. Waits for the disk.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn commit_level(&self) -> Result<Level, CommitError> {
        let _steady = self.steady();
        let folder = self.folder();
        if let Some(Newer { path, version }) = folder.site.newer.clone() {
            return Err(CommitError::Newer { path, format: version });
        }
        identity::commit(&folder.site.root, Level::NEWEST)?;
        let before = folder.level();
        folder.level.store(Level::NEWEST.number(), Relaxed);
        Ok(before)
    }
}

/// The folders beside the queue in `root` that this agent can read.
pub(super) fn beside(data_dir: &Path, root: &Path) -> Vec<PathBuf> {
    let level = |name: &str| Level::of(name.strip_prefix(BESIDE)?.parse().ok()?);
    let names = fs::read_dir(data_dir).into_iter().flatten().flatten();
    let folders = names.filter(|entry| entry.file_name().to_str().and_then(level).is_some());
    let mut folders: Vec<PathBuf> =
        folders.map(|entry| entry.path()).filter(|path| path != root).collect();
    folders.sort();
    folders
}

/// The first thing found in a folder that is newer than this agent. Reads little: of each chain
/// its states, the first bytes of its tables, and its newest segment.
fn newer_in(root: &Path) -> Option<Newer> {
    if let Some(version) = identity::newer(root) {
        return Some(Newer { path: root.join("identity"), version });
    }
    let lanes = fs::read_dir(root.join("lanes")).into_iter().flatten().flatten();
    let mut chains: Vec<PathBuf> = lanes.map(|entry| entry.path()).collect();
    chains.sort();
    chains.push(root.join("dead"));
    chains.iter().find_map(|chain| match look_at_chain(chain) {
        Err(error) => newer(&error, chain),
        Ok(()) => None,
    })
}

fn look_at_chain(folder: &Path) -> io::Result<()> {
    let store = ReadOnly::new(folder);
    if let Some(bytes) = store.load_state()? {
        state::known(&bytes)?;
    }
    ids::known(&store)?;
    let Some(newest) = store.segments()?.pop() else { return Ok(()) };
    match store.open(newest)?.newer()? {
        Some(version) => Err(unsupported(newest.folder(), version)),
        None => Ok(()),
    }
}

/// A file is of a version that this agent does not know.
#[derive(Debug, thiserror::Error)]
#[error("{file} has the newer format {version}; install the newer agent again")]
struct Unsupported {
    file: String,
    version: u32,
}

/// The error for a file of such a version; it will not pass, and is no damage.
pub(super) fn unsupported(file: impl Into<String>, version: impl Into<u32>) -> io::Error {
    let unsupported = Unsupported { file: file.into(), version: version.into() };
    io::Error::new(io::ErrorKind::Unsupported, unsupported)
}

/// What is newer, if that is what an error in `folder` says.
pub(super) fn newer(error: &io::Error, folder: &Path) -> Option<Newer> {
    let unsupported = error.get_ref()?.downcast_ref::<Unsupported>()?;
    Some(Newer { path: folder.join(&unsupported.file), version: unsupported.version })
}
