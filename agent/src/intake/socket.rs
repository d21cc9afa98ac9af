//! Binding a Unix socket: never taking it from a live agent, always from a dead one, and reachable
//! only with its mode already set.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::{UnixListener, UnixStream};

/// How long whoever listens there may take to accept.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error(
        "{path}: another agent listens there; stop it, or give this one its own [listen] paths"
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// There is something else at the path.
    #[error("{path}: is there and is no socket; move it away, or choose another path")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The folder does not exist.
    #[error("{folder}: no such folder for the socket {path}; create it, or choose another path")]
    NoFolder {
        /// The folder.
        folder: PathBuf,
        /// The socket.
        path: PathBuf,
    },
    /// The service manager passed something else.
    #[error(
        "{path}: the service manager passed no listening Unix stream socket for it; give its socket unit ListenStream={path}"
    )]
    NotListening {
        /// The socket that was to be.
        path: PathBuf,
    },
    /// Anything else.
    #[error("{path}: {doing}: {source}; may this user write to the folder?")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// The socket's file: removed when dropped, unless another agent has put its own there.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket stays behind");
        }
    }
}

/// Takes the socket that the service manager passed, or else binds `path`; in both cases with `mode`.
/// One that was passed stays when the agent ends: apps wait in it for the next one.
pub async fn open(
    handed: Option<OwnedFd>,
    path: &Path,
    mode: u32,
) -> Result<(UnixListener, Option<SocketFile>), BindError> {
    match handed {
        Some(handed) => take(handed, path, mode).map(|listener| (listener, None)),
        None => bind(path, mode).await.map(|(listener, file)| (listener, Some(file))),
    }
}

fn take(handed: OwnedFd, path: &Path, mode: u32) -> Result<UnixListener, BindError> {
    if !listens(&handed).unwrap_or(false) {
        return Err(BindError::NotListening { path: path.to_owned() });
    }
    let fail = |source| BindError::Io { path: path.to_owned(), doing: "taking it over", source };
    let listener = std::os::unix::net::UnixListener::from(handed);
    listener.set_nonblocking(true).map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    if let Some(bound) = address.as_pathname() {
        if bound != path {
            let (bound, configured) = (bound.display(), path.display());
            tracing::warn!(%bound, %configured, "the service manager's socket is elsewhere than [listen] says: records are taken in there alone");
        }
        // The unit has set one; the configuration's counts.
        if let Err(source) = fs::set_permissions(bound, Permissions::from_mode(mode)) {
            narrow(bound, mode, source)?;
        }
    }
    UnixListener::from_std(listener).map_err(fail)
}

/// A socket whose mode cannot be set may let in fewer than `mode`, not more.
fn narrow(bound: &Path, mode: u32, source: io::Error) -> Result<(), BindError> {
    let doing = "setting the mode (SocketMode=, SocketUser= of its unit)";
    let fail = |source| BindError::Io { path: bound.to_owned(), doing, source };
    let has = fs::metadata(bound).map_err(fail)?.permissions().mode() & 0o777;
    if has & !mode != 0 {
        return Err(fail(source));
    }
    tracing::warn!(error = %source, path = %bound.display(), "the socket keeps the mode of its unit");
    Ok(())
}

/// Whether it is a Unix stream socket that accepts connections.
fn listens(socket: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(sockopt::socket_domain(socket)? == AddressFamily::UNIX
        && sockopt::socket_type(socket)? == SocketType::STREAM
        && sockopt::socket_acceptconn(socket)?)
}

/// Binds `path` with `mode`, such as 0o660. Keep the [`SocketFile`] as long as the listener.
pub async fn bind(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), BindError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(BindError::NoFolder { folder: folder.to_owned(), path: path.to_owned() });
    }
    check_free(path).await?;
    // Nobody knows this name, so nobody connects before the mode is set and the name is given.
    let hidden = folder.join(format!(".spillway-{}", std::process::id()));
    let bound = bind_hidden(&hidden, path, mode);
    if bound.is_err() {
        // It may not have come into being.
        let _ = fs::remove_file(&hidden);
    }
    bound
}

fn bind_hidden(
    hidden: &Path,
    path: &Path,
    mode: u32,
) -> Result<(UnixListener, SocketFile), BindError> {
    let fail = |doing| move |source| BindError::Io { path: path.to_owned(), doing, source };
    match fs::remove_file(hidden) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(fail("clearing")(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(hidden).map_err(fail("binding"))?;
    fs::set_permissions(hidden, Permissions::from_mode(mode)).map_err(fail("setting the mode"))?;
    let inode = fs::symlink_metadata(hidden).map_err(fail("looking"))?.ino();
    fs::rename(hidden, path).map_err(fail("naming"))?;
    let file = SocketFile { path: path.to_owned(), inode };
    Ok((listener, file))
}

/// Whether nobody listens at `path`, and nothing but a dead agent's socket is there.
async fn check_free(path: &Path) -> Result<(), BindError> {
    let path = path.to_owned();
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            let doing = "looking";
            return Err(BindError::Io { path, doing, source });
        }
        Ok(meta) if !meta.file_type().is_socket() => return Err(BindError::NotASocket { path }),
        Ok(_) => {}
    }
    match tokio::time::timeout(CONNECT_MAX, UnixStream::connect(&path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(Err(source)) if source.kind() == io::ErrorKind::PermissionDenied => {
            let doing = "asking whether an agent listens";
            Err(BindError::Io { path, doing, source })
        }
        // Accepted, or too busy to accept: somebody is there.
        _ => Err(BindError::InUse { path }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_mode_is_set_and_the_file_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (_listener, file) = bind(&path, 0o660).await.unwrap();
        assert_eq!(mode_of(&path), 0o660);
        drop(file);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_live_agents_socket_is_refused_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (_listener, _file) = bind(&path, 0o600).await.unwrap();
        let error = bind(&path, 0o600).await.unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error}");
        assert!(UnixStream::connect(&path).await.is_ok());
    }

    #[tokio::test]
    async fn a_dead_agents_socket_is_taken_over_and_not_removed_by_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (listener, old) = bind(&path, 0o600).await.unwrap();
        drop(listener);
        let (_listener, _file) = bind(&path, 0o640).await.unwrap();
        drop(old);
        assert_eq!(mode_of(&path), 0o640);
        assert!(UnixStream::connect(&path).await.is_ok());
    }

    #[tokio::test]
    async fn a_socket_that_was_passed_is_taken_gets_the_mode_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let passed = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let (listener, file) =
            open(Some(passed.try_clone().unwrap().into()), &path, 0o666).await.unwrap();
        assert_eq!(mode_of(&path), 0o666);
        assert!(listener.accept().await.is_ok());
        drop((listener, file, waiting));
        assert!(UnixStream::connect(&path).await.is_ok());
    }

    #[tokio::test]
    async fn what_was_passed_and_does_not_listen_is_a_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for passed in [stream.into(), tcp.into()] {
            let error = open(Some(passed), &dir.path().join("s"), 0o600).await.unwrap_err();
            assert!(matches!(error, BindError::NotListening { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn a_missing_folder_and_a_file_in_the_way_are_clear_errors() {
        let dir = tempfile::tempdir().unwrap();
        let error = bind(&dir.path().join("no/s"), 0o600).await.unwrap_err();
        assert!(matches!(error, BindError::NoFolder { .. }), "{error}");
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let error = bind(&file, 0o600).await.unwrap_err();
        assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "x");
    }
}
