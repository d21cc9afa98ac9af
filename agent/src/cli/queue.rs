//! `spillway queue list` and `queue peek`.

use clap::{Args, Subcommand};

use super::exit::finish;
use super::human::{self, Column};
use super::unbuilt::{Unbuilt, refuse};
use super::{ControlAt, Exit, Failure, client::Client, output, records};
use crate::control::api::{Entry, Lanes, PAGE_MAX, Waiting};

/// Subcommands of `queue`.
#[derive(Debug, Subcommand)]
pub(super) enum Queue {
    /// Lanes and their accounts
    List(List),
    /// Waiting records, oldest first
    Peek(Peek),
    #[command(hide = true)]
    Verify(Unbuilt),
    #[command(hide = true)]
    Export(Unbuilt),
    #[command(hide = true)]
    Purge(Unbuilt),
}

/// Arguments of `queue list`.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    at: ControlAt,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `queue peek`.
#[derive(Debug, Args)]
pub(super) struct Peek {
    #[command(flatten)]
    at: ControlAt,
    /// Only this lane
    #[arg(long, value_name = "LANE")]
    lane: Option<String>,
    /// Begins at this position of the lane
    #[arg(long, value_name = "POSITION", requires = "lane")]
    from: Option<u64>,
    /// Most records of a lane
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    /// Shows bodies, keys and properties too
    #[arg(long)]
    body: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Queue) -> Exit {
    finish(match args {
        Queue::List(args) => list(args).await,
        Queue::Peek(args) => peek(args).await,
        Queue::Verify(_) => return refuse("queue verify", "damage is counted when it is reached"),
        Queue::Export(_) => {
            return refuse("queue export", "queue peek --body --json shows records");
        }
        Queue::Purge(_) => return refuse("queue purge", "records wait until they are delivered"),
    })
}

async fn list(args: List) -> Result<String, Failure> {
    let lanes = lanes(&mut args.at.connect().await?).await?;
    Ok(if args.json { output::json(&lanes) } else { show_lanes(&lanes) })
}

async fn lanes(client: &mut Client) -> Result<Lanes, Failure> {
    client.get("/v1/queue").await?.json()
}

async fn peek(args: Peek) -> Result<String, Failure> {
    let mut client = args.at.connect().await?;
    let names = match &args.lane {
        Some(lane) => vec![lane.clone()],
        None => lanes(&mut client).await?.lanes.into_iter().map(|lane| lane.name).collect(),
    };
    let mut found = Vec::new();
    for name in names {
        found.extend(waiting(&mut client, &name, &args).await?);
    }
    if args.json {
        return Ok(output::json(&serde_json::json!({ "records": found })));
    }
    Ok(show_entries(&found))
}

/// Up to the limit, page by page.
async fn waiting(client: &mut Client, lane: &str, args: &Peek) -> Result<Vec<Entry>, Failure> {
    let (mut found, mut next) = (Vec::new(), args.from);
    while found.len() < args.limit {
        let limit = (args.limit - found.len()).min(PAGE_MAX);
        let query = records::query(&[
            ("from", next.map(|from| from.to_string())),
            ("limit", Some(limit.to_string())),
            ("body", args.body.then(|| "true".to_owned())),
        ]);
        let path = format!("/v1/queue/{}{query}", records::escape(lane));
        let page: Waiting = client.get(&path).await?.json()?;
        found.extend(page.records);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    Ok(found)
}

fn show_lanes(lanes: &Lanes) -> String {
    let columns = [
        Column::Left("LANE"),
        Column::Right("ACCEPTED"),
        Column::Right("DELIVERED"),
        Column::Right("WAITING"),
        Column::Right("IN FLIGHT"),
        Column::Right("DEAD"),
        Column::Right("EXPIRED"),
        Column::Right("DROPPED"),
        Column::Right("DAMAGED"),
        Column::Right("SIZE"),
        Column::Right("DISK"),
        Column::Left("OLDEST"),
    ];
    let row = |lane: &crate::control::api::Lane| {
        vec![
            lane.name.clone(),
            lane.accepted.to_string(),
            lane.delivered.to_string(),
            lane.waiting.to_string(),
            lane.in_flight.to_string(),
            lane.dead.to_string(),
            lane.expired.to_string(),
            lane.dropped.to_string(),
            lane.damaged.to_string(),
            human::bytes(lane.live_bytes),
            human::bytes(lane.disk_bytes),
            lane.oldest_accepted_ms.map_or_else(|| "-".to_owned(), human::time),
        ]
    };
    let own = lanes.lanes.iter().any(|lane| lane.name.starts_with('_'));
    let note = if own { "lanes that begin with _ are the agent's own\n" } else { "" };
    format!("{}{note}", human::table(&columns, &lanes.lanes.iter().map(row).collect::<Vec<_>>()))
}

fn show_entries(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "nothing waits\n".to_owned();
    }
    let columns = [
        Column::Left("LANE"),
        Column::Right("POSITION"),
        Column::Right("SEQ"),
        Column::Left("ID"),
        Column::Left("ACCEPTED"),
        Column::Right("SIZE"),
        Column::Left("TOPIC"),
    ];
    let row = |entry: &Entry| {
        let record = &entry.record;
        vec![
            record.lane.clone(),
            entry.position.to_string(),
            record.seq.to_string(),
            human::line(&record.id),
            records::accepted(record),
            human::bytes(record.body_bytes),
            record.topic.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    let contents = entries.iter().map(|entry| entry.record.content.as_ref());
    records::interleave(&human::table(&columns, &rows), contents)
}
