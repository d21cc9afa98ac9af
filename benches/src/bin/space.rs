//! What a queue writes and holds on disk for what it was given, full and drained.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use spillway_benches::agent::{Agent, Setup};
use spillway_benches::figure::{number, table};
use spillway_benches::load::Until;
use spillway_benches::packs::{files, packs};
use spillway_benches::process::Usage;
use spillway_benches::record::Bodies;
use spillway_benches::sink::Sink;
use spillway_benches::space::Held;
use spillway_benches::{Error, folder, frames, machine};

/// Outstanding on each of two connections.
const OUTSTANDING: usize = 512;
/// As long as these texts are by themselves: what fills one up would compress to nothing.
const TELEMETRY_BYTES: usize = 213;
/// How long the disk may take to lie still.
const SETTLED_MAX: Duration = Duration::from_secs(60);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(500);

/// Bytes written and held for each byte of the records, and what is left after draining them.
#[derive(Debug, Parser)]
struct Args {
    /// Records that wait, in MiB as they are encoded
    #[arg(long, default_value_t = 2048)]
    live_mib: u64,
    /// Only these records: 256, 1024, telemetry, lz4
    #[arg(long, value_delimiter = ',', default_value = "256,1024,telemetry,lz4")]
    only: Vec<String>,
    /// Folder on the disk to measure; one in memory does not say what was written
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
        args.live_mib = 1;
    }
    let folder = folder::folder(args.dir.as_deref())?;
    machine::describe(folder.path());
    let mut rows = Vec::new();
    for word in &args.only {
        let records = Records::of(word)?;
        match records.is_known(folder.path()) {
            true => rows.push(records.row(folder.path(), args.live_mib << 20).await?),
            false => {
                println!("{} is left out: this agent has no `compress` in a lane.\n", records.name)
            }
        }
    }
    println!("{} MiB of encoded records, 2 × {OUTSTANDING} outstanding.\n", args.live_mib);
    let head = [
        "bodies",
        "records",
        "encoded, of it not body",
        "written ÷ encoded",
        "of it ids",
        "held ÷ encoded",
        "of it ids",
        "MiB held when drained",
        "of it ids",
    ];
    table(&head, &rows);
    println!("Load average at the end: {}", machine::load_average());
    Ok(())
}

/// One kind of records.
struct Records {
    name: &'static str,
    bodies: Bodies,
    /// Of the lane.
    settings: &'static str,
}

impl Records {
    fn of(word: &str) -> Result<Self, Error> {
        let (name, bodies, settings) = match word {
            "256" => ("256 bytes of text", Bodies::new(256), ""),
            "1024" => ("1 KiB of text", Bodies::new(1024), ""),
            "telemetry" => ("213 bytes of JSON telemetry", Bodies::telemetry(TELEMETRY_BYTES), ""),
            "lz4" => (
                "213 bytes of JSON telemetry, compress = \"lz4\"",
                Bodies::telemetry(TELEMETRY_BYTES),
                "compress = \"lz4\"\n",
            ),
            _ => return Err(format!("{word}: no such records").into()),
        };
        Ok(Self { name, bodies, settings })
    }

    /// Whether the agent takes these settings.
    fn is_known(&self, folder: &Path) -> bool {
        self.settings.is_empty() || self.setup(&folder.join("k")).start().is_ok()
    }

    fn setup(&self, folder: &Path) -> Setup {
        Setup::new(folder, 1).bundling().with_lane("bench-0", self.settings)
    }

    async fn row(&self, folder: &Path, live_bytes: u64) -> Result<Vec<String>, Error> {
        let encoded = self.encoded_bytes(&folder.join("e"))?;
        let records = live_bytes.div_ceil(encoded);
        let own = folder.join("w");
        let setup = self.setup(&own);
        let agent = setup.start()?;
        let before = Usage::of(agent.pid())?.written_bytes;
        let load = (OUTSTANDING, &[None, None][..]);
        let until = Until::Records(records);
        let records = frames::load(agent.socket(), &self.bodies, load, until)?.records;
        let payload = (records * encoded) as f64;
        let full = still(&setup.data_dir()).await?;
        let written = Usage::of(agent.pid())?.written_bytes - before;
        agent.stop()?;
        let drained = drained(&setup).await?;
        std::fs::remove_dir_all(own)?;
        let overhead = encoded - self.bodies.clone().next_body().len() as u64;
        let mib = |bytes: u64| number(bytes as f64 / f64::from(1 << 20), 1);
        Ok(vec![
            self.name.to_owned(),
            number(records as f64, 0),
            format!("{encoded}, {overhead}"),
            number(written as f64 / payload, 3),
            number(full.id_bytes as f64 / payload, 3),
            number(full.bytes as f64 / payload, 3),
            number(full.id_bytes as f64 / payload, 3),
            mib(drained.bytes),
            mib(drained.id_bytes),
        ])
    }

    /// Of one record in a pack that is not compressed.
    fn encoded_bytes(&self, folder: &Path) -> Result<u64, Error> {
        let setup = Setup::new(folder, 1);
        let agent = setup.start()?;
        let load = (OUTSTANDING, &[None][..]);
        frames::load(agent.socket(), &self.bodies, load, Until::Records(1))?;
        agent.stop()?;
        let (mut bytes, mut records) = (0, 0);
        for file in files(&setup.data_dir().join("lanes/lane-0"))? {
            for pack in packs(&std::fs::read(file)?)? {
                bytes += pack.entry_bytes();
                records += pack.records();
            }
        }
        std::fs::remove_dir_all(folder)?;
        Ok(bytes / records.max(1))
    }
}

/// What is left once everything was delivered.
async fn drained(setup: &Setup) -> Result<Held, Error> {
    let sink = Sink::start().await?;
    let agent = setup.clone().with_upstream(&sink.upstream()).start()?;
    wait_until_empty(&agent).await?;
    let held = still(&setup.data_dir()).await;
    agent.stop()?;
    sink.stop().await;
    held
}

async fn wait_until_empty(agent: &Agent) -> Result<(), Error> {
    let (mut before, mut moved) = (u64::MAX, Instant::now());
    loop {
        let waiting = agent.status().await?.lanes.iter().map(|lane| lane.waiting).sum();
        match waiting {
            0 => return Ok(()),
            waiting if waiting < before => (before, moved) = (waiting, Instant::now()),
            _ if moved.elapsed() > SETTLED_MAX => return Err("the drain stands still".into()),
            _ => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What is held once nothing comes or goes any more.
async fn still(folder: &Path) -> Result<Held, Error> {
    let begun = Instant::now();
    let mut before = Held::of(folder)?;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = Held::of(folder)?;
        if now.bytes == before.bytes || begun.elapsed() > SETTLED_MAX {
            return Ok(now);
        }
        before = now;
    }
}
