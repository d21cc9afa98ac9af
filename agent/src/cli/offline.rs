//! The queue of an agent that is not running, for `queue`, `dead` and `why`: its data folder is
//! opened under its lock, and served to the command as the agent would.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use super::client::Client;
use super::{Exit, Failure, output};
use crate::app;
use crate::clock::{SystemClock, WallClock};
use crate::config::{self, Surroundings};
use crate::control::{self, Desk};
use crate::queue::OpenError;
use crate::{entropy, intake};

/// Connects to the queue that `file` describes. `gone` says that no agent answers, which is the
/// failure where there is no queue either, or where an agent holds it after all.
pub(super) async fn connect(file: &Path, gone: Failure) -> Result<Client, Failure> {
    let Ok((config, _)) = config::load(file, &Surroundings::of_process()) else { return Err(gone) };
    let folder = config.gateway.data_dir.clone();
    if !folder.join("identity").exists() {
        return Err(gone);
    }
    own(&folder)?;
    let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
    let opening = move || {
        let active = app::last_active(&config);
        let (queue, _) = app::open_queue(&config, &clock)?;
        Ok(app::stopped_desk(queue, &config, clock, active))
    };
    let desk = match tokio::task::spawn_blocking(opening).await {
        Ok(Ok(desk)) => desk,
        Ok(Err(OpenError::Locked { .. })) | Err(_) => return Err(gone),
        Ok(Err(error)) => return Err(Failure::new(Exit::TryAgain, error.to_string())),
    };
    output::err(&format!("no agent is running; this is its queue in {}\n", folder.display()));
    serve(desk).await
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

async fn serve(desk: Desk) -> Result<Client, Failure> {
    let name = format!("spillway-{}-{:08x}", std::process::id(), entropy::seed() as u32);
    let folder = std::env::temp_dir().join(name);
    fs::DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
    let path = folder.join("control.sock");
    let bound = intake::socket::bind(&path, 0o600).await;
    let (listener, socket) =
        bound.map_err(|error| Failure::new(Exit::TryAgain, error.to_string()))?;
    tokio::spawn(control::serve(listener, desk, std::future::pending()));
    let client = Client::connect(&path, "--control").await;
    // Once connected, nobody else needs the file.
    drop(socket);
    drop(fs::remove_dir(&folder));
    client
}

fn failed(error: io::Error) -> Failure {
    Failure::new(Exit::TryAgain, format!("{}: {error}", std::env::temp_dir().display()))
}
