//! What several of the tests need.

use std::path::{Path, PathBuf};

/// The binary under test: `SPILLWAY_BIN`, else the one beside the running test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SPILLWAY_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join("spillway");
    assert!(binary.exists(), "{} is missing: cargo build -p spillway", binary.display());
    binary
}
