//! Bundles and batches beside single messages: bytes on the wire, and records a second; over gRPC
//! also beside the official Java clients, to the same broker in the same run.

use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use spillway_benches::agent::Setup;
use spillway_benches::broker::{ACCESS_KEY, Broker, INSTANCE, SECRET};
use spillway_benches::figure::{Rounds, Turns, table};
use spillway_benches::load::Until;
use spillway_benches::peer::Wish;
use spillway_benches::record::Bodies;
use spillway_benches::relay::Relay;
use spillway_benches::{Error, folder::folder, load, machine};
use spillway_tests::rocketmq::{Options, RocketMq};

/// Records of a turn over the relay that counts: enough for what a connection costs to vanish.
const COUNTED: u64 = 4096;

/// Bundles and batches: bytes on the wire, records a second.
#[derive(Debug, Parser)]
struct Args {
    /// Over HTTP to the embedded broker, or over gRPC to a real `RocketMQ`
    #[arg(long, value_enum)]
    transport: Transport,
    /// Rounds; in each everybody has their turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Records of a turn
    #[arg(long, default_value_t = 100_000)]
    records: u64,
    /// Bytes of a body
    #[arg(long, default_value_t = 256)]
    body_bytes: usize,
    /// Folder on the disk to measure
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Only shows that it works
    #[arg(long)]
    smoke: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transport {
    Http,
    Grpc,
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

/// The far end.
enum Far {
    Http(Broker),
    Grpc(Box<RocketMq>),
}

impl Far {
    fn start(transport: Transport) -> Result<Self, Error> {
        Ok(match transport {
            Transport::Http => Self::Http(Broker::start()?),
            Transport::Grpc => {
                let mut server = RocketMq::start(Options::default());
                server.create_topic("bench-0", "NORMAL");
                server.create_topic("bench-fifo", "FIFO");
                Self::Grpc(Box::new(server))
            }
        })
    }

    fn port(&self) -> Result<u16, Error> {
        Ok(match self {
            Self::Http(broker) => broker.endpoint().rsplit(':').next().ok_or("no port")?.parse()?,
            Self::Grpc(server) => server.grpc_port(),
        })
    }

    /// The `[upstream]` that leads to `port`.
    fn upstream(&self, port: u16) -> String {
        match self {
            Self::Http(_) => format!(
                "transport = \"http\"\nendpoint = \"http://127.0.0.1:{port}\"\n\
                 instance_id = \"{INSTANCE}\"\naccess_key_id = \"{ACCESS_KEY}\"\n\
                 access_key_secret = \"{SECRET}\"\n"
            ),
            Self::Grpc(_) => format!("transport = \"grpc\"\nendpoint = \"127.0.0.1:{port}\"\n"),
        }
    }
}

// The app's side of the filling; the clients are processes of their own.
#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    spillway::allocator::tune();
    let mut args = Args::parse();
    if args.smoke {
        (args.rounds, args.records) = (1, 2_000);
    }
    let folder = folder(args.dir.as_deref())?;
    machine::describe(folder.path());
    let transport = args.transport;
    // It blocks its thread while it starts.
    let far = tokio::task::spawn_blocking(move || Far::start(transport)).await??;
    let ways: &[&Way] = if transport == Transport::Http { &HTTP } else { &GRPC };
    bytes(&args, ways, folder.path(), &far).await?;
    rates(&args, ways, folder.path(), &far).await?;
    println!("Load average at the end: {}", machine::load_average());
    Ok(())
}

/// What a record costs on the wire in each way, of bodies that compress as telemetry does and of
/// such that hardly do.
async fn bytes(args: &Args, ways: &[&Way], folder: &Path, far: &Far) -> Result<(), Error> {
    println!("{:?}: bytes on the wire per record of {} bytes.\n", args.transport, args.body_bytes);
    let mut rows = Vec::new();
    for way in ways {
        let mut cells = vec![way.name.to_owned()];
        for bodies in [Bodies::telemetry(args.body_bytes), Bodies::noise(args.body_bytes)] {
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
    println!("{:?}: {} rounds, {} records a turn.\n", args.transport, args.rounds, args.records);
    let mut ours: Vec<Turns> = ways.iter().map(|_| Turns::default()).collect();
    let (mut java, mut classic) = (Rounds::default(), Rounds::default());
    for round in 0..args.rounds {
        let folder = folder.join(round.to_string());
        for (way, rounds) in ways.iter().zip(&mut ours) {
            let records = (args.records / way.fewer).max(1);
            let bodies = Bodies::telemetry(args.body_bytes);
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
    let (warm_up, body_bytes) = (records / 5, args.body_bytes);
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
