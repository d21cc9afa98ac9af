//! The command that consumes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use central_store::{Database, Fault};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use spillway_protocol::consumer;

use crate::Failure;
use crate::claims::Claims;
use crate::mapping::{Mapping, PATIENT_RECORDS};
use crate::metrics;
use crate::service::{self, Task};
use crate::settings::Settings;
use crate::state::{self, Instance};

/// Redis that does not answer for so long is away.
const REDIS_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which column gets what (TOML); without, the table patient_records.
    #[arg(long, env = "CENTRAL_MAP")]
    map: Option<PathBuf>,
    /// Make the tables that are not there.
    #[arg(long)]
    create_tables: bool,
    /// One at a time per order key; for topics of ordered messages.
    #[arg(long)]
    ordered: bool,
    #[command(flatten)]
    metrics: metrics::Asked,
    /// Most rows of one statement.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    batch: u16,
    /// Tries of a message that fails by its own fault, before it is parked.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    tries: u32,
    /// De-duplicate in this Redis (redis://host:port) as well.
    #[arg(long, env = "CENTRAL_REDIS")]
    redis: Option<String>,
    /// How long Redis remembers an id: longer than the broker keeps a message.
    #[arg(long, default_value = "4d", value_parser = humantime::parse_duration)]
    redis_keep: Duration,
}

/// Consumes until a signal.
pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let settings = Settings::from_env(None)?;
    let store = central_store::Settings::from_env()?;
    let mapping = Arc::new(mapping(&options)?);
    let subscription = settings.only()?.clone();
    let instance = Instance::of(&subscription);
    let claims =
        options.redis.as_deref().map(|url| claims(url, &options, &instance)).transpose()?;
    let database = Database::new(&store);
    tracing::info!(database = ?store, "writing");
    let task = Task {
        feed: settings.feed(&subscription)?,
        namespace: settings.instance().map(str::to_owned),
        subscription,
        mapping: Some(mapping.clone()),
        claims,
        options: consumer::Options {
            ordered: options.ordered,
            charges_max: options.tries,
            ..service::options(&store, 1, options.batch)
        },
    };
    let ready = service::until_ready(|| prepare(database.clone(), &mapping, options.create_tables));
    service::run(database.clone(), vec![task], &options.metrics, ready).await
}

fn mapping(options: &Options) -> Result<Mapping, Failure> {
    let Some(path) = &options.map else { return Ok(Mapping::parse(PATIENT_RECORDS)?) };
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
    Ok(Mapping::parse(&text).map_err(|error| named(&error))?)
}

fn claims(url: &str, options: &Options, instance: &Instance) -> Result<Claims, Failure> {
    let client = redis::Client::open(url)?;
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_connection_timeout(Some(REDIS_PATIENCE))
        .set_response_timeout(Some(REDIS_PATIENCE));
    let redis = ConnectionManager::new_lazy_with_config(client, config)?;
    Ok(Claims::new(redis, &instance.group, instance.name.clone(), options.redis_keep))
}

/// Makes the tables, if wanted, and says what is dangerous about them.
async fn prepare(database: Database, mapping: &Mapping, create: bool) -> Result<(), Fault> {
    if create {
        database.create_tables().await?;
        database.run(&mapping.create()).await?;
    }
    state::check_identity(&database, mapping).await
}
