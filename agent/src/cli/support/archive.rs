//! The file: a compressed tar that only its maker can read.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::{Exit, Failure};
use super::Part;

/// Makes it; nothing that is there is written over.
pub(super) fn create(path: &Path) -> Result<File, Failure> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| {
        let (exit, remedy) = match error.kind() {
            io::ErrorKind::AlreadyExists => (Exit::Usage, "name another with --output"),
            io::ErrorKind::PermissionDenied => {
                (Exit::NotPermitted, "name another place with --output")
            }
            _ => (Exit::TryAgain, "name another place with --output"),
        };
        Failure::new(exit, format!("{}: {error}; {remedy}", path.display()))
    })
}

/// Writes README.txt and the parts that there are, in a folder of the file's name.
pub(super) fn write(
    file: File,
    path: &Path,
    readme: &str,
    parts: &[Part],
    now_s: u64,
) -> Result<(), Failure> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = name.split(".tar").next().unwrap_or("spillway-support").to_owned();
    let there = parts.iter().filter_map(|part| Some((part.name, part.text.as_ref().ok()?)));
    let mut files =
        std::iter::once(("README.txt", readme)).chain(there.map(|(n, t)| (n, t.as_str())));
    let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let mut add = |name: &str, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now_s);
        tar.append_data(&mut header, format!("{folder}/{name}"), text.as_bytes())
    };
    let added = files.try_for_each(|(name, text)| add(name, text));
    let written = added.and_then(|()| tar.into_inner()?.finish()?.flush());
    written.map_err(|error| Failure::new(Exit::TryAgain, format!("{}: {error}", path.display())))
}
