//! The command that tells how consumers are, what is behind, what is parked, and which gateways are cloned.

use std::process::ExitCode;

use central_store::ledger::Ledger;
use central_store::{Audit, Cloned, Database, Settings};
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::{Failure, cloned};

/// Neither the MQ HTTP API nor a RocketMQ 5 consumer can ask the broker for these.
const UNKNOWN: &str = "Not known here: how many messages wait at the broker, and what is in the \
    group's own dead-letter topic (%DLQ%GROUP). The console of ApsaraMQ shows both; for RocketMQ: \
    mqadmin consumerProgress -g GROUP.";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cloned: cloned::Patience,
}

type Consumer = (String, String, String, String, u64, u64, Option<i64>, i64);
type Parked = (String, String, u64, i64, String);

pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let database = Database::new(&Settings::from_env()?);
    let mut connection = database.connection().await?;
    let consumers: Vec<Consumer> = connection
        .query(
            "SELECT topic, consumer_group, instance, state, done, in_hand, \
             CAST(UNIX_TIMESTAMP() - newest_ms DIV 1000 AS SIGNED), \
             CAST(UNIX_TIMESTAMP() - UNIX_TIMESTAMP(at) AS SIGNED) \
             FROM sw_consumers ORDER BY topic, consumer_group, instance",
        )
        .await
        .map_err(central_store::Fault::from)?;
    let parked: Vec<Parked> = connection
        .query(
            "SELECT topic, consumer_group, CAST(COUNT(*) AS UNSIGNED), \
             CAST(UNIX_TIMESTAMP() - UNIX_TIMESTAMP(MIN(parked_at)) AS SIGNED), \
             LEFT(MAX(reason), 120) \
             FROM parked_messages GROUP BY topic, consumer_group ORDER BY topic, consumer_group",
        )
        .await
        .map_err(central_store::Fault::from)?;
    drop(connection);
    let total = total(&database).await?;
    let alarms = options.cloned.find(&mut Ledger::open(&database).await?, None).await?;
    database.close().await;
    match options.json {
        true => println!("{}", to_json(&consumers, &parked, &total, &alarms)),
        false => print(&consumers, &parked, &total, &alarms),
    }
    Ok(ExitCode::SUCCESS)
}

/// Of all gateways; a number is behind from the moment it is known.
async fn total(database: &Database) -> Result<Audit, Failure> {
    let mut ledger = Ledger::open(database).await?;
    let mut total = Audit::default();
    let places = ledger.places(None).await?;
    for (lane, _) in places.into_iter().filter(|(_, place)| !place.is_own()) {
        ledger.books(lane).await?.audit(0).values().for_each(|day| total.add(day));
    }
    Ok(total)
}

fn print(consumers: &[Consumer], parked: &[Parked], total: &Audit, alarms: &[Cloned]) {
    for (topic, group, instance, state, done, in_hand, newest_s, told_s) in consumers {
        let newest = newest_s.map_or("none yet".to_owned(), |age| format!("{age} s old"));
        println!(
            "consumer {instance} of {topic} as {group}: {state} (told {told_s} s ago), done {done}, \
             in hand {in_hand}, newest message {newest}"
        );
    }
    for (topic, group, count, oldest_s, reason) in parked {
        println!("parked by {group} from {topic}: {count}, the oldest {oldest_s} s ago; {reason}");
    }
    if parked.is_empty() {
        println!("parked: none");
    }
    println!(
        "gateways: stored {}, at the gateway {}, elsewhere (at the broker, on the way or missing: \
         see audit) {}",
        total.stored,
        total.waiting,
        total.young_count() + total.missing_count()
    );
    alarms.iter().for_each(|alarm| println!("{}", cloned::text(alarm)));
    println!("{UNKNOWN}");
}

fn to_json(consumers: &[Consumer], parked: &[Parked], total: &Audit, alarms: &[Cloned]) -> Value {
    let consumer = |(topic, group, instance, state, done, in_hand, newest_s, told_s): &Consumer| {
        json!({"topic": topic, "group": group, "instance": instance, "state": state, "done": done,
            "in_hand": in_hand, "newest_age_s": newest_s, "told_age_s": told_s})
    };
    let parked_by = |(topic, group, count, oldest_s, reason): &Parked| {
        json!({"topic": topic, "group": group, "count": count, "oldest_age_s": oldest_s,
            "reason": reason})
    };
    json!({
        "consumers": consumers.iter().map(consumer).collect::<Vec<_>>(),
        "parked": parked.iter().map(parked_by).collect::<Vec<_>>(),
        "stored": total.stored,
        "at_gateway": total.waiting,
        "elsewhere": total.young_count() + total.missing_count(),
        "alarms": alarms.iter().map(cloned::to_json).collect::<Vec<_>>(),
        "broker_lag": Value::Null,
        "broker_dead_letters": Value::Null,
    })
}
