//! Who the data folder belongs to: its lock, and the stream that new records get.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use spillway_protocol::message::StreamId;

use super::api::{OpenError, Options};
use super::format::{CommitError, Level};
use super::store::anchor::Anchor;
use super::store::disk::make_folder;
use crate::small_file;

/// Its file.
const NAME: &str = "identity";

/// Kept in the file `identity`. Later formats keep these fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    /// The number of the [`Level`].
    format: u32,
    stream: String,
    host: String,
    /// CRC-32 of the others: a flipped bit must not look like another stream or a newer format.
    /// Earlier builds wrote none; a later format writes the same or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sum: Option<u32>,
}

impl Identity {
    fn new(level: Level, stream: String, host: &str) -> Self {
        let new = Self { format: level.number(), stream, host: host.to_owned(), sum: None };
        Self { sum: Some(new.computed()), ..new }
    }

    /// The level; `None` if it is newer than all we know.
    fn level(&self) -> Option<Level> {
        Level::of(self.format)
    }

    fn computed(&self) -> u32 {
        let Self { format, stream, host, .. } = self;
        crc32fast::hash(format!("{format} {stream} {host}").as_bytes())
    }

    fn is_whole(&self) -> bool {
        self.sum.is_none_or(|sum| sum == self.computed())
    }
}

/// The stream of this data folder on this host, and whether it was drawn just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamOf {
    pub(super) id: StreamId,
    /// The folder was empty: a new installation.
    pub(super) fresh: bool,
    /// What the folder is written at.
    pub(super) level: Level,
}

/// A locked folder. Dropped, it is free at once.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    /// What the folder is known by while it is locked.
    pub(super) anchor: Arc<Anchor>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would leave it to a child that is being forked, until that is its program.
        let _ = self.file.unlock();
    }
}

/// Locks the folder for as long as the returned lock lives. Makes it if it is missing.
pub(super) fn lock(folder: &Path) -> Result<Lock, OpenError> {
    let fail = |source, remedy| OpenError::Io { path: folder.to_owned(), source, remedy };
    make_folder(folder)
        .map_err(|e| fail(e, "make it, or let the agent's user write its parent"))?;
    let path = folder.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|e| fail(e, "let the agent's user write it, and see that the disk is writable"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
            return Err(OpenError::Locked { path: folder.to_owned(), pid });
        }
        Err(TryLockError::Error(e)) => return Err(fail(e, "use a file system that has locks")),
    }
    // For the one who finds it locked; a full disk must not keep the agent from starting.
    drop(file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())));
    let anchor = Anchor::new(path, &file).map_err(|e| fail(e, "see that the disk works"))?;
    Ok(Lock { file, anchor: Arc::new(anchor) })
}

/// Locks the folder for as long as the returned lock lives against agents, not against others who
/// only look, and writes nothing. `None`: where it cannot be locked, nobody can run an agent on it.
pub(super) fn lock_to_look(folder: &Path) -> Result<Option<Lock>, OpenError> {
    let path = folder.join("lock");
    let Ok(file) = File::open(&path) else { return Ok(None) };
    match file.try_lock_shared() {
        Ok(()) => {
            let anchor = Anchor::new(path, &file).map(Arc::new);
            Ok(anchor.ok().map(|anchor| Lock { file, anchor }))
        }
        Err(TryLockError::WouldBlock) => {
            let pid = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
            Err(OpenError::Locked { path: folder.to_owned(), pid })
        }
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// What stands there. `None`: there is none, or it is damaged.
fn read(folder: &Path) -> io::Result<Option<Identity>> {
    match fs::read(folder.join(NAME)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok().filter(Identity::is_whole)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The format of a folder that a newer agent made. Writes nothing.
pub(super) fn newer(folder: &Path) -> Option<u32> {
    let known = read(folder).ok().flatten()?;
    known.level().is_none().then_some(known.format)
}

/// The level that the folder is at, if that is known. Writes nothing.
pub(super) fn level_known(folder: &Path) -> io::Result<Option<Level>> {
    Ok(read(folder)?.and_then(|known| known.level()))
}

/// The stream that the folder is at, if that is known. Writes nothing.
pub(super) fn stream_known(folder: &Path) -> Option<StreamId> {
    read(folder).ok().flatten().and_then(|known| known.stream.parse().ok())
}

/// Reads the identity, or makes one. On another host (a cloned disk) a new stream begins, so that
/// two gateways never give the same number. A folder whose level is lost counts as one of the
/// newest: what is there may be, and an older agent would destroy it.
pub(super) fn stream(folder: &Path, host: &str, rng: &mut StdRng) -> Result<StreamOf, OpenError> {
    let path = folder.join(NAME);
    let fail = |source, remedy| OpenError::Io { path: path.clone(), source, remedy };
    let known = read(folder).map_err(|e| fail(e, "let the agent's user read it"))?;
    let level = match &known {
        Some(known) => known
            .level()
            .ok_or_else(|| OpenError::Newer { path: path.clone(), format: known.format })?,
        None => Level::NEWEST,
    };
    if let Some(known) = known.filter(|known| known.host == host)
        && let Ok(id) = known.stream.parse()
    {
        return Ok(StreamOf { id, fresh: false, level });
    }
    let fresh = !path.exists() && !folder.join("lanes").exists();
    let id = StreamId(rng.next_u32());
    write(&path, &Identity::new(level, id.to_string(), host))
        .map_err(|e| fail(e, "free some space and let the agent's user write there"))?;
    Ok(StreamOf { id, fresh, level })
}

/// Draws another stream for the folder of `options`. Durable when this returns.
pub(super) fn renew(options: &Options, now: StreamOf, rng: &mut StdRng) -> io::Result<StreamOf> {
    let new = StreamOf { id: StreamId(rng.next_u32()), ..now };
    let identity = Identity::new(now.level, new.id.to_string(), &options.host);
    write(&options.data_dir.join(NAME), &identity)?;
    Ok(new)
}

/// From now on the folder is written at `level`, for good. Durable when this returns.
pub(super) fn commit(folder: &Path, level: Level) -> Result<(), CommitError> {
    let path = folder.join(NAME);
    let failed = |source| CommitError::Io { path: path.clone(), source };
    let known = read(folder).map_err(failed)?;
    let Some(known) = known else { return Err(CommitError::Damaged { path }) };
    match known.level() {
        None => Err(CommitError::Newer { path, format: known.format }),
        Some(found) if found >= level => Ok(()),
        Some(_) => write(&path, &Identity::new(level, known.stream, &known.host)).map_err(failed),
    }
}

fn write(path: &Path, identity: &Identity) -> io::Result<()> {
    small_file::replace(path, &serde_json::to_vec(identity)?, None)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_stream_stays_on_its_host_and_changes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let first = stream(folder.path(), "host-a", &mut rng).unwrap();
        assert!(first.fresh && first.level == Level::NEWEST);
        let again = stream(folder.path(), "host-a", &mut rng).unwrap();
        assert_eq!(again, StreamOf { fresh: false, ..first });
        let moved = stream(folder.path(), "host-b", &mut rng).unwrap();
        assert_ne!(moved.id, first.id);
        assert!(!moved.fresh);
    }

    #[test]
    fn a_newer_format_is_refused_and_a_damaged_identity_begins_a_new_stream() {
        let folder = tempfile::tempdir().unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let path = folder.path().join("identity");
        fs::write(&path, r#"{"format":3,"stream":"00000001","host":"h"}"#).unwrap();
        for host in ["h", "another"] {
            let refused = stream(folder.path(), host, &mut rng);
            assert!(matches!(refused, Err(OpenError::Newer { format: 3, .. })));
        }
        assert_eq!(newer(folder.path()), Some(3));
        fs::write(&path, "{").unwrap();
        let begun = stream(folder.path(), "h", &mut rng).unwrap();
        assert!(!begun.fresh && begun.level == Level::NEWEST);
        assert_eq!(newer(folder.path()), None);
    }

    #[test]
    fn a_folder_keeps_its_level_until_it_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let path = folder.path().join("identity");
        let sum = crc32fast::hash(b"1 00000007 h");
        let golden = format!(r#"{{"format":1,"stream":"00000007","host":"h","sum":{sum}}}"#);
        fs::write(&path, golden).unwrap();
        for host in ["h", "another"] {
            assert_eq!(stream(folder.path(), host, &mut rng).unwrap().level, Level::One);
        }
        let kept = stream(folder.path(), "another", &mut rng).unwrap();
        for _ in 0..2 {
            commit(folder.path(), Level::Two).unwrap();
            let committed = stream(folder.path(), "another", &mut rng).unwrap();
            assert_eq!(committed, StreamOf { level: Level::Two, ..kept });
        }
        commit(folder.path(), Level::One).unwrap();
        assert_eq!(level_known(folder.path()).unwrap(), Some(Level::Two), "there is no way back");
        fs::remove_file(&path).unwrap();
        let refused = commit(folder.path(), Level::Two);
        assert!(matches!(refused, Err(CommitError::Damaged { .. })));
    }

    #[test]
    fn no_flipped_bit_makes_another_known_stream_or_a_newer_format() {
        let folder = tempfile::tempdir().unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let path = folder.path().join("identity");
        stream(folder.path(), "host-a", &mut rng).unwrap();
        let whole = fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, bytes).unwrap();
            let found = stream(folder.path(), "host-a", &mut rng).unwrap();
            let told: Identity = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            assert!(!found.fresh && told.is_whole() && told.host == "host-a", "{bit}");
            assert_eq!(told.stream, found.id.to_string(), "{bit}");
        }
        fs::write(&path, r#"{"format":1,"stream":"00000007","host":"host-a"}"#).unwrap();
        assert_eq!(stream(folder.path(), "host-a", &mut rng).unwrap().id, StreamId(7));
    }

    #[test]
    fn a_second_agent_is_told_who_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        let error = lock(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        // As in a child that is being forked.
        let _copy = held.file.try_clone().unwrap();
        drop(held);
        assert!(lock(folder.path()).is_ok());
    }
}
