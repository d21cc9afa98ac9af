//! `spillway send`: one record, or one for each line.

mod lines;
mod record;

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use serde::Deserialize;
use spillway_protocol::record::BODY_MAX;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::exit::finish;
use super::{Exit, Failure, IntakeAt, client::Client};
use record::Fields;

/// Arguments of `send`.
#[derive(Debug, Args)]
pub(super) struct Send {
    #[command(flatten)]
    at: IntakeAt,
    #[command(flatten)]
    fields: Fields,
    /// One record for each line; empty lines are left out
    #[arg(long, conflicts_with = "id")]
    lines: bool,
    /// Each line is a record as JSON, as "queue export --body" writes it, and says all of it itself
    #[arg(long, conflicts_with_all = ["lines", "lane", "topic", "tag", "id", "key", "order_key", "properties"])]
    records: bool,
    /// Prints JSON: the agent's answer, with --lines and --records one a line
    #[arg(long)]
    json: bool,
    /// What to send; standard input where it is - or left out
    #[arg(value_name = "FILE or -")]
    file: Option<PathBuf>,
}

/// The agent's answer to a stored record.
#[derive(Debug, Deserialize)]
struct Stored {
    id: String,
    lane: String,
    seq: u64,
    #[serde(default)]
    duplicate: bool,
}

pub(super) async fn run(args: Send) -> Exit {
    let input = match open(args.file.as_deref()).await {
        Ok(input) => input,
        Err(failure) => return failure.report(),
    };
    if args.lines || args.records {
        return lines::run(&args, input).await;
    }
    finish(one(&args, input).await)
}

async fn one(args: &Send, input: Input) -> Result<String, Failure> {
    let body = whole(input).await?;
    let mut client = args.at.connect().await?;
    let stored = post(&mut client, args.fields.to_json(&body)).await?;
    if args.json {
        return Ok(format!("{}\n", String::from_utf8_lossy(&stored).trim_end()));
    }
    let stored: Stored = serde_json::from_slice(&stored).map_err(|error| {
        let message = format!("stored, but the answer is not what this version expects: {error}");
        Failure::new(Exit::Unreachable, message)
    })?;
    Ok(stored.show())
}

async fn post(client: &mut Client, json: String) -> Result<Bytes, Failure> {
    let answer = client.post("/v1/records", "application/json", json.into()).await?;
    answer.good()?;
    Ok(answer.body)
}

impl Stored {
    fn show(&self) -> String {
        let already = if self.duplicate { "already " } else { "" };
        format!("{already}stored: lane {}, seq {}, id {}\n", self.lane, self.seq, self.id)
    }
}

/// A file or standard input.
type Input = Box<dyn AsyncRead + Unpin + std::marker::Send>;

async fn open(file: Option<&std::path::Path>) -> Result<Input, Failure> {
    let Some(file) = file.filter(|file| file.as_os_str() != "-") else {
        return Ok(Box::new(tokio::io::stdin()));
    };
    match tokio::fs::File::open(file).await {
        Ok(opened) => Ok(Box::new(opened)),
        Err(error) => {
            let message = format!(
                "{}: cannot be read: {error}; name a file that this user can read, or - for standard input",
                file.display()
            );
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// All of the input, if a record can be so large.
async fn whole(input: Input) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let read = input.take(BODY_MAX as u64 + 1).read_to_end(&mut body).await;
    read.map_err(|error| Failure::new(Exit::Usage, format!("the input cannot be read: {error}")))?;
    if body.len() > BODY_MAX {
        let message = format!("body: has more than {BODY_MAX} bytes; split it");
        return Err(Failure::new(Exit::Refused, message));
    }
    Ok(body)
}
