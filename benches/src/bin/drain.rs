//! The drain beside the official clients, to the same broker in the same run.

use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use spillway_benches::agent::Setup;
use spillway_benches::broker::Broker;
use spillway_benches::figure::{Rounds, Turn, Turns, table};
use spillway_benches::load::Until;
use spillway_benches::peer::Wish;
use spillway_benches::record::Bodies;
use spillway_benches::tonic_loop;
use spillway_benches::{Error, folder::folder, load, machine};
use spillway_tests::rocketmq::{Options, RocketMq};

/// Sends under way of the clients: one, as in a plain loop; as in their examples; as the agent.
const CONCURRENCY: [usize; 3] = [1, 16, 64];
/// Sends under way of the bare loop: as many as the agent's at most.
const BARE: usize = 64;

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
    let (mut ours, mut bare) = (Turns::default(), Turns::default());
    let mut theirs = CONCURRENCY.map(|_| Rounds::default());
    for round in 0..args.rounds {
        ours.push(drain(&args, &folder.path().join(round.to_string()), &far).await?);
        if let Far::Grpc(server) = &far {
            bare.push(tonic_loop::publish(&wish(&args, BARE), server.grpc_port()).await?);
        }
        for (concurrency, rounds) in CONCURRENCY.into_iter().zip(&mut theirs) {
            rounds.push(far.publish(&wish(&args, concurrency), folder.path())?);
        }
    }
    print(&args, far.peer(), &ours, &bare, &theirs);
    Ok(())
}

fn wish(args: &Args, concurrency: usize) -> Wish<'static> {
    let records = if concurrency == 1 { args.records / 10 } else { args.records };
    let warm_up = records.min(args.records / 10);
    let body_bytes = args.body_bytes;
    Wish { topic: "bench-0", records, warm_up, body_bytes, concurrency }
}

/// An agent that starts with so many waiting.
async fn drain(args: &Args, folder: &Path, far: &Far) -> Result<Turn, Error> {
    let offline = Setup::new(folder, 1);
    let filling = offline.start()?;
    let warm_up = args.records / 10;
    let until = Until::Records(args.records + warm_up);
    load::binary(filling.socket(), &Bodies::new(args.body_bytes), 512, until).await?;
    filling.stop()?;
    let agent = offline.with_upstream(&far.upstream()).start()?;
    let turn = agent.watch_drain(warm_up).await?;
    agent.stop()?;
    std::fs::remove_dir_all(folder)?;
    Ok(turn)
}

fn print(args: &Args, peer: &str, ours: &Turns, bare: &Turns, theirs: &[Rounds]) {
    println!(
        "{:?}: {} rounds, {} records a turn, bodies of {} bytes.\n",
        args.transport, args.rounds, args.records, args.body_bytes
    );
    let row = |name: &str, rate: &Rounds, cpu: Option<&Rounds>| {
        let cpu = cpu.map_or("–".to_owned(), |cpu| cpu.show(3));
        vec![name.to_owned(), rate.show(0), ours.rate.over(rate).show(2), cpu]
    };
    let mut rows = vec![row("Spillway, draining", &ours.rate, Some(&ours.cpu_s))];
    if args.transport == Transport::Grpc {
        rows.push(row(
            &format!("bare tonic loop, {BARE} under way"),
            &bare.rate,
            Some(&bare.cpu_s),
        ));
    }
    for (concurrency, rounds) in CONCURRENCY.iter().zip(theirs) {
        rows.push(row(&format!("{peer}, {concurrency} under way"), rounds, None));
    }
    table(&["", "records/s", "Spillway ÷ this", "its CPU s per 1,000 records"], &rows);
    println!("Load average at the end: {}", machine::load_average());
}
