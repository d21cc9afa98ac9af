//! `spillway queue`: list, peek and purge here, `verify` and `export` beside.

use bytes::Bytes;
use clap::{Args, Subcommand};

use super::exit::finish;
use super::export::{self, Export};
use super::human::{self, Column};
use super::verify::{self, Verify};
use super::{ControlAt, Exit, Failure, client::Client, output, records};
use crate::control::api::{self, Done, Entry, Lanes, PAGE_MAX, Span, Waiting};

/// Subcommands of `queue`.
#[derive(Debug, Subcommand)]
pub(super) enum Queue {
    /// Lists lanes and their accounts
    List(List),
    /// Lists waiting records, oldest first
    Peek(Peek),
    /// Reads everything once, to see whether it can be
    Verify(Verify),
    /// Prints waiting records as JSON, one a line; with --body another agent can take them in
    Export(Export),
    /// Gives waiting records up for good; the far side is told
    Purge(Purge),
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

/// Arguments of `queue purge`.
#[derive(Debug, Args)]
pub(super) struct Purge {
    #[command(flatten)]
    at: ControlAt,
    /// The lane
    #[arg(long, value_name = "LANE")]
    lane: String,
    /// Positions as "queue peek" shows them: 7, or 7-20
    #[arg(value_name = "POSITIONS", value_parser = span)]
    positions: Vec<Span>,
    /// All that waits in the lane
    #[arg(long, conflicts_with = "positions")]
    all: bool,
    /// Only says how many it would be
    #[arg(long)]
    dry_run: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Queue) -> Exit {
    finish(match args {
        Queue::List(args) => list(args).await,
        Queue::Peek(args) => peek(args).await,
        Queue::Verify(args) => verify::run(args).await,
        Queue::Export(args) => export::waiting(args).await,
        Queue::Purge(args) => purge(args).await,
    })
}

async fn list(args: List) -> Result<String, Failure> {
    let lanes = lanes(&mut args.at.look().await?).await?;
    Ok(if args.json { output::json(&lanes) } else { show_lanes(&lanes) })
}

/// The lanes and their accounts.
pub(super) async fn lanes(client: &mut Client) -> Result<Lanes, Failure> {
    client.get("/v1/queue").await?.json()
}

/// The lanes' names.
pub(super) async fn names(client: &mut Client) -> Result<Vec<String>, Failure> {
    Ok(lanes(client).await?.lanes.into_iter().map(|lane| lane.name).collect())
}

async fn purge(args: Purge) -> Result<String, Failure> {
    if args.positions.is_empty() && !args.all {
        let message = "this would give up nothing; say which (7, or 7-20, as queue peek shows them), or --all";
        return Err(Failure::new(Exit::Usage, message));
    }
    let purge = api::Purge { ranges: args.positions, all: args.all, dry_run: args.dry_run };
    let mut client = args.at.connect().await?;
    let path = format!("/v1/queue/{}/purge", records::escape(&args.lane));
    let body = Bytes::from(output::json(&purge));
    let done: Done = client.post(&path, "application/json", body).await?.json()?;
    if args.json {
        return Ok(output::json(&done));
    }
    let would = if done.dry_run { "would " } else { "" };
    let plural = if done.count == 1 { "" } else { "s" };
    Ok(format!("{would}purge: {} waiting record{plural} of lane {}\n", done.count, args.lane))
}

/// `7` or `7-20`.
fn span(text: &str) -> Result<Span, String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number > 0);
    let span = number(from).zip(number(to)).filter(|(from, to)| from <= to);
    span.ok_or_else(|| "write a position such as 7, or a range such as 7-20".to_owned())
}

async fn peek(args: Peek) -> Result<String, Failure> {
    let mut client = args.at.look().await?;
    let names = match &args.lane {
        Some(lane) => vec![lane.clone()],
        None => names(&mut client).await?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_one_or_a_range() {
        assert_eq!((span("7"), span("7-20")), (Ok((7, 7)), Ok((7, 20))));
        for wrong in ["", "0", "9-7", "-7", "7-", "a", "1-2-3"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
