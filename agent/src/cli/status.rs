//! `spillway status`.

mod keys;

use clap::Args;
use spillway_protocol::local::status::{
    Budget, Control, Format, Hold, Lane, LaneBudget, LinkState, NewerFile, Pace, Quarantine,
    Status as State,
};

use super::exit::finish;
use super::human::{self, Column, duration};
use super::{Exit, Failure, IntakeAt, output};

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    at: IntakeAt,
    /// Prints JSON, as GET /v1/status answers
    #[arg(long)]
    json: bool,
    /// One line and the exit code of a Nagios plugin: 0 well, 1 warning, 2 critical; with --json,
    /// JSON and that code
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(args: Status) -> Exit {
    let text = fetch(&args.at).await;
    if args.check {
        return check(text, args.json);
    }
    finish(match args.json {
        true => text.map(|text| format!("{}\n", text.trim_end())),
        false => text.and_then(|text| read(&text)).map(|state| show(&state)),
    })
}

fn check(text: Result<String, Failure>, json: bool) -> Exit {
    let verdict = text.and_then(|text| Ok((verdict(&read(&text)?), text)));
    let (exit, said) = match verdict {
        Ok(((exit, _), text)) if json => (exit, text.trim_end().to_owned()),
        Ok(((exit, line), _)) => (exit, line),
        Err(Failure { message, .. }) if json => {
            (Exit::Critical, serde_json::json!({"error": {"message": message}}).to_string())
        }
        Err(failure) => (Exit::Critical, format!("SPILLWAY CRITICAL - {}", failure.message)),
    };
    output::out(&format!("{said}\n"));
    exit
}

pub(super) async fn fetch(at: &IntakeAt) -> Result<String, Failure> {
    let answer = at.connect().await?.get("/v1/status").await?;
    Ok(String::from_utf8_lossy(answer.good()?).into_owned())
}

pub(super) fn read(text: &str) -> Result<State, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let message = format!("the agent's answer is not what this version expects: {error}");
        Failure::new(Exit::Unreachable, message)
    })
}

/// `2 requests open, page pulled 5m ago`, and what is wrong.
fn centre(control: &Control) -> String {
    let pulled = control.pulled_ago_s.map_or_else(
        || "page not pulled yet".to_owned(),
        |ago| format!("page pulled {} ago", duration(ago)),
    );
    let fault = control.fault.as_ref().map(|fault| format!("; {fault}")).unwrap_or_default();
    format!("{} requests open, {pulled}{fault}", control.open)
}

/// `up to 0.8 a second (1.5 of its own 0.5): answers are late`, and what else slows it.
pub(super) fn pace(pace: &Pace) -> String {
    let own = format!("{:.1} of its own {:.1}", pace.share, pace.own_rate_per_s);
    let allowed = match (pace.allowed_per_s, pace.allowed_bytes_per_s) {
        (Some(rate), _) => format!("up to {rate:.1} a second ({own})"),
        (None, Some(bytes)) => format!("up to {} a second", human::bytes(bytes)),
        (None, None) => "no bound on records".to_owned(),
    };
    let paused = pace.paused_s.map(|s| format!(" for {}", duration(s))).unwrap_or_default();
    let late = match pace.queue_delay_ms {
        0 => String::new(),
        ms => format!("; queue {ms} ms"),
    };
    format!("{allowed}: {}{paused}{late}", pace.reason)
}

/// `9.3 MiB today of 20.0 MiB, 1.0 MiB of them overhead; anew in 5h`.
fn wire(budget: &Budget) -> String {
    let bound = budget.bytes_per_day.map(|bytes| format!(" of {}", human::bytes(bytes)));
    format!(
        "{} today{}, {} of them overhead; anew in {}",
        human::bytes(budget.bytes_today),
        bound.unwrap_or_default(),
        human::bytes(budget.overhead),
        duration(budget.resets_in_s)
    )
}

/// The lane's part of the day's bytes.
fn part<'a>(state: &'a State, lane: &Lane) -> Option<&'a LaneBudget> {
    let mut lanes = state.budget.iter().flat_map(|budget| &budget.lanes);
    lanes.find(|part| part.name == lane.name)
}

/// Lanes whose records wait for the next day's bytes.
pub(super) fn stopped(state: &State) -> Vec<String> {
    let lanes = state.lanes.iter().chain(&state.own).filter(|lane| lane.waiting > 0);
    let stopped = lanes.filter(|lane| part(state, lane).is_some_and(|part| part.stopped));
    let anew_s = state.budget.as_ref().map_or(0, |budget| budget.resets_in_s);
    let words = |lane: &Lane| {
        format!("lane {}: today's bytes are used, anew in {}", lane.name, duration(anew_s))
    };
    stopped.map(words).collect()
}

/// What a newer agent wrote, and what waits to be taken over.
pub(super) fn format_alarms(format: &Format) -> Vec<String> {
    let newer = format.newer.iter().map(|NewerFile { file, version }| match &format.folder {
        Some(folder) => format!(
            "{file} has the newer format {version}: nothing there is touched or sent, records \
                 go to {folder}; install the newer agent again, which takes them over"
        ),
        None => format!(
            "in {file} there are records of the newer format {version}: they wait, with what \
                 is behind them in their lane; install the newer agent again"
        ),
    });
    let waits = |folder: &String| {
        format!("what was stored in {folder} is not all taken over yet; the log says why")
    };
    newer.chain(format.beside.iter().map(waits)).collect()
}

fn show(state: &State) -> String {
    let rates = &state.rates;
    let mut lines = vec![
        ("gateway", format!("{}, stream {}", state.gateway, state.stream)),
        (
            "agent",
            format!(
                "version {}, pid {}, up {}",
                state.version,
                state.pid,
                duration(state.uptime_s)
            ),
        ),
        ("configuration", format!("{}: {}", state.configuration.file, state.configuration.state)),
        ("link", link(state)),
        (
            "rates",
            format!(
                "{:.1} in, {:.1} out a second ({}/s)",
                rates.accepted_per_s,
                rates.delivered_per_s,
                human::bytes(rates.delivered_bytes_per_s.max(0.0) as u64)
            ),
        ),
    ];
    let more = state.configuration.faults.iter().skip(1);
    lines.extend(more.map(|fault| ("fault", fault.clone())));
    if !state.pace.reason.is_empty() {
        lines.push(("pace", pace(&state.pace)));
    }
    if let Some(budget) = &state.budget {
        lines.push(("wire", wire(budget)));
    }
    if let Some(s) = state.first_send_in_s {
        lines.push(("first send", format!("in {}", duration(s))));
    }
    if let Some(s) = state.drained_in_s.filter(|s| *s > 0) {
        lines.push(("drained", format!("in about {}", duration(s))));
    }
    if let Some(offset) = state.clock_offset_s.filter(|offset| *offset != 0) {
        let side = if offset > 0 { "behind" } else { "ahead of" };
        let by = duration(offset.unsigned_abs());
        lines.push(("clock", format!("{by} {side} the server's")));
    }
    if let Some(keys) = state.access_keys.as_ref().filter(|keys| keys::is_news(keys)) {
        lines.push(("access key", keys::line(keys)));
    }
    if let Some(own) = &state.own {
        lines.push(("own records", format!("{} accepted, {} waiting", own.accepted, own.waiting)));
    }
    if let Some(control) = &state.control {
        lines.push(("centre", centre(control)));
    }
    if state.quarantine.segments > 0 {
        lines.push(("quarantine", quarantine(state.quarantine)));
    }
    lines.extend(format_alarms(&state.format).into_iter().map(|alarm| ("ALARM", alarm)));
    let head: String =
        lines.iter().map(|(name, value)| format!("{name:<13} {}\n", human::line(value))).collect();
    let notes: String = state.lanes.iter().chain(&state.own).map(notes).collect();
    let stopped = stopped(state).into_iter().map(|words| format!("{words}\n"));
    let stopped: String = stopped.collect();
    format!("{head}\n{}{notes}{stopped}", lanes(state))
}

/// `2 damaged segments, 3.0 MiB`.
fn quarantine(aside: Quarantine) -> String {
    let segments = if aside.segments == 1 { "segment" } else { "segments" };
    format!("{} damaged {segments}, {}", aside.segments, human::bytes(aside.bytes))
}

pub(super) fn link(state: &State) -> String {
    let link = &state.link;
    let mut text = format!("{} for {}", link.state.word(), duration(link.since_s));
    if !link.reason.is_empty() {
        text.push_str(&format!(": {}", link.reason));
    }
    if let Some(s) = link.next_attempt_in_s {
        text.push_str(&format!("; next attempt in {}", duration(s)));
    }
    text
}

fn lanes(state: &State) -> String {
    let columns = [
        Column::Left("LANE"),
        Column::Right("ACCEPTED"),
        Column::Right("DELIVERED"),
        Column::Right("WAITING"),
        Column::Right("DEAD"),
        Column::Right("EXPIRED"),
        Column::Right("DROPPED"),
        Column::Right("DAMAGED"),
        Column::Right("OLDEST"),
        Column::Right("SIZE"),
        Column::Right("DISK"),
        Column::Right("WIRE TODAY"),
        Column::Right("PER RECORD"),
    ];
    let nothing = || "-".to_owned();
    let row = |lane: &Lane| {
        vec![
            lane.name.clone(),
            lane.accepted.to_string(),
            lane.delivered.to_string(),
            lane.waiting.to_string(),
            lane.dead.to_string(),
            lane.expired.to_string(),
            lane.dropped.to_string(),
            lane.damaged.to_string(),
            lane.oldest_age_s.map_or_else(|| "-".to_owned(), duration),
            human::bytes(lane.live_bytes),
            disk(lane),
            part(state, lane).map_or_else(nothing, |part| human::bytes(part.bytes_today)),
            part(state, lane)
                .and_then(|part| part.bytes_per_record)
                .map_or_else(nothing, human::bytes),
        ]
    };
    human::table(&columns, &state.lanes.iter().map(row).collect::<Vec<_>>())
}

/// `8.0 MiB`, or `8.0 MiB/64.0 MiB` where the lane has a bound.
fn disk(lane: &Lane) -> String {
    let bound = lane.limit.as_ref().map(|limit| format!("/{}", human::bytes(limit.bytes)));
    format!("{}{}", human::bytes(lane.disk_bytes), bound.unwrap_or_default())
}

/// Why it refuses records; which lane is said beside it.
fn full(lane: &Lane) -> Option<String> {
    let full = lane.limit.as_ref()?.full.as_deref()?;
    let named = format!("lane {} is full: ", lane.name);
    Some(full.replacen(&named, "it is full: ", 1))
}

/// Holds and last errors, below the table.
pub(super) fn notes(lane: &Lane) -> String {
    let name = &lane.name;
    let mut text = String::new();
    if lane.retired {
        let goes = match lane.waiting {
            0 => {
                "nothing waits there; it goes once what it gave up is told and what it delivered need not be kept"
            }
            _ => "it takes nothing, and goes when it is empty",
        };
        text.push_str(&format!(
            "lane {name} is retired: the configuration does not name it, {goes}\n"
        ));
    }
    if let Some(hold) = &lane.hold {
        let since = duration(hold.since_s);
        let why = human::line(&format!("{}: {}; {}", hold.code, hold.reason, hold.remedy));
        text.push_str(&format!("lane {name} held for {since}: {why}\n"));
    }
    if let Some(full) = full(lane) {
        text.push_str(&format!("lane {name} refuses records: {}\n", human::line(&full)));
    }
    if lane.held_keys > 0 {
        let keys = if lane.held_keys == 1 { "order key" } else { "order keys" };
        text.push_str(&format!("lane {name}: {} {keys} held\n", lane.held_keys));
    }
    if let Some(fresh) = lane.freshness.as_ref().filter(|fresh| fresh.backlog > 0) {
        let live = fresh.oldest_live_ms.map_or_else(
            || "no live record waits".to_owned(),
            |ms| format!("the oldest live one waits for {ms} ms of {}", fresh.goal_ms),
        );
        text.push_str(&format!(
            "lane {name}: {} records of its backlog wait; {live}\n",
            fresh.backlog
        ));
    }
    if let Some(degraded) = &lane.degraded {
        let state = match (degraded.since_s, degraded.paused) {
            (None, _) => "gave way".to_owned(),
            (Some(s), false) => format!("gives way for {}", duration(s)),
            (Some(s), true) => format!("paused for {}", duration(s)),
        };
        let (rule, dropped) = (&degraded.rule, degraded.dropped);
        text.push_str(&format!("lane {name} {state} ({rule}): {dropped} records dropped\n"));
    }
    if let Some(error) = &lane.last_error {
        text.push_str(&format!("lane {name}: last error: {}\n", human::line(error)));
    }
    if let Some(hint) = &lane.hint {
        text.push_str(&format!("lane {name}: {}\n", human::line(hint)));
    }
    text
}

/// Nagios' view: held or unreachable is critical, what waits for somebody is a warning.
fn verdict(state: &State) -> (Exit, String) {
    let mut critical = Vec::new();
    let mut warning = Vec::new();
    match state.link.state {
        LinkState::Online | LinkState::Ramping | LinkState::Probing => {}
        LinkState::Held => critical.push(format!("link {}", link(state))),
        // The configuration says the rest, below.
        LinkState::Unconfigured if faulty(state) => warning.push("link unconfigured".to_owned()),
        LinkState::Offline | LinkState::Unconfigured | LinkState::Budget => {
            warning.push(format!("link {}", link(state)));
        }
    }
    if state.configuration.state != "in force" {
        warning.push(format!("configuration {}", state.configuration.state));
    }
    critical.extend(format_alarms(&state.format));
    critical.extend(holds(state));
    for lane in state.lanes.iter().chain(&state.own) {
        let name = &lane.name;
        critical.extend(full(lane).map(|full| format!("lane {name} refuses records: {full}")));
        for (count, one, more) in [
            (lane.held_keys, "order key held", "order keys held"),
            (lane.dead, "dead letter", "dead letters"),
            (lane.damaged, "damaged record", "damaged records"),
        ] {
            if count > 0 {
                let what = if count == 1 { one } else { more };
                warning.push(format!("lane {name}: {count} {what}"));
            }
        }
    }
    warning.extend(state.access_keys.as_ref().and_then(keys::warning));
    warning.extend(stopped(state));
    let (exit, grade) = match (critical.is_empty(), warning.is_empty()) {
        (false, _) => (Exit::Critical, "CRITICAL"),
        (true, false) => (Exit::Warning, "WARNING"),
        (true, true) => (Exit::Done, "OK"),
    };
    critical.extend(warning);
    if critical.is_empty() {
        critical.push(format!("link {}", link(state)));
    }
    // A bar separates the text from the figures.
    let text = human::line(&critical.join("; ")).replace('|', "/");
    (exit, format!("SPILLWAY {grade} - {text} | {}", figures(&state.lanes)))
}

/// The link has no way for what is wrong with the configuration.
fn faulty(state: &State) -> bool {
    let first = state.configuration.faults.first();
    first.is_some_and(|fault| state.link.reason.contains(fault))
}

/// Lanes by what holds them: one cause holds many. What holds the link is said of that.
fn holds(state: &State) -> Vec<String> {
    let mut causes: Vec<(&Hold, Vec<&str>)> = Vec::new();
    for lane in state.lanes.iter().chain(&state.own) {
        let of_link = |hold: &&Hold| {
            state.link.state == LinkState::Held && state.link.reason.contains(&hold.reason)
        };
        let Some(hold) = lane.hold.as_ref().filter(|hold| !of_link(hold)) else { continue };
        let known = causes
            .iter_mut()
            .find(|(cause, _)| (&cause.code, &cause.reason) == (&hold.code, &hold.reason));
        match known {
            Some((_, lanes)) => lanes.push(&lane.name),
            None => causes.push((hold, vec![&lane.name])),
        }
    }
    let words = |(hold, lanes): (&Hold, Vec<&str>)| {
        let noun = if lanes.len() == 1 { "lane" } else { "lanes" };
        format!("{noun} {} held ({}): {}", lanes.join(", "), hold.code, hold.reason)
    };
    causes.into_iter().map(words).collect()
}

fn figures(lanes: &[Lane]) -> String {
    let sum = |of: fn(&Lane) -> u64| lanes.iter().map(of).sum::<u64>();
    let oldest_s = lanes.iter().filter_map(|lane| lane.oldest_age_s).max().unwrap_or(0);
    format!(
        "waiting={} dead={} oldest={oldest_s}s disk={}B",
        sum(|lane| lane.waiting),
        sum(|lane| lane.dead),
        sum(|lane| lane.disk_bytes)
    )
}

#[cfg(test)]
pub(super) mod tests;
