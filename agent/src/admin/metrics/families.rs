//! What is told, by name. Labels are lanes (those of the configuration, `_agent` and `_resend`),
//! states and codes of closed sets, and, in `_info` families only, names of this one gateway: the
//! number of series is bounded by the configuration.

use spillway_protocol::local::status::{
    AccessKeys, Budget, Hold, Lane, LaneBudget, LinkState, Status,
};

use super::Kind::{Counter, Gauge};
use super::{Family, Kind, Sample};

/// Codes of holds that have a label of their own; what else a broker may say is `refused`.
pub(super) const HOLDS: [&str; 9] = [
    "clock",
    "connection",
    "credentials",
    "dead_letters_disk",
    "dead_letters_full",
    "permission",
    "topic_missing",
    "topic_type",
    "unknown",
];
/// Any other code.
pub(super) const HOLD_ELSE: &str = "refused";

pub(super) const FAMILIES: &[Family] = &[
    counter(
        "spillway_records_accepted_total",
        "Records acknowledged to apps: the sum of delivered, waiting, dead, expired, dropped and damaged.",
        |s| lanes(s, |lane| count(lane.accepted)),
    ),
    counter("spillway_records_delivered_total", "Records acknowledged by RocketMQ.", |s| {
        lanes(s, |lane| count(lane.delivered))
    }),
    gauge("spillway_records_waiting", "Records in the queue.", |s| {
        lanes(s, |lane| count(lane.waiting))
    }),
    gauge(
        "spillway_records_dead",
        "Records in the local dead letters; less when they are replayed or purged.",
        |s| lanes(s, |lane| count(lane.dead)),
    ),
    counter("spillway_records_expired_total", "Records given up because of their age.", |s| {
        lanes(s, |lane| count(lane.expired))
    }),
    counter(
        "spillway_records_dropped_total",
        "Records given up at a limit, thinned, or purged.",
        |s| lanes(s, |lane| count(lane.dropped)),
    ),
    counter("spillway_records_damaged_total", "Records lost to a damaged file.", |s| {
        lanes(s, |lane| count(lane.damaged))
    }),
    gauge(
        "spillway_lane_oldest_age_seconds",
        "Age of the oldest waiting record in seconds; absent where none waits.",
        |s| lanes(s, |lane| lane.oldest_age_s.and_then(count)),
    ),
    gauge("spillway_lane_live_bytes", "Bytes of the waiting records.", |s| {
        lanes(s, |lane| count(lane.live_bytes))
    }),
    gauge("spillway_lane_disk_bytes", "Bytes of the lane's files.", |s| {
        lanes(s, |lane| count(lane.disk_bytes))
    }),
    gauge(
        "spillway_lane_limit_bytes",
        "The most bytes that the lane's files may take up; absent where nothing bounds them.",
        |s| lanes(s, |lane| lane.limit.as_ref().and_then(|limit| count(limit.bytes))),
    ),
    gauge(
        "spillway_lane_full",
        "1 while the lane refuses new records for want of room, else 0.",
        |s| lanes(s, |lane| lane.limit.as_ref().and_then(|limit| flag(limit.full.is_some()))),
    ),
    gauge(
        "spillway_lane_held",
        "1 while nothing leaves the lane until something is put right, else 0.",
        |s| lanes(s, |lane| flag(lane.hold.is_some())),
    ),
    gauge(
        "spillway_lane_hold_info",
        "1 for the reason of a lane's hold; absent where none is.",
        |s| lanes_by(s, |lane| lane.hold.as_ref().map(hold)),
    ),
    gauge(
        "spillway_lane_hold_age_seconds",
        "Seconds since the lane is held; absent where it is not.",
        |s| lanes(s, |lane| lane.hold.as_ref().and_then(|hold| count(hold.since_s))),
    ),
    gauge(
        "spillway_lane_held_keys",
        "Order keys held on their own, in a lane ordered by key.",
        |s| lanes(s, |lane| count(lane.held_keys)),
    ),
    gauge(
        "spillway_lane_freshness_goal_seconds",
        "Seconds within which live records are to leave, in a lane with freshness.",
        |s| lanes(s, |lane| lane.freshness.as_ref().map(|fresh| seconds(fresh.goal_ms))),
    ),
    gauge(
        "spillway_lane_oldest_live_seconds",
        "Age of the oldest live record that waits, in seconds, in a lane with freshness.",
        |s| lanes(s, |lane| lane.freshness.as_ref().and_then(|f| f.oldest_live_ms).map(seconds)),
    ),
    gauge(
        "spillway_lane_backlog_records",
        "Records that wait as backlog, in a lane with freshness.",
        |s| lanes(s, |lane| lane.freshness.as_ref().and_then(|fresh| count(fresh.backlog))),
    ),
    gauge(
        "spillway_lane_degraded",
        "1 while a rule of degrade is in force, else 0; absent where none ever was.",
        |s| lanes(s, |lane| lane.degraded.as_ref().and_then(|d| flag(d.since_s.is_some()))),
    ),
    gauge(
        "spillway_lane_paused",
        "1 while a rule of degrade pauses the lane, else 0; absent where none was ever in force.",
        |s| lanes(s, |lane| lane.degraded.as_ref().and_then(|d| flag(d.paused))),
    ),
    counter(
        "spillway_lane_degrade_dropped_total",
        "Records that rules of degrade dropped since the agent started.",
        |s| lanes(s, |lane| lane.degraded.as_ref().and_then(|d| count(d.dropped))),
    ),
    gauge("spillway_link_state", "1 for the state in which the link is, 0 for the others.", |s| {
        let one = |state: LinkState| Sample {
            labels: vec![("state", state.word().to_owned())],
            value: f64::from(u8::from(s.link.state == state)),
        };
        LinkState::ALL.map(one).into()
    }),
    gauge("spillway_link_state_age_seconds", "Seconds since the link is in its state.", |s| {
        single(count(s.link.since_s))
    }),
    gauge(
        "spillway_link_next_attempt_seconds",
        "Seconds until the next attempt while the link is offline; absent otherwise.",
        |s| single(s.link.next_attempt_in_s.and_then(count)),
    ),
    gauge(
        "spillway_first_send_seconds",
        "Count-down in seconds to the first send after a start or an outage; absent when nothing waits for it.",
        |s| single(s.first_send_in_s.and_then(count)),
    ),
    gauge(
        "spillway_drained_seconds",
        "Seconds until the backlog is drained at the present rate; absent when that cannot be said.",
        |s| single(s.drained_in_s.and_then(count)),
    ),
    gauge(
        "spillway_pace_own_records_per_second",
        "Records per second that the gateway produces by itself: the unit of its pace.",
        |s| single(Some(s.pace.own_rate_per_s)),
    ),
    gauge(
        "spillway_pace_share_ratio",
        "Multiple of the own rate that the controller lets leave.",
        |s| single(Some(s.pace.share)),
    ),
    gauge(
        "spillway_pace_allowed_records_per_second",
        "Records per second that may leave now, all bounds taken together; +Inf without one.",
        |s| single(Some(s.pace.allowed_per_s.unwrap_or(f64::INFINITY))),
    ),
    gauge(
        "spillway_pace_queue_delay_seconds",
        "Seconds that answers come later than on a quiet line.",
        |s| single(Some(seconds(s.pace.queue_delay_ms))),
    ),
    gauge(
        "spillway_pace_reject_ratio",
        "Part of the requests that the broker refused for want of capacity, over the last seconds, 0 to 1.",
        |s| single(Some(s.pace.reject_share)),
    ),
    gauge(
        "spillway_pace_paused_seconds",
        "Seconds left of a pause that the broker asked for; 0 without one.",
        |s| single(count(s.pace.paused_s.unwrap_or(0))),
    ),
    gauge(
        "spillway_pace_slot_seconds",
        "This gateway's place in a fleet's return: seconds after it that its first sends begin.",
        |s| single(count(s.pace.slot_s)),
    ),
    gauge(
        "spillway_accepted_records_per_second",
        "Records accepted per second, over the last minute.",
        |s| single(Some(s.rates.accepted_per_s)),
    ),
    gauge(
        "spillway_delivered_records_per_second",
        "Records delivered per second, over the last minute.",
        |s| single(Some(s.rates.delivered_per_s)),
    ),
    gauge(
        "spillway_delivered_bytes_per_second",
        "Bytes of bodies delivered per second, over the last minute.",
        |s| single(Some(s.rates.delivered_bytes_per_s)),
    ),
    gauge(
        "spillway_wire_today_bytes",
        "Bytes on the wire today that the lane's requests cost, both ways, failed ones too.",
        |s| wire_lanes(s, |lane| count(lane.bytes_today)),
    ),
    gauge(
        "spillway_wire_stopped",
        "1 where no more of the lane leaves today, because the budget is too small or not for it, else 0.",
        |s| wire_lanes(s, |lane| flag(lane.stopped)),
    ),
    gauge(
        "spillway_wire_overhead_today_bytes",
        "Bytes on the wire today that no lane caused: connections, probes, heartbeats, pulls.",
        |s| budget(s, |budget| count(budget.overhead)),
    ),
    gauge(
        "spillway_wire_headers_today_bytes",
        "The part of all bytes on the wire today that is estimated: headers of TCP and IP.",
        |s| budget(s, |budget| count(budget.headers_today)),
    ),
    gauge(
        "spillway_budget_limit_bytes",
        "Bytes per day that [budget] allows; absent without it.",
        |s| budget(s, |budget| budget.bytes_per_day.and_then(count)),
    ),
    gauge(
        "spillway_budget_reserve_bytes",
        "Bytes of it that are kept for lanes of the first priority; absent without [budget].",
        |s| budget(s, |budget| budget.reserve.and_then(count)),
    ),
    gauge("spillway_budget_reset_seconds", "Seconds until today's bytes are counted anew.", |s| {
        budget(s, |budget| count(budget.resets_in_s))
    }),
    gauge(
        "spillway_access_key_in_use",
        "Number of the access key in use, from 1; 0 where none is; absent where none is needed.",
        |s| keys(s, |keys| count(keys.in_use.unwrap_or(0).into())),
    ),
    gauge(
        "spillway_access_keys_refused",
        "Access keys that RocketMQ refused when they were last tried; absent where none is needed.",
        |s| keys(s, |keys| count(keys.refused.len() as u64)),
    ),
    gauge(
        "spillway_access_key_expires_seconds",
        "Seconds until the access key in use ends; absent where that is not known.",
        |s| keys(s, |keys| keys.expires_in_s.and_then(count)),
    ),
    gauge(
        "spillway_access_key_fault",
        "1 while access keys cannot be read again, or are not brought, else 0; absent where none is needed.",
        |s| keys(s, |keys| flag(keys.fault.is_some())),
    ),
    gauge(
        "spillway_clock_offset_seconds",
        "Seconds that the server's clock is ahead of this machine's; absent until a server answered.",
        |s| single(s.clock_offset_s.map(|offset_s| offset_s as f64)),
    ),
    gauge(
        "spillway_control_pulled_age_seconds",
        "Seconds since the centre's page was last pulled; absent before that, and without [control].",
        |s| single(s.control.as_ref().and_then(|c| c.pulled_ago_s).and_then(count)),
    ),
    gauge(
        "spillway_control_open_requests",
        "Requests of the centre that are not done; absent without [control].",
        |s| single(s.control.as_ref().and_then(|control| count(control.open))),
    ),
    gauge(
        "spillway_control_fault",
        "1 if the last pull of the centre's page was no good, else 0; absent without [control].",
        |s| single(s.control.as_ref().and_then(|control| flag(control.fault.is_some()))),
    ),
    gauge("spillway_format_level", "Level of formats that the data folder is written at.", |s| {
        single(count(s.format.level.into()))
    }),
    gauge(
        "spillway_format_newer",
        "1 while a newer agent's files are left alone and records go to a folder beside, else 0.",
        |s| single(flag(s.format.newer.is_some())),
    ),
    gauge(
        "spillway_format_beside",
        "Folders of such a time whose records are not all taken over.",
        |s| single(count(s.format.beside.len() as u64)),
    ),
    gauge("spillway_open_files", "Files and connections that are open.", |s| {
        single(s.open_files.open.and_then(count))
    }),
    gauge(
        "spillway_open_files_max",
        "The most files and connections that may be open; absent without a bound.",
        |s| single(s.open_files.max.and_then(count)),
    ),
    counter(
        "spillway_connections_refused_total",
        "Connections that were not taken: too many were open, or the rest of the open files is kept for the queue.",
        |s| single(count(s.open_files.refused)),
    ),
    gauge(
        "spillway_configuration_in_force",
        "1 while the configuration's file is in force as it is, 0 while something is to be done about it.",
        |s| single(Some(f64::from(u8::from(s.configuration.state == "in force")))),
    ),
    gauge("spillway_uptime_seconds", "Seconds since the agent started.", |s| {
        single(count(s.uptime_s))
    }),
    gauge("spillway_build_info", "1, with the agent's version.", |s| {
        info(&[("version", &s.version)])
    }),
    gauge("spillway_gateway_info", "1, with the gateway's id and its stream.", |s| {
        info(&[("gateway", &s.gateway), ("stream", &s.stream)])
    }),
];

type Samples = fn(&Status) -> Vec<Sample>;

const fn counter(name: &'static str, help: &'static str, samples: Samples) -> Family {
    family(name, Counter, help, samples)
}

const fn gauge(name: &'static str, help: &'static str, samples: Samples) -> Family {
    family(name, Gauge, help, samples)
}

const fn family(name: &'static str, kind: Kind, help: &'static str, samples: Samples) -> Family {
    Family { name, kind, help, samples }
}

/// A whole number; exact up to 2^53.
fn count(number: u64) -> Option<f64> {
    Some(number as f64)
}

fn flag(flag: bool) -> Option<f64> {
    Some(f64::from(u8::from(flag)))
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn single(value: Option<f64>) -> Vec<Sample> {
    value.map(|value| Sample { labels: vec![], value }).into_iter().collect()
}

/// A sample for each lane that has a value.
fn lanes(status: &Status, value: impl Fn(&Lane) -> Option<f64>) -> Vec<Sample> {
    let labelled = |lane: &Lane| value(lane).map(|value| (Vec::new(), value));
    lanes_by(status, labelled)
}

/// The same with more labels than the lane.
fn lanes_by(
    status: &Status,
    value: impl Fn(&Lane) -> Option<(Vec<(&'static str, String)>, f64)>,
) -> Vec<Sample> {
    let sample = |lane: &Lane| {
        let (more, value) = value(lane)?;
        let labels = [("lane", lane.name.clone())].into_iter().chain(more).collect();
        Some(Sample { labels, value })
    };
    status.lanes.iter().chain(&status.own).filter_map(sample).collect()
}

fn hold(hold: &Hold) -> (Vec<(&'static str, String)>, f64) {
    let known = HOLDS.iter().find(|code| **code == hold.code);
    (vec![("reason", (*known.unwrap_or(&HOLD_ELSE)).to_owned())], 1.0)
}

fn wire_lanes(status: &Status, value: impl Fn(&LaneBudget) -> Option<f64>) -> Vec<Sample> {
    let sample = |lane: &LaneBudget| {
        let labels = vec![("lane", lane.name.clone())];
        value(lane).map(|value| Sample { labels, value })
    };
    status.budget.iter().flat_map(|budget| &budget.lanes).filter_map(sample).collect()
}

fn budget(status: &Status, value: impl Fn(&Budget) -> Option<f64>) -> Vec<Sample> {
    single(status.budget.as_ref().and_then(value))
}

fn keys(status: &Status, value: impl Fn(&AccessKeys) -> Option<f64>) -> Vec<Sample> {
    single(status.access_keys.as_ref().and_then(value))
}

fn info(labels: &[(&'static str, &String)]) -> Vec<Sample> {
    let labels = labels.iter().map(|(name, value)| (*name, (*value).clone())).collect();
    vec![Sample { labels, value: 1.0 }]
}
