//! Where a benchmark keeps its files: on the disk that is measured.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Error;

/// A folder that goes with the benchmark: in `wanted`, else beside the benchmark's binary.
///
/// # Errors
/// If it cannot be made.
pub fn folder(wanted: Option<&Path>) -> Result<TempDir, Error> {
    let parent = match wanted {
        Some(wanted) => wanted.to_owned(),
        None => beside("")?,
    };
    // Short: a socket's path may have about a hundred characters.
    Ok(TempDir::with_prefix_in("b-", parent)?)
}

/// `name` beside the benchmark's binary, where cargo puts what it builds.
///
/// # Errors
/// If the system does not say where that is.
pub fn beside(name: &str) -> Result<PathBuf, Error> {
    let own = std::env::current_exe()?;
    Ok(own.parent().ok_or("the benchmark's binary has no folder")?.join(name))
}

/// The binary that is measured.
///
/// # Errors
/// If it is not built.
pub fn binary() -> Result<PathBuf, Error> {
    let binary = beside("spillway")?;
    match binary.exists() {
        true => Ok(binary),
        false => Err(format!("{} is missing: cargo build -p spillway", binary.display()).into()),
    }
}
