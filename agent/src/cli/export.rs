//! `queue export` and `dead export`: one JSON object a line.
//!
//! With bodies a line is a record as the intake takes it, so that another agent can take it in under its
//! id (`spillway send --records`). Without, it is what there is to see of it.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::client::Client;
use super::{ControlAt, Exit, Failure, human, output, queue, records};
use crate::control::api::{Letters, PAGE_MAX, Record, Span, Waiting};
use crate::control::view;
use crate::queue::KeyId;
use crate::queue::inspect::{Content, Segment, SegmentError};

/// Arguments of `queue export`.
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    at: ControlAt,
    /// Only this lane; else all but the agent's own, which begin with _
    #[arg(long, value_name = "LANE")]
    lane: Option<String>,
    /// Begins at this position of the lane
    #[arg(long, value_name = "POSITION", requires = "lane")]
    from: Option<u64>,
    /// Most records
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Whole records, as "spillway send --records" takes them in; without it, what there is to see
    /// of each but its body, keys and properties
    #[arg(long)]
    body: bool,
    /// All that is whole in a segment's folder, such as one in quarantine/, delivered or not
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["lane", "from"])]
    segment: Option<PathBuf>,
}

/// What was written, and what could not be.
#[derive(Debug, Default)]
struct Written {
    records: usize,
    lost: Vec<(String, Span)>,
    /// With the key that they need.
    locked: Vec<(String, (Span, String))>,
}

pub(super) async fn waiting(args: Export) -> Result<String, Failure> {
    let mut written = Written::default();
    match &args.segment {
        Some(folder) => segment(folder.clone(), &args, &mut written)?,
        None => {
            let mut client = args.at.look().await?;
            let names = match &args.lane {
                Some(lane) => vec![lane.clone()],
                None => own_left_out(queue::names(&mut client).await?),
            };
            for name in names {
                lane(&mut client, &name, &args, &mut written).await?;
            }
        }
    }
    written.tell("record")
}

/// No other agent would take in what this one wrote for itself.
fn own_left_out(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| !name.starts_with('_'));
    names
}

async fn lane(
    client: &mut Client,
    name: &str,
    args: &Export,
    written: &mut Written,
) -> Result<(), Failure> {
    let (mut next, most) = (args.from, args.limit.unwrap_or(usize::MAX));
    while written.records < most {
        let query = records::query(&[
            ("from", next.map(|from| from.to_string())),
            ("limit", Some((most - written.records).min(PAGE_MAX).to_string())),
            ("body", args.body.then(|| "true".to_owned())),
        ]);
        let path = format!("/v1/queue/{}{query}", records::escape(name));
        let page: Waiting = client.get(&path).await?.json()?;
        for entry in page.records {
            line(&entry.record, args.body)?;
            written.records += 1;
        }
        written.lost.extend(page.lost.into_iter().map(|span| (name.to_owned(), span)));
        written.locked.extend(page.locked.into_iter().map(|locked| (name.to_owned(), locked)));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    Ok(())
}

fn segment(folder: PathBuf, args: &Export, written: &mut Written) -> Result<(), Failure> {
    let opened = Segment::open(&folder, args.at.keys());
    let segment = opened.map_err(|error| {
        let exit =
            if matches!(error, SegmentError::Name(_)) { Exit::Usage } else { Exit::TryAgain };
        Failure::new(exit, error.to_string())
    })?;
    let (mut records, most) = (0, args.limit.unwrap_or(usize::MAX));
    let locked = segment.walk(|Content { record, stamp, .. }| {
        if records < most {
            line(&view::record(&record, &stamp, args.body), args.body)?;
            records += 1;
        }
        Ok::<(), Failure>(())
    })?;
    written.records = records;
    let span = |((from, to), key): ((u64, u64), KeyId)| ((from, to - 1), key.to_string());
    let folder = folder.display().to_string();
    written.locked.extend(locked.into_iter().map(|locked| (folder.clone(), span(locked))));
    Ok(())
}

/// All letters that `query` says.
pub(super) async fn letters(
    client: &mut Client,
    query: impl Fn(Option<u64>, usize) -> String,
    limit: Option<usize>,
    body: bool,
) -> Result<String, Failure> {
    let (mut written, mut next) = (Written::default(), None);
    let most = limit.unwrap_or(usize::MAX);
    while written.records < most {
        let path = query(next, (most - written.records).min(PAGE_MAX));
        let page: Letters = client.get(&path).await?.json()?;
        for letter in page.letters {
            match body {
                true => line(&letter.record, true)?,
                false => put(&letter)?,
            }
            written.records += 1;
        }
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    written.tell("dead letter")
}

/// A record in the intake's own form.
#[derive(Serialize)]
struct Line<'a> {
    lane: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    #[serde(flatten)]
    content: Option<&'a crate::control::api::Content>,
}

fn line(record: &Record, body: bool) -> Result<(), Failure> {
    if !body {
        return put(record);
    }
    let (topic, tag) = (record.topic.as_deref(), record.tag.as_deref());
    let content = record.content.as_ref();
    put(&Line { lane: &record.lane, id: &record.id, topic, tag, content })
}

/// An export that is cut short must not look whole.
fn put(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_vec(value).map_err(io::Error::other)?;
    text.push(b'\n');
    Ok(io::stdout().lock().write_all(&text)?)
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let (exit, what) = match error.kind() {
            ErrorKind::BrokenPipe => (Exit::TryAgain, "its reader has gone"),
            _ => (Exit::TryAgain, "see that there is room where it goes"),
        };
        Self::new(exit, format!("the export is not whole: {error}; {what}"))
    }
}

impl Written {
    fn tell(self, what: &str) -> Result<String, Failure> {
        io::stdout().lock().flush()?;
        let plural = if self.records == 1 { "" } else { "s" };
        output::err(&format!("{} {what}{plural} exported\n", self.records));
        let mut said = Vec::new();
        if !self.lost.is_empty() {
            let lost = self.lost.iter();
            let lost = lost.map(|(lane, span)| format!("lane {lane}, {}", human::span(*span)));
            said.push(format!(
                "these cannot be read, and are not in it: {}; spillway queue verify says more",
                lost.collect::<Vec<_>>().join("; ")
            ));
        }
        if !self.locked.is_empty() {
            let locked = self
                .locked
                .iter()
                .map(|(place, (span, key))| format!("{place}, {} (key {key})", human::span(*span)));
            said.push(format!(
                "these are whole, but sealed, and are not in it: {}; add the key to [gateway] \
                 former_keys",
                locked.collect::<Vec<_>>().join("; ")
            ));
        }
        match said.is_empty() {
            true => Ok(String::new()),
            false => Err(Failure::new(Exit::Warning, said.join("\n"))),
        }
    }
}
