//! Commands and options that the contract names and this version does not have yet. They say so,
//! rather than look like a mistyped word.

use clap::Args;

use super::{Exit, Failure};

/// Whatever stands behind such a command.
#[derive(Debug, Args)]
pub(super) struct Unbuilt {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    _rest: Vec<String>,
}

/// Says that `what` is not built yet, and what serves until then.
pub(super) fn refuse(what: &str, instead: &str) -> Exit {
    let message = format!("spillway {what} is not built yet in this version; {instead}");
    Failure::new(Exit::Usage, message).report()
}
