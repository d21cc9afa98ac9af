//! What the agent costs its machine: memory, processor when idle, binary, start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use spillway_benches::agent::{Agent, Setup};
use spillway_benches::broker::Broker;
use spillway_benches::figure::{Rounds, number, table};
use spillway_benches::load::Until;
use spillway_benches::process::{TICKS_PER_SECOND, Usage};
use spillway_benches::record::Bodies;
use spillway_benches::{Error, folder, load, machine};

/// Between two looks at the accounts.
const LOOK: Duration = Duration::from_millis(50);

/// Memory, idle processor time, size and start of the agent.
#[derive(Debug, Parser)]
struct Args {
    /// Records of the load
    #[arg(long, default_value_t = 100_000)]
    records: u64,
    /// Payload of the queue that a start finds, in MB
    #[arg(long, default_value_t = 200)]
    queue_mb: u64,
    /// How long an idle agent is watched, in seconds
    #[arg(long, default_value_t = 10)]
    idle_s: u64,
    /// Starts of each kind
    #[arg(long, default_value_t = 5)]
    starts: usize,
    /// Folder on the disk to measure
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Only shows that it works
    #[arg(long)]
    smoke: bool,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    spillway::allocator::tune();
    let mut args = Args::parse();
    if args.smoke {
        args = Args { records: 500, queue_mb: 1, idle_s: 1, starts: 1, ..args };
    }
    let folder = folder::folder(args.dir.as_deref())?;
    machine::describe(folder.path());
    let binary = std::fs::metadata(folder::binary()?)?.len() as f64 / f64::from(1 << 20);
    println!("Binary: {} MiB.\n", number(binary, 1));
    idle(&args, folder.path()).await?;
    memory(&args, folder.path()).await?;
    starts(&args, folder.path()).await?;
    println!("Load average at the end: {}", machine::load_average());
    Ok(())
}

/// An agent that nobody talks to, without an upstream.
async fn idle(args: &Args, folder: &Path) -> Result<(), Error> {
    let mut rows = Vec::new();
    for lanes in [1, 4] {
        let agent = Setup::new(&folder.join(format!("i{lanes}")), lanes).start()?;
        let before = Usage::of(agent.pid())?;
        tokio::time::sleep(Duration::from_secs(args.idle_s)).await;
        let after = Usage::of(agent.pid())?;
        let seconds = args.idle_s as f64;
        let busy_ms = (after.ticks - before.ticks) as f64 / TICKS_PER_SECOND * 1e3;
        rows.push(vec![
            lanes.to_string(),
            mib(after.resident_kib),
            mib(after.peak_kib),
            after.threads.to_string(),
            number(busy_ms / seconds, 1),
            number((after.waits.saturating_sub(before.waits)) as f64 / seconds, 1),
            number((after.written_bytes - before.written_bytes) as f64 / seconds, 0),
        ]);
        agent.stop()?;
    }
    let head =
        ["lanes, idle", "RSS MiB", "peak MiB", "threads", "CPU ms/s", "wake-ups/s", "written B/s"];
    table(&head, &rows);
    Ok(())
}

/// Load without an upstream, and then draining over HTTP.
async fn memory(args: &Args, folder: &Path) -> Result<(), Error> {
    let offline = Setup::new(&folder.join("m"), 1);
    let agent = offline.start()?;
    let (bodies, until) = (Bodies::new(256), Until::Records(args.records));
    load::binary(agent.socket(), &bodies, 64, until).await?;
    let loaded = Usage::of(agent.pid())?;
    agent.stop()?;
    let broker = Broker::start()?;
    let agent = offline.with_upstream(&broker.upstream()).start()?;
    drained(&agent).await?;
    let drained = Usage::of(agent.pid())?;
    agent.stop()?;
    let row = |what: &str, usage: Usage| {
        vec![what.to_owned(), mib(usage.resident_kib), mib(usage.peak_kib)]
    };
    let taken = format!("after taking in {} × 256 B, offline", number(args.records as f64, 0));
    let rows = [row(&taken, loaded), row("restarted, after draining them over HTTP", drained)];
    table(&["", "RSS MiB", "peak MiB"], &rows);
    Ok(())
}

async fn drained(agent: &Agent) -> Result<(), Error> {
    while agent.status().await?.lanes.iter().any(|lane| lane.waiting > 0) {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// From the start of the process to the first record it would take.
async fn starts(args: &Args, folder: &Path) -> Result<(), Error> {
    let mut rows = Vec::new();
    let mut fresh = Rounds::default();
    for nth in 0..args.starts {
        let agent = Setup::new(&folder.join(format!("f{nth}")), 1).start()?;
        fresh.push(ms(&agent));
        agent.stop()?;
    }
    rows.push(vec!["a new data folder".to_owned(), fresh.show(0), "–".to_owned()]);
    let setup = Setup::new(&folder.join("q"), 1);
    let filling = setup.start()?;
    let until = Until::Records(args.queue_mb * 1_000_000 / 1024);
    load::binary(filling.socket(), &Bodies::new(1024), 512, until).await?;
    drop(filling);
    let (mut clean, mut killed) = (Rounds::default(), Rounds::default());
    let mut peak_kib = [0, 0];
    for _ in 0..args.starts {
        // The one before was killed.
        let agent = setup.start()?;
        killed.push(ms(&agent));
        peak_kib[0] = Usage::of(agent.pid())?.peak_kib;
        agent.stop()?;
        let agent = setup.start()?;
        clean.push(ms(&agent));
        peak_kib[1] = Usage::of(agent.pid())?.peak_kib;
    }
    let queue = format!("a queue of {} MB (1 KiB bodies)", args.queue_mb);
    rows.push(vec![format!("{queue}, after a kill"), killed.show(0), mib(peak_kib[0])]);
    rows.push(vec![format!("{queue}, after a stop"), clean.show(0), mib(peak_kib[1])]);
    table(&["start with", "ms until records are taken in", "peak MiB"], &rows);
    Ok(())
}

fn ms(agent: &Agent) -> f64 {
    agent.started_in().as_secs_f64() * 1e3
}

fn mib(kib: u64) -> String {
    number(kib as f64 / 1024.0, 1)
}
