//! Serves each gateway the page of what it is to send again, signed: `[control]` at the centre's
//! side. Where the requests come from is a [`source::Source`].

mod gaps;
mod key;
mod pages;
mod server;
mod source;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use central_store::{Database, Settings};
use clap::{Parser, Subcommand};
use spillway_protocol::control::Sealer;
use tokio::net::TcpListener;

use self::gaps::Gaps;
use self::pages::Pages;
use self::source::{Folder, Source};

/// Tells gateways which records to send again.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a key: the secret goes into a file, the public half to standard output
    Keygen {
        /// The file; one that is there is never overwritten.
        #[arg(long)]
        key: PathBuf,
    },
    /// Prints the public half of a key, for `[control] public_key`
    PublicKey {
        /// The file that keygen wrote.
        #[arg(long)]
        key: PathBuf,
    },
    /// Serves /spillway/GATEWAY.json
    Serve {
        /// The file that keygen wrote.
        #[arg(long)]
        key: PathBuf,
        /// Folder with a file GATEWAY.json for each gateway that is asked for something.
        #[arg(long, required_unless_present = "tables", conflicts_with = "tables")]
        requests: Option<PathBuf>,
        /// Ask for what is missing by the tables of central-store; POLARDB_* say where they are.
        #[arg(long)]
        tables: bool,
        /// Age at which a number is missing, with --tables.
        #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
        grace: Duration,
        /// Period after which the same is asked for once more, with --tables.
        #[arg(long, default_value = "1d", value_parser = humantime::parse_duration)]
        retry: Duration,
        /// Address; put a proxy that speaks TLS before it.
        #[arg(long, default_value = "127.0.0.1:9467")]
        listen: SocketAddr,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("central-control: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Box<dyn std::error::Error>> {
    match command {
        Command::Keygen { key } => println!("{}", key::make(&key)?.public_key()),
        Command::PublicKey { key } => println!("{}", key::load(&key)?.public_key()),
        Command::Serve { key, requests: Some(folder), listen, .. } => {
            serve(Folder::open(folder)?, key::load(&key)?, listen).await?;
        }
        Command::Serve { key, requests: None, listen, grace, retry, .. } => {
            let database = Database::new(&Settings::from_env()?);
            let gaps = Gaps { database, grace_ms: ms(grace), retry_ms: ms(retry) };
            serve(gaps, key::load(&key)?, listen).await?;
        }
    }
    Ok(())
}

async fn serve(source: impl Source, key: Sealer, listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    server::serve(listener, Arc::new(Pages::new(source, key, now_ms()))).await
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
