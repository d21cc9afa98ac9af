//! What the agent knows of the machine it runs on.

use sha2::{Digest, Sha256};

const MACHINE_ID: &str = "/etc/machine-id";

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Its size.
    pub total_bytes: u64,
    /// What may still be used by others than root.
    pub free_bytes: u64,
    /// The most files there can be; 0 where there is no such bound.
    pub total_inodes: u64,
    /// How many more there can be.
    pub free_inodes: u64,
}

/// The file system below `path`, if it can be asked.
pub fn disk(path: &std::path::Path) -> Option<Disk> {
    let found = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some(Disk {
        total_bytes: bytes(found.f_blocks),
        free_bytes: bytes(found.f_bavail),
        total_inodes: found.f_files,
        free_inodes: found.f_favail,
    })
}

/// A fingerprint of this host, so that a cloned data folder is seen. It is a hash: the machine id
/// itself must not leave the machine. A host without one is like any other without.
pub fn fingerprint() -> String {
    let id = std::fs::read_to_string(MACHINE_ID).unwrap_or_default();
    let digest = Sha256::new()
        .chain_update(b"spillway host, version 1\n")
        .chain_update(id.trim())
        .finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
