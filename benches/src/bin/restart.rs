//! How soon an agent that was killed with a long queue works again: takes its first record, and
//! has its first record on the way to the broker.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Parser;
use spillway_benches::agent::Setup;
use spillway_benches::broker::upstream;
use spillway_benches::figure::{Rounds, number, table};
use spillway_benches::load::Until;
use spillway_benches::record::{Bodies, encoded_bytes};
use spillway_benches::{Error, folder, frames, machine};

/// Starts after SIGKILL with records waiting.
#[derive(Debug, Parser)]
struct Args {
    /// Records that wait, in MiB as they are encoded
    #[arg(long, default_value_t = 2048)]
    live_mib: u64,
    /// Bytes of a body
    #[arg(long, value_delimiter = ',', default_value = "256,1024")]
    body_bytes: Vec<usize>,
    /// Lanes that they are in
    #[arg(long, value_delimiter = ',', default_value = "1,4")]
    lanes: Vec<usize>,
    /// Starts
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Folder on the disk to measure
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Only shows that it works
    #[arg(long)]
    smoke: bool,
}

fn main() -> Result<(), Error> {
    spillway::allocator::tune();
    let mut args = Args::parse();
    if args.smoke {
        args = Args { live_mib: 1, rounds: 1, body_bytes: vec![256], ..args };
    }
    let folder = folder::folder(args.dir.as_deref())?;
    machine::describe(folder.path());
    let mut rows = Vec::new();
    for &body_bytes in &args.body_bytes {
        for &lanes in &args.lanes {
            rows.push(row(&args, folder.path(), body_bytes, lanes)?);
        }
    }
    println!("{} MiB of encoded records, {} starts after SIGKILL.\n", args.live_mib, args.rounds);
    let head = [
        "bodies",
        "lanes",
        "records",
        "ms until the first is accepted",
        "ms until the first is sent",
    ];
    table(&head, &rows);
    println!("Load average at the end: {}", machine::load_average());
    Ok(())
}

fn row(args: &Args, folder: &Path, body_bytes: usize, lanes: usize) -> Result<Vec<String>, Error> {
    let mut bodies = Bodies::new(body_bytes);
    let records = (args.live_mib << 20) / encoded_bytes(bodies.next_draft())? as u64;
    let own = folder.join("r");
    let setup = Setup::new(&own, lanes);
    let names: Vec<String> = (0..lanes).map(|lane| format!("lane-{lane}")).collect();
    let names: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
    let filling = setup.start()?;
    frames::load(filling.socket(), &bodies, (512, &names), Until::Records(records))?;
    // SIGKILL.
    drop(filling);
    let (mut accepted, mut sent) = (Rounds::default(), Rounds::default());
    for _ in 0..args.rounds {
        let first = First::listen()?;
        let setup = setup.clone().with_upstream(&upstream(&first.endpoint));
        let begun = Instant::now();
        let agent = setup.start()?;
        frames::load(agent.socket(), &bodies, (1, &[None]), Until::Records(0))?;
        accepted.push(ms(begun.elapsed()));
        let request = first.heard.join().map_err(|_| "nobody listened")??;
        sent.push(ms(request - begun));
    }
    std::fs::remove_dir_all(own)?;
    Ok(vec![
        format!("{body_bytes} bytes"),
        lanes.to_string(),
        number(records as f64, 0),
        accepted.show(0),
        sent.show(0),
    ])
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Hears when the first request comes, and answers nothing that would end it well.
struct First {
    endpoint: String,
    heard: JoinHandle<Result<Instant, Error>>,
}

impl First {
    fn listen() -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let heard = thread::spawn(move || {
            let mut head = [0; 4];
            loop {
                let (mut stream, _) = listener.accept()?;
                // A connection that brings nothing is none.
                if stream.read_exact(&mut head).is_ok() && &head == b"POST" {
                    let heard = Instant::now();
                    stream.write_all(b"HTTP/1.1 503 Away\r\ncontent-length: 0\r\n\r\n")?;
                    return Ok(heard);
                }
            }
        });
        Ok(Self { endpoint, heard })
    }
}
