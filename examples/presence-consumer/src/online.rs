//! The command that answers who is online.

use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use spillway_protocol::consumer::{SystemClock, WallClock};

use crate::Failure;
use crate::answer::{Answer, Client, answer};
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// One JSON object, for programs.
    #[arg(long)]
    json: bool,
    /// The interval of gateways that send presence but whose first report has not come; without,
    /// only `tcpclean` ends these.
    #[arg(long, value_parser = humantime::parse_duration)]
    report_every: Option<Duration>,
}

/// Prints who is online, and who has fallen silent.
pub(crate) async fn run(arguments: Arguments, store: Box<dyn Store>) -> Result<ExitCode, Failure> {
    let every_s = arguments.report_every.map(|every| every.as_secs());
    let answer = answer(&store.table().await?, every_s, SystemClock.now_ms());
    match arguments.json {
        true => println!("{}", serde_json::to_string(&answer)?),
        false => print!("{}", human(&answer)),
    }
    Ok(ExitCode::SUCCESS)
}

fn human(answer: &Answer) -> String {
    let line = |state: &str, client: &Client| {
        let (ip, since) = (client.client_ip.as_deref().unwrap_or("-"), time(client.since_ms));
        format!("{state:<8} {:<40} {ip:<22} {since:<21} {}\n", client.id, time(client.heard_ms))
    };
    let head =
        format!("{:<8} {:<40} {:<22} {:<21} {}\n", "STATE", "CLIENT", "ADDRESS", "SINCE", "HEARD");
    let online = answer.online.iter().map(|client| line("online", client));
    let silent = answer.silent.iter().map(|client| line("silent", client));
    std::iter::once(head).chain(online).chain(silent).collect()
}

fn time(ms: Option<u64>) -> String {
    let at = ms.and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
    at.map_or("-".to_owned(), |at| humantime::format_rfc3339_seconds(at).to_string())
}
