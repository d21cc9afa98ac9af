//! What a running consumer says of itself, in `sw_consumers`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use central_store::{Database, Fault};
use mysql_async::prelude::Queryable;
use spillway_protocol::consumer::{Status, Subscription};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::mapping::Mapping;
use crate::metrics::Counts;

/// Between two words.
pub(crate) const EVERY: Duration = Duration::from_secs(2);
/// Longest reason.
const REASON: usize = 240;
/// Rows of consumers that are gone are kept so long.
const GONE: &str = "DELETE FROM sw_consumers WHERE at < CURRENT_TIMESTAMP - INTERVAL 7 DAY";
const TELL: &str = "REPLACE INTO sw_consumers \
    (topic, consumer_group, instance, state, received, done, in_hand, newest_ms) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)";

/// Who speaks.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) topic: String,
    pub(crate) group: String,
    /// Host and process.
    pub(crate) name: String,
}

impl Instance {
    pub(crate) fn of(subscription: &Subscription) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = format!("{}:{}", host.trim(), std::process::id());
        Self { topic: subscription.topic.clone(), group: subscription.group.clone(), name }
    }
}

/// Tells and logs until the consumer has ended.
pub(crate) async fn tell(
    database: Database,
    instance: Instance,
    mut status: watch::Receiver<Status>,
    newest_ms: Arc<AtomicU64>,
) {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut troubles = [None, None];
    // An old row is no harm.
    let _ = timeout(EVERY, database.run(GONE)).await;
    loop {
        let ended = tokio::select! {
            biased;
            changed = status.changed() => changed.is_err(),
            _ = every.tick() => {
                write(&database, &instance, &status, &newest_ms, false).await;
                false
            }
        };
        log(&status.borrow(), &mut troubles);
        if ended {
            return write(&database, &instance, &status, &newest_ms, true).await;
        }
    }
}

/// Passes on what the consumer says, and counts how often it loses database and broker.
pub(crate) async fn count(
    mut status: watch::Receiver<Status>,
    told: watch::Sender<Status>,
    counts: Arc<Counts>,
) {
    let mut away = [false; 2];
    while status.changed().await.is_ok() {
        let status = status.borrow_and_update().clone();
        let now = [status.away_reason.is_some(), status.link_reason.is_some()];
        (0..2).filter(|what| now[*what] && !away[*what]).for_each(|what| counts.lost(what));
        away = now;
        told.send_replace(status);
    }
}

/// A trouble that comes or goes is logged once.
fn log(status: &Status, troubles: &mut [Option<String>; 2]) {
    let now = [("database", &status.away_reason), ("broker", &status.link_reason)];
    for ((what, reason), known) in now.into_iter().zip(troubles) {
        match (reason, known.is_some()) {
            (Some(reason), false) => tracing::warn!(reason, "the {what} is away"),
            (None, true) => tracing::info!("the {what} is back"),
            _ => {}
        }
        known.clone_from(reason);
    }
}

async fn write(
    database: &Database,
    instance: &Instance,
    status: &watch::Receiver<Status>,
    newest_ms: &AtomicU64,
    ended: bool,
) {
    let status = status.borrow().clone();
    let state = match (&status.away_reason, &status.link_reason) {
        _ if ended => "stopped".to_owned(),
        (Some(reason), _) | (_, Some(reason)) => reason.chars().take(REASON).collect(),
        _ => "running".to_owned(),
    };
    let newest = Some(newest_ms.load(Ordering::Relaxed)).filter(|newest| *newest > 0);
    let who = (&instance.topic, &instance.group, &instance.name);
    let counts = (status.received, status.done, status.in_hand as u64, newest);
    let values = (who.0, who.1, who.2, state, counts.0, counts.1, counts.2, counts.3);
    let told = async {
        let told: Result<(), Fault> =
            Ok(database.connection().await?.exec_drop(TELL, values).await?);
        told
    };
    match timeout(EVERY, told).await {
        Ok(Ok(())) => {}
        // The handler meets the same, and says so.
        failed => tracing::debug!(?failed, "the state could not be told"),
    }
}

/// Warns where the database would take two ids for one, or two rows for two.
pub(crate) async fn check_identity(database: &Database, mapping: &Mapping) -> Result<(), Fault> {
    let mut connection = database.connection().await?;
    let select = "SELECT column_name, collation_name FROM information_schema.columns \
                  WHERE table_schema = DATABASE() AND table_name = ?";
    let columns: Vec<(String, Option<String>)> =
        connection.exec(select, (mapping.table(),)).await?;
    let blurred = columns.into_iter().filter_map(|(name, collation)| Some((name, collation?)));
    for (column, collation) in blurred.filter(|(_, collation)| !collation.ends_with("_bin")) {
        if mapping.identity().contains(&column) {
            tracing::warn!(
                column,
                collation,
                "ids that differ only in case or accents count as one; give it a collation in _bin"
            );
        }
    }
    let select = "SELECT CAST(COUNT(*) AS UNSIGNED) FROM information_schema.statistics \
                  WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ? \
                  AND non_unique = 0";
    for column in mapping.identity() {
        let unique: Option<u64> = connection.exec_first(select, (mapping.table(), column)).await?;
        if unique == Some(0) {
            tracing::warn!(column, "it is in no unique key: repeats become rows of their own");
        }
    }
    Ok(())
}
