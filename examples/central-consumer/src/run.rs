//! The command that consumes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use central_store::compaction::Compactor;
use central_store::{Database, Fault, Lanes};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use spillway_protocol::consumer::otlp::{self, Exporter, Traced};
use spillway_protocol::consumer::{self, Consumer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::Failure;
use crate::batch::Writer;
use crate::claims::Claims;
use crate::handler::Central;
use crate::mapping::{Mapping, PATIENT_RECORDS};
use crate::settings::Settings;
use crate::state::{self, Instance};

/// Between two passes over the ranges.
const COMPACT_EVERY: Duration = Duration::from_secs(10);
/// Between two tries of the first statement.
const FIRST_TRY_EVERY: Duration = Duration::from_secs(2);
/// What the last spans may take at the end.
const FLUSH: Duration = Duration::from_secs(3);
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
    let settings = Settings::from_env()?;
    let store = central_store::Settings::from_env()?;
    let mapping = mapping(&options)?;
    let feed = settings.feed()?;
    let database = Database::new(&store);
    let instance = Instance::of(&settings.subscription);
    let claims =
        options.redis.as_deref().map(|url| claims(url, &options, &instance)).transpose()?;
    let spans = otlp::Settings::read(|name| std::env::var(name).ok())?;
    let exporter = spans.as_ref().map(Exporter::start).transpose()?;
    let stop = stop_signal()?;
    tokio::select! {
        biased;
        () = asked(stop.clone()) => return Ok(ExitCode::SUCCESS),
        () = until_ready(&database, &mapping, options.create_tables) => {}
    }
    let handlers = store.pool.saturating_sub(2).max(1);
    let writer = Writer { database: database.clone(), lanes: Lanes::default(), mapping };
    let newest_ms = Arc::new(AtomicU64::new(0));
    let group = settings.subscription.group.clone();
    let handler = Central { writer, claims, group, newest_ms: newest_ms.clone() };
    let handler = traced(handler, exporter.as_ref(), &settings);
    tracing::info!(database = ?store, subscription = ?settings.subscription, "consuming");
    let consumer = Consumer::new(feed.clone(), handler, consumer_options(&options, handlers));
    let watched = consumer.status();
    let telling = tokio::spawn(state::tell(database.clone(), instance, watched, newest_ms));
    let compacting = tokio::spawn(compact(database.clone()));
    let last = consumer.run(asked(stop)).await;
    // Its last word is that it has stopped.
    telling.await?;
    compacting.abort();
    feed.close().await;
    database.close().await;
    if let Some(exporter) = exporter {
        tracing::info!(spans = ?exporter.stop(FLUSH).await, "no more spans");
    }
    tracing::info!(?last, "stopped");
    Ok(ExitCode::SUCCESS)
}

fn traced(handler: Central, exporter: Option<&Exporter>, settings: &Settings) -> Traced<Central> {
    let traced = Traced::new(handler, exporter).group(&settings.subscription.group);
    match settings.instance() {
        Some(instance) => traced.namespace(instance),
        None => traced,
    }
}

fn consumer_options(options: &Options, handlers: usize) -> consumer::Options {
    let batch_max = usize::from(options.batch);
    consumer::Options {
        handlers,
        batch_max,
        unacked_max: batch_max * handlers,
        ordered: options.ordered,
        charges_max: options.tries,
        ..consumer::Options::default()
    }
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

/// Waits for the database, makes its tables, and says what is dangerous about them.
async fn until_ready(database: &Database, mapping: &Mapping, create: bool) {
    loop {
        match prepare(database, mapping, create).await {
            Ok(()) => return,
            Err(fault) => tracing::warn!(%fault, "not ready yet"),
        }
        sleep(FIRST_TRY_EVERY).await;
    }
}

async fn prepare(database: &Database, mapping: &Mapping, create: bool) -> Result<(), Fault> {
    if create {
        database.create_tables().await?;
        database.run(&mapping.create()).await?;
    }
    state::check_identity(database, mapping).await
}

async fn compact(database: Database) {
    let mut compactor = Compactor::new(database);
    loop {
        sleep(COMPACT_EVERY).await;
        match compactor.pass().await {
            Ok(saved) => tracing::debug!(saved, "ranges joined"),
            Err(fault) => tracing::debug!(%fault, "ranges are left as they are"),
        }
    }
}

fn stop_signal() -> Result<watch::Receiver<bool>, Failure> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (stop, asked) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: what is in hand is finished");
        stop.send_replace(true);
        // Receivers see the end of the channel as well.
    });
    Ok(asked)
}

async fn asked(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which it is only after a signal.
    let _ = stop.wait_for(|asked| *asked).await;
}
