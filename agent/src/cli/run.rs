//! `spillway run`: the agent.

use std::io::ErrorKind;
use std::sync::Arc;

use clap::Args;

use super::signal::Stop;
use super::unbuilt::refuse;
use super::{ConfigFile, Exit, Failure, load};
use crate::app::{Agent, StartError};
use crate::clock::SystemClock;
use crate::intake::socket::BindError;
use crate::queue::OpenError;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    file: ConfigFile,
    #[arg(long, hide = true)]
    resilient: bool,
}

pub(super) async fn run(args: Run) -> Exit {
    if args.resilient {
        return refuse("run --resilient", "check the configuration before each start");
    }
    let stop = Stop::listen();
    match start(&args).await {
        Ok(agent) => {
            let exit = tokio::select! {
                biased;
                () = stop.told() => Exit::Done,
                () = agent.failed() => Exit::TryAgain,
            };
            tracing::info!("stopping: what is under way finishes, then the queue is synced");
            agent.stop().await;
            tracing::info!("stopped");
            exit
        }
        Err(failure) => failure.report(),
    }
}

async fn start(args: &Run) -> Result<Agent, Failure> {
    let config = load(&args.file.config)?;
    let file = args.file.config.display().to_string();
    let (gateway, socket) = (config.gateway.id.clone(), config.listen.socket.clone());
    let agent = Agent::start(config, file, Arc::new(SystemClock)).await.map_err(failure)?;
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
        StartError::Socket(BindError::NotASocket { .. } | BindError::NoFolder { .. }) => {
            Exit::Configuration
        }
        StartError::Queue(_)
        | StartError::Socket(_)
        | StartError::Front(_)
        | StartError::Admin(_) => Exit::TryAgain,
    };
    Failure::new(exit, error.to_string())
}
