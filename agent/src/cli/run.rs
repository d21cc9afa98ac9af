//! `spillway run`.

use clap::Args;

use super::{ConfigFile, Exit, Failure, load};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    file: ConfigFile,
}

/// PLACEHOLDER: the agent is wired here.
pub(super) async fn run(args: Run) -> Exit {
    match load(&args.file.config) {
        Ok(_config) => Failure::new(Exit::Usage, "run is not wired yet").report(),
        Err(failure) => failure.report(),
    }
}
