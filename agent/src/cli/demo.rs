//! `spillway demo`.

use clap::Args;

use super::{Exit, Failure};

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct Demo {}

/// PLACEHOLDER: broker, agent and sample app are wired here.
pub(super) async fn run(_args: Demo) -> Exit {
    Failure::new(Exit::Usage, "demo is not wired yet").report()
}
