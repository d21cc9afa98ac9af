//! Small files of the data folder, which are replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where a small file is kept: at `path`, unless a newer agent's lies there, as `newer` says of its
/// bytes with its version. That one is left alone, and ours is kept beside it until it has gone.
pub fn place(path: PathBuf, newer: impl Fn(&[u8]) -> Option<u64>) -> PathBuf {
    let beside = path.with_extension("beside");
    match fs::read(&path).ok().and_then(|bytes| newer(&bytes)) {
        Some(version) => {
            let file = path.display();
            tracing::error!(%file, version, "is a newer agent's and left alone; install that agent again");
            beside
        }
        None => {
            // What it says is older than what the newer agent has noted since.
            drop(fs::remove_file(beside));
            path
        }
    }
}

/// The number in the field `name` of JSON, if it is larger than `known`.
pub fn larger(json: &[u8], name: &str, known: u64) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(json).ok()?;
    value.get(name)?.as_u64().filter(|number| *number > known)
}

/// Puts `content` in place of the file at `path`; durable when this returns. After a power cut the
/// file is the old or the new one. `modified` is its time of change, now where there is none.
///
/// # Errors
/// The disk's; the old file is still there.
pub fn replace(path: &Path, content: &[u8], modified: Option<SystemTime>) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    if let Some(modified) = modified {
        file.set_modified(modified)?;
    }
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    sync_folder(path)
}

/// Removes the file at `path`, if it is there; durable when this returns.
///
/// # Errors
/// The disk's.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_folder(path),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_agent_wrote_is_left_alone_and_ours_is_beside_it_until_it_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clock");
        let placed = || place(path.clone(), |bytes| larger(bytes, "format", 1));
        assert_eq!(placed(), path);
        fs::write(&path, r#"{"format":2}"#).unwrap();
        assert_eq!(placed(), folder.path().join("clock.beside"));
        replace(&placed(), br#"{"format":1}"#, None).unwrap();
        assert_eq!(fs::read(&path).unwrap(), br#"{"format":2}"#);
        assert_eq!(fs::read(placed()).unwrap(), br#"{"format":1}"#);
        fs::write(&path, r#"{"format":1}"#).unwrap();
        assert_eq!(placed(), path);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_replaced_is_private_and_leaves_nothing_beside_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clock");
        replace(&path, b"old", None).unwrap();
        replace(&path, b"new", Some(SystemTime::UNIX_EPOCH)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        assert_eq!(found.modified().unwrap(), SystemTime::UNIX_EPOCH);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }
}
