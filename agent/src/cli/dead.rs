//! `spillway dead`.

mod codes;

use std::time::SystemTime;

use bytes::Bytes;
use clap::{Args, Subcommand};

use super::exit::finish;
use super::human::{self, Column};
use super::{ControlAt, Exit, Failure, export, output, records};
use crate::config;
use crate::control::api::{Accepted, Action, Done, Filter, Left, Letter, Letters, PAGE_DEFAULT};

/// Subcommands of `dead`.
#[derive(Debug, Subcommand)]
pub(super) enum Dead {
    /// Lists dead letters and their reasons, oldest first
    List(List),
    /// Shows one dead letter
    Show(Show),
    /// Puts dead letters at the tail of their lanes again
    Replay(Act),
    /// Gives dead letters up for good
    Purge(Purge),
    /// Says that a held lane's refusals are the records' own fault: they go to the dead letters
    Accept(Accept),
    /// Prints dead letters as JSON, one a line; with --body another agent can take their records in
    Export(Export),
}

/// Which dead letters.
#[derive(Debug, Args)]
struct Which {
    /// Only those of this lane
    #[arg(long, value_name = "LANE")]
    lane: Option<String>,
    /// Only those with this code, or with this in their reason
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only those of the last "2h", or since 2026-05-01T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<u64>,
    /// At most so many, oldest first [default: all; of list: 100]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// Arguments of `dead list`.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    at: ControlAt,
    #[command(flatten)]
    which: Which,
    /// Shows bodies, keys and properties too
    #[arg(long)]
    body: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `dead export`.
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    at: ControlAt,
    #[command(flatten)]
    which: Which,
    /// Whole records, as "spillway send --records" takes them in, without their reasons; without
    /// it, letters without bodies, keys and properties
    #[arg(long)]
    body: bool,
}

/// Arguments of `dead show`.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    at: ControlAt,
    /// Its number, as "dead list" shows it
    #[arg(value_name = "NUMBER")]
    number: u64,
    /// Shows body, keys and properties too
    #[arg(long)]
    body: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `dead replay`.
#[derive(Debug, Args)]
pub(super) struct Act {
    #[command(flatten)]
    at: ControlAt,
    /// Only this one, as "dead list" shows it
    number: Option<u64>,
    #[command(flatten)]
    which: Which,
    /// Only says how many it would be
    #[arg(long)]
    dry_run: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `dead purge`.
#[derive(Debug, Args)]
pub(super) struct Purge {
    #[command(flatten)]
    act: Act,
    /// Gives up all of them; needed where nothing else says which
    #[arg(long)]
    all: bool,
}

/// Arguments of `dead accept`.
#[derive(Debug, Args)]
pub(super) struct Accept {
    #[command(flatten)]
    at: ControlAt,
    /// The held lane
    lane: String,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Dead) -> Exit {
    finish(match args {
        Dead::List(args) => list(args).await,
        Dead::Show(args) => show(args).await,
        Dead::Replay(args) => act(args, "replay", false).await,
        Dead::Purge(args) => act(args.act, "purge", args.all).await,
        Dead::Accept(args) => accept(args).await,
        Dead::Export(args) => export(args).await,
    })
}

async fn list(args: List) -> Result<String, Failure> {
    let limit = args.which.limit.unwrap_or(PAGE_DEFAULT);
    let path = args.which.path(None, limit, args.body);
    let mut client = args.at.look().await?;
    let letters: Letters = client.get(&path).await?.json()?;
    if args.json {
        return Ok(output::json(&letters));
    }
    if letters.letters.is_empty() {
        let others = codes::others(&mut client, &args.which).await?;
        return Ok(format!("no dead letters{}\n", human::line(&others)));
    }
    Ok(show_letters(&letters))
}

async fn export(args: Export) -> Result<String, Failure> {
    let mut client = args.at.look().await?;
    let which = args.which;
    let path = |from, limit| which.path(from, limit, args.body);
    export::letters(&mut client, path, which.limit, args.body).await
}

impl Which {
    fn path(&self, from: Option<u64>, limit: usize, body: bool) -> String {
        let query = records::query(&[
            ("lane", self.lane.clone()),
            ("reason", self.reason.clone()),
            ("since_ms", self.since.map(|ms| ms.to_string())),
            ("from", from.map(|from| from.to_string())),
            ("limit", Some(limit.to_string())),
            ("body", body.then(|| "true".to_owned())),
        ]);
        format!("/v1/dead{query}")
    }
}

async fn show(args: Show) -> Result<String, Failure> {
    let query = records::query(&[("body", args.body.then(|| "true".to_owned()))]);
    let mut client = args.at.look().await?;
    let path = format!("/v1/dead/{}{query}", args.number);
    let letter: Letter = client.get(&path).await?.json()?;
    Ok(if args.json { output::json(&letter) } else { show_letter(&letter) })
}

async fn act(args: Act, what: &str, all: bool) -> Result<String, Failure> {
    let which = args.which;
    let filter = Filter {
        number: args.number,
        lane: which.lane.clone(),
        reason: which.reason.clone(),
        since_ms: which.since,
        limit: which.limit,
    };
    if what == "purge" && !all && filter == Filter::default() {
        let message = "this would give up all dead letters; say which (--lane, --reason, --since, \
                       --limit or a number), or --all";
        return Err(Failure::new(Exit::Usage, message));
    }
    let action = Action { filter, dry_run: args.dry_run, all };
    let mut client = args.at.connect().await?;
    let path = format!("/v1/dead/{what}");
    let body = Bytes::from(output::json(&action));
    let done: Done = client.post_long(&path, body).await?.json()?;
    let would = if done.dry_run { "would " } else { "" };
    let plural = if done.count == 1 { "" } else { "s" };
    let said = match args.json {
        true => output::json(&done),
        false if done.count == 0 && done.left.is_none() && done.broken_off.is_none() => {
            let others = codes::others(&mut client, &which).await?;
            format!("{would}{what}: 0 dead letters{}\n", human::line(&others))
        }
        false => format!("{would}{what}: {} dead letter{plural}\n", done.count),
    };
    let Some(failure) = ending(&done) else { return Ok(said) };
    output::out(&said);
    Err(failure)
}

/// What became of those that did not go.
fn ending(done: &Done) -> Option<Failure> {
    let left = done.left.as_ref().map(|Left { count, why }| {
        let stay = if *count == 1 { "stays a dead letter" } else { "stay dead letters" };
        format!("{count} {stay}: {why}")
    });
    let broken_off = done
        .broken_off
        .as_ref()
        .map(|why| format!("then it was broken off: {why}; the others are where they were"));
    let exit = if broken_off.is_some() { Exit::TryAgain } else { Exit::Refused };
    let lines: Vec<String> = left.into_iter().chain(broken_off).collect();
    (!lines.is_empty()).then(|| Failure::new(exit, lines.join("\n")))
}

async fn accept(args: Accept) -> Result<String, Failure> {
    let mut client = args.at.connect().await?;
    let path = format!("/v1/dead/accept/{}", records::escape(&args.lane));
    let accepted: Accepted = client.post(&path, "application/json", Bytes::new()).await?.json()?;
    if args.json {
        return Ok(output::json(&accepted));
    }
    let lane = accepted.lane;
    Ok(if accepted.accepted {
        format!(
            "lane {lane} goes on; what the broker refuses for the same reason goes to the dead letters, \
             and holds nothing, until 200 other records have passed since the last such refusal\n"
        )
    } else {
        format!("lane {lane} is not held for refused records; nothing was changed\n")
    })
}

/// A time, or a duration before now, as ms since 1970.
fn since(text: &str) -> Result<u64, String> {
    let at = match config::duration(text) {
        Ok(ago) => SystemTime::now().checked_sub(ago),
        Err(_) => humantime::parse_rfc3339_weak(text).ok(),
    };
    let ms = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    ms.and_then(|ms| u64::try_from(ms.as_millis()).ok())
        .ok_or_else(|| "write for example 2h or 2026-05-01T12:00:00Z".to_owned())
}

fn show_letters(letters: &Letters) -> String {
    let columns = [
        Column::Right("NUMBER"),
        Column::Left("LANE"),
        Column::Right("SEQ"),
        Column::Left("ID"),
        Column::Left("DIED"),
        Column::Left("CODE"),
        Column::Left("REASON"),
    ];
    let row = |letter: &Letter| {
        vec![
            letter.number.to_string(),
            letter.record.lane.clone(),
            letter.record.seq.to_string(),
            human::line(&letter.record.id),
            human::time(letter.died_ms),
            human::line(&letter.code),
            human::line(&letter.reason),
        ]
    };
    let rows: Vec<_> = letters.letters.iter().map(row).collect();
    let contents = letters.letters.iter().map(|letter| letter.record.content.as_ref());
    let more = if letters.more { "there are more; see --limit\n" } else { "" };
    format!("{}{more}", records::interleave(&human::table(&columns, &rows), contents))
}

fn show_letter(letter: &Letter) -> String {
    let record = &letter.record;
    let lines = [
        ("number", letter.number.to_string()),
        ("lane", record.lane.clone()),
        ("stream", record.stream.clone()),
        ("seq", record.seq.to_string()),
        ("id", human::line(&record.id)),
        ("topic", record.topic.clone().unwrap_or_else(|| "the lane's".to_owned())),
        ("tag", record.tag.clone().unwrap_or_else(|| "the lane's".to_owned())),
        ("size", human::bytes(record.body_bytes)),
        ("accepted", records::accepted(record)),
        ("died", human::time(letter.died_ms)),
        ("attempts", letter.attempts.to_string()),
        ("code", human::line(&letter.code)),
        ("reason", human::line(&letter.reason)),
    ];
    let lines = lines.iter().map(|(name, value)| format!("{name:<9} {value}\n"));
    lines.chain(record.content.as_ref().map(records::content)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_for_good_is_told_from_what_is_broken_off() {
        let done = |left, broken_off: Option<&str>| Done {
            left: (left > 0).then(|| Left { count: left, why: "too large".to_owned() }),
            broken_off: broken_off.map(str::to_owned),
            ..Done::default()
        };
        assert_eq!(ending(&done(0, None)), None);
        let one = Failure::new(Exit::Refused, "1 stays a dead letter: too large");
        assert_eq!(ending(&done(1, None)), Some(one));
        let both = "2 stay dead letters: too large\nthen it was broken off: full; the others are \
                    where they were";
        assert_eq!(ending(&done(2, Some("full"))), Some(Failure::new(Exit::TryAgain, both)));
    }

    #[test]
    fn since_takes_a_time_or_a_duration() {
        assert_eq!(since("1970-01-01T00:00:01Z"), Ok(1000));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        let two_hours_ago = u128::from(since("2h").unwrap());
        assert!((now - two_hours_ago).abs_diff(7_200_000) < 10_000);
        assert!(since("yesterday").is_err());
    }
}
