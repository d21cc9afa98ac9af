use spillway_protocol::local::status::{Configuration, Hold, Limit, Link, Pace, Rates};

use super::*;

pub(in crate::cli) fn lane() -> Lane {
    Lane {
        name: "critical".into(),
        accepted: 10,
        delivered: 6,
        waiting: 4,
        dead: 0,
        expired: 0,
        dropped: 0,
        damaged: 0,
        oldest_age_s: Some(7_500),
        live_bytes: 2_048,
        disk_bytes: 8 << 20,
        hold: None,
        held_keys: 0,
        last_error: None,
        hint: Some("order = \"lane\" is slow".into()),
        freshness: None,
        degraded: None,
        limit: None,
        retired: false,
    }
}

pub(in crate::cli) fn state(link: LinkState, lane: Lane) -> State {
    State {
        gateway: "gw-1".into(),
        stream: "00c0ffee".into(),
        version: "0.1.0".into(),
        pid: 7,
        uptime_s: 90,
        configuration: Configuration {
            file: "/etc/s.toml".into(),
            state: "in force".into(),
            ..Configuration::default()
        },
        link: Link {
            state: link,
            since_s: 60,
            since: 0,
            reason: if link == LinkState::Online { "" } else { "connection refused" }.into(),
            next_attempt_in_s: (link == LinkState::Offline).then_some(12),
        },
        lanes: vec![lane],
        own: None,
        control: None,
        quarantine: Default::default(),
        format: Default::default(),
        rates: Rates { accepted_per_s: 1.25, ..Rates::default() },
        pace: Pace {
            own_rate_per_s: 0.5,
            share: 1.5,
            allowed_per_s: Some(0.75),
            queue_delay_ms: 40,
            reason: "answers are late: the broker has a queue".to_owned(),
            ..Pace::default()
        },
        open_files: Default::default(),
        drained_in_s: None,
        first_send_in_s: None,
        access_keys: None,
        clock_offset_s: Some(3),
        budget: None,
    }
}

pub(in crate::cli) fn held() -> Lane {
    let hold = Hold {
        code: "topic_missing".into(),
        reason: "No topic route | x".into(),
        remedy: "create the topic".into(),
        since_s: 30,
    };
    Lane { hold: Some(hold), ..lane() }
}

#[test]
fn a_person_sees_link_accounts_and_holds() {
    let text = show(&state(LinkState::Offline, held()));
    for line in [
        "gateway       gw-1, stream 00c0ffee",
        "configuration /etc/s.toml: in force",
        "link          offline for 1m: connection refused; next attempt in 12s",
        "clock         3s behind the server's",
        "critical        10          6        4     0        0        0        0   2h 5m  2.0 KiB  8.0 MiB           -           -",
        "lane critical held for 30s: topic_missing: No topic route | x; create the topic",
        "lane critical: order = \"lane\" is slow",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nin\n{text}");
    }
}

#[test]
fn a_lanes_bound_is_shown_and_that_it_is_full_is_critical() {
    let limit = |full: Option<String>| Some(Limit { bytes: 64 << 20, used: 8 << 20, full });
    let shown = |limit| state(LinkState::Online, Lane { limit, ..lane() });
    let text = show(&shown(limit(None)));
    assert!(text.contains("8.0 MiB/64.0 MiB") && !text.contains("refuses"), "{text}");
    let full = shown(limit(Some("lane critical is full: its files have all".into())));
    assert!(show(&full).contains("lane critical refuses records: it is full: its files"));
    let (exit, line) = verdict(&full);
    assert_eq!(exit, Exit::Critical);
    assert!(line.contains("lane critical refuses records"), "{line}");
}

#[test]
fn the_bound_that_holds_the_pace_is_shown() {
    let mut pace = Pace { reason: "alone".into(), ..Pace::default() };
    assert_eq!(super::pace(&pace), "no bound on records: alone");
    pace.allowed_bytes_per_s = Some(256 << 10);
    assert_eq!(super::pace(&pace), "up to 256.0 KiB a second: alone");
    (pace.allowed_per_s, pace.share, pace.own_rate_per_s) = (Some(20.0), 1.0, 0.5);
    assert_eq!(super::pace(&pace), "up to 20.0 a second (1.0 of its own 0.5): alone");
}

#[test]
fn what_the_centre_asks_is_shown_with_its_fault() {
    let control = Control { pulled_ago_s: Some(300), open: 2, fault: None };
    let mut state = State { control: Some(control), ..state(LinkState::Online, lane()) };
    let wanted = "centre        2 requests open, page pulled 5m ago\n";
    assert!(show(&state).contains(wanted), "{}", show(&state));
    state.control = Some(Control { fault: Some("the answer is 500".into()), ..Control::default() });
    let wanted = "0 requests open, page not pulled yet; the answer is 500\n";
    assert!(show(&state).contains(wanted), "{}", show(&state));
}

#[test]
fn what_was_put_aside_is_shown() {
    let mut state = state(LinkState::Online, lane());
    assert!(!show(&state).contains("quarantine"), "{}", show(&state));
    state.quarantine = Quarantine { segments: 2, bytes: 3 << 20 };
    let wanted = "quarantine    2 damaged segments, 3.0 MiB\n";
    assert!(show(&state).contains(wanted), "{}", show(&state));
}

#[test]
fn the_days_bytes_are_shown_with_what_waits_for_the_next() {
    let part = LaneBudget {
        name: "critical".into(),
        bytes_today: 3 << 20,
        delivered_today: 2048,
        bytes_per_record: Some(1536),
        stopped: true,
    };
    let budget = Budget {
        bytes_today: 4 << 20,
        bytes_per_day: Some(5 << 20),
        overhead: 1 << 20,
        lanes: vec![part],
        resets_in_s: 7_200,
        ..Budget::default()
    };
    let state = State { budget: Some(budget), ..state(LinkState::Online, lane()) };
    let text = show(&state);
    for line in [
        "wire          4.0 MiB today of 5.0 MiB, 1.0 MiB of them overhead; anew in 2h",
        "lane critical: today's bytes are used, anew in 2h",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nin\n{text}");
    }
    assert!(text.contains("  8.0 MiB     3.0 MiB     1.5 KiB\n"), "{text}");
    let (exit, line) = verdict(&state);
    assert_eq!(exit, Exit::Warning);
    assert!(line.contains("lane critical: today's bytes are used"), "{line}");
}

#[test]
fn the_agents_own_records_stand_apart() {
    let own = Some(Lane { name: "_agent".into(), ..held() });
    let text = show(&State { own, ..state(LinkState::Online, lane()) });
    for line in ["own records   10 accepted, 4 waiting", "lane _agent held for 30s: "] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}\nin\n{text}");
    }
    assert!(!text.contains("\n_agent "), "{text}");
}

#[test]
fn nagios_gets_one_line_and_a_grade() {
    let (exit, line) = verdict(&state(LinkState::Online, lane()));
    assert_eq!(exit, Exit::Done);
    assert_eq!(
        line,
        "SPILLWAY OK - link online for 1m | waiting=4 dead=0 oldest=7500s disk=8388608B"
    );

    let (exit, line) = verdict(&state(LinkState::Offline, lane()));
    assert_eq!(exit, Exit::Warning);
    assert!(
        line.starts_with("SPILLWAY WARNING - link offline for 1m: connection refused"),
        "{line}"
    );

    let dead = Lane { dead: 2, ..lane() };
    assert_eq!(verdict(&state(LinkState::Online, dead)).0, Exit::Warning);

    let (exit, line) = verdict(&state(LinkState::Offline, held()));
    assert_eq!(exit, Exit::Critical);
    assert!(line.starts_with("SPILLWAY CRITICAL - lane critical held (topic_missing)"), "{line}");
    let own = Some(Lane { name: "_agent".into(), ..held() });
    let (exit, line) = verdict(&State { own, ..state(LinkState::Online, lane()) });
    assert_eq!(exit, Exit::Critical);
    assert!(line.contains("lane _agent held") && line.contains("waiting=4 "), "{line}");

    assert_eq!(line.matches('|').count(), 1, "{line}");
}

#[test]
fn nagios_gets_one_cause_once() {
    let other = Lane { name: "bulk".into(), ..held() };
    let mut two = state(LinkState::Online, held());
    two.lanes.push(other);
    let (_, line) = verdict(&two);
    assert!(line.contains(" - lanes critical, bulk held (topic_missing): "), "{line}");
    two.lanes[1].hold.as_mut().unwrap().reason = "another".into();
    let (_, line) = verdict(&two);
    assert!(line.contains("lane critical held") && line.contains("lane bulk held"), "{line}");

    let mut whole = state(LinkState::Held, held());
    whole.link.reason = format!("credentials: {}", held().hold.unwrap().reason);
    let (exit, line) = verdict(&whole);
    assert_eq!(exit, Exit::Critical);
    assert!(
        line.contains("link held for 1m: credentials: ") && !line.contains("lane critical"),
        "{line}"
    );

    let mut refused = state(LinkState::Unconfigured, lane());
    refused.configuration.state = "refused: f:1: lane: is missing; write one".into();
    assert!(verdict(&refused).1.contains("link unconfigured for 1m: "));
    refused.configuration.faults = vec!["f:1: lane: is missing; write one".into()];
    refused.link.reason =
        "the configuration cannot be used: f:1: lane: is missing; write one".into();
    let (_, line) = verdict(&refused);
    assert_eq!(line.matches("f:1: lane").count(), 1, "{line}");
    assert!(line.contains(" - link unconfigured; configuration refused: f:1"), "{line}");
}
