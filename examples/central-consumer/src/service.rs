//! Consumes topics into one database until a signal.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use central_store::compaction::Compactor;
use central_store::{Database, Fault, Lanes};
use spillway_protocol::consumer::otlp::{self, Exporter, Traced};
use spillway_protocol::consumer::{Consumer, Feed, Options, Status, Stop, Subscription};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Failure;
use crate::batch::Writer;
use crate::claims::Claims;
use crate::handler::Central;
use crate::mapping::Mapping;
use crate::metrics::{self, Counts, Metrics};
use crate::state::{self, Instance};

/// Between two passes over the ranges.
const COMPACT_EVERY: Duration = Duration::from_secs(10);
/// What the last spans may take at the end.
const FLUSH: Duration = Duration::from_secs(3);
/// Between two tries of the first statement.
const FIRST_TRY_EVERY: Duration = Duration::from_secs(2);

/// Messages of one receipt over the MQ HTTP API.
const RECEIVED: usize = 16;

/// One topic.
pub(crate) struct Task {
    pub(crate) feed: Arc<dyn Feed>,
    pub(crate) subscription: Subscription,
    /// Instance or namespace, for spans.
    pub(crate) namespace: Option<String>,
    /// None: nothing but what arrived is noted.
    pub(crate) mapping: Option<Arc<Mapping>>,
    pub(crate) claims: Option<Claims>,
    pub(crate) options: Options,
}

/// Works at all tasks, once `ready` is done, until a signal; then finishes what is in hand.
pub(crate) async fn run(
    database: Database,
    tasks: Vec<Task>,
    metrics: &metrics::Asked,
    ready: impl Future<Output = ()>,
) -> Result<ExitCode, Failure> {
    let spans = otlp::Settings::read(|name| std::env::var(name).ok())?;
    let exporter = spans.as_ref().map(Exporter::start).transpose()?.map(Arc::new);
    let stop = Stop::on_signal()?;
    let topic = |task: &Task| {
        let (sender, receiver) = watch::channel(Status::default());
        (Arc::new(Counts::new(&task.subscription.topic, receiver)), sender)
    };
    let topics: Vec<_> = tasks.iter().map(topic).collect();
    let counts = topics.iter().map(|(counts, _)| counts.clone()).collect();
    // Before the database is there: that it is away is to be seen, too.
    let _metrics = Metrics::start(metrics, counts, &database).await?;
    tokio::select! {
        biased;
        () = stop.clone().asked() => return Ok(ExitCode::SUCCESS),
        () = ready => {}
    }
    let mut running = JoinSet::new();
    for (task, topic) in tasks.into_iter().zip(topics) {
        running.spawn(consume(database.clone(), task, topic, exporter.clone(), stop.clone()));
    }
    let compacting = tokio::spawn(compact(database.clone()));
    while let Some(ended) = running.join_next().await {
        ended?;
    }
    compacting.abort();
    database.close().await;
    if let Some(exporter) = exporter.and_then(Arc::into_inner) {
        tracing::info!(spans = ?exporter.stop(FLUSH).await, "no more spans");
    }
    Ok(ExitCode::SUCCESS)
}

async fn consume(
    database: Database,
    task: Task,
    (counts, told): (Arc<Counts>, watch::Sender<Status>),
    exporter: Option<Arc<Exporter>>,
    stop: Stop,
) {
    let Task { feed, subscription, namespace, mapping, claims, options } = task;
    tracing::info!(?subscription, "consuming");
    let writer = Writer { database: database.clone(), lanes: Lanes::default(), mapping };
    let newest_ms = Arc::new(AtomicU64::new(0));
    let group = subscription.group.clone();
    let handler =
        Central { writer, claims, group, newest_ms: newest_ms.clone(), counts: counts.clone() };
    let mut handler = Traced::new(handler, exporter.as_deref()).group(&subscription.group);
    if let Some(namespace) = namespace {
        handler = handler.namespace(namespace);
    }
    let consumer = Consumer::new(feed.clone(), handler, options);
    let telling = state::tell(database, Instance::of(&subscription), consumer.status(), newest_ms);
    let counting = state::count(consumer.status(), told, counts);
    // Its last word is that it has stopped.
    let (last, (), ()) = tokio::join!(consumer.run(stop.asked()), telling, counting);
    feed.close().await;
    tracing::info!(topic = subscription.topic, ?last, "stopped");
}

/// Workers of a batch each: the pool less what tells and joins.
pub(crate) fn options(store: &central_store::Settings, topics: usize, batch: u16) -> Options {
    let handlers = (store.pool.saturating_sub(2) / topics.max(1)).max(1);
    let batch_max = usize::from(batch);
    // Also with small batches a whole receipt for each worker, so that they need not wait for one.
    let unacked_max = batch_max.max(RECEIVED) * handlers;
    Options { handlers, batch_max, unacked_max, ..Options::default() }
}

/// Waits until the database is there and as it should be.
pub(crate) async fn until_ready<F>(prepare: impl Fn() -> F)
where
    F: Future<Output = Result<(), Fault>>,
{
    while let Err(fault) = prepare().await {
        tracing::warn!(%fault, "not ready yet");
        sleep(FIRST_TRY_EVERY).await;
    }
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
