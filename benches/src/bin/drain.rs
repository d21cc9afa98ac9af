//! The drain beside the official clients, to the same broker in the same run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use spillway_benches::agent::{Agent, Setup};
use spillway_benches::broker::Broker;
use spillway_benches::figure::{Rounds, table};
use spillway_benches::load::Until;
use spillway_benches::peer::Wish;
use spillway_benches::record::Bodies;
use spillway_benches::{Error, folder::folder, load, machine};
use spillway_tests::rocketmq::{Options, RocketMq};

/// Longest wait for all to be delivered.
const DRAINED_MAX: Duration = Duration::from_secs(300);
/// Between two looks at the accounts.
const LOOK: Duration = Duration::from_millis(20);
/// Sends under way of the clients: one, as in a plain loop; as in their examples; as the agent.
const CONCURRENCY: [usize; 3] = [1, 16, 64];

/// Drain: records a second, beside the official clients.
#[derive(Debug, Parser)]
struct Args {
    /// Over HTTP to the embedded broker, or over gRPC to a real `RocketMQ`
    #[arg(long, value_enum)]
    transport: Transport,
    /// Rounds; in each everybody has their turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Records of a turn; a client that sends one after the other gets a tenth
    #[arg(long, default_value_t = 20_000)]
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

/// The far end, and who publishes to it.
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
                Self::Grpc(Box::new(server))
            }
        })
    }

    fn upstream(&self) -> String {
        match self {
            Self::Http(broker) => broker.upstream(),
            Self::Grpc(server) => {
                format!("transport = \"grpc\"\nendpoint = \"127.0.0.1:{}\"\n", server.grpc_port())
            }
        }
    }

    fn peer(&self) -> &'static str {
        match self {
            Self::Http(_) => "Node client",
            Self::Grpc(_) => "Java client",
        }
    }

    fn publish(&self, wish: &Wish<'_>, home: &Path) -> Result<f64, Error> {
        match self {
            Self::Http(broker) => wish.node(broker),
            Self::Grpc(server) => wish.java(server.grpc_port(), home),
        }
    }
}

// The app's side of the filling; the clients are processes of their own.
#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    spillway::allocator::tune();
    let mut args = Args::parse();
    if args.smoke {
        (args.rounds, args.records) = (1, 200);
    }
    let folder = folder(args.dir.as_deref())?;
    machine::describe(folder.path());
    let transport = args.transport;
    // It blocks its thread while it starts.
    let far = tokio::task::spawn_blocking(move || Far::start(transport)).await??;
    let mut ours = Rounds::default();
    let mut theirs = CONCURRENCY.map(|_| Rounds::default());
    for round in 0..args.rounds {
        ours.push(drain(&args, &folder.path().join(round.to_string()), &far).await?);
        for (concurrency, rounds) in CONCURRENCY.into_iter().zip(&mut theirs) {
            rounds.push(far.publish(&wish(&args, concurrency), folder.path())?);
        }
    }
    print(&args, far.peer(), &ours, &theirs);
    Ok(())
}

fn wish(args: &Args, concurrency: usize) -> Wish<'static> {
    let records = if concurrency == 1 { args.records / 10 } else { args.records };
    let warm_up = records.min(args.records / 10);
    let body_bytes = args.body_bytes;
    Wish { topic: "bench-0", records, warm_up, body_bytes, concurrency }
}

/// Records a second of an agent that starts with so many waiting.
async fn drain(args: &Args, folder: &Path, far: &Far) -> Result<f64, Error> {
    let offline = Setup::new(folder, 1);
    let filling = offline.start()?;
    let until = Until::Records(args.records);
    load::binary(filling.socket(), &Bodies::new(args.body_bytes), 512, until).await?;
    filling.stop()?;
    let agent = offline.with_upstream(&far.upstream()).start()?;
    let rate = watch(&agent).await?;
    agent.stop()?;
    std::fs::remove_dir_all(folder)?;
    Ok(rate)
}

/// Records a second from the last look that saw nothing delivered to the first that saw everything
/// delivered.
async fn watch(agent: &Agent) -> Result<f64, Error> {
    let begun = Instant::now();
    let mut from = begun;
    loop {
        let at = Instant::now();
        let status = agent.status().await?;
        let lane = status.lanes.first().ok_or("no lane")?;
        if lane.waiting == 0 {
            return Ok(lane.delivered as f64 / (at - from).as_secs_f64());
        }
        if lane.delivered == 0 {
            from = at;
        }
        if begun.elapsed() > DRAINED_MAX {
            return Err(format!("not drained: {:?}, {:?}", status.link, lane.last_error).into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn print(args: &Args, peer: &str, ours: &Rounds, theirs: &[Rounds]) {
    println!(
        "{:?}: {} rounds, {} records a turn, bodies of {} bytes.\n",
        args.transport, args.rounds, args.records, args.body_bytes
    );
    let mut rows = vec![vec!["Spillway, draining".to_owned(), ours.show(0), "1".to_owned()]];
    for (concurrency, rounds) in CONCURRENCY.iter().zip(theirs) {
        let name = format!("{peer}, {concurrency} under way");
        rows.push(vec![name, rounds.show(0), ours.over(rounds).show(2)]);
    }
    table(&["", "records/s", "Spillway ÷ this"], &rows);
    println!("Load average at the end: {}", machine::load_average());
}
