//! Writes what gateways sent into MySQL or MariaDB, each record once, and says what is missing.
//!
//! README.md tells how it is used. The parts:
//! - [`settings`]: RocketMQ's side of the environment
//! - [`mapping`]: which column gets what
//! - [`handler`], [`batch`]: messages into transactions
//! - [`parked`]: what cannot be stored
//! - [`claims`]: de-duplication in Redis
//! - [`run`], [`auditor`]: the commands that consume; [`service`], [`state`]: their work, and what they say of
//!   themselves
//! - [`metrics`]: what Prometheus reads
//! - [`cloned`]: two machines of one id
//! - [`status`], [`audit`], [`explain`]: the commands that tell

mod audit;
mod auditor;
mod batch;
mod claims;
mod cloned;
mod explain;
mod handler;
mod mapping;
mod metrics;
mod parked;
mod run;
mod service;
mod settings;
mod state;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Consumer of gateways' records into MySQL, MariaDB or PolarDB.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Consume until SIGTERM or Ctrl-C.
    Run(run::Options),
    /// Consume topics that nobody else consumes, and note only what arrived, until SIGTERM or Ctrl-C.
    Auditor(auditor::Options),
    /// Consumers, what is behind, and what is parked.
    Status(status::Options),
    /// Per gateway, lane and day: accepted = stored + explained, or what is missing. Exit code 1 if
    /// anything is, or if two machines share a gateway's id.
    Audit(audit::Options),
    /// Note that numbers will not come, and why, so that an audit does not ask for them again.
    Explain(explain::Options),
}

/// Whatever keeps a command from doing its work.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// sysexits' EX_CONFIG: a setting or file is wrong.
const CONFIGURATION: u8 = 78;
/// sysexits' EX_UNAVAILABLE.
const UNAVAILABLE: u8 = 69;
/// What shells say of a process that SIGPIPE ended.
const BROKEN_PIPE: u8 = 141;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let done = match Arguments::parse().command {
        Command::Run(options) => run::run(options).await,
        Command::Auditor(options) => auditor::run(options).await,
        Command::Status(options) => status::run(options).await,
        Command::Audit(options) => audit::run(options).await,
        Command::Explain(options) => explain::run(options).await,
    };
    done.unwrap_or_else(|failure| {
        let error = failure.downcast_ref::<std::io::Error>();
        if error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
            // Whoever read the output has seen enough; as if SIGPIPE had ended it.
            return BROKEN_PIPE.into();
        }
        eprintln!("central-consumer: {failure}");
        match failure.downcast_ref::<central_store::Fault>() {
            Some(_) => UNAVAILABLE.into(),
            None => CONFIGURATION.into(),
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_commands_fit_together() {
        super::Arguments::command().debug_assert();
    }
}
