//! Memory of the agent: idle, under everything at once, and with very many records waiting.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use spillway_benches::agent::{Agent, Setup};
use spillway_benches::figure::{number, table};
use spillway_benches::load::Until;
use spillway_benches::process::{TICKS_PER_SECOND, Usage};
use spillway_benches::record::{Bodies, encoded_bytes};
use spillway_benches::sink::Sink;
use spillway_benches::{Error, folder, frames, machine};

const LANES: [Option<&str>; 4] = [Some("lane-0"), Some("lane-1"), Some("lane-2"), Some("lane-3")];
/// Outstanding on each connection.
const OUTSTANDING: usize = 128;

/// Resident memory of the agent, and what an idle one costs.
#[derive(Debug, Parser)]
struct Args {
    /// How long an idle agent is watched, in seconds
    #[arg(long, default_value_t = 180)]
    idle_s: u64,
    /// How long after its start it is watched, in seconds
    #[arg(long, default_value_t = 130)]
    settle_s: u64,
    /// Records that wait before everything happens at once, in MiB as they are encoded
    #[arg(long, default_value_t = 2048)]
    live_mib: u64,
    /// How long they are filled up and drained at once, in seconds
    #[arg(long, default_value_t = 20)]
    busy_s: u64,
    /// Records of 64 bytes that wait
    #[arg(long, default_value_t = 5_000_000)]
    small: u64,
    /// Bytes of the bodies that are filled up and drained at once
    #[arg(long, default_value_t = 256)]
    body_bytes: usize,
    /// Folder for what waits; may lie in memory
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
        args = Args { idle_s: 1, settle_s: 1, live_mib: 1, busy_s: 1, small: 2_000, ..args };
    }
    let folder = folder::folder(args.dir.as_deref())?;
    machine::describe(folder.path());
    idle(&args, folder.path()).await?;
    let mut rows = busy(&args, folder.path()).await?;
    rows.extend(small(&args, folder.path())?);
    table(&["", "RSS MiB", "of it anonymous", "peak MiB"], &rows);
    println!("Load average at the end: {}", machine::load_average());
    Ok(())
}

/// Agents that nobody talks to, with an upstream that answers, side by side.
async fn idle(args: &Args, folder: &Path) -> Result<(), Error> {
    let sink = Sink::start().await?;
    let mut agents = Vec::new();
    for lanes in [1, 4] {
        let setup = Setup::new(&folder.join(format!("i{lanes}")), lanes);
        agents.push((format!("{lanes}, offline"), setup.start()?));
        let setup = Setup::new(&folder.join(format!("u{lanes}")), lanes);
        let online = setup.with_upstream(&sink.upstream()).start()?;
        agents.push((format!("{lanes}, with an upstream"), online));
    }
    // What a start does is not idleness; the last of it is noted a minute later.
    tokio::time::sleep(Duration::from_secs(args.settle_s)).await;
    let usage = |(_, agent): &(String, Agent)| Usage::of(agent.pid());
    let before = agents.iter().map(usage).collect::<Result<Vec<_>, _>>()?;
    tokio::time::sleep(Duration::from_secs(args.idle_s)).await;
    let mut rows = Vec::new();
    for ((name, agent), before) in agents.into_iter().zip(before) {
        let after = Usage::of(agent.pid())?;
        let (seconds, hours) = (args.idle_s as f64, args.idle_s as f64 / 3600.0);
        let busy_s = (after.ticks - before.ticks) as f64 / TICKS_PER_SECOND;
        let written = (after.written_bytes - before.written_bytes) as f64;
        rows.push(vec![
            name,
            mib(after.resident_kib),
            mib(after.anonymous_kib),
            mib(after.peak_kib),
            number(busy_s / seconds * 100.0, 2),
            number(after.waits.saturating_sub(before.waits) as f64 / seconds, 1),
            number(written / hours, 0),
        ]);
        agent.stop()?;
    }
    sink.stop().await;
    println!("Idle for {} s.\n", args.idle_s);
    let head = [
        "lanes, idle",
        "RSS MiB",
        "of it anonymous",
        "peak MiB",
        "% of a core",
        "wake-ups/s",
        "bytes written/h",
    ];
    table(&head, &rows);
    Ok(())
}

/// Four lanes with much waiting are filled and drained at once, as fast as it goes.
async fn busy(args: &Args, folder: &Path) -> Result<Vec<Vec<String>>, Error> {
    let own = folder.join("b");
    let setup = Setup::new(&own, LANES.len()).bundling();
    let mut bodies = Bodies::new(args.body_bytes);
    let records = (args.live_mib << 20) / encoded_bytes(bodies.next_draft())? as u64;
    let agent = setup.start()?;
    frames::load(agent.socket(), &bodies, (OUTSTANDING, &LANES), Until::Records(records))?;
    let filled = row(&format!("four lanes, {} MiB filled in", args.live_mib), &agent)?;
    agent.stop()?;
    let sink = Sink::start().await?;
    let agent = setup.with_upstream(&sink.upstream()).start()?;
    let (socket, until) =
        (agent.socket().to_owned(), Until::Time(Duration::from_secs(args.busy_s)));
    let load = move || frames::load(&socket, &bodies, (OUTSTANDING, &LANES), until);
    let run = tokio::task::spawn_blocking(load).await??;
    let delivered: u64 = agent.status().await?.lanes.iter().map(|lane| lane.delivered).sum();
    let rates = [run.records, delivered].map(|n| number(n as f64 / args.busy_s as f64, 0));
    let name = format!("they wait; {} records/s come and {} go at once", rates[0], rates[1]);
    let both = row(&name, &agent)?;
    drop(agent);
    sink.stop().await;
    std::fs::remove_dir_all(own)?;
    Ok(vec![filled, both])
}

/// Very many small records in one lane.
fn small(args: &Args, folder: &Path) -> Result<Vec<Vec<String>>, Error> {
    let setup = Setup::new(&folder.join("s"), 1);
    let agent = setup.start()?;
    let until = Until::Records(args.small);
    frames::load(agent.socket(), &Bodies::new(64), (OUTSTANDING, &LANES[..1]), until)?;
    let records = number(args.small as f64, 0);
    let filled = row(&format!("{records} records of 64 bytes filled in"), &agent)?;
    agent.stop()?;
    let agent = setup.start()?;
    let again = row("the same after a start", &agent)?;
    Ok(vec![filled, again])
}

fn row(name: &str, agent: &Agent) -> Result<Vec<String>, Error> {
    let usage = Usage::of(agent.pid())?;
    let memory = [usage.resident_kib, usage.anonymous_kib, usage.peak_kib].map(mib);
    Ok([vec![name.to_owned()], memory.to_vec()].concat())
}

fn mib(kib: u64) -> String {
    number(kib as f64 / 1024.0, 1)
}
