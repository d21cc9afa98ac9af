use ratatui::Terminal;
use ratatui::backend::TestBackend;
use spillway_protocol::local::status::{Lane, Limit, LinkState, Status};

use super::super::status::tests::{held, lane, state};
use super::course::Flow;
use super::*;

/// The lines of a terminal of this size.
fn drawn(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(screen, frame)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn screen(states: impl IntoIterator<Item = Status>) -> Screen {
    let mut screen = Screen::default();
    for (second, state) in (0u64..).zip(states) {
        screen.course.add(Duration::from_secs(second), state);
    }
    screen
}

/// A lane that took this much in and sent this much.
fn went(accepted: u64, delivered: u64) -> Lane {
    Lane { accepted, delivered, waiting: accepted - delivered, ..lane() }
}

#[track_caller]
fn assert_line(lines: &[String], wanted: &str) {
    let squeezed = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(lines.iter().map(squeezed).any(|line| line.contains(wanted)), "{wanted}: {lines:#?}");
}

#[test]
fn a_person_sees_link_lanes_and_what_is_wrong() {
    let limit = Some(Limit { bytes: 16 << 20, used: 4 << 20, full: None });
    let mut screen = screen([state(LinkState::Offline, Lane { limit, ..held() })]);
    let lines = drawn(&mut screen, 100, 24);
    for wanted in [
        "gateway gw-1 stream 00c0ffee version 0.1.0 up 1m 30s",
        "link offline for 1m: connection refused; next attempt in 12s",
        "LANE STATE WAITING OLDEST IN/S OUT/S DISK DEAD LOST",
        "critical held 4 2h 5m 0.0 0.0 8.0 MiB 25% 0 0",
        "lane critical held for 30s: topic_missing: No topic route | x; create the topic",
        "q quit",
    ] {
        assert_line(&lines, wanted);
    }
}

#[test]
fn rates_are_those_of_the_last_seconds() {
    let states = [(0, 0), (10, 0), (30, 10)].map(|(a, d)| state(LinkState::Online, went(a, d)));
    let mut screen = screen(states);
    let lines = drawn(&mut screen, 100, 24);
    assert_line(&lines, "critical waiting 20 2h 5m 15.0 5.0");
    assert_line(&lines, "waiting 20");
    assert_line(&lines, "in/s 20.0");
}

#[test]
fn what_was_watched_long_ago_does_not_count() {
    let states = (0..60).map(|second| state(LinkState::Online, went(1_000 + second, 0)));
    let first = state(LinkState::Online, went(0, 0));
    let screen = screen(std::iter::once(first).chain(states));
    let flow = screen.course.flow(&went(1_059, 0));
    assert_eq!(flow, Flow { accepted_per_s: 1.0, delivered_per_s: 0.0 });
}

#[test]
fn an_agent_that_was_started_anew_has_no_rates_of_before() {
    let after = Status { pid: 8, ..state(LinkState::Online, went(3, 0)) };
    let screen = screen([state(LinkState::Online, went(900, 0)), after]);
    assert_eq!(screen.course.flow(&went(3, 0)), Flow::default());
}

#[test]
fn an_agent_that_does_not_answer_is_said_over_what_was_known() {
    let mut screen = Screen::default();
    screen.course.lost("no agent listens".to_owned());
    assert_line(&drawn(&mut screen, 40, 5), "no agent listens");
    screen.course.add(Duration::ZERO, state(LinkState::Online, lane()));
    screen.course.lost("the agent does not answer".to_owned());
    let lines = drawn(&mut screen, 100, 24);
    assert_eq!(lines[0], "NO ANSWER the agent does not answer");
    assert_line(&lines, "critical");
}

#[test]
fn a_small_terminal_shows_the_first_columns_and_all_lanes_by_and_by() {
    let lanes = (0..20).map(|n| Lane { name: format!("lane-{n}"), ..lane() }).collect();
    let mut screen = screen([Status { lanes, ..state(LinkState::Online, lane()) }]);
    let lines = drawn(&mut screen, 40, 12);
    assert_line(&lines, "lane-0 waiting 4");
    assert!(lines.iter().all(|line| !line.contains("lane-19") && !line.contains("DISK")));
    screen.first = usize::MAX;
    assert_line(&drawn(&mut screen, 40, 12), "lane-19 waiting 4");
    for (width, height) in [(1, 1), (3, 2), (10, 4), (300, 90)] {
        drawn(&mut screen, width, height);
    }
}

#[test]
fn long_words_of_a_broker_go_on_in_the_next_line() {
    assert_eq!(words::wrapped("one two three", 8), ["one two", "three"]);
    assert_eq!(words::wrapped("abcdefgh ij", 5), ["abcde", "fgh", "ij"]);
    assert_eq!(words::wrapped("", 5), [""]);
    assert_eq!(words::wrapped("é é", 0), ["é", "é"]);
    let lines = drawn(&mut screen([state(LinkState::Offline, held())]), 50, 24);
    assert_line(&lines, "link offline for 1m: connection refused; next");
    assert_line(&lines, "attempt in 12s");
}

#[test]
fn it_asks_at_most_ten_times_a_second() {
    assert!(every("50ms").is_err() && every("2").is_err());
    assert_eq!(every("2s"), Ok(Duration::from_secs(2)));
}
