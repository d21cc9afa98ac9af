//! Replays a recorded sensor series through the agent: each row is a record with an id that is the
//! same in every run, so that a replay which is broken off can simply be started again.

mod series;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use spillway_protocol::local::Receipt;
use spillway_protocol::local::client::{AppendError, Client, Options, Pending};
use tokio::time::{Interval, MissedTickBehavior, interval};

use self::series::Row;

/// Rows between two lines of progress.
const PROGRESS_ROWS: usize = 1000;

/// Sends every row of a series (CSV with the columns date and temp) to the agent.
#[derive(Debug, Parser)]
struct Arguments {
    /// The series, such as seattle-temps.csv.
    file: PathBuf,
    /// The agent's socket.
    #[arg(long, default_value = "/run/spillway/spillway.sock")]
    socket: PathBuf,
    /// Lane; the agent's default lane where there is none.
    #[arg(long)]
    lane: Option<String>,
    /// Most rows without an answer.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// Times to send the whole series; later rounds have ids of their own.
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// Rows per second; as fast as the agent takes them where there is none.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Order key of all rows; none where there is none.
    #[arg(long)]
    order_key: Option<String>,
}

/// What became of the rows.
#[derive(Debug, Default)]
struct Counts {
    sent: usize,
    stored: usize,
    repeats: usize,
    failed: usize,
}

impl Counts {
    fn add(&mut self, row: &str, answer: Result<Receipt, AppendError>) {
        match answer {
            Ok(receipt) => {
                self.stored += 1;
                self.repeats += usize::from(receipt.duplicate);
            }
            Err(error) => {
                self.failed += 1;
                eprintln!("{row}: {error}");
            }
        }
        if (self.stored + self.failed).is_multiple_of(PROGRESS_ROWS) {
            eprintln!("{} sent, {} stored", self.sent, self.stored);
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match replay(&arguments).await {
        Ok(counts) => {
            println!(
                "sent {}, stored {} (of these {} known before), failed {}",
                counts.sent, counts.stored, counts.repeats, counts.failed
            );
            match counts.failed {
                0 => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            eprintln!("sensor-replay: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn replay(arguments: &Arguments) -> Result<Counts, Box<dyn std::error::Error>> {
    let rows = series::read(&arguments.file)?;
    let options = Options {
        window: arguments.window,
        wait_when_busy: true,
        name: "sensor-replay".to_owned(),
        ..Options::default()
    };
    let client = Client::connect_with(&arguments.socket, options).await?;
    let mut pace = arguments.rate.map(every);
    let mut pending = VecDeque::new();
    let mut counts = Counts::default();
    for round in 0..arguments.repeat {
        for row in &rows {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            // The oldest answer makes room for the next row.
            while pending.len() >= arguments.window as usize {
                take_oldest(&mut pending, &mut counts).await;
            }
            send(&client, arguments, row, round, &mut pending, &mut counts).await;
        }
    }
    while !pending.is_empty() {
        take_oldest(&mut pending, &mut counts).await;
    }
    Ok(counts)
}

async fn send(
    client: &Client,
    arguments: &Arguments,
    row: &Row,
    round: u32,
    pending: &mut VecDeque<(String, Pending)>,
    counts: &mut Counts,
) {
    let draft = row.draft(round, arguments.order_key.as_deref());
    let id = row.id(round);
    counts.sent += 1;
    match client.submit(draft, arguments.lane.as_deref()).await {
        Ok(answer) => pending.push_back((id, answer)),
        Err(error) => counts.add(&id, Err(error)),
    }
}

async fn take_oldest(pending: &mut VecDeque<(String, Pending)>, counts: &mut Counts) {
    if let Some((id, answer)) = pending.pop_front() {
        counts.add(&id, answer.await);
    }
}

fn every(rate: u32) -> Interval {
    let mut pace = interval(Duration::from_secs(1) / rate);
    // A full agent is not made up for with a burst.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
