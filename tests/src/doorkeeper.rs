//! Stands between apps and the agent's socket, and counts who comes: an app whose connection was
//! closed comes again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// See the module. Its connections end when it is dropped.
pub struct Doorkeeper {
    folder: TempDir,
    came: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Doorkeeper {
    /// Leads to the agent at `socket`.
    pub fn before(socket: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("door.sock")).unwrap();
        let (came, socket) = (Arc::<AtomicUsize>::default(), socket.to_owned());
        let counted = came.clone();
        let task = tokio::spawn(async move {
            loop {
                let (mut app, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, SeqCst);
                let socket = socket.clone();
                tokio::spawn(async move {
                    if let Ok(mut agent) = UnixStream::connect(socket).await {
                        // Either side may break off.
                        drop(copy_bidirectional(&mut app, &mut agent).await);
                    }
                });
            }
        });
        Self { folder, came, task }
    }

    /// Where apps connect.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("door.sock")
    }

    /// Connections so far.
    pub fn came(&self) -> usize {
        self.came.load(SeqCst)
    }
}

impl Drop for Doorkeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}
