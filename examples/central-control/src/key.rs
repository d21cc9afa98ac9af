//! The centre's key: a file with the base64 of 32 random bytes, which only its owner can read.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::TryRng;
use rand::rngs::SysRng;
use spillway_protocol::control::{SEED_BYTES, SealError, Sealer};

/// The key cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("{path}: {error}; name a file that is not there yet, in a folder that is", path = .0.display(), error = .1)]
    Write(PathBuf, io::Error),
    #[error("{path}: {error}; make a key with central-control keygen --key FILE", path = .0.display(), error = .1)]
    Read(PathBuf, io::Error),
    #[error("{path}: is no key: {error}; make one with central-control keygen --key FILE", path = .0.display(), error = .1)]
    Form(PathBuf, base64::DecodeError),
    #[error("the system has no randomness to give: {0}")]
    Randomness(rand::rngs::SysError),
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Draws a key and writes it into a new file.
pub(crate) fn make(path: &Path) -> Result<Sealer, KeyError> {
    let mut seed = [0; SEED_BYTES];
    SysRng.try_fill_bytes(&mut seed).map_err(KeyError::Randomness)?;
    let fault = |error| KeyError::Write(path.to_owned(), error);
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(fault)?;
    writeln!(file, "{}", STANDARD.encode(seed)).map_err(fault)?;
    file.sync_all().map_err(fault)?;
    Ok(Sealer::from_seed(&seed)?)
}

/// The key that [`make`] wrote.
pub(crate) fn load(path: &Path) -> Result<Sealer, KeyError> {
    let text = fs::read_to_string(path).map_err(|e| KeyError::Read(path.to_owned(), e))?;
    let seed = STANDARD.decode(text.trim()).map_err(|e| KeyError::Form(path.to_owned(), e))?;
    Ok(Sealer::from_seed(&seed)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_kept_in_a_file_of_its_owner_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = make(&path).unwrap();
        assert_eq!(load(&path).unwrap().public_key(), made.public_key());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(make(&path), Err(KeyError::Write(..))));
        let other = make(&folder.path().join("other")).unwrap();
        assert_ne!(other.public_key(), made.public_key());
    }

    #[test]
    fn what_is_no_key_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (text, problem) in [("%", "is no key"), ("AAAA", "32 bytes")] {
            fs::write(&path, text).unwrap();
            let said = load(&path).err().unwrap().to_string();
            assert!(said.contains(problem) && said.contains("keygen"), "{said}");
        }
        assert!(matches!(load(&folder.path().join("none")), Err(KeyError::Read(..))));
    }
}
