//! What lies in a folder: names, sizes and modes, no contents.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::human;

/// Most lines.
const LINES_MAX: usize = 20_000;

/// Everything below `folder`, by name; a link is not followed.
pub(super) fn listing(folder: &Path) -> Result<String, String> {
    let mut text = format!("{}\n", folder.display());
    let (mut waiting, mut lines) = (vec![folder.to_owned()], 0);
    line(&mut text, folder, folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    while let Some(next) = waiting.pop() {
        let entries = match entries(&next) {
            Ok(entries) => entries,
            Err(error) => {
                text.push_str(&format!("{}: {error}\n", next.display()));
                continue;
            }
        };
        for path in entries {
            lines += 1;
            if lines > LINES_MAX {
                text.push_str("and more\n");
                return Ok(text);
            }
            match line(&mut text, folder, &path) {
                Ok(true) => waiting.push(path),
                Ok(false) => {}
                Err(error) => text.push_str(&format!("{}: {error}\n", path.display())),
            }
        }
    }
    Ok(text)
}

fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<std::io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

/// Whether it is a folder.
fn line(text: &mut String, root: &Path, path: &Path) -> std::io::Result<bool> {
    let found = fs::symlink_metadata(path)?;
    let name = path.strip_prefix(root).unwrap_or(path).display();
    let time = human::time(u64::try_from(found.mtime()).unwrap_or(0).saturating_mul(1000));
    let (mode, uid, gid) = (found.mode() & 0o7777, found.uid(), found.gid());
    let kind = match found.is_dir() {
        true => "d",
        false if found.is_symlink() => "l",
        false => "-",
    };
    let (size, blocks) = (found.len(), found.blocks().saturating_mul(512));
    text.push_str(&format!("{kind}{mode:04o} {uid}:{gid} {size:>12} {blocks:>12} {time} {name}\n"));
    Ok(found.is_dir())
}
