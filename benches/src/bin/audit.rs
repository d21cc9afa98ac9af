//! What the far side's books cost for each million records: to write them, to keep them, and to
//! audit them with `central-consumer audit`.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use central_store::compaction::Compactor;
use central_store::seen::Sightings;
use central_store::{Database, Lanes, Place, Sighting};
use clap::Parser;
use rand::seq::SliceRandom;
use spillway_benches::centre::{consumer, database};
use spillway_benches::figure::{Rounds, number, table};
use spillway_benches::process::Usage;
use spillway_benches::{Error, machine};
use spillway_protocol::message::StreamId;
use spillway_tests::mariadb::MariaDb;
use spillway_tests::random;

/// Gateways, and days over which their records were accepted.
const GATEWAYS: u64 = 100;
const DAYS: u64 = 10;
const DAY_MS: u64 = 86_400_000;
const FIRST_MS: u64 = 1_767_225_600_000;
/// Connections that write, and numbers of a transaction.
const WRITERS: usize = 4;
const BATCH: usize = 64;
/// Between two passes of the compactor, as in `central-consumer`.
const COMPACT_EVERY: Duration = Duration::from_secs(10);
/// Arrivals are shuffled among so many neighbours.
const DISORDER: usize = 10_000;

/// The cost of the audit.
#[derive(Debug, Parser)]
struct Args {
    /// Audits of each table
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Records
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Only shows that it works
    #[arg(long)]
    smoke: bool,
}

/// How records arrive.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    name: &'static str,
    shuffled: bool,
    /// Of each gateway one in so many never does.
    lost: Option<u64>,
}

const ARRIVALS: [Arrival; 3] = [
    Arrival { name: "in order, gateway by gateway", shuffled: false, lost: None },
    Arrival { name: "shuffled among 10,000", shuffled: true, lost: None },
    Arrival { name: "shuffled, one in 1,000 lost", shuffled: true, lost: Some(1000) },
];

#[derive(Debug, Default)]
struct Cost {
    write_s: f64,
    rows: u64,
    table_mib: f64,
    audit_ms: Rounds,
    peak_mib: f64,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    let mut args = Args::parse();
    if args.smoke {
        (args.rounds, args.records) = (1, 20_000);
    }
    machine::describe(&std::env::temp_dir());
    let mut costs = Vec::new();
    for arrival in ARRIVALS {
        costs.push(cost(&args, arrival).await?);
    }
    print(&args, &costs);
    Ok(())
}

async fn cost(args: &Args, arrival: Arrival) -> Result<Cost, Error> {
    // Each its own server: a table never gives space back.
    let (server, database) = database().await?;
    let begun = Instant::now();
    write(&database, sightings(args.records, arrival)).await?;
    let mut cost = Cost { write_s: begun.elapsed().as_secs_f64(), ..Cost::default() };
    server.run(&["ANALYZE TABLE sw_seen"]).await;
    cost.rows = server.count("SELECT COUNT(*) FROM sw_seen").await;
    let size = "SELECT CAST(data_length + index_length AS UNSIGNED) FROM \
                information_schema.tables WHERE table_name = 'sw_seen'";
    cost.table_mib = server.count(size).await as f64 / f64::from(1 << 20);
    let missing = arrival.lost.is_some();
    for _ in 0..args.rounds {
        let begun = Instant::now();
        audit(&server, missing, false)?;
        cost.audit_ms.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    cost.peak_mib = audit(&server, missing, true)? as f64 / 1024.0;
    database.close().await;
    Ok(cost)
}

/// All of them, in the order of their arrival.
fn sightings(records: u64, arrival: Arrival) -> Vec<Sighting> {
    let each = records / GATEWAYS;
    let of = |nth: u64| Place {
        gateway: format!("gw-{nth}"),
        lane: "ward".to_owned(),
        stream: StreamId(7),
    };
    let accepted_ms = |seq: u64| FIRST_MS + seq * DAYS * DAY_MS / (each + 1);
    let mut all: Vec<Sighting> = (0..GATEWAYS)
        .flat_map(|nth| {
            let place = of(nth);
            // Each gateway misses others.
            let is_lost = move |seq| arrival.lost.is_some_and(|lost| (seq + nth * 10) % lost == 0);
            (1..=each).filter(move |seq| !is_lost(*seq)).map(move |seq| {
                let at_ms = accepted_ms(seq);
                Sighting { place: place.clone(), seq, accepted_ms: at_ms, live_ms: Some(at_ms) }
            })
        })
        .collect();
    if arrival.shuffled {
        // As if all sent side by side.
        all.sort_by_key(|sighting| sighting.seq);
        let mut rng = random::rng(random::seed(), 1);
        all.chunks_mut(DISORDER).for_each(|chunk| chunk.shuffle(&mut rng));
    }
    all
}

/// Writes, with a compactor beside, and returns when all is compact.
async fn write(database: &Database, all: Vec<Sighting>) -> Result<(), Error> {
    let written = Arc::new(AtomicBool::new(false));
    let compacting = tokio::spawn(compact(database.clone(), written.clone()));
    let batches: Arc<Vec<Vec<Sighting>>> = Arc::new(all.chunks(BATCH).map(<[_]>::to_vec).collect());
    let writers: Vec<_> = (0..WRITERS)
        .map(|nth| tokio::spawn(write_part(database.clone(), batches.clone(), nth)))
        .collect();
    for writer in writers {
        writer.await??;
    }
    written.store(true, Ordering::SeqCst);
    compacting.await?
}

async fn write_part(
    database: Database,
    batches: Arc<Vec<Vec<Sighting>>>,
    nth: usize,
) -> Result<(), Error> {
    let lanes = Lanes::default();
    for batch in batches.iter().skip(nth).step_by(WRITERS) {
        let rows = Sightings::prepare(&database, &lanes, batch).await?;
        let mut transaction = database.begin().await?;
        rows.write(&mut transaction).await?;
        transaction.commit().await?;
    }
    Ok(())
}

async fn compact(database: Database, written: Arc<AtomicBool>) -> Result<(), Error> {
    let mut compactor = Compactor::new(database);
    let mut passed = Instant::now();
    loop {
        let last = written.load(Ordering::SeqCst);
        if last || passed.elapsed() > COMPACT_EVERY {
            compactor.pass().await?;
            passed = Instant::now();
        }
        if last {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Runs it; answers its peak memory in KiB where that is `watched`, which costs time.
fn audit(server: &MariaDb, missing: bool, watched: bool) -> Result<u64, Error> {
    let mut command = Command::new(consumer()?);
    command.args(["audit", "--grace", "0s"]).envs(server.environment());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let mut peak_kib = 0;
    while watched && child.try_wait()?.is_none() {
        // It may be gone by now.
        peak_kib = Usage::of(child.id()).map_or(peak_kib, |usage| peak_kib.max(usage.peak_kib));
    }
    match (child.wait()?.code(), missing) {
        (Some(0), false) | (Some(1), true) => Ok(peak_kib),
        (code, _) => Err(format!("the audit ended with {code:?}").into()),
    }
}

fn print(args: &Args, costs: &[Cost]) {
    println!(
        "{} records of {GATEWAYS} gateways over {DAYS} days, noted in batches of {BATCH} by {WRITERS} \
         writers, a compactor beside them. The audit is a process from its start to its end, over \
         all gateways and days.\n",
        number(args.records as f64, 0)
    );
    let rows = ARRIVALS.iter().zip(costs).map(|(arrival, cost)| {
        vec![
            arrival.name.to_owned(),
            number(cost.write_s, 1),
            number(cost.rows as f64, 0),
            number(cost.table_mib, 1),
            cost.audit_ms.show(0),
            number(cost.peak_mib, 1),
        ]
    });
    let head = ["arrivals", "noting them, s", "rows left", "table MiB", "audit ms", "its peak MiB"];
    table(&head, &rows.collect::<Vec<_>>());
    println!("Load average at the end: {}", machine::load_average());
}
