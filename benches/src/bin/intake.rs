//! Durable intake beside a plain file that is synced as often.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use spillway_benches::agent::Setup;
use spillway_benches::figure::{Rounds, Run, number, table};
use spillway_benches::load::Until;
use spillway_benches::record::{Bodies, encoded_bytes};
use spillway_benches::{Error, folder::folder, frames, load, machine, queue, raw};

/// Durable intake: records a second and waits, beside raw append and fdatasync.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds; in each everything has its turn
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Length of a turn
    #[arg(long, default_value_t = 700)]
    turn_ms: u64,
    /// Records outstanding, and of a raw group
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,512")]
    groups: Vec<usize>,
    /// Bytes of a body
    #[arg(long, default_value_t = 256)]
    body_bytes: usize,
    /// Only these turns: raw, queue, lean, socket, deep, ndjson
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Folder on the disk to measure
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Only shows that it works
    #[arg(long)]
    smoke: bool,
}

/// What is measured in turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Raw,
    Queue,
    Lean,
    Socket,
    Deep,
    Ndjson,
}

const SUBJECTS: [(Subject, &str); 6] = [
    (Subject::Raw, "raw append + fdatasync"),
    (Subject::Queue, "queue alone"),
    (Subject::Lean, "socket, frames encoded beforehand"),
    (Subject::Socket, "socket, frames"),
    (Subject::Deep, "socket, frames, twice as many outstanding"),
    (Subject::Ndjson, "socket, HTTP NDJSON"),
];

impl Subject {
    fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Queue => "queue",
            Self::Lean => "lean",
            Self::Socket => "socket",
            Self::Deep => "deep",
            Self::Ndjson => "ndjson",
        }
    }
}

/// The rounds of one subject.
#[derive(Debug, Default)]
struct Figures {
    per_second: Rounds,
    p50_us: Rounds,
    p99_us: Rounds,
}

impl Figures {
    fn push(&mut self, mut run: Run) {
        self.per_second.push(run.per_second());
        self.p50_us.push(run.wait_us(0.5));
        self.p99_us.push(run.wait_us(0.99));
    }
}

struct Bench {
    args: Args,
    folder: PathBuf,
    socket: PathBuf,
    queue: (spillway::queue::Queue, spillway_protocol::record::LaneName),
    bodies: Bodies,
    record_bytes: usize,
}

impl Bench {
    fn subjects(&self) -> Vec<(Subject, &'static str)> {
        let wanted = |subject: &Subject| {
            self.args.only.is_empty() || self.args.only.iter().any(|word| word == subject.word())
        };
        SUBJECTS.into_iter().filter(|(subject, _)| wanted(subject)).collect()
    }

    async fn turn(&self, subject: Subject, group: usize) -> Result<Run, Error> {
        let time = Duration::from_millis(self.args.turn_ms);
        let (socket, bodies, until) = (&self.socket, &self.bodies, Until::Time(time));
        match subject {
            Subject::Raw => raw::append(&self.folder, group, self.record_bytes, time),
            Subject::Queue => queue::load(&self.queue, bodies, group, until).await,
            Subject::Lean => {
                let parts = load::split(group);
                let connections = vec![None; parts.len()];
                frames::load(socket, bodies, (parts[0], &connections), until)
            }
            Subject::Socket => load::binary(socket, bodies, group, until).await,
            Subject::Deep => load::binary(socket, bodies, 2 * group, until).await,
            Subject::Ndjson => load::ndjson(socket, bodies, group, until).await,
        }
    }

    async fn group(&self, group: usize) -> Result<Vec<Vec<String>>, Error> {
        let subjects = self.subjects();
        let mut figures: Vec<Figures> = subjects.iter().map(|_| Figures::default()).collect();
        for _ in 0..self.args.rounds {
            for ((subject, _), figures) in subjects.iter().zip(&mut figures) {
                figures.push(self.turn(*subject, group).await?);
            }
        }
        let raw = subjects.iter().position(|(subject, _)| *subject == Subject::Raw);
        let row = |(at, (_, name)): (usize, &(Subject, &str))| {
            let figures_of = &figures[at];
            let over = |of: fn(&Figures) -> &Rounds| {
                raw.map_or_else(Rounds::default, |raw| of(figures_of).over(of(&figures[raw])))
            };
            vec![
                group.to_string(),
                (*name).to_owned(),
                figures_of.per_second.show(0),
                over(|figures| &figures.per_second).show(2),
                figures_of.p50_us.show(0),
                over(|figures| &figures.p50_us).show(2),
                figures_of.p99_us.show(0),
            ]
        };
        Ok(subjects.iter().enumerate().map(row).collect())
    }
}

// The app's side: two threads, as the machine that this is made for has cores.
#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    spillway::allocator::tune();
    let mut args = Args::parse();
    if args.smoke {
        (args.rounds, args.turn_ms) = (1, 20);
    }
    let folder = folder(args.dir.as_deref())?;
    machine::describe(folder.path());
    run(args, folder.path()).await?;
    println!("Load average at the end: {}", machine::load_average());
    Ok(())
}

async fn run(args: Args, folder: &Path) -> Result<(), Error> {
    let mut bodies = Bodies::new(args.body_bytes);
    let record_bytes = encoded_bytes(bodies.next_draft())?;
    let agent = Setup::new(folder, 1).start()?;
    let bench = Bench {
        folder: folder.to_owned(),
        socket: agent.socket().to_owned(),
        queue: queue::open(folder)?,
        bodies,
        record_bytes,
        args,
    };
    let mut rows = Vec::new();
    for group in &bench.args.groups {
        rows.extend(bench.group(*group).await?);
    }
    println!(
        "{} rounds, turns of {} ms, bodies of {} bytes, {} bytes encoded.\n",
        bench.args.rounds,
        bench.args.turn_ms,
        bench.args.body_bytes,
        number(record_bytes as f64, 0)
    );
    table(&["outstanding", "", "records/s", "÷ raw", "p50 µs", "p50 ÷ raw", "p99 µs"], &rows);
    bench.queue.0.close();
    agent.stop()
}
