//! `queue verify`: reads everything once, to see whether it can be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::client::Client;
use super::human::{self, Column};
use super::{ControlAt, Exit, Failure, output, queue, records};
use crate::control::api::{Checked, NewerFile, Overall, Span};
use crate::queue::Keys;
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
pub(super) struct Found {
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
    /// Records that are whole, and sealed with a key that the agent does not have, by its id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    locked: BTreeMap<String, u64>,
}

pub(super) async fn run(args: Verify) -> Result<String, Failure> {
    if let Some(folder) = &args.segment {
        return segment(folder, args.at.keys(), args.json);
    }
    let mut client = args.at.look().await?;
    let names = match &args.lane {
        Some(lane) => vec![lane.clone()],
        None => queue::names(&mut client).await?,
    };
    let found = find(&mut client, names).await?;
    let text = if args.json { output::json(&found) } else { show(&found) };
    if found.whole {
        return Ok(text);
    }
    output::out(&text);
    Err(Failure::new(Exit::Warning, advice(&found)))
}

/// Reads everything in these lanes, and what lies beside them.
pub(super) async fn find(client: &mut Client, names: Vec<String>) -> Result<Found, Failure> {
    let mut lanes = Vec::new();
    for name in names {
        lanes.push(lane(client, name).await?);
    }
    let overall: Overall = client.get("/v1/verify").await?.json()?;
    let newer = overall.newer.is_some();
    let whole = !newer
        && lanes.iter().all(|lane| lane.lost.is_empty())
        && overall.letters_lost.is_empty()
        && overall.damaged_files.is_empty();
    Ok(Found { whole, lanes, overall })
}

/// Page by page: a long backlog takes its time.
async fn lane(client: &mut Client, name: String) -> Result<Lane, Failure> {
    let (mut records, mut lost, mut next) = (0, Vec::new(), None);
    let mut locked: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let query = records::query(&[("from", next.map(|from: u64| from.to_string()))]);
        let path = format!("/v1/verify/{}{query}", records::escape(&name));
        let page: Checked = client.get(&path).await?.json()?;
        records += page.records;
        lost.extend(page.lost);
        for (key, count) in page.locked {
            *locked.entry(key).or_default() += count;
        }
        next = page.next;
        if next.is_none() {
            return Ok(Lane { name, records, lost, locked });
        }
    }
}

fn segment(folder: &std::path::Path, keys: Keys, json: bool) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error.to_string());
    let segment = Segment::open(folder, keys).map_err(|error| failed(&error))?;
    let mut positions = Vec::new();
    let walked = segment.walk(|Content { position, .. }| {
        match positions.last_mut() {
            Some((_, last)) if *last + 1 == position => *last = position,
            _ => positions.push((position, position)),
        }
        Ok::<(), std::io::Error>(())
    });
    let locked = walked.map_err(|error| failed(&error))?;
    let records: u64 = positions.iter().map(|(from, to)| to - from + 1).sum();
    let locked: Vec<(Span, String)> =
        locked.into_iter().map(|((from, to), key)| ((from, to - 1), key.to_string())).collect();
    if json {
        let whole =
            serde_json::json!({ "records": records, "positions": positions, "locked": locked });
        return Ok(output::json(&whole));
    }
    let mut text = format!("{records} records are whole: {}\n", human::spans(&positions));
    for (span, key) in locked {
        let span = human::span(span);
        text.push_str(&format!("whole too, but sealed with the key {key}: {span}\n"));
    }
    Ok(text)
}

fn show(found: &Found) -> String {
    let columns = [Column::Left("LANE"), Column::Right("READABLE"), Column::Left("LOST POSITIONS")];
    let row =
        |lane: &Lane| vec![lane.name.clone(), lane.records.to_string(), human::spans(&lane.lost)];
    let Overall { letters, letters_lost, damaged_files, quarantine, newer, .. } = &found.overall;
    let mut text = human::table(&columns, &found.lanes.iter().map(row).collect::<Vec<_>>());
    text.push_str(&format!("dead letters: {letters} readable, {} lost\n", letters_lost.len()));
    if let Some(NewerFile { file, version }) = newer {
        text.push_str(&format!(
            "newer format: {file} has version {version}; what is above lies beside it\n"
        ));
    }
    text.push_str(&locked(found));
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

/// What is whole and cannot be read.
fn locked(found: &Found) -> String {
    let letters = found.overall.letters_locked.iter();
    let letters = letters.map(|(count, key)| ("dead letters".to_owned(), key, *count));
    let lanes = found.lanes.iter().flat_map(|lane| {
        lane.locked.iter().map(|(key, count)| (format!("lane {}", lane.name), key, *count))
    });
    let line = |(place, key, count)| {
        format!(
            "{place}: {count} more are whole and sealed with the key {key}; they wait for it in \
             [gateway] former_keys\n"
        )
    };
    lanes.chain(letters).map(line).collect()
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
