//! The control socket's file.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The agent's own user, and root.
const MODE: u32 = 0o600;

/// The socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another agent listens there.
    #[error("{0}: another agent listens there; stop it, or give this one its own [listen] control")]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{0}: is not a socket; move it away, or name another [listen] control")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("{path}: {source}; the folder must be there and belong to the agent's user")]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Listens at `path`, mode 0600 from the first moment. What a dead agent left is taken over.
pub async fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(_) => return Err(BindError::InUse(path.to_owned())),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    // Made beside its place and moved there, so that nobody can connect before the mode is set.
    // Its name is short, since a socket's path is at most 107 bytes long.
    let beside = path.with_file_name(format!(".{}", std::process::id()));
    let listener = UnixListener::bind(&beside).map_err(failed)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(MODE))
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(failed)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_live_socket_is_refused_and_a_dead_one_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let first = bind(&path).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(bind(&path).await, Err(BindError::InUse(_))));
        drop(first);
        let _second = bind(&path).await.unwrap();
        UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn another_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        std::fs::write(&path, "notes").unwrap();
        assert!(matches!(bind(&path).await, Err(BindError::NotASocket(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes");
        let nowhere = folder.path().join("missing/control.sock");
        assert!(matches!(bind(&nowhere).await, Err(BindError::Io { .. })));
    }
}
