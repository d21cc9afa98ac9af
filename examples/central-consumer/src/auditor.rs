//! The command that notes what arrived in topics that nobody consumes.
//!
//! It writes what a consumer writes beside the data, and no data. Numbers are a set, so topics that
//! somebody consumes into the same database after all are not counted twice; but then the audit
//! cannot tell what reached RocketMQ from what reached the table, so it warns.

use std::process::ExitCode;

use central_store::{Database, Fault};
use mysql_async::prelude::Queryable;
use spillway_protocol::consumer::Subscription;

use crate::Failure;
use crate::metrics;
use crate::service::{self, Task};
use crate::settings::Settings;

/// Unless `ROCKETMQ_GROUP_ID` names another.
const GROUP: &str = "central-auditor";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Make the tables that are not there.
    #[arg(long)]
    create_tables: bool,
    #[command(flatten)]
    metrics: metrics::Asked,
    /// Most messages of one transaction.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    batch: u16,
}

/// Notes until a signal.
pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let settings = Settings::from_env(Some(GROUP))?;
    let store = central_store::Settings::from_env()?;
    let topics = settings.whole()?;
    let task = |subscription: &Subscription| -> Result<Task, Failure> {
        Ok(Task {
            feed: settings.feed(subscription)?,
            subscription: subscription.clone(),
            namespace: settings.instance().map(str::to_owned),
            mapping: None,
            claims: None,
            options: service::options(&store, topics.len(), options.batch),
        })
    };
    let tasks = topics.iter().map(task).collect::<Result<_, _>>()?;
    let database = Database::new(&store);
    tracing::info!(database = ?store, "noting");
    let ready = service::until_ready(|| prepare(database.clone(), topics, options.create_tables));
    service::run(database.clone(), tasks, &options.metrics, ready).await
}

/// Makes the tables, if wanted, and warns of topics that have a consumer.
async fn prepare(database: Database, topics: &[Subscription], create: bool) -> Result<(), Fault> {
    if create {
        database.create_tables().await?;
    }
    let mut connection = database.connection().await?;
    for Subscription { topic, group, .. } in topics {
        let select = "SELECT DISTINCT consumer_group FROM sw_consumers \
                      WHERE topic = ? AND consumer_group <> ? ORDER BY consumer_group";
        let others: Vec<String> = connection.exec(select, (topic, group)).await?;
        if !others.is_empty() {
            tracing::warn!(
                topic,
                consumed_as = others.join(", "),
                "it has a consumer: what that one misses will count as stored; take it off \
                 ROCKETMQ_TOPIC"
            );
        }
    }
    Ok(())
}
