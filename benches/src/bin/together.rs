//! Bundles and batches beside single messages: bytes on the wire, and records a second; over gRPC
//! also beside the official Java clients, to the same broker in the same run.

use std::path::Path;

use clap::Parser;
use spillway_benches::agent::Setup;
use spillway_benches::far::{Course, Far, Transport};
use spillway_benches::figure::{Rounds, Turns, table};
use spillway_benches::load::Until;
use spillway_benches::peer::Wish;
use spillway_benches::record::Bodies;
use spillway_benches::relay::Relay;
use spillway_benches::{Error, folder::folder, load, machine};

/// Records of a turn over the relay that counts: enough for what a connection costs to vanish.
const COUNTED: u64 = 4096;
const TOPICS: [(&str, &str); 2] = [("bench-0", "NORMAL"), ("bench-fifo", "FIFO")];

/// Bundles and batches: bytes on the wire, records a second.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    course: Course,
    /// Records of a turn
    #[arg(long, default_value_t = 100_000)]
    records: u64,
}

/// A lane's way of sending.
struct Way {
    name: &'static str,
    /// Of the lane.
    settings: &'static str,
    topic: &'static str,
    /// One message a round trip is slow: so many times fewer records.
    fewer: u64,
}

const SINGLE: Way = Way { name: "single messages", settings: "", topic: "bench-0", fewer: 4 };
const BUNDLE: Way =
    Way { name: "bundle = {}", settings: "bundle = {}", topic: "bench-0", fewer: 1 };
const LARGE: Way = Way {
    name: "bundle of 512, 128 KiB",
    settings: "bundle = { records = 512, bytes = \"128 KiB\" }",
    topic: "bench-0",
    fewer: 1,
};
const PLAIN: Way = Way {
    name: "bundle, compress = \"none\"",
    settings: "bundle = { compress = \"none\" }",
    topic: "bench-0",
    fewer: 1,
};
const STRICT: Way = Way {
    name: "order = \"lane\", single messages",
    settings: "order = \"lane\"",
    topic: "bench-fifo",
    fewer: 20,
};
const STRICT_BUNDLE: Way = Way {
    name: "order = \"lane\", bundle = {}",
    settings: "order = \"lane\"\nbundle = {}",
    topic: "bench-fifo",
    fewer: 2,
};
const BATCH: Way = Way { name: "batch of 64", settings: "batch = {}", topic: "bench-0", fewer: 1 };
const LARGE_BATCH: Way =
    Way { name: "batch of 512", settings: "batch = { records = 512 }", topic: "bench-0", fewer: 1 };
const HTTP: [&Way; 6] = [&SINGLE, &BUNDLE, &LARGE, &PLAIN, &STRICT, &STRICT_BUNDLE];
const GRPC: [&Way; 8] =
    [&SINGLE, &BATCH, &LARGE_BATCH, &BUNDLE, &LARGE, &PLAIN, &STRICT, &STRICT_BUNDLE];

// The app's side of the filling; the clients are processes of their own.
#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    spillway::allocator::tune();
    let mut args = Args::parse();
    if args.course.smoke {
        (args.course.rounds, args.records) = (1, 2_000);
    }
    let folder = folder(args.course.dir.as_deref())?;
    machine::describe(folder.path());
    let transport = args.course.transport;
    // It blocks its thread while it starts.
    let far = tokio::task::spawn_blocking(move || Far::start(transport, &TOPICS)).await??;
    let ways: &[&Way] = if transport == Transport::Http { &HTTP } else { &GRPC };
    bytes(&args, ways, folder.path(), &far).await?;
    rates(&args, ways, folder.path(), &far).await?;
    println!("Load average at the end: {}", machine::load_average());
    Ok(())
}

/// What a record costs on the wire in each way, of bodies that compress as telemetry does and of
/// such that hardly do.
async fn bytes(args: &Args, ways: &[&Way], folder: &Path, far: &Far) -> Result<(), Error> {
    println!(
        "{:?}: bytes on the wire per record of {} bytes.\n",
        args.course.transport, args.course.body_bytes
    );
    let mut rows = Vec::new();
    for way in ways {
        let mut cells = vec![way.name.to_owned()];
        for bodies in
            [Bodies::telemetry(args.course.body_bytes), Bodies::noise(args.course.body_bytes)]
        {
            let relay = Relay::start(far.port()?).await?;
            let records = args.records.min(COUNTED);
            let agent = filled(&folder.join("bytes"), way, bodies, records).await?;
            let agent = agent.with_upstream(&far.upstream(relay.port())).start()?;
            agent.watch_drain(0).await?;
            agent.stop()?;
            std::fs::remove_dir_all(folder.join("bytes"))?;
            let (out, back) = relay.counts();
            let each = |bytes: u64| format!("{:.0}", bytes as f64 / records as f64);
            cells.extend([each(out), each(back)]);
        }
        rows.push(cells);
    }
    table(&["", "telemetry: out", "back", "noise: out", "back"], &rows);
    Ok(())
}

async fn rates(args: &Args, ways: &[&Way], folder: &Path, far: &Far) -> Result<(), Error> {
    println!(
        "{:?}: {} rounds, {} records a turn.\n",
        args.course.transport, args.course.rounds, args.records
    );
    let mut ours: Vec<Turns> = ways.iter().map(|_| Turns::default()).collect();
    let (mut java, mut classic) = (Rounds::default(), Rounds::default());
    for round in 0..args.course.rounds {
        let folder = folder.join(round.to_string());
        for (way, rounds) in ways.iter().zip(&mut ours) {
            let records = (args.records / way.fewer).max(1);
            let bodies = Bodies::telemetry(args.course.body_bytes);
            // It warms up, as the clients do.
            let warm_up = records / 10;
            let agent = filled(&folder, way, bodies, records + warm_up).await?;
            let agent = agent.with_upstream(&far.upstream(far.port()?)).start()?;
            rounds.push(agent.watch_drain(warm_up).await?);
            agent.stop()?;
            std::fs::remove_dir_all(&folder)?;
        }
        if let Far::Grpc(server) = far {
            java.push(wish(args, args.records / 10, 64).java(server.grpc_port(), &folder)?);
            classic.push(wish(args, args.records, 4).java_batches(
                server.namesrv_port(),
                512,
                &folder,
            )?);
        }
    }
    let mut rows: Vec<Vec<String>> = ways
        .iter()
        .zip(&ours)
        .map(|(way, turns)| row(way.name, &turns.rate, Some(&turns.cpu_s), [&java, &classic]))
        .collect();
    if matches!(far, Far::Grpc(_)) {
        let classic_name = "classic Java client, batches of 512, 4 threads";
        rows.push(row("Java gRPC client, 64 under way", &java, None, [&java, &classic]));
        rows.push(row(classic_name, &classic, None, [&java, &classic]));
    }
    let head =
        ["", "records/s", "÷ Java gRPC client", "÷ classic batches", "agent's CPU s per 1,000"];
    table(&head, &rows);
    Ok(())
}

fn row(
    name: &str,
    rounds: &Rounds,
    cpu_s: Option<&Rounds>,
    references: [&Rounds; 2],
) -> Vec<String> {
    let over = |reference: &Rounds| match reference.median() > 0.0 {
        true => rounds.over(reference).show(2),
        false => "–".to_owned(),
    };
    let cpu_s = cpu_s.map_or("–".to_owned(), |cpu_s| cpu_s.show(3));
    vec![name.to_owned(), rounds.show(0), over(references[0]), over(references[1]), cpu_s]
}

fn wish(args: &Args, records: u64, concurrency: usize) -> Wish<'static> {
    let (warm_up, body_bytes) = (records / 5, args.course.body_bytes);
    Wish { topic: "bench-0", records, warm_up, body_bytes, concurrency }
}

/// A folder with so many records that wait for an upstream.
async fn filled(folder: &Path, way: &Way, bodies: Bodies, records: u64) -> Result<Setup, Error> {
    let setup = Setup::new(folder, 1).with_lane(way.topic, way.settings);
    let filling = setup.offline().start()?;
    load::binary(filling.socket(), &bodies, 512, Until::Records(records)).await?;
    filling.stop()?;
    Ok(setup)
}
