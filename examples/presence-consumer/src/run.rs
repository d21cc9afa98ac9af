//! The command that consumes.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use spillway_protocol::consumer::{Consumer, Feed, Options, Stop, SystemClock, WallClock};
use tokio::time::sleep;

use crate::Failure;
use crate::handler::{Keeper, Kind};
use crate::settings::Settings;
use crate::store::Store;

/// Between two looks for channels that can be forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Between two tries of the first statement.
const FIRST_TRY_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long a closed channel is remembered. A `connect` that comes later than this after its
    /// `tcpclean` (or is repeated so late) brings the channel back to life, until the lease ends.
    #[arg(long, default_value = "30m", value_parser = humantime::parse_duration)]
    keep_closed: Duration,
}

/// Consumes until a signal.
pub(crate) async fn run(arguments: Arguments, store: Box<dyn Store>) -> Result<ExitCode, Failure> {
    let settings = Settings::from_env()?;
    let store: Arc<dyn Store> = store.into();
    let feeds =
        settings.subscriptions.iter().map(|(kind, topic)| Ok((*kind, settings.feed(topic)?)));
    let feeds = feeds.collect::<Result<Vec<_>, Failure>>()?;
    let stop = Stop::on_signal()?;
    tokio::select! {
        biased;
        () = stop.clone().asked() => return Ok(ExitCode::SUCCESS),
        () = until_ready(&*store) => {}
    }
    tracing::info!(topics = ?settings.subscriptions, "consuming");
    let forgetting = tokio::spawn(forget(store.clone(), arguments.keep_closed));
    let consumers = feeds.into_iter().map(|(kind, feed)| consume(kind, feed, &store, stop.clone()));
    join_all(consumers).await;
    forgetting.abort();
    Ok(ExitCode::SUCCESS)
}

async fn consume(kind: Kind, feed: Arc<dyn Feed>, store: &Arc<dyn Store>, stop: Stop) {
    let keeper = Keeper { kind, store: store.clone() };
    let last = Consumer::new(feed.clone(), keeper, Options::default()).run(stop.asked()).await;
    feed.close().await;
    tracing::info!(?kind, ?last, "stopped");
}

/// Waits for the store.
async fn until_ready(store: &dyn Store) {
    while let Err(error) = store.prepare().await {
        tracing::warn!(%error, "not ready yet");
        sleep(FIRST_TRY_EVERY).await;
    }
}

async fn forget(store: Arc<dyn Store>, keep: Duration) {
    let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
    loop {
        match store.forget(SystemClock.now_ms().saturating_sub(keep_ms)).await {
            Ok(channels) => tracing::debug!(channels, "forgotten"),
            Err(error) => tracing::warn!(%error, "closed channels are kept"),
        }
        sleep(FORGET_EVERY).await;
    }
}
