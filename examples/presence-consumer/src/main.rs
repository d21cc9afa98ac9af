//! Keeps who is online, from gateways' presence events and reports, in Redis or MySQL.
//!
//! README.md tells how it is used. The parts:
//! - [`settings`]: RocketMQ's side of the environment
//! - [`handler`]: messages into facts
//! - [`table`], [`answer`]: facts into a table, and the table into an answer; pure
//! - [`store`]: where the table is kept
//! - [`run`], [`online`]: the commands

mod answer;
mod handler;
mod online;
mod run;
mod settings;
mod store;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Who of the gateways is online.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where the table is kept: redis://host:port or mysql://user:password@host:port/database.
    #[arg(long, env = "PRESENCE_STORE", hide_env_values = true)]
    store: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Consume until SIGTERM or Ctrl-C.
    Run(run::Arguments),
    /// Who is online, and who has fallen silent without a goodbye.
    Online(online::Arguments),
}

/// Whatever keeps a command from doing its work.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// sysexits' EX_CONFIG: a setting is wrong.
const CONFIGURATION: u8 = 78;
/// sysexits' EX_UNAVAILABLE.
const UNAVAILABLE: u8 = 69;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    obey(Arguments::parse()).await.unwrap_or_else(|failure| {
        eprintln!("presence-consumer: {failure}");
        match failure.downcast_ref::<store::StoreError>() {
            None | Some(store::StoreError::Url(_)) => CONFIGURATION.into(),
            Some(_) => UNAVAILABLE.into(),
        }
    })
}

async fn obey(arguments: Arguments) -> Result<ExitCode, Failure> {
    let store = store::open(&arguments.store)?;
    match arguments.command {
        Command::Run(arguments) => run::run(arguments, store).await,
        Command::Online(arguments) => online::run(arguments, store).await,
    }
}
