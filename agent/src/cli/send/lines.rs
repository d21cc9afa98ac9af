//! `send --lines` and `--records`: batches of NDJSON, each answered line by line.

use std::time::Duration;

use serde::Deserialize;
use spillway_protocol::local::json::LINE_MAX;
use spillway_protocol::local::{Code, Refusal};
use spillway_protocol::record::BODY_MAX;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::time::timeout;

use super::super::client::Client;
use super::super::{Exit, Failure, human, output};
use super::{Input, Send, Stored};

/// Most records and bytes of one request.
const BATCH_RECORDS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
/// What is read of the input at once.
const READ_BYTES: usize = 256 << 10;
/// How long what is not sent any more is read, to be counted.
const REST_TIME_MAX: Duration = Duration::from_secs(2);
/// Errors that are spelled out; the rest are counted.
const SHOWN: usize = 10;

pub(super) async fn run(args: &Send, input: Input) -> Exit {
    let mut report = Report::default();
    let mut input = BufReader::with_capacity(READ_BYTES, input);
    let ended = send_all(args, &mut input, &mut report).await;
    if let Err(failure) = &ended {
        report.rest = rest(failure, &mut input).await;
    }
    output::err(&report.errors());
    if !args.json {
        output::out(&report.summary());
    }
    match ended {
        Ok(()) => report.exit(),
        Err(failure) => {
            let rest =
                format!("send the refused lines and those behind line {} again", report.sent_lines);
            Failure::new(
                failure.exit,
                format!(
                    "{}
{rest}",
                    failure.message
                ),
            )
            .report()
        }
    }
}

async fn send_all(
    args: &Send,
    input: &mut BufReader<Input>,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut client = args.at.connect().await?;
    let line_max = if args.records { LINE_MAX } else { BODY_MAX };
    let mut lines = Lines { number: 0, line_max };
    let to_json = |line: &[u8]| match args.records {
        true => String::from_utf8(line.to_vec()).ok(),
        false => Some(args.fields.to_json(line)),
    };
    loop {
        let batch = lines.batch(input, to_json).await?;
        if batch.numbers.is_empty() {
            return Ok(());
        }
        report.send(&mut client, &batch, args.json).await?;
    }
}

/// How much of the input was not sent any more: what comes of a pipe within a moment, and no more.
async fn rest(failure: &Failure, input: &mut BufReader<Input>) -> Rest {
    let counting = async {
        let (mut lines, mut line) = (0, Vec::new());
        while input.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
            lines += u64::from(!without_end(&line).is_empty());
            line.clear();
        }
        lines
    };
    // Of what cannot be read some lines may be read and not sent.
    match failure.exit {
        Exit::TryAgain | Exit::Unreachable => {
            timeout(REST_TIME_MAX, counting).await.map_or(Rest::Uncounted, Rest::Lines)
        }
        _ => Rest::Uncounted,
    }
}

/// Where the input stands.
struct Lines {
    /// Number of the line that was read last.
    number: u64,
    /// Most bytes of a line.
    line_max: usize,
}

/// Records of one request.
#[derive(Default)]
struct Batch {
    numbers: Vec<u64>,
    ndjson: String,
}

impl Lines {
    /// As many lines as there are by now, at least one, within a request's bounds. So a pipe that
    /// is slow is stored line by line, and a file in large groups.
    async fn batch(
        &mut self,
        input: &mut BufReader<impl AsyncRead + Unpin>,
        to_json: impl Fn(&[u8]) -> Option<String>,
    ) -> Result<Batch, Failure> {
        let mut batch = Batch::default();
        while batch.numbers.len() < BATCH_RECORDS && batch.ndjson.len() < BATCH_BYTES {
            let mut line = Vec::new();
            let limit = self.line_max as u64 + 2;
            let read = (&mut *input).take(limit).read_until(b'\n', &mut line).await;
            read.map_err(|error| {
                Failure::new(Exit::Usage, format!("the input cannot be read: {error}"))
            })?;
            if line.is_empty() {
                break;
            }
            self.number += 1;
            let body = without_end(&line);
            if body.len() > self.line_max {
                let message =
                    format!("line {}: has more than {} bytes", self.number, self.line_max);
                return Err(Failure::new(Exit::Refused, message));
            }
            if !body.is_empty() {
                let Some(json) = to_json(body) else {
                    let message = format!("line {}: is no JSON: it is not UTF-8", self.number);
                    return Err(Failure::new(Exit::Refused, message));
                };
                batch.numbers.push(self.number);
                batch.ndjson.push_str(&json);
                batch.ndjson.push('\n');
            }
            if input.buffer().is_empty() && !batch.numbers.is_empty() {
                break;
            }
        }
        Ok(batch)
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// One line of the agent's answer.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answered {
    Refused { error: Refusal },
    Stored(Stored),
}

/// Lines that were not sent, behind the last one that was.
#[derive(Debug, Default)]
enum Rest {
    #[default]
    None,
    Lines(u64),
    Uncounted,
}

/// What has become of the lines so far.
#[derive(Debug, Default)]
struct Report {
    stored: u64,
    duplicates: u64,
    refused: Vec<(u64, Refusal)>,
    refused_more: u64,
    later: bool,
    rest: Rest,
    /// Last line whose answer is known.
    sent_lines: u64,
}

impl Report {
    async fn send(
        &mut self,
        client: &mut Client,
        batch: &Batch,
        json: bool,
    ) -> Result<(), Failure> {
        let body = batch.ndjson.clone().into();
        let answer = client.post("/v1/records", "application/x-ndjson", body).await?;
        let text = String::from_utf8_lossy(answer.good()?);
        let mut answers = text.lines();
        for number in &batch.numbers {
            let Some(answer) = answers.next() else {
                let message =
                    format!("line {number}: was not answered; it may or may not be stored");
                return Err(Failure::new(Exit::TryAgain, message));
            };
            self.note(*number, answer)?;
            if json {
                output::out(&format!("{answer}\n"));
            }
        }
        match self.later {
            true => Err(Failure::new(Exit::TryAgain, "the agent takes no more for now")),
            false => Ok(()),
        }
    }

    fn note(&mut self, number: u64, answer: &str) -> Result<(), Failure> {
        let answered = serde_json::from_str(answer).map_err(|error| {
            let message =
                format!("line {number}: an answer that this version does not know: {error}");
            Failure::new(Exit::Unreachable, message)
        })?;
        match answered {
            Answered::Stored(stored) => {
                self.stored += 1;
                self.duplicates += u64::from(stored.duplicate);
            }
            Answered::Refused { error } => {
                self.later |= error.retry_after_s().is_some();
                self.refused_more += u64::from(self.refused.len() >= SHOWN);
                if self.refused.len() < SHOWN {
                    self.refused.push((number, error));
                }
            }
        }
        self.sent_lines = number;
        Ok(())
    }

    fn refusals(&self) -> u64 {
        self.refused.len() as u64 + self.refused_more
    }

    fn exit(&self) -> Exit {
        let forbidden = |refusal: &Refusal| refusal.code == Code::NotAllowed;
        match self.refused.first() {
            None => Exit::Done,
            Some((_, first)) if forbidden(first) => Exit::NotPermitted,
            Some(_) => Exit::Refused,
        }
    }

    fn summary(&self) -> String {
        let duplicates = match self.duplicates {
            0 => String::new(),
            n => format!(" ({n} of them already before)"),
        };
        let rest = match self.rest {
            Rest::None | Rest::Lines(0) => String::new(),
            Rest::Lines(lines) => format!(", {lines} not attempted"),
            Rest::Uncounted => ", the rest not attempted".to_owned(),
        };
        format!("{} stored{duplicates}, {} refused{rest}\n", self.stored, self.refusals())
    }

    fn errors(&self) -> String {
        let line = |(number, refusal): &(u64, Refusal)| {
            format!("line {number}: {}\n", human::line(&refusal.to_string()))
        };
        let mut text: String = self.refused.iter().map(line).collect();
        if self.refused_more > 0 {
            text.push_str(&format!("and {} more\n", self.refused_more));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn batches(input: &str) -> Vec<(Vec<u64>, String)> {
        let mut input = BufReader::new(input.as_bytes());
        let (mut lines, mut all) = (Lines { number: 0, line_max: BODY_MAX }, Vec::new());
        loop {
            let to_json = |body: &[u8]| String::from_utf8(body.to_vec()).ok();
            let batch = lines.batch(&mut input, to_json).await.unwrap();
            if batch.numbers.is_empty() {
                return all;
            }
            all.push((batch.numbers, batch.ndjson));
        }
    }

    #[tokio::test]
    async fn lines_keep_their_numbers_and_lose_only_their_ends() {
        let found = batches("a\r\n\n b \nc").await;
        assert_eq!(found, [(vec![1, 3, 4], "a\n b \nc\n".to_owned())]);
    }

    #[tokio::test]
    async fn a_long_input_goes_in_several_requests() {
        let found = batches(&"x\n".repeat(BATCH_RECORDS + 1)).await;
        let sizes: Vec<usize> = found.iter().map(|(numbers, _)| numbers.len()).collect();
        assert_eq!(sizes, [BATCH_RECORDS, 1]);
    }

    #[test]
    fn answers_are_counted_and_the_first_refusals_named() {
        let mut report = Report::default();
        report.note(1, r#"{"id":"a","key":"a","lane":"l","seq":1,"level":"disk"}"#).unwrap();
        let repeat = r#"{"id":"a","key":"a","lane":"l","seq":1,"level":"disk","duplicate":true}"#;
        report.note(2, repeat).unwrap();
        assert_eq!(
            (report.exit(), report.summary().as_str()),
            (Exit::Done, "2 stored (1 of them already before), 0 refused\n")
        );
        for number in 3..=14 {
            let refusal = Refusal::of("topic", Code::BadRecord, "is wrong");
            report.note(number, &refusal.to_json()).unwrap();
        }
        assert_eq!(report.exit(), Exit::Refused);
        assert!(!report.later);
        let errors = report.errors();
        assert!(errors.starts_with("line 3: bad_record: topic is wrong\nline 4: "), "{errors}");
        assert!(errors.ends_with("line 12: bad_record: topic is wrong\nand 2 more\n"), "{errors}");
        report.note(15, &Refusal::new(Code::DiskFull, "is full").to_json()).unwrap();
        assert!(report.later);
        assert!(report.note(16, "<html>").is_err() && report.note(16, "{}").is_err());
    }
}
