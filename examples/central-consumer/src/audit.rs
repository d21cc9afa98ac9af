//! The command that proves that nothing is missing, or names what is, and raises the alarm.

use std::collections::BTreeMap;
use std::io::{self, Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use central_store::explained::reason_name;
use central_store::ledger::Ledger;
use central_store::{Audit, Database, Gap, Place, Settings};
use serde_json::{Value, json};

use crate::mapping::date;
use crate::{Failure, cloned};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only this gateway.
    #[arg(long)]
    gateway: Option<String>,
    /// Only this day of acceptance (2026-11-21, UTC).
    #[arg(long)]
    day: Option<String>,
    /// Numbers that have been known for less may still be on their way.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// Also the gateways' own messages (lane _agent), if all their topics are consumed into this
    /// database.
    #[arg(long)]
    own: bool,
    /// One JSON object a gateway, stream, lane and day, and one an alarm.
    #[arg(long)]
    json: bool,
    /// Most gaps that are listed of one day.
    #[arg(long, default_value_t = 20)]
    gaps: usize,
    #[command(flatten)]
    cloned: cloned::Patience,
}

pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let database = Database::new(&Settings::from_env()?);
    let mut ledger = Ledger::open(&database).await?;
    let grace_ms = u64::try_from(options.grace.as_millis())?;
    let known_before_ms = ledger.now_ms().await?.saturating_sub(grace_ms);
    let mut total = Audit::default();
    let places = ledger.places(options.gateway.as_deref()).await?;
    for (lane, place) in places.into_iter().filter(|(_, place)| options.own || !place.is_own()) {
        let days = ledger.books(lane).await?.audit(known_before_ms);
        for (day, audit) in chosen(days, options.day.as_deref()) {
            print(&place, &day, &audit, &options)?;
            total.add(&audit);
        }
    }
    if !options.json {
        writeln!(stdout(), "{}", sum("all", &total))?;
    }
    let alarms = options.cloned.find(&mut ledger, options.gateway.as_deref()).await?;
    for alarm in &alarms {
        match options.json {
            true => writeln!(stdout(), "{}", cloned::to_json(alarm))?,
            false => writeln!(stdout(), "{}", cloned::text(alarm))?,
        }
    }
    drop(ledger);
    database.close().await;
    Ok(match total.missing.is_empty() && alarms.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn chosen(days: BTreeMap<u64, Audit>, day: Option<&str>) -> Vec<(String, Audit)> {
    let named = days.into_iter().map(|(day, audit)| (date(day), audit));
    named.filter(|(name, _)| day.is_none_or(|day| day == name)).collect()
}

fn print(place: &Place, day: &str, audit: &Audit, options: &Options) -> io::Result<()> {
    let mut out = stdout().lock();
    if options.json {
        return writeln!(out, "{}", to_json(place, day, audit));
    }
    writeln!(out, "{}", sum(&format!("{place} {day}"), audit))?;
    for gap in audit.missing.iter().take(options.gaps) {
        writeln!(out, "    missing {gap}")?;
    }
    match audit.missing.len().saturating_sub(options.gaps) {
        0 => Ok(()),
        more => writeln!(out, "    and {more} more gaps (--gaps, --json)"),
    }
}

/// One line that adds up.
fn sum(name: &str, audit: &Audit) -> String {
    let explained: Vec<String> = audit
        .explained
        .iter()
        .map(|(reason, count)| format!("{} {count}", reason_name(*reason)))
        .collect();
    let explained = match explained.is_empty() {
        true => String::new(),
        false => format!(" ({})", explained.join(", ")),
    };
    format!(
        "{name}: accepted {} = stored {} + explained {}{explained} + at the gateway {} \
         + on the way {} + missing {}",
        audit.accepted,
        audit.stored,
        audit.explained_count(),
        audit.waiting,
        audit.young_count(),
        audit.missing_count()
    )
}

fn to_json(place: &Place, day: &str, audit: &Audit) -> Value {
    let gaps = |gaps: &[Gap]| -> Vec<Value> {
        let gap = |Gap { range, every, .. }: &Gap| match every {
            1 => json!({"from": range.first, "to": range.last}),
            every => json!({"from": range.first, "to": range.last, "every": every}),
        };
        gaps.iter().map(gap).collect()
    };
    let explained: BTreeMap<&str, u64> =
        audit.explained.iter().map(|(reason, count)| (reason_name(*reason), *count)).collect();
    json!({
        "gateway": place.gateway,
        "lane": place.lane,
        "stream": place.stream.to_string(),
        "day": day,
        "accepted": audit.accepted,
        "stored": audit.stored,
        "explained": explained,
        "at_gateway": audit.waiting,
        "on_the_way": gaps(&audit.young),
        "missing": gaps(&audit.missing),
    })
}
