//! The queue of an agent that is not running, for `queue`, `dead` and `why`: what only looks reads
//! the data folder and writes nothing there; for the rest it is opened under its lock. Either is
//! served to the command as the agent would.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use tokio::net::UnixStream;

use super::client::Client;
use super::{Exit, Failure, output};
use crate::app;
use crate::clock::{SystemClock, WallClock};
use crate::config::{self, Config, Surroundings};
use crate::control::{self, Desk};
use crate::queue::{OpenError, Queue, Recovery};

/// Connects to the queue that `file` describes, to look into it only. `gone` says that no agent
/// answers, which is the failure where there is no queue either, or where an agent holds it after all.
pub(super) async fn look(file: &Path, gone: Failure) -> Result<Client, Failure> {
    let config = load(file, &gone)?;
    let folder = config.gateway.data_dir.clone();
    if !there(&folder, "lanes", &gone)? {
        return Err(gone);
    }
    let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
    let opening = move || app::inspect_queue(&config, &clock).map(Desk::looking);
    serve(opened(opening, gone).await?, &folder).await
}

/// Whether the folder has a queue, as `name` in it says.
fn there(folder: &Path, name: &str, gone: &Failure) -> Result<bool, Failure> {
    match folder.join(name).try_exists() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let folder = folder.display();
            let message = format!(
                "{}\n{folder}: this user may not look into it: {error}; run this as root, or as the \
                 agent's own user",
                gone.message
            );
            Err(Failure::new(Exit::NotPermitted, message))
        }
        found => Ok(found.unwrap_or(false)),
    }
}

/// The configuration; where it is faulty, nobody can tell where the queue lies.
fn load(file: &Path, gone: &Failure) -> Result<Config, Failure> {
    match config::load(file, &Surroundings::of_process()) {
        Ok((config, _)) => Ok(config),
        Err(_) if !file.exists() => Err(gone.clone()),
        Err(error) => {
            let exit = super::refused(&error).exit;
            let message = format!(
                "{}\n{error}\nuntil that is put right, its queue cannot be looked into",
                gone.message
            );
            Err(Failure::new(exit, message))
        }
    }
}

/// How a queue is opened to be changed.
pub(super) type Opening = fn(&Config, &Arc<dyn WallClock>) -> Result<(Queue, Recovery), OpenError>;

/// Connects to the queue that `file` describes, to change it; `gone` as above.
pub(super) async fn connect(file: &Path, gone: Failure, open: Opening) -> Result<Client, Failure> {
    let config = load(file, &gone)?;
    let folder = config.gateway.data_dir.clone();
    if !there(&folder, "identity", &gone)? {
        return Err(gone);
    }
    own(&folder)?;
    let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
    let opening = move || {
        let active = app::last_active(&config);
        let (queue, _) = open(&config, &clock)?;
        Ok(app::stopped_desk(queue, &config, clock, active))
    };
    serve(opened(opening, gone).await?, &folder).await
}

async fn opened(
    opening: impl FnOnce() -> Result<Desk, OpenError> + Send + 'static,
    gone: Failure,
) -> Result<Desk, Failure> {
    match tokio::task::spawn_blocking(opening).await {
        Ok(Ok(desk)) => Ok(desk),
        Ok(Err(OpenError::Locked { .. })) | Err(_) => Err(gone),
        Ok(Err(error)) => Err(Failure::new(Exit::TryAgain, error.to_string())),
    }
}

/// What another user would write there, the agent could not read any more.
fn own(folder: &Path) -> Result<(), Failure> {
    let owner = |path: &Path| fs::metadata(path).map(|metadata| metadata.uid());
    let (theirs, ours) = (owner(folder), owner(Path::new("/proc/self")));
    match (theirs, ours) {
        (Ok(theirs), Ok(ours)) if theirs == ours => Ok(()),
        (Ok(theirs), _) => {
            let message = format!(
                "{}: belongs to uid {theirs}; run this as that user while no agent is running",
                folder.display()
            );
            Err(Failure::new(Exit::NotPermitted, message))
        }
        (Err(error), _) => {
            let message = format!("{}: {error}", folder.display());
            Err(Failure::new(Exit::NotPermitted, message))
        }
    }
}

async fn serve(desk: Desk, folder: &Path) -> Result<Client, Failure> {
    let name = folder.display().to_string();
    output::err(&format!("no agent is running; this is its queue in {name}\n"));
    let pair = UnixStream::pair();
    let (ours, theirs) = pair.map_err(|error| Failure::new(Exit::TryAgain, error.to_string()))?;
    tokio::spawn(control::serve_one(theirs, desk));
    Client::over(ours, name).await
}
