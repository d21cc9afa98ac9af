//! Durable intake on two connections beside raw appends of the same groups, and beside what others
//! make of the same work. Everybody starts afresh for each turn, so that nobody's backlog is
//! measured, and little of the disk is used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use spillway_benches::figure::{Rounds, Run, table};
use spillway_benches::flushes::Flushes;
use spillway_benches::load::Until;
use spillway_benches::record::{Bodies, encoded_bytes};
use spillway_benches::rivals::{Rival, Work};
use spillway_benches::{Error, folder::folder, machine, raw};

/// Durable intake on two connections, beside raw append + fdatasync and others.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds; in each everybody has their turn
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Length of a turn
    #[arg(long, default_value_t = 700)]
    turn_ms: u64,
    /// Records outstanding on each of the two connections
    #[arg(long, value_delimiter = ',', default_value = "64,512")]
    outstanding: Vec<usize>,
    /// Bytes of a body
    #[arg(long, value_delimiter = ',', default_value = "256,1024")]
    body_bytes: Vec<usize>,
    /// Beside Spillway only these
    #[arg(long, value_delimiter = ',')]
    only: Vec<Rival>,
    /// Folder on the disk to measure
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Only shows that it works
    #[arg(long)]
    smoke: bool,
}

/// The rounds of one subject.
#[derive(Debug, Default)]
struct Figures {
    per_second: Rounds,
    group: Rounds,
    p50_us: Rounds,
    p99_us: Rounds,
}

impl Figures {
    fn push(&mut self, mut run: Run, flushes: u64) {
        self.per_second.push(run.per_second());
        self.group.push(run.records as f64 / flushes.max(1) as f64);
        self.p50_us.push(run.wait_us(0.5));
        self.p99_us.push(run.wait_us(0.99));
    }

    fn cells(&self, raw: &Self, ours: &Self) -> Vec<String> {
        vec![
            self.per_second.show(0),
            self.per_second.over(&raw.per_second).show(2),
            ours.per_second.over(&self.per_second).show(2),
            self.group.show(0),
            self.p50_us.show(0),
            self.p99_us.show(0),
        ]
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    spillway::allocator::tune();
    let mut args = Args::parse();
    if args.smoke {
        args = Args { rounds: 1, turn_ms: 50, outstanding: vec![8], body_bytes: vec![256], ..args };
    }
    let folder = folder(args.dir.as_deref())?;
    machine::describe(folder.path());
    println!("{} rounds, turns of {} ms, two connections.\n", args.rounds, args.turn_ms);
    for &body_bytes in &args.body_bytes {
        for &outstanding in &args.outstanding {
            course(&args, folder.path(), body_bytes, outstanding).await?;
        }
    }
    println!("Load average at the end: {}", machine::load_average());
    Ok(())
}

async fn course(
    args: &Args,
    folder: &Path,
    body_bytes: usize,
    outstanding: usize,
) -> Result<(), Error> {
    let mut bodies = Bodies::new(body_bytes);
    let record_bytes = encoded_bytes(bodies.next_draft())?;
    let time = Duration::from_millis(args.turn_ms);
    let work = Work {
        bodies: &bodies,
        outstanding,
        warm_up: Until::Time(time / 5),
        until: Until::Time(time),
        flushes: &Flushes::under(folder)?,
    };
    let rivals = rivals(&args.only);
    let mut raw_figures = Figures::default();
    let mut figures: Vec<Figures> = rivals.iter().map(|_| Figures::default()).collect();
    for _ in 0..args.rounds {
        let (ours, flushes) = turn(Rival::Spillway, folder, &work).await?;
        // Without a counter: as large as a group can be.
        let most = 2 * outstanding as u64;
        let group = ours.records.checked_div(flushes).unwrap_or(most).clamp(1, most);
        figures[0].push(ours, flushes);
        let append = || raw::append(folder, group as usize, record_bytes, time);
        let (raw, flushes) = work.flushes.during(append);
        raw_figures.push(raw?, flushes);
        for (rival, figures) in rivals.iter().zip(&mut figures).skip(1) {
            let (run, flushes) = turn(*rival, folder, &work).await?;
            figures.push(run, flushes);
        }
    }
    let named = rivals.iter().map(|rival| rival.name()).zip(&figures);
    let all = std::iter::once(("raw append + fdatasync of Spillway's groups", &raw_figures));
    let row = |(name, of): (&str, &Figures)| {
        [vec![name.to_owned()], of.cells(&raw_figures, &figures[0])].concat()
    };
    let rows: Vec<_> = all.chain(named).map(row).collect();
    println!(
        "Bodies of {body_bytes} bytes, {record_bytes} encoded; 2 × {outstanding} outstanding.\n"
    );
    let head =
        ["", "records/s", "÷ raw", "Spillway ÷ this", "records per sync", "p50 µs", "p99 µs"];
    table(&head, &rows);
    Ok(())
}

/// Spillway by the lean load, and those that are wanted beside it.
fn rivals(only: &[Rival]) -> Vec<Rival> {
    let wanted = |rival: &Rival| only.is_empty() || only.contains(rival);
    let others = Rival::value_variants().iter().copied().filter(|rival| *rival != Rival::Spillway);
    std::iter::once(Rival::Spillway).chain(others.filter(wanted)).collect()
}

async fn turn(rival: Rival, folder: &Path, work: &Work<'_>) -> Result<(Run, u64), Error> {
    let own = folder.join("t");
    std::fs::create_dir_all(&own)?;
    let done = rival.turn(&own, work).await;
    std::fs::remove_dir_all(&own)?;
    done
}
