//! What the screen says, in words and cells.

use spillway_protocol::local::status::{Lane, LinkState, Status};

use super::course::Flow;
use crate::cli::human::{self, duration};
use crate::cli::status;

/// How much somebody has to care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grade {
    Good,
    Waits,
    Bad,
}

/// What stands above the plots: name and value.
pub(super) fn head(state: &Status) -> Vec<(&'static str, String)> {
    let agent = format!(
        "{}  stream {}  version {}  up {}",
        state.gateway,
        state.stream,
        state.version,
        duration(state.uptime_s)
    );
    let mut lines = vec![("gateway", agent), ("link", status::link(state))];
    if state.configuration.state != "in force" {
        lines.push(("config", state.configuration.state.clone()));
    }
    if !state.pace.reason.is_empty() {
        lines.push(("pace", status::pace(&state.pace)));
    }
    if let Some(when) = ahead(state) {
        lines.push(("ahead", when));
    }
    lines.into_iter().map(|(name, value)| (name, human::line(&value))).collect()
}

/// `first send in 40s, drained in about 2h`.
fn ahead(state: &Status) -> Option<String> {
    let first = state.first_send_in_s.map(|s| format!("first send in {}", duration(s)));
    let drained = state.drained_in_s.filter(|s| *s > 0);
    let drained = drained.map(|s| format!("drained in about {}", duration(s)));
    let words: Vec<_> = first.into_iter().chain(drained).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// How well the link is.
pub(super) fn link_grade(state: LinkState) -> Grade {
    match state {
        LinkState::Online => Grade::Good,
        LinkState::Ramping | LinkState::Probing | LinkState::Budget => Grade::Waits,
        LinkState::Offline | LinkState::Held | LinkState::Unconfigured => Grade::Bad,
    }
}

/// Headings of the lanes.
pub(super) const COLUMNS: [&str; 9] =
    ["LANE", "STATE", "WAITING", "OLDEST", "IN/S", "OUT/S", "DISK", "DEAD", "LOST"];

/// A lane's cells, as in [`COLUMNS`].
pub(super) fn cells(lane: &Lane, flow: Flow) -> [String; COLUMNS.len()] {
    let disk = match &lane.limit {
        Some(limit) if limit.bytes > 0 => {
            format!(
                "{} {}%",
                human::bytes(lane.disk_bytes),
                limit.used.saturating_mul(100) / limit.bytes
            )
        }
        _ => human::bytes(lane.disk_bytes),
    };
    [
        human::line(&lane.name),
        lane_state(lane).1.to_owned(),
        lane.waiting.to_string(),
        lane.oldest_age_s.map_or_else(|| "-".to_owned(), duration),
        format!("{:.1}", flow.accepted_per_s),
        format!("{:.1}", flow.delivered_per_s),
        disk,
        lane.dead.to_string(),
        (lane.expired + lane.dropped + lane.damaged).to_string(),
    ]
}

/// A lane in one word.
pub(super) fn lane_state(lane: &Lane) -> (Grade, &'static str) {
    let full = lane.limit.as_ref().is_some_and(|limit| limit.full.is_some());
    let paused = lane.degraded.as_ref().is_some_and(|degraded| degraded.paused);
    match () {
        () if full => (Grade::Bad, "full"),
        () if lane.hold.is_some() => (Grade::Bad, "held"),
        () if lane.held_keys > 0 => (Grade::Waits, "keys held"),
        () if paused => (Grade::Waits, "paused"),
        () if lane.waiting > 0 => (Grade::Good, "waiting"),
        () => (Grade::Good, "empty"),
    }
}

/// What is wrong, a line each.
pub(super) fn notes(state: &Status) -> Vec<String> {
    let alarms = status::format_alarms(&state.format).into_iter();
    let lanes = state.lanes.iter().chain(&state.own).map(status::notes);
    let lanes = lanes.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    alarms.chain(lanes).chain(status::stopped(state)).collect()
}

/// `text` in lines of at most `width` characters, broken between words where that can be.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((cut, _)) = rest.char_indices().nth(width.max(1)) {
        let end = rest[..cut].rfind(' ').filter(|at| *at > 0).unwrap_or(cut);
        lines.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    lines.push(rest);
    lines
}
