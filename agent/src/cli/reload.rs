//! `spillway reload`.

use std::time::Duration;

use clap::Args;

use super::exit::finish;
use super::{ControlAt, Exit, Failure, output};
use crate::config;
use crate::control::reload::{Reloaded, Wish};

/// Arguments of `reload`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    at: ControlAt,
    /// Back to the former configuration after this time, such as 10m, unless a record is delivered
    /// before or --keep comes
    #[arg(long, value_name = "TIME", value_parser = config::duration, conflicts_with = "keep")]
    confirm: Option<Duration>,
    /// Keeps the configuration that is on trial; the file is not read
    #[arg(long)]
    keep: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Arguments) -> Exit {
    let (file, json) = (args.at.file.config.display().to_string(), args.json);
    let reloaded = match reload(args).await {
        Ok(reloaded) => reloaded,
        Err(failure) => return failure.report(),
    };
    if reloaded.taken {
        return finish(Ok(if json { output::json(&reloaded) } else { show(&file, &reloaded) }));
    }
    if json {
        output::out(&output::json(&reloaded));
        return Exit::Configuration;
    }
    Failure::new(Exit::Configuration, refused(&reloaded)).report()
}

async fn reload(args: Arguments) -> Result<Reloaded, Failure> {
    let confirm_ms = args.confirm.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let wish = Wish { confirm_ms, keep: args.keep };
    let mut client = args.at.agent().await?;
    let wish = serde_json::to_vec(&wish).unwrap_or_default().into();
    client.post("/v1/reload", "application/json", wish).await?.json()
}

fn refused(reloaded: &Reloaded) -> String {
    let rest = match reloaded.trial_left_s {
        Some(_) => "the configuration on trial stays in force, and on trial",
        None => "what was in force still is",
    };
    format!("{}\n{rest}", reloaded.faults.join("\n"))
}

fn show(file: &str, reloaded: &Reloaded) -> String {
    let Reloaded { warnings, changed, needs_restart, retired, trial_left_s, .. } = reloaded;
    let mut lines: Vec<String> = warnings.iter().map(|line| format!("warning: {line}")).collect();
    lines.push(match changed.as_slice() {
        [] => format!("{file}: in force"),
        changed => format!("{file}: in force; other than before: {}", changed.join(", ")),
    });
    if !needs_restart.is_empty() {
        lines.push(format!("needs a restart: {}", needs_restart.join(", ")));
    }
    if !retired.is_empty() {
        let names = retired.join(", ");
        lines.push(format!("retired, until what waits there has left: {names}"));
    }
    if let Some(left) = trial_left_s {
        lines.push(format!(
            "on trial: the former comes back in {left} s unless a record is delivered before, or \
             spillway reload --keep comes"
        ));
    }
    lines.join("\n") + "\n"
}
