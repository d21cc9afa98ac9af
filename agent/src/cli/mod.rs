//! The commands: arguments in, exit code out.

mod admin;
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
mod support;
mod tail;
mod top;
mod upgrade;
mod verify;
mod why;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

pub use exit::{Exit, Failure};

use crate::app;
use crate::config::{self, Listen, Surroundings};
use crate::logs;
use crate::queue::Keys;
use crate::service::Workers;

/// Where the configuration is, unless `--config` says otherwise.
const CONFIG: &str = "/etc/spillway/spillway.toml";

/// Heading of the options that say which agent or configuration is meant.
const WHERE: &str = "Where";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "spillway",
    version,
    about = "Takes records in, keeps them on disk, and sends them to RocketMQ when the link allows",
    after_help = "Exit codes: 0 done, 1 not well (status --check, queue verify, demo), 2 usage, 65 refused for good, 69 agent unreachable, \
                  75 try again, 77 permission, 78 configuration"
)]
pub struct Cli {
    /// human or json [default: SPILLWAY_LOG_FORMAT, then human]
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        hide_possible_values = true,
        help_heading = "Log"
    )]
    log: Option<logs::Format>,
    /// error, warn, info, debug or trace, or a filter [default: RUST_LOG, then info for run, else warn]
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Log")]
    log_level: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the whole story on one machine: broker, agent, an outage, the reconnect, an audit
    Demo(demo::Demo),
    /// Runs the agent
    Run(run::Run),
    /// Says whether a configuration is valid, and what would make it so
    Check(check::Check),
    /// Hands over a record, or one for each line
    Send(send::Send),
    /// Shows counts, link, holds, rates, oldest record, disk
    Status(status::Status),
    /// Shows what status does, live on a terminal
    Top(top::Top),
    /// Shows what happens to records, as it happens
    Tail(tail::Tail),
    /// Says in one sentence why something has not left, and what would help
    Why(why::Arguments),
    /// Where the status page is
    #[command(subcommand)]
    Admin(admin::Admin),
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
    /// Runs a broker for development, on this machine only
    Broker(broker::Broker),
    /// Gathers what support asks for first, in one file, without secrets and contents
    SupportBundle(support::Arguments),
}

impl Cli {
    /// What is logged, where `RUST_LOG` does not say it: what an agent does by itself, but not what a
    /// command that somebody waits for does.
    fn level(&self) -> Option<&str> {
        let lasts = matches!(self.command, Command::Run(_) | Command::Broker(_));
        let silent = !lasts && std::env::var_os("RUST_LOG").is_none();
        self.log_level.as_deref().or(silent.then_some("warn"))
    }

    /// Runs the command to its end. `workers` are those of the runtime that runs it.
    pub async fn run(self, workers: Workers) -> Exit {
        let format = self.log.unwrap_or_else(logs::Format::of_environment);
        if let Err(error) = logs::start(format, self.level()) {
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
            Command::Tail(args) => tail::run(args).await,
            Command::Admin(args) => admin::run(args).await,
            Command::Why(args) => why::run(args).await,
            Command::Resend(args) => resend::run(args).await,
            Command::Reload(args) => reload::run(args).await,
            Command::Upgrade(args) => upgrade::run(args).await,
            Command::Plan(args) => plan::run(&args),
            Command::SupportBundle(args) => support::run(args).await,
        }
    }
}

/// Which configuration.
#[derive(Debug, Clone, Args)]
struct ConfigFile {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = CONFIG, help_heading = WHERE)]
    config: PathBuf,
}

impl ConfigFile {
    /// What the configuration says of sockets, as far as this user can read it.
    fn listen(&self) -> Listen {
        config::listen(&self.config, &Surroundings::of_process())
    }

    /// `gone` with what kept the configuration from saying where the agent is. Without the default
    /// file the default socket is as good as any.
    fn doubted(&self, gone: Failure) -> Failure {
        let unreadable = config::unreadable(&self.config).or_else(|| {
            let fault = config::socket_fault(&self.config, &Surroundings::of_process())?;
            Some(config::Unreadable { fault, why: ErrorKind::InvalidData })
        });
        let Some(unreadable) = unreadable.filter(|_| gone.exit == Exit::Unreachable) else {
            return gone;
        };
        let exit = match unreadable.why {
            ErrorKind::NotFound if self.config == Path::new(CONFIG) => return gone,
            ErrorKind::PermissionDenied => Exit::NotPermitted,
            _ => Exit::Configuration,
        };
        Failure::new(
            exit,
            format!("{}\nso the default socket was tried: {}", unreadable.fault, gone.message),
        )
    }
}

/// Which agent, by its intake socket.
#[derive(Debug, Args)]
struct IntakeAt {
    #[command(flatten)]
    file: ConfigFile,
    /// The agent's socket [default: the configuration's]
    #[arg(long, value_name = "PATH", help_heading = WHERE)]
    socket: Option<PathBuf>,
}

impl IntakeAt {
    async fn connect(&self) -> Result<client::Client, Failure> {
        if let Some(socket) = &self.socket {
            return client::Client::connect(socket, "--socket").await;
        }
        let connected = client::Client::connect(&self.file.listen().socket, "--socket").await;
        connected.map_err(|gone| self.file.doubted(gone))
    }
}

/// Which agent, by its control socket.
#[derive(Debug, Args)]
struct ControlAt {
    #[command(flatten)]
    file: ConfigFile,
    /// The agent's control socket [default: the configuration's]
    #[arg(long, value_name = "PATH", help_heading = WHERE)]
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
        if let Some(socket) = &self.control {
            return client::Client::connect(socket, "--control").await;
        }
        let connected = client::Client::connect(&self.file.listen().control, "--control").await;
        connected.map_err(|gone| self.file.doubted(gone))
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

/// A configuration that cannot be used: for its faults, or since this user may not read it.
fn refused(error: &config::ConfigError) -> Failure {
    let why = config::unreadable(&error.file).map(|unreadable| unreadable.why);
    let exit = match why {
        Some(ErrorKind::PermissionDenied) => Exit::NotPermitted,
        _ => Exit::Configuration,
    };
    Failure::new(exit, error.to_string())
}

/// Reads a whole configuration; warnings go to standard error, faults become the failure.
fn load(file: &Path) -> Result<config::Config, Failure> {
    let loaded = config::load(file, &Surroundings::of_process());
    let (config, warnings) = loaded.map_err(|error| refused(&error))?;
    for warning in warnings {
        output::err(&format!("warning: {warning}\n"));
    }
    Ok(config)
}
