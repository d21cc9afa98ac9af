//! Where damaged segments are put aside, for whoever wants to save more of them than the agent can.
//! What is there is settled: it may go, oldest first, where it becomes too much.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::store::disk::folder_bytes;

/// Most bytes that are kept there.
pub(super) const KEEP_BYTES: u64 = 64 << 20;

/// What lies there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quarantined {
    /// Segments.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// The folder of a data folder.
pub(super) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("quarantine")
}

/// What lies in `folder`.
pub(super) fn look(folder: &Path) -> Quarantined {
    let all = segments(folder);
    let bytes = all.iter().map(|(_, _, bytes)| bytes).sum();
    Quarantined { segments: all.len() as u64, bytes }
}

/// Removes what was put aside first, until the rest is no more than `keep_bytes`. The newest stays.
pub(super) fn tidy(folder: &Path, keep_bytes: u64) {
    let mut all = segments(folder);
    all.sort();
    let mut bytes: u64 = all.iter().map(|(_, _, bytes)| bytes).sum();
    for (_, path, size) in all.iter().take(all.len().saturating_sub(1)) {
        if bytes <= keep_bytes {
            return;
        }
        match fs::remove_dir_all(path) {
            Ok(()) => {
                bytes -= size;
                tracing::warn!(folder = %path.display(), keep_bytes, "a damaged segment was removed: quarantine/ is full");
            }
            Err(error) => {
                tracing::warn!(%error, folder = %path.display(), "a damaged segment stays, although quarantine/ is full");
            }
        }
    }
}

/// Moves what lies in one data folder's to another's, which keeps no more than it may.
pub(super) fn take_over(from_data_dir: &Path, to_data_dir: &Path) -> io::Result<()> {
    let to = folder(to_data_dir);
    for (_, path, _) in segments(&folder(from_data_dir)) {
        let name = path.file_name().unwrap_or_default();
        let mut target = to.join(name);
        for nth in 1.. {
            if !target.exists() {
                break;
            }
            target = to.join(format!("{}.{nth}", name.to_string_lossy()));
        }
        fs::rename(path, target)?;
    }
    tidy(&to, KEEP_BYTES);
    Ok(())
}

/// When each was put there, its folder and its bytes.
fn segments(folder: &Path) -> Vec<(SystemTime, PathBuf, u64)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let found = entries.flatten().filter_map(|entry| {
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_dir)?;
        // A rename does not touch what is moved: this is when its files were made or removed.
        let at = metadata.modified().ok()?;
        Some((at, entry.path(), folder_bytes(&entry.path())))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_go_until_the_rest_fits_and_the_newest_stays() {
        let folder = tempfile::tempdir().unwrap();
        for (nth, name) in ["b", "a", "c"].into_iter().enumerate() {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("db"), vec![1; 40_000]).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(nth as u64);
            File::open(path).unwrap().set_modified(at).unwrap();
        }
        let all = look(folder.path());
        assert_eq!(all.segments, 3);
        tidy(folder.path(), all.bytes);
        assert_eq!(look(folder.path()), all);
        tidy(folder.path(), all.bytes - 1);
        assert!(!folder.path().join("b").exists());
        assert_eq!(look(folder.path()).segments, 2);
        tidy(folder.path(), 0);
        assert!(folder.path().join("c").exists());
        assert_eq!(look(folder.path()).segments, 1);
    }
}
