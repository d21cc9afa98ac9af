//! A file system of a test's own, in which the kernel finds an error. Needs root and loop devices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::NamedTempFile;

/// A mounted file system. Dropped, it is gone, at the latest when nobody uses it any more.
#[derive(Debug)]
pub struct Mount(PathBuf);

/// A mounted file system that answers nothing: who writes to it or syncs it sleeps until this is
/// dropped.
#[derive(Debug)]
pub struct Frozen<'a>(&'a Mount);

/// What an ext4 lies in.
#[derive(Debug)]
pub struct Image(NamedTempFile);

impl Image {
    /// A new file system of so many bytes.
    ///
    /// # Panics
    /// If `mkfs.ext4` cannot be run.
    pub fn ext4(bytes: u64) -> Self {
        let file = NamedTempFile::new().unwrap();
        file.as_file().set_len(bytes).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(file.path()));
        Self(file)
    }

    /// Checks and mends it, as the machine's next start does.
    ///
    /// # Panics
    /// If it cannot be mended.
    pub fn check(&self) {
        let status = Command::new("e2fsck").arg("-fy").arg(self.0.path()).output().unwrap().status;
        // 1: errors were corrected.
        assert!(status.code().is_some_and(|code| code <= 1), "{status}");
    }

    /// Mounts it at `folder`; an error makes it read-only.
    ///
    /// # Panics
    /// If this process may not mount.
    pub fn mount(&self, folder: &Path) -> Mount {
        std::fs::create_dir_all(folder).unwrap();
        let options = ["-o", "loop,errors=remount-ro"];
        run(Command::new("mount").args(options).arg(self.0.path()).arg(folder));
        Mount(folder.to_owned())
    }

    /// The kernel finds an error in it, and from then on writes nothing to it.
    ///
    /// # Panics
    /// If it is not mounted.
    pub fn fail(&self) {
        let mut find = Command::new("losetup");
        find.args(["-n", "-O", "NAME", "-j"]).arg(self.0.path());
        let found = String::from_utf8(find.output().unwrap().stdout).unwrap();
        let device = found.trim().rsplit('/').next().unwrap().to_owned();
        std::fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
    }
}

impl Mount {
    /// Unmounts it, which nobody may use any more.
    ///
    /// # Panics
    /// If somebody does.
    pub fn end(&self) {
        run(Command::new("umount").arg(&self.0));
    }
}

impl Mount {
    /// Has it answer nothing, as a disk that hangs.
    ///
    /// # Panics
    /// If it cannot be frozen.
    pub fn freeze(&self) -> Frozen<'_> {
        run(Command::new("fsfreeze").arg("-f").arg(&self.0));
        Frozen(self)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        run(Command::new("fsfreeze").arg("-u").arg(&self.0.0));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?} needs root: {output:?}");
}
