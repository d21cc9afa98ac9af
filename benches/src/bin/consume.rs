//! The far side: rows a second into a real `MariaDB`, beside a Node consumer of the usual kind, from
//! the same broker in the same run.

use clap::Parser;
use spillway_benches::broker::Broker;
use spillway_benches::centre::{Who, database, publish};
use spillway_benches::figure::{Rounds, table};
use spillway_benches::{Error, machine};
use spillway_tests::centre::patients;
use spillway_tests::mariadb::MariaDb;

/// Who takes turns, by name; the first is what the others are compared with.
const SUBJECTS: [(&str, Who); 4] = [
    ("central-consumer, batched", Who::Ours { batch: 64 }),
    ("central-consumer, singly (--batch 1)", Who::Ours { batch: 1 }),
    ("Node consumer, one after the other", Who::Node { at_once: 1 }),
    ("Node consumer, 16 at a time", Who::Node { at_once: 16 }),
];

/// Rows a second into `MariaDB`, beside a Node consumer.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds; in each everybody has their turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Messages of a turn
    #[arg(long, default_value_t = 10_000)]
    records: u64,
    /// Only shows that it works
    #[arg(long)]
    smoke: bool,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    let mut args = Args::parse();
    if args.smoke {
        (args.rounds, args.records) = (1, 200);
    }
    machine::describe(&std::env::temp_dir());
    let (server, database) = database().await?;
    let broker = Broker::start()?;
    let mut figures = SUBJECTS.map(|_| Rounds::default());
    for round in 0..args.rounds {
        for (nth, ((_, who), rounds)) in SUBJECTS.iter().zip(&mut figures).enumerate() {
            rounds.push(turn(&args, *who, &broker, &server, &format!("ward-{round}-{nth}")).await?);
        }
    }
    database.close().await;
    print(&args, &figures);
    Ok(())
}

/// Everybody gets a topic of their own, with the same messages.
async fn turn(
    args: &Args,
    who: Who,
    broker: &Broker,
    server: &MariaDb,
    topic: &str,
) -> Result<f64, Error> {
    publish(broker, &patients(topic, args.records)).await?;
    who.rows_per_second(broker, server, topic, args.records).await
}

fn print(args: &Args, figures: &[Rounds]) {
    println!(
        "Into MariaDB, as it is durable by default: {} rounds, {} records a turn; embedded broker, \
         pools of 10 connections. central-consumer notes in the same transactions what arrived.\n",
        args.rounds, args.records
    );
    let ours = &figures[0];
    let rows = SUBJECTS.iter().zip(figures).map(|((name, _), rounds)| {
        vec![(*name).to_owned(), rounds.show(0), ours.over(rounds).show(2)]
    });
    table(&["", "rows/s", "batched ÷ this"], &rows.collect::<Vec<_>>());
    println!("Load average at the end: {}", machine::load_average());
}
