//! `spillway resend`.

use clap::Args;

use super::exit::finish;
use super::{ControlAt, Exit, Failure, output};
use crate::control::api::{Resend, Resent, Span};

/// Arguments of `resend`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    at: ControlAt,
    /// The lane they were accepted in
    #[arg(long, value_name = "LANE")]
    lane: String,
    /// Their stream, 8 hex digits [default: the present one]
    #[arg(long)]
    stream: Option<String>,
    /// First number
    #[arg(long, value_name = "SEQ")]
    from: u64,
    /// Last number
    #[arg(long, value_name = "SEQ")]
    to: u64,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Arguments) -> Exit {
    finish(resend(args).await)
}

async fn resend(args: Arguments) -> Result<String, Failure> {
    let Arguments { at, lane, stream, from, to, json } = args;
    let wish = Resend { lane, stream, from, to };
    let mut client = at.connect().await?;
    let wish = serde_json::to_vec(&wish).unwrap_or_default().into();
    let resent: Resent = client.post("/v1/resend", "application/json", wish).await?.json()?;
    Ok(if json { output::json(&resent) } else { show(&resent) })
}

fn show(resent: &Resent) -> String {
    let fates = [
        (&resent.sent, "will be sent again"),
        (&resent.waiting, "not left yet"),
        (&resent.dead, "in the dead letters (spillway dead replay)"),
        (&resent.dropped, "given up"),
        (&resent.expired, "not kept any more"),
        (&resent.unknown, "never existed"),
    ];
    let named = fates.iter().filter(|(spans, _)| !spans.is_empty());
    let line = |(spans, what): &(&Vec<Span>, &str)| {
        let count = spans
            .iter()
            .fold(0, |sum: u64, (from, to)| sum.saturating_add((to - from).saturating_add(1)));
        let spans: Vec<String> = spans.iter().map(span).collect();
        format!("{count} {what}: {}\n", spans.join(", "))
    };
    let lines: String = named.map(line).collect();
    format!("lane {}, stream {}:\n{lines}", resent.lane, resent.stream)
}

fn span((from, to): &Span) -> String {
    if from == to { from.to_string() } else { format!("{from}-{to}") }
}
