//! `spillway run`: the agent.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::signal::{Reload, Stop};
use super::{ConfigFile, Exit, Failure, output};
use crate::app::{Agent, Choice, StartError};
use crate::clock::SystemClock;
use crate::config::Surroundings;
use crate::intake::socket::BindError;
use crate::queue::OpenError;
use crate::service::{Handed, Manager, Workers};

/// Between a start that failed and the next one, as `RestartSec=` of the unit has it.
const PAUSE: Duration = Duration::from_secs(5);

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    file: ConfigFile,
    /// Takes records in whatever is wrong with the configuration: goes on with the last that was
    /// accepted
    #[arg(long)]
    resilient: bool,
}

pub(super) async fn run(args: Run, workers: &Workers) -> Exit {
    let (mut stop, mut reload) = (Stop::listen(), Reload::listen());
    let manager = Manager::of_process();
    let handed = match Handed::of_process() {
        Ok(handed) => handed,
        Err(error) => return Failure::new(Exit::Configuration, error.to_string()).report(),
    };
    let restarted_at_once = handed.any();
    manager.status("opening the queue");
    match Box::pin(start(&args, handed)).await {
        Ok(agent) => {
            let attendance = agent.attended(&manager, workers);
            let exit = loop {
                tokio::select! {
                    biased;
                    () = stop.told() => break Exit::Done,
                    () = agent.failed() => break Exit::TryAgain,
                    () = reload.told() => {}
                }
                tokio::select! {
                    biased;
                    () = stop.told() => break Exit::Done,
                    () = agent.reload() => {}
                }
            };
            tracing::info!("stopping: what is under way finishes, then the queue is synced");
            manager.stopping("stopping: what is under way finishes");
            agent.stop().await;
            drop(attendance);
            tracing::info!("stopped");
            exit
        }
        Err(failure) => {
            let exit = failure.report();
            if restarted_at_once {
                // Where an app waits in the socket, the manager does not keep to its pause.
                let _ = timeout(PAUSE, stop.told()).await;
            }
            exit
        }
    }
}

async fn start(args: &Run, handed: Handed) -> Result<Agent, Failure> {
    let clock = Arc::new(SystemClock);
    let (file, surroundings) = (&args.file.config, Surroundings::of_process());
    let choice = Choice::make(file, args.resilient, &surroundings, clock.as_ref());
    let choice = choice.map_err(|error| super::refused(&error))?;
    for warning in &choice.warnings {
        output::err(&format!("warning: {warning}\n"));
    }
    let config = choice.config();
    let (gateway, socket) = (config.gateway.id.clone(), config.listen.socket.clone());
    let agent = Box::pin(Agent::start(choice, clock, handed)).await.map_err(failure)?;
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, gateway, socket = %socket.display(), "ready: records are taken in");
    Ok(agent)
}

fn failure(error: StartError) -> Failure {
    let denied = |source: &std::io::Error| source.kind() == ErrorKind::PermissionDenied;
    let exit = match &error {
        StartError::Upstream(_)
        | StartError::Centre(_)
        | StartError::Queue(OpenError::Newer { .. } | OpenError::Uncommitted { .. }) => {
            Exit::Configuration
        }
        StartError::Queue(OpenError::Io { source, .. })
        | StartError::Socket(BindError::Io { source, .. })
            if denied(source) =>
        {
            Exit::NotPermitted
        }
        StartError::Socket(
            BindError::NotASocket { .. }
            | BindError::NoFolder { .. }
            | BindError::NotListening { .. },
        ) => Exit::Configuration,
        StartError::Queue(_)
        | StartError::Socket(_)
        | StartError::ListenHttp(_)
        | StartError::Front(_)
        | StartError::Admin(_) => Exit::TryAgain,
    };
    Failure::new(exit, error.to_string())
}
