//! Bytes on the wire of a link that has nothing to carry: what an idle day costs.
//!
//! Agents that have delivered a few records are left alone for a window, side by side: one without
//! anything, one with `[report]`, one with `[control]`, one with `[presence]`. What goes through
//! the relays before far end and centre is counted, beside the agent's own count, which adds an
//! estimate of what TCP and IP need. Reports and pulls come so often in the window that several are
//! seen; what one costs is then multiplied by how often they come by default.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use futures::future::try_join_all;
use spillway_benches::agent::{Agent, Setup};
use spillway_benches::far::{Far, Transport};
use spillway_benches::figure::{number, table};
use spillway_benches::load::{self, Until};
use spillway_benches::record::Bodies;
use spillway_benches::relay::Relay;
use spillway_benches::{Error, folder::folder, machine};
use spillway_protocol::control::Page;
use spillway_protocol::dial::quiet_bytes;
use spillway_protocol::local::status::Status;
use spillway_tests::page::{Script, Scripted, sealer};
use tokio::time::{Instant, sleep};

const DAY: Duration = Duration::from_secs(86_400);
/// Records before it is idle.
const RECORDS: u64 = 10;
/// Longest wait for their delivery, and for the first report and pull.
const BEGUN_MAX: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);
/// Between reports and pulls: longer than an HTTP connection stays open, so that each pays for
/// its own, as it does when they are far apart.
const EVERY_S: u64 = 40;
/// `[report] every` by default, less half of its jitter.
const REPORT_EVERY_S: f64 = 0.95 * 900.0;
/// `[control] every` by default, less half of its jitter.
const PULL_EVERY_S: f64 = 0.9 * 1800.0;

/// Bytes of an idle link, over HTTP and gRPC.
#[derive(Debug, Parser)]
struct Args {
    /// Seconds of the window
    #[arg(long, default_value_t = 300)]
    window: u64,
    /// Seconds between two reports or pulls in it
    #[arg(long, default_value_t = EVERY_S)]
    every: u64,
    /// Folder for the agents' files
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Only shows that it works
    #[arg(long)]
    smoke: bool,
}

/// What an agent has beside its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum With {
    Nothing,
    Report,
    Control,
    Presence,
}

const TOPICS: [(&str, &str); 3] =
    [("bench-0", "NORMAL"), ("report", "NORMAL"), ("presence", "NORMAL")];
const ALL: [With; 4] = [With::Nothing, With::Report, With::Control, With::Presence];

impl With {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Report => "[report]",
            Self::Control => "[control]",
            Self::Presence => "[presence]",
        }
    }

    /// How often it happens on a day by default.
    fn per_day(self) -> f64 {
        match self {
            Self::Nothing | Self::Presence => 0.0,
            Self::Report => DAY.as_secs_f64() / REPORT_EVERY_S,
            Self::Control => DAY.as_secs_f64() / PULL_EVERY_S,
        }
    }

    fn sections(self, every_s: u64, page: u16) -> String {
        let key = sealer(1).public_key();
        match self {
            Self::Nothing => String::new(),
            Self::Report => format!("[report]\ntopic = \"report\"\nevery = \"{every_s}s\"\n"),
            Self::Control => format!(
                "[audit]\n[control]\nurl = \"http://127.0.0.1:{page}/page.json\"\n\
                 public_key = \"{key}\"\nevery = \"{every_s}s\"\n"
            ),
            Self::Presence => {
                "[presence]\ntopic = \"presence\"\nclient_group = \"GID_g\"\n".to_owned()
            }
        }
    }
}

fn name(far: &Far) -> &'static str {
    match far {
        Far::Http(_) => "HTTP",
        Far::Grpc(_) => "gRPC",
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    let mut args = Args::parse();
    if args.smoke {
        (args.window, args.every) = (12, 3);
    }
    let folder = folder(args.dir.as_deref())?;
    machine::describe(folder.path());
    // They block their thread while they start.
    let start = |transport| move || Far::start(transport, &TOPICS);
    let fars = [
        tokio::task::spawn_blocking(start(Transport::Http)).await??,
        tokio::task::spawn_blocking(start(Transport::Grpc)).await??,
    ];
    println!("Idle for {} s, without TLS; a day by default settings.\n", args.window);
    let runs = fars.iter().flat_map(|far| ALL.map(|with| (far, with)));
    let runs = runs.map(|(far, with)| run(&args, folder.path(), far, with));
    let seen = try_join_all(runs).await?;
    let mut rows = Vec::new();
    for (far, seen) in fars.iter().zip(seen.chunks(ALL.len())) {
        rows.extend(ALL.iter().zip(seen).map(|(with, seen)| seen.row(far, *with)));
        let day: f64 = ALL.iter().zip(seen).map(|(with, seen)| seen.day(far, *with)).sum();
        let none = String::new;
        rows.push(vec![name(far).into(), "all".into(), none(), none(), none(), kib(day)]);
    }
    let head = ["over", "with", "times", "bytes each, by TCP", "with headers", "KiB an idle day"];
    table(&head, &rows);
    println!("Load average at the end: {}", machine::load_average());
    Ok(())
}

/// What the window brought.
struct Seen {
    /// Reports or pulls.
    events: u64,
    /// What the relays carried.
    payload: u64,
    /// What the agent counted.
    counted: u64,
}

impl Seen {
    fn each(&self, bytes: u64) -> f64 {
        bytes as f64 / self.events.max(1) as f64
    }

    /// Bytes on a day with all that goes over the wire.
    fn day(&self, far: &Far, with: With) -> f64 {
        // Reports are so near each other that the connection stays, and is tested when quiet.
        let stays = with == With::Report && matches!(far, Far::Grpc(_));
        let tests = if stays { quiet_bytes(DAY) as f64 } else { 0.0 };
        self.each(self.counted) * with.per_day() + tests
    }

    fn row(&self, far: &Far, with: With) -> Vec<String> {
        vec![
            name(far).to_owned(),
            with.name().to_owned(),
            self.events.to_string(),
            number(self.each(self.payload), 0),
            number(self.each(self.counted), 0),
            kib(self.day(far, with)),
        ]
    }
}

fn kib(bytes: f64) -> String {
    number(bytes / 1024.0, 1)
}

/// An agent of its own, from its first record to the end of its window.
async fn run(args: &Args, folder: &Path, far: &Far, with: With) -> Result<Seen, Error> {
    let page = Page { gateway: "gw-bench".to_owned(), serial: 1, requests: Vec::new() };
    let body = sealer(1).seal(&page)?;
    let centre =
        Scripted::start(Script { status: 200, etag: Some("\"1\"".to_owned()), body }).await;
    let relays = [Relay::start(far.port()?).await?, Relay::start(centre.port()).await?];
    let folder = folder.join(format!("{}{}", name(far), with.name()));
    let sections = with.sections(args.every, relays[1].port());
    let setup = Setup::new(&folder, 1).with_sections(&sections);
    let agent = setup.with_upstream(&far.upstream(relays[0].port())).start()?;
    load::binary(agent.socket(), &Bodies::telemetry(256), 1, Until::Records(RECORDS)).await?;
    let events = |status: &Status| match with {
        With::Report => status.own.as_ref().map_or(0, |own| own.delivered),
        With::Control => centre.seen().requests,
        With::Nothing | With::Presence => 0,
    };
    let payload = || relays.iter().map(|relay| relay.counts().0 + relay.counts().1).sum::<u64>();
    let counted = |status: &Status| status.budget.as_ref().map_or(0, |budget| budget.bytes_today);
    let least = u64::from(with.per_day() > 0.0);
    let quiet = |status: &Status| {
        let own = status.own.as_ref().is_none_or(|own| own.waiting == 0);
        status.lanes[0].delivered == RECORDS && own && events(status) >= least
    };
    let before = until(&agent, quiet).await?;
    let (events_before, payload_before) = (events(&before), payload());
    sleep(Duration::from_secs(args.window)).await;
    let after = agent.status().await?;
    let seen = Seen {
        events: events(&after) - events_before,
        payload: payload() - payload_before,
        counted: counted(&after) - counted(&before),
    };
    agent.stop()?;
    match seen.events >= least {
        true => Ok(seen),
        false => Err(format!("{}: the window is too short", with.name()).into()),
    }
}

async fn until(agent: &Agent, wanted: impl Fn(&Status) -> bool) -> Result<Status, Error> {
    let begun = Instant::now();
    loop {
        let status = agent.status().await?;
        if wanted(&status) {
            // An answer may still be read.
            sleep(Duration::from_secs(1)).await;
            return agent.status().await;
        }
        if begun.elapsed() > BEGUN_MAX {
            return Err(format!("not idle: {:?}, {:?}", status.link, status.control).into());
        }
        sleep(LOOK).await;
    }
}
