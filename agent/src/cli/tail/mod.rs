//! `spillway tail`: what happens to records, as it happens.

mod lines;
mod words;

use std::io::Write;
use std::time::Duration;

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::lines::Lines;
use super::signal::Stop;
use super::{ControlAt, Exit, Failure, output, records};
use crate::control::tail::{KINDS, LIMIT_DEFAULT, LIMIT_MAX, Line};

/// How often it is looked whether anybody still reads.
const READER_EVERY: Duration = Duration::from_secs(1);

/// Arguments of `tail`.
#[derive(Debug, Args)]
#[command(after_help = "A line: when, lane, stream/number, what happened, topic, size, id.\n\
                  Watching slows nothing down: what is more than --limit in a second is counted, \
                  not shown.")]
pub(super) struct Tail {
    #[command(flatten)]
    at: ControlAt,
    /// Only this lane; may be repeated
    #[arg(long = "lane", value_name = "LANE")]
    lanes: Vec<String>,
    /// Only these: accepted, delivered, dead, expired, dropped, damaged
    #[arg(long, value_name = "EVENTS", value_delimiter = ',', value_parser = KINDS.map(|(name, _)| name))]
    events: Vec<String>,
    /// Most lines a second
    #[arg(long, value_name = "N", default_value_t = LIMIT_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=i64::from(LIMIT_MAX)))]
    limit: u32,
    /// Shows bodies, keys and properties too
    #[arg(long)]
    body: bool,
    /// Prints JSON, one a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Tail) -> Exit {
    let mut stop = Stop::listen();
    let followed = tokio::select! {
        followed = follow(&args) => followed,
        () = stop.told() => Ok(()),
    };
    match followed {
        Ok(()) => Exit::Done,
        Err(failure) => failure.report(),
    }
}

/// Until nobody reads any more, or the agent ends it.
async fn follow(args: &Tail) -> Result<(), Failure> {
    let list = |names: &[String]| (!names.is_empty()).then(|| names.join(","));
    let query = records::query(&[
        ("lanes", list(&args.lanes)),
        ("events", list(&args.events)),
        ("limit", Some(args.limit.to_string())),
        ("body", args.body.then(|| "true".to_owned())),
    ]);
    let mut client = args.at.agent().await?;
    let mut lines = Lines::new(client.open(&format!("/v1/tail{query}")).await?);
    output::err("watching; ctrl-c ends it\n");
    let mut look = tokio::time::interval(READER_EVERY);
    loop {
        let came = tokio::select! {
            came = lines.next() => came.map_err(|error| ended(&format!("ended the connection: {error}")))?,
            _ = look.tick() => match is_read() {
                true => continue,
                false => return Ok(()),
            },
        };
        let Some(came) = came else { return Err(ended("ended the connection; see its log")) };
        for text in came {
            let Ok(line) = serde_json::from_slice::<Line>(&text) else { continue };
            if matches!(line, Line::Stopping { .. }) {
                return Err(ended("stops"));
            }
            let shown = if args.json { text } else { words::line(&line).into_bytes() };
            if !put(&shown) {
                return Ok(());
            }
        }
    }
}

fn ended(how: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("the agent {how}"))
}

/// Whether somebody took it.
fn put(text: &[u8]) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).is_ok()
}

/// A reader that goes while nothing happens would not be missed until something does.
fn is_read() -> bool {
    let out = std::io::stdout();
    let mut watched = [PollFd::new(&out, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut watched, Some(&now)) {
        Ok(_) => !watched[0].revents().intersects(PollFlags::ERR | PollFlags::NVAL),
        Err(_) => true,
    }
}
