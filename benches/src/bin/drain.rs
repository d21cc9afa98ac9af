//! The drain beside the official clients, to the same broker in the same run.

use std::path::Path;

use clap::Parser;
use spillway_benches::agent::Setup;
use spillway_benches::far::{Course, Far, Transport};
use spillway_benches::figure::{Rounds, Turn, Turns, table};
use spillway_benches::load::Until;
use spillway_benches::peer::Wish;
use spillway_benches::record::Bodies;
use spillway_benches::tonic_loop;
use spillway_benches::{Error, folder::folder, load, machine};

/// Sends under way of the clients: one, as in a plain loop; as in their examples; as the agent.
const CONCURRENCY: [usize; 3] = [1, 16, 64];
/// Sends under way of the bare loop: as many as the agent's at most.
const BARE: usize = 64;

/// Drain: records a second, beside the official clients.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    course: Course,
    /// Records of a turn; a client that sends one after the other gets a tenth
    #[arg(long, default_value_t = 20_000)]
    records: u64,
}

/// The official client of a far end.
fn peer(far: &Far) -> &'static str {
    match far {
        Far::Http(_) => "Node client",
        Far::Grpc(_) => "Java client",
    }
}

fn publish(far: &Far, wish: &Wish<'_>, home: &Path) -> Result<f64, Error> {
    match far {
        Far::Http(broker) => wish.node(broker),
        Far::Grpc(server) => wish.java(server.grpc_port(), home),
    }
}

// The app's side of the filling; the clients are processes of their own.
#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    spillway::allocator::tune();
    let mut args = Args::parse();
    if args.course.smoke {
        (args.course.rounds, args.records) = (1, 200);
    }
    let folder = folder(args.course.dir.as_deref())?;
    machine::describe(folder.path());
    let transport = args.course.transport;
    // It blocks its thread while it starts.
    let far = tokio::task::spawn_blocking(move || Far::start(transport, &[("bench-0", "NORMAL")]))
        .await??;
    let (mut ours, mut bare) = (Turns::default(), Turns::default());
    let mut theirs = CONCURRENCY.map(|_| Rounds::default());
    for round in 0..args.course.rounds {
        ours.push(drain(&args, &folder.path().join(round.to_string()), &far).await?);
        if let Far::Grpc(server) = &far {
            bare.push(tonic_loop::publish(&wish(&args, BARE), server.grpc_port()).await?);
        }
        for (concurrency, rounds) in CONCURRENCY.into_iter().zip(&mut theirs) {
            rounds.push(publish(&far, &wish(&args, concurrency), folder.path())?);
        }
    }
    print(&args, peer(&far), &ours, &bare, &theirs);
    Ok(())
}

fn wish(args: &Args, concurrency: usize) -> Wish<'static> {
    let records = if concurrency == 1 { args.records / 10 } else { args.records };
    let warm_up = records.min(args.records / 10);
    let body_bytes = args.course.body_bytes;
    Wish { topic: "bench-0", records, warm_up, body_bytes, concurrency }
}

/// An agent that starts with so many waiting.
async fn drain(args: &Args, folder: &Path, far: &Far) -> Result<Turn, Error> {
    let offline = Setup::new(folder, 1);
    let filling = offline.start()?;
    let warm_up = args.records / 10;
    let until = Until::Records(args.records + warm_up);
    load::binary(filling.socket(), &Bodies::new(args.course.body_bytes), 512, until).await?;
    filling.stop()?;
    let agent = offline.with_upstream(&far.upstream(far.port()?)).start()?;
    let turn = agent.watch_drain(warm_up).await?;
    agent.stop()?;
    std::fs::remove_dir_all(folder)?;
    Ok(turn)
}

fn print(args: &Args, peer: &str, ours: &Turns, bare: &Turns, theirs: &[Rounds]) {
    println!(
        "{:?}: {} rounds, {} records a turn, bodies of {} bytes.\n",
        args.course.transport, args.course.rounds, args.records, args.course.body_bytes
    );
    let row = |name: &str, rate: &Rounds, cpu: Option<&Rounds>| {
        let cpu = cpu.map_or("–".to_owned(), |cpu| cpu.show(3));
        vec![name.to_owned(), rate.show(0), ours.rate.over(rate).show(2), cpu]
    };
    let mut rows = vec![row("Spillway, draining", &ours.rate, Some(&ours.cpu_s))];
    if args.course.transport == Transport::Grpc {
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
