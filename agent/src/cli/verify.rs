//! `queue verify`: reads everything once, to see whether it can be.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::client::Client;
use super::human::{self, Column};
use super::{ControlAt, Exit, Failure, output, queue, records};
use crate::control::api::{Checked, NewerFile, Overall, Span};
use crate::queue::inspect::{Content, Segment};

/// Arguments of `queue verify`.
#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    at: ControlAt,
    /// Only this lane
    #[arg(long, value_name = "LANE")]
    lane: Option<String>,
    /// How many records are whole in a segment's folder, such as one in quarantine/
    #[arg(long, value_name = "FOLDER", conflicts_with = "lane")]
    segment: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Found {
    /// Nothing waits that cannot be read, no file is damaged, and none is a newer agent's.
    whole: bool,
    lanes: Vec<Lane>,
    #[serde(flatten)]
    overall: Overall,
}

#[derive(Debug, Serialize)]
struct Lane {
    name: String,
    /// Records that can be read.
    records: u64,
    /// Positions that wait and cannot be read: they will be counted as damaged.
    lost: Vec<Span>,
}

pub(super) async fn run(args: Verify) -> Result<String, Failure> {
    if let Some(folder) = &args.segment {
        return segment(folder);
    }
    let mut client = args.at.look().await?;
    let names = match &args.lane {
        Some(lane) => vec![lane.clone()],
        None => queue::names(&mut client).await?,
    };
    let mut lanes = Vec::new();
    for name in names {
        lanes.push(lane(&mut client, name).await?);
    }
    let overall: Overall = client.get("/v1/verify").await?.json()?;
    let newer = overall.newer.is_some();
    let whole = !newer
        && lanes.iter().all(|lane| lane.lost.is_empty())
        && overall.letters_lost.is_empty()
        && overall.damaged_files.is_empty();
    let found = Found { whole, lanes, overall };
    let text = if args.json { output::json(&found) } else { show(&found) };
    if found.whole {
        return Ok(text);
    }
    output::out(&text);
    Err(Failure::new(Exit::Warning, advice(&found)))
}

/// Page by page: a long backlog takes its time.
async fn lane(client: &mut Client, name: String) -> Result<Lane, Failure> {
    let (mut records, mut lost, mut next) = (0, Vec::new(), None);
    loop {
        let query = records::query(&[("from", next.map(|from: u64| from.to_string()))]);
        let path = format!("/v1/verify/{}{query}", records::escape(&name));
        let page: Checked = client.get(&path).await?.json()?;
        records += page.records;
        lost.extend(page.lost);
        next = page.next;
        if next.is_none() {
            return Ok(Lane { name, records, lost });
        }
    }
}

fn segment(folder: &std::path::Path) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error.to_string());
    let segment = Segment::open(folder).map_err(|error| failed(&error))?;
    let mut positions = Vec::new();
    let walked = segment.walk(|Content { position, .. }| {
        match positions.last_mut() {
            Some((_, last)) if *last + 1 == position => *last = position,
            _ => positions.push((position, position)),
        }
        Ok::<(), std::io::Error>(())
    });
    walked.map_err(|error| failed(&error))?;
    let records: u64 = positions.iter().map(|(from, to)| to - from + 1).sum();
    Ok(format!("{records} records are whole: {}\n", human::spans(&positions)))
}

fn show(found: &Found) -> String {
    let columns = [Column::Left("LANE"), Column::Right("READABLE"), Column::Left("LOST POSITIONS")];
    let row =
        |lane: &Lane| vec![lane.name.clone(), lane.records.to_string(), human::spans(&lane.lost)];
    let Overall { letters, letters_lost, damaged_files, quarantine, newer } = &found.overall;
    let mut text = human::table(&columns, &found.lanes.iter().map(row).collect::<Vec<_>>());
    text.push_str(&format!("dead letters: {letters} readable, {} lost\n", letters_lost.len()));
    if let Some(NewerFile { file, version }) = newer {
        text.push_str(&format!(
            "newer format: {file} has version {version}; what is above lies beside it\n"
        ));
    }
    for file in damaged_files {
        text.push_str(&format!("damaged file: {file}\n"));
    }
    text.push_str(&format!(
        "quarantine: {} segments, {}\n",
        quarantine.segments,
        human::bytes(quarantine.bytes)
    ));
    text
}

fn advice(found: &Found) -> String {
    let lost = found.lanes.iter().any(|lane| !lane.lost.is_empty());
    let lost = lost || !found.overall.letters_lost.is_empty();
    let files = !found.overall.damaged_files.is_empty();
    let mut said = Vec::new();
    if lost {
        said.push(
            "what is lost is counted as damaged when its turn comes, and its segment is kept in \
             quarantine/; the rest is sent; look at the disk's health",
        );
    }
    if found.overall.newer.is_some() {
        said.push(
            "what a newer agent wrote is not damaged, and is left alone until that agent is installed \
             again",
        );
    }
    if files {
        said.push(
            "a damaged state or table of ids has a substitute, and is written anew; a segment in which \
             nothing is whole is put aside at the start",
        );
    }
    said.join("\n")
}
