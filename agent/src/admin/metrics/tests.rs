use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::json;

use super::families::{HOLD_ELSE, HOLDS};
use super::*;

fn lane(name: &str) -> serde_json::Value {
    json!({
        "name": name, "accepted": 28, "delivered": 7, "waiting": 6, "dead": 5, "expired": 4,
        "dropped": 3, "damaged": 3, "oldest_age_s": 90, "live_bytes": 1000, "disk_bytes": 2000,
        "hold": null, "held_keys": 2, "last_error": "said \"no\"",
    })
}

/// A state in which everything has a value.
pub(in crate::admin) fn full() -> Status {
    let mut main = lane("main");
    main["hold"] = json!({"code": "topic_missing", "reason": "r", "remedy": "r", "since_s": 8});
    main["freshness"] = json!({"goal_ms": 1500, "oldest_live_ms": 2500, "backlog": 9});
    main["limit"] = json!({"bytes": 4000, "used": 1900, "full": "f"});
    main["degraded"] = json!({"rule": "r", "since_s": 1, "paused": true, "dropped": 11});
    let budget = json!({
        "bytes_today": 60, "headers_today": 5, "bytes_per_day": 100, "reserve": 25, "overhead": 10,
        "lanes": [
            {"name": "main", "bytes_today": 30, "delivered_today": 3, "bytes_per_record": 10,
             "stopped": true},
            {"name": "_resend", "bytes_today": 20, "delivered_today": 1, "bytes_per_record": 20,
             "stopped": false},
        ],
        "resets_at": 0, "resets_in_s": 3600,
    });
    let status = json!({
        "gateway": "gw-1", "stream": "0a1b2c3d", "version": "1.2.3", "pid": 4, "uptime_s": 5,
        "configuration": {"file": "f", "state": "in force"},
        "link": {"state": "offline", "since_s": 61, "since": 0, "reason": "refused",
                 "next_attempt_in_s": 17},
        "lanes": [main], "own": lane("_agent"),
        "control": {"pulled_ago_s": 3, "open": 2, "fault": "f"},
        "rates": {"accepted_per_s": 0.5, "delivered_per_s": 1.5, "delivered_bytes_per_s": 256.0},
        "budget": budget,
        "pace": {"own_rate_per_s": 0.25, "share": 2.0, "allowed_per_s": null,
                 "queue_delay_ms": 40, "reject_share": 0.125, "paused_s": 6, "slot_s": 12,
                 "reason": "r"},
        "open_files": {"open": 40, "max": 1024, "refused": 2},
        "access_keys": {"in_use": 2, "of": 2, "refused": [1], "expires_in_s": 60, "fault": null},
        "drained_in_s": 120, "first_send_in_s": 33, "clock_offset_s": -2,
    });
    serde_json::from_value(status).unwrap()
}

/// The value of each series, in a text that is what the format asks for: help and type once each,
/// before all lines of their family.
#[track_caller]
fn series(text: &str) -> BTreeMap<String, f64> {
    let (mut seen, mut all) = (BTreeSet::new(), BTreeMap::new());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, help) = line.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
        assert!(!help.is_empty() && seen.insert(name), "{name} is there twice");
        let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
        assert!(["counter", "gauge"].contains(&kind), "{kind}");
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(series.split('{').next(), Some(name));
            let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
            assert!(all.insert(series.to_owned(), value).is_none(), "{series} is there twice");
        }
    }
    assert!(text.ends_with('\n'));
    all
}

#[test]
fn what_status_shows_is_there_in_base_units() {
    let all = series(&text(&full()));
    for (name, value) in [
        ("spillway_records_accepted_total{lane=\"main\"}", 28.0),
        ("spillway_records_waiting{lane=\"_agent\"}", 6.0),
        ("spillway_lane_oldest_age_seconds{lane=\"main\"}", 90.0),
        ("spillway_lane_held{lane=\"main\"}", 1.0),
        ("spillway_lane_held{lane=\"_agent\"}", 0.0),
        ("spillway_lane_hold_info{lane=\"main\",reason=\"topic_missing\"}", 1.0),
        ("spillway_lane_hold_age_seconds{lane=\"main\"}", 8.0),
        ("spillway_lane_freshness_goal_seconds{lane=\"main\"}", 1.5),
        ("spillway_lane_oldest_live_seconds{lane=\"main\"}", 2.5),
        ("spillway_lane_degrade_dropped_total{lane=\"main\"}", 11.0),
        ("spillway_link_state{state=\"offline\"}", 1.0),
        ("spillway_link_state{state=\"online\"}", 0.0),
        ("spillway_link_state_age_seconds", 61.0),
        ("spillway_link_next_attempt_seconds", 17.0),
        ("spillway_first_send_seconds", 33.0),
        ("spillway_drained_seconds", 120.0),
        ("spillway_pace_own_records_per_second", 0.25),
        ("spillway_pace_allowed_records_per_second", f64::INFINITY),
        ("spillway_pace_queue_delay_seconds", 0.04),
        ("spillway_pace_reject_ratio", 0.125),
        ("spillway_pace_paused_seconds", 6.0),
        ("spillway_wire_today_bytes{lane=\"_resend\"}", 20.0),
        ("spillway_wire_stopped{lane=\"main\"}", 1.0),
        ("spillway_budget_limit_bytes", 100.0),
        ("spillway_clock_offset_seconds", -2.0),
        ("spillway_control_fault", 1.0),
        ("spillway_access_key_in_use", 2.0),
        ("spillway_access_keys_refused", 1.0),
        ("spillway_access_key_expires_seconds", 60.0),
        ("spillway_access_key_fault", 0.0),
        ("spillway_open_files_max", 1024.0),
        ("spillway_connections_refused_total", 2.0),
        ("spillway_build_info{version=\"1.2.3\"}", 1.0),
        ("spillway_gateway_info{gateway=\"gw-1\",stream=\"0a1b2c3d\"}", 1.0),
    ] {
        assert_eq!(all.get(name), Some(&value), "{name}");
    }
    for lane in ["main", "_agent"] {
        let of = |name: &str| all[&format!("spillway_records_{name}{{lane=\"{lane}\"}}")];
        let rest = ["delivered_total", "waiting", "dead", "expired_total", "dropped_total"];
        let sum: f64 = rest.iter().map(|name| of(name)).sum::<f64>() + of("damaged_total");
        assert_eq!(of("accepted_total"), sum);
    }
}

#[test]
fn each_family_has_a_value_where_there_is_one_and_none_where_there_is_not() {
    let status = full();
    for family in FAMILIES {
        assert!(!(family.samples)(&status).is_empty(), "{} is never there", family.name);
    }
    let mut bare = status;
    (bare.own, bare.control, bare.budget, bare.access_keys) = (None, None, None, None);
    (bare.first_send_in_s, bare.drained_in_s, bare.clock_offset_s) = (None, None, None);
    let said = text(&bare);
    series(&said);
    for absent in
        ["first_send", "drained", "clock", "control", "budget", "wire", "_agent", "access"]
    {
        assert!(!said.contains(&format!("spillway_{absent}_")), "{absent}: {said}");
    }
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    let mut names = BTreeSet::new();
    for Family { name, kind, help, .. } in FAMILIES {
        assert!(names.insert(name), "{name} is there twice");
        assert!(name.starts_with("spillway_"), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        for unit in ["_ms", "_s", "_kb", "_minutes", "_percent", "_count"] {
            assert!(!name.ends_with(unit), "{name} is not in a base unit");
        }
        assert!(help.ends_with('.') && !help.contains(['\n', '\\']), "{name}: {help}");
    }
}

#[test]
fn labels_are_of_closed_sets() {
    let mut status = full();
    let states = FAMILIES.iter().find(|family| family.name == "spillway_link_state").unwrap();
    let marked =
        |status: &Status| (states.samples)(status).iter().map(|sample| sample.value).sum::<f64>();
    for state in ["online", "ramping", "probing", "offline", "held", "unconfigured", "budget"] {
        status.link.state = serde_json::from_value(json!(state)).unwrap();
        let told = format!("spillway_link_state{{state=\"{state}\"}} 1\n");
        assert!(text(&status).contains(&told), "{state}");
        assert_eq!(marked(&status), 1.0, "{state}");
    }
    for nth in 0..100 {
        status.lanes[0].hold.as_mut().unwrap().code = format!("code-{nth}");
        let told = format!("spillway_lane_hold_info{{lane=\"main\",reason=\"{HOLD_ELSE}\"}} 1\n");
        assert!(text(&status).contains(&told));
    }
    assert!(!HOLDS.contains(&HOLD_ELSE));
    let known = ["lane", "state", "reason"];
    for family in FAMILIES {
        let is_info = ["spillway_build_info", "spillway_gateway_info"].contains(&family.name);
        for sample in (family.samples)(&status) {
            let closed = sample.labels.iter().all(|(name, _)| known.contains(name));
            assert!(closed || is_info, "{}: {sample:?}", family.name);
        }
    }
}

#[test]
fn values_of_labels_are_escaped_and_numbers_are_prometheus_own() {
    let mut status = full();
    status.gateway = "a\"b\\c\nd{e=}é".to_owned();
    let said = text(&status);
    let told = "spillway_gateway_info{gateway=\"a\\\"b\\\\c\\nd{e=}é\",stream=\"0a1b2c3d\"} 1\n";
    assert!(said.contains(told), "{said}");
    for (value, text) in [
        (0.0, "0"),
        (9_007_199_254_740_992.0, "9007199254740992"),
        (0.001, "0.001"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(number(value), text);
    }
}

#[test]
fn the_page_lists_what_is_told() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    // The far end's stand on the same page.
    let own = |line: &&str| line.starts_with("| `spillway_") && !line.contains("`spillway_centre_");
    let listed: Vec<&str> = page.lines().filter(own).collect();
    let row = |family: &Family| {
        format!("| `{}` | {} | {} |", family.name, family.kind.word(), family.help)
    };
    let told: Vec<String> = FAMILIES.iter().map(row).collect();
    assert_eq!(listed, told);
    for code in HOLDS.iter().chain([&HOLD_ELSE]) {
        assert!(page.contains(&format!("`{code}`")), "{code}");
    }
}
