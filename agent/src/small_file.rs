//! Small files of the data folder, which are replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

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
