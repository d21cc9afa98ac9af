//! The commands: arguments in, exit code out.

mod broker;
mod check;
mod client;
mod dead;
mod demo;
mod doctor;
mod exit;
mod export;
mod human;
mod offline;
mod output;
mod plan;
mod queue;
mod records;
mod reload;
mod resend;
mod run;
mod send;
mod signal;
mod status;
mod top;
mod unbuilt;
mod upgrade;
mod verify;
mod why;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

pub use exit::{Exit, Failure};
use unbuilt::{Unbuilt, refuse};

use crate::app;
use crate::config::{self, Listen, Surroundings};
use crate::logs;
use crate::queue::Keys;
use crate::service::Workers;

/// Where the configuration is, unless `--config` says otherwise.
const CONFIG: &str = "/etc/spillway/spillway.toml";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "spillway",
    version,
    about = "Takes records in, keeps them on disk, and sends them to RocketMQ when the link allows",
    after_help = "Exit codes: 0 done, 1 not well (status --check, demo), 2 usage, 65 refused for good, 69 agent unreachable, \
                  75 try again, 77 permission, 78 configuration"
)]
pub struct Cli {
    /// How log lines are written [default: SPILLWAY_LOG_FORMAT, then human]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log: Option<logs::Format>,
    /// error, warn, info, debug or trace, or a filter [default: RUST_LOG, then info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole story on one machine: broker, agent, an outage, the reconnect
    Demo(demo::Demo),
    /// The agent
    Run(run::Run),
    /// Says whether a configuration is valid, and what would make it so
    Check(check::Check),
    /// Hands over a record, or one for each line
    Send(send::Send),
    /// Counts, link, holds, rates, oldest record, disk
    Status(status::Status),
    /// The same, live, on a terminal
    Top(top::Top),
    /// Says in one sentence why something has not left, and what would help
    Why(why::Arguments),
    /// Looks into the queue
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Looks into the dead letters, sends them again or gives them up
    #[command(subcommand)]
    Dead(dead::Dead),
    /// Sends delivered records again, where the configuration keeps them
    Resend(resend::Arguments),
    /// Takes the configuration's file as it is now, for good or on trial
    Reload(reload::Arguments),
    /// Shows what the data folder is written at, and raises it for good
    Upgrade(upgrade::Arguments),
    /// Sizes a fleet: what it takes to return after an outage
    Plan(plan::Arguments),
    /// Embedded broker for development
    Broker(broker::Broker),
    #[command(hide = true)]
    SupportBundle(Unbuilt),
}

impl Cli {
    /// Runs the command to its end. `workers` are those of the runtime that runs it.
    pub async fn run(self, workers: Workers) -> Exit {
        let format = self.log.unwrap_or_else(logs::Format::of_environment);
        if let Err(error) = logs::start(format, self.log_level.as_deref()) {
            return Failure::new(Exit::Usage, error.to_string()).report();
        }
        match self.command {
            Command::Demo(args) => demo::run(args).await,
            Command::Run(args) => run::run(args, &workers).await,
            Command::Check(args) => check::run(args).await,
            Command::Send(args) => send::run(args).await,
            Command::Status(args) => status::run(args).await,
            Command::Queue(args) => queue::run(args).await,
            Command::Dead(args) => dead::run(args).await,
            Command::Broker(args) => broker::run(args).await,
            Command::Top(args) => top::run(args).await,
            Command::Why(args) => why::run(args).await,
            Command::Resend(args) => resend::run(args).await,
            Command::Reload(args) => reload::run(args).await,
            Command::Upgrade(args) => upgrade::run(args).await,
            Command::Plan(args) => plan::run(&args),
            Command::SupportBundle(_) => {
                refuse("support-bundle", "send spillway status --json and the log")
            }
        }
    }
}

/// Which configuration.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

impl ConfigFile {
    /// What the configuration says of sockets, as far as this user can read it.
    fn listen(&self) -> Listen {
        config::listen(&self.config, &Surroundings::of_process())
    }
}

/// Which agent, by its intake socket.
#[derive(Debug, Args)]
struct IntakeAt {
    #[command(flatten)]
    file: ConfigFile,
    /// The agent's socket [default: the configuration's]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl IntakeAt {
    async fn connect(&self) -> Result<client::Client, Failure> {
        let socket = self.socket.clone().unwrap_or_else(|| self.file.listen().socket);
        client::Client::connect(&socket, "--socket").await
    }
}

/// Which agent, by its control socket.
#[derive(Debug, Args)]
struct ControlAt {
    #[command(flatten)]
    file: ConfigFile,
    /// The agent's control socket [default: the configuration's]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

impl ControlAt {
    /// Connects to look only: where no agent runs, nothing is written.
    async fn look(&self) -> Result<client::Client, Failure> {
        match self.agent().await {
            Err(gone) if self.is_stopped(&gone) => offline::look(&self.file.config, gone).await,
            connected => connected,
        }
    }

    async fn connect(&self) -> Result<client::Client, Failure> {
        self.connect_by(app::open_queue).await
    }

    /// The same; of a stopped agent the queue is opened by `open`.
    async fn connect_by(&self, open: offline::Opening) -> Result<client::Client, Failure> {
        match self.agent().await {
            Err(gone) if self.is_stopped(&gone) => {
                offline::connect(&self.file.config, gone, open).await
            }
            connected => connected,
        }
    }

    async fn agent(&self) -> Result<client::Client, Failure> {
        let socket = self.control.clone().unwrap_or_else(|| self.file.listen().control);
        client::Client::connect(&socket, "--control").await
    }

    /// The keys of the configuration, if this user may read it: what is not sealed needs none.
    fn keys(&self) -> Keys {
        let loaded = config::load(&self.file.config, &Surroundings::of_process());
        loaded.map(|(config, _)| app::keys(&config.gateway)).unwrap_or_default()
    }

    fn is_stopped(&self, gone: &Failure) -> bool {
        gone.exit == Exit::Unreachable && self.control.is_none()
    }
}

/// Reads a whole configuration; warnings go to standard error, faults become the failure.
fn load(file: &Path) -> Result<config::Config, Failure> {
    let loaded = config::load(file, &Surroundings::of_process());
    let (config, warnings) =
        loaded.map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
    for warning in warnings {
        output::err(&format!("warning: {warning}\n"));
    }
    Ok(config)
}
