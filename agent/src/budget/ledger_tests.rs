use proptest::prelude::*;
use spillway_protocol::record::{LaneName, Topic};

use super::*;
use crate::config::{OnReject, Order, WhenFull};

const NOON_MS: u64 = (20_000 * 24 + 12) * 3_600_000;
const DAY_MS: u64 = 24 * 3_600_000;

fn lane(name: &str, priority: u32) -> Lane {
    Lane {
        name: LaneName::parse(name).unwrap(),
        topic: Topic::parse("t").unwrap(),
        tag: None,
        priority,
        weight: 1,
        min_share_percent: 5,
        default: false,
        order: Order::None,
        on_reject: OnReject::DeadLetter,
        quota_bytes: None,
        when_full: WhenFull::Reject,
        bundle: None,
        batch: None,
        freshness: None,
        ttl: None,
        lz4: false,
        degrade: Vec::new(),
    }
}

fn options(bytes_per_day: u64) -> Options {
    let settings = config::Budget { bytes_per_day, reserve_percent: 25 };
    Options { settings: Some(settings), ..Options::default() }
}

/// Bulk, priority, the agent's own, what is sent again.
fn lanes() -> [Lane; 4] {
    [lane("bulk", 2), lane("first", 1), lane("_agent", u32::MAX), lane("_resend", u32::MAX)]
}

/// Over many connections, which cost nothing.
fn traffic(traffic_bytes: u64) -> Reading {
    Reading { traffic_bytes, opened: 100, ..Reading::default() }
}

fn budget(bytes_per_day: u64) -> Budget {
    let now = Instant::now();
    let mut budget = Budget::new(&options(bytes_per_day), &lanes(), now);
    assert!(!budget.look(traffic(0), Some(NOON_MS), now));
    budget
}

fn admitted(budget: &mut Budget, bytes: u64) -> Vec<bool> {
    (0..4).map(|lane| budget.admits(lane, bytes)).collect()
}

#[test]
fn the_reserve_is_for_the_first_lanes_and_for_the_agents_own() {
    let mut budget = budget(100_000);
    let now = Instant::now();
    budget.look(traffic(74_000), Some(NOON_MS), now);
    assert_eq!(admitted(&mut budget, 1_000), [true; 4]);
    assert_eq!(admitted(&mut budget, 1_001), [false, true, true, false]);
    assert!(!budget.is_spent());
    budget.look(traffic(95_000), Some(NOON_MS), now);
    assert_eq!(admitted(&mut budget, 1_000), [false, true, true, false]);
    assert!(!budget.is_spent());
    budget.look(traffic(98_000), Some(NOON_MS), now);
    assert!(budget.is_spent());
    let stopped: Vec<bool> =
        budget.status(now, NOON_MS).lanes.iter().map(|lane| lane.stopped).collect();
    assert_eq!(stopped, [true; 4]);
}

#[test]
fn where_all_lanes_are_equal_all_may_use_everything() {
    let now = Instant::now();
    let equals = [lane("a", 3), lane("b", 3), lane("_resend", u32::MAX)];
    let mut budget = Budget::new(&options(100_000), &equals, now);
    budget.look(traffic(90_000), Some(NOON_MS), now);
    assert_eq!([0, 1, 2].map(|lane| budget.admits(lane, 1_000)), [true, true, false]);
}

#[test]
fn what_is_under_way_counts_before_it_is_carried() {
    let mut budget = budget(100_000);
    budget.look(traffic(70_000), Some(NOON_MS), Instant::now());
    budget.grant(0, 3_000);
    assert_eq!(admitted(&mut budget, 3_000), [false, true, true, false]);
    budget.settle(0, 3_000, 1);
    assert_eq!(admitted(&mut budget, 3_000), [true; 4]);
}

#[test]
fn connections_that_requests_may_still_open_count_too() {
    let (mut budget, now) = (budget(100_000), Instant::now());
    // Ten have cost 5,000 each; two of them stand.
    let reading = Reading { setup_bytes: 50_000, opened: 10, ended: 8, ..Reading::default() };
    budget.look(reading, Some(NOON_MS), now);
    assert!(budget.admits(0, 25_000) && !budget.admits(0, 25_001));
    budget.grant(0, 1_000);
    assert!(budget.admits(0, 24_000) && !budget.admits(0, 24_001));
    budget.grant(0, 1_000);
    assert!(budget.admits(0, 18_000) && !budget.admits(0, 18_001), "a third connection");
    budget.look(Reading { setup_bytes: 93_000, ..reading }, Some(NOON_MS), now);
    assert!(!budget.is_spent());
    budget.look(Reading { setup_bytes: 93_000, ended: 10, ..reading }, Some(NOON_MS), now);
    assert!(budget.is_spent(), "too little for a connection");
}

#[test]
fn what_is_spent_stays_spent_until_the_next_day() {
    let (mut budget, now) = (budget(100_000), Instant::now());
    let counts = Reading { traffic_bytes: 85_000, setup_bytes: 8_000, ..Reading::default() };
    let idle = Reading { opened: 1, ended: 1, ..counts };
    budget.look(idle, Some(NOON_MS), now);
    assert!(budget.is_spent(), "too little for a connection");
    // One opens late, or it turns out that they cost little.
    for reading in [Reading { opened: 2, ..idle }, Reading { opened: 100, ended: 100, ..idle }] {
        budget.look(reading, Some(NOON_MS + 1), now);
        assert!(budget.is_spent());
        assert!(budget.status(now, NOON_MS).lanes.iter().all(|lane| lane.stopped));
    }
    budget.look(idle, Some(NOON_MS + DAY_MS), now);
    assert!(!budget.is_spent());
}

#[test]
fn a_record_larger_than_a_day_leaves_early_in_one() {
    let mut budget = budget(100_000);
    assert_eq!(admitted(&mut budget, 90_000), [true; 4], "alone it would never fit");
    budget.look(traffic(40_000), Some(NOON_MS), Instant::now());
    assert_eq!(admitted(&mut budget, 90_000), [false; 4]);
}

#[test]
fn without_a_bound_all_is_counted_and_nothing_stops() {
    let now = Instant::now();
    let mut budget = Budget::new(&Options::default(), &lanes(), now);
    budget.look(traffic(u64::MAX / 2), Some(NOON_MS), now);
    assert_eq!(admitted(&mut budget, u64::MAX / 2), [true; 4]);
    assert!(!budget.is_spent() && budget.used_share() == 0.0);
    assert_eq!(budget.status(now, NOON_MS).bytes_today, u64::MAX / 2);
}

#[test]
fn bytes_are_laid_upon_lanes_by_what_their_requests_cost_and_the_rest_upon_nobody() {
    let (mut budget, now) = (budget(100_000), Instant::now());
    budget.look(Reading { setup_bytes: 500, ..traffic(70) }, Some(NOON_MS), now);
    budget.grant(0, 3_000);
    budget.grant(1, 1_000);
    let reading = Reading { setup_bytes: 500, headers_bytes: 60, ..traffic(2_070) };
    budget.look(reading, Some(NOON_MS), now);
    budget.settle(0, 3_000, 3);
    budget.settle(1, 1_000, 0);
    // A heartbeat: no request is under way.
    budget.look(Reading { setup_bytes: 500, headers_bytes: 60, ..traffic(2_100) }, None, now);
    let status = budget.status(now, NOON_MS);
    assert_eq!((status.bytes_today, status.overhead, status.headers_today), (2_600, 600, 60));
    let lanes: Vec<_> = status.lanes.iter().map(|l| (l.bytes_today, l.bytes_per_record)).collect();
    assert_eq!(lanes, [(1_500, Some(500)), (500, None), (0, None), (0, None)]);
    assert_eq!(budget.used_share(), 0.026);
}

#[test]
fn it_outlives_a_restart_and_ends_with_the_day() {
    let (mut budget, now) = (budget(100_000), Instant::now());
    budget.grant(0, 5_000);
    budget.look(traffic(5_000), Some(NOON_MS), now);
    budget.settle(0, 5_000, 1);
    let stored = budget.stored();
    assert_eq!(stored.lanes["bulk"], StoredLane { bytes: 5_000, delivered: 1 });

    let again = Options { stored: stored.clone(), ..options(14_000) };
    let mut next = Budget::new(&again, &lanes()[1..], now);
    assert!(!next.look(Reading::default(), Some(NOON_MS + 1), now));
    assert!(next.is_spent());
    let status = next.status(now, NOON_MS);
    assert_eq!((status.bytes_today, status.overhead), (5_000, 5_000), "the lane is gone");
    assert_eq!(status.resets_at, NOON_MS + DAY_MS / 2 - 1);

    assert!(next.look(traffic(100), Some(NOON_MS + DAY_MS), now));
    assert!(!next.is_spent());
    assert_eq!(next.stored(), Stored { date: Some(20_001), ..Stored::default() });
}

#[test]
fn an_estimate_covers_a_request_with_its_answer() {
    // As counted at a relay (docs/benchmarks.md): 827 out, 405 back, without TLS and TCP.
    let counted = 827 + 405 + headers_bytes(827) + headers_bytes(405);
    let estimated = request_bytes(827);
    assert!((counted..counted + counted / 5).contains(&estimated), "{counted} {estimated}");
}

proptest! {
    #[test]
    fn lanes_and_overhead_are_the_whole(
        steps in prop::collection::vec((0_usize..4, 0_u64..5_000, 0_u64..5_000, any::<bool>()), 1..100),
    ) {
        let (mut budget, now) = (budget(1 << 20), Instant::now());
        let mut reading = Reading::default();
        let mut flights: Vec<(usize, u64)> = Vec::new();
        for (lane, cost, carried, ends) in steps {
            budget.grant(lane, cost);
            flights.push((lane, cost));
            reading.traffic_bytes += carried;
            reading.setup_bytes += carried / 10;
            budget.look(reading, Some(NOON_MS), now);
            if ends {
                let (lane, cost) = flights.remove(0);
                budget.settle(lane, cost, 1);
            }
            let status = budget.status(now, NOON_MS);
            let lanes: u64 = status.lanes.iter().map(|lane| lane.bytes_today).sum();
            prop_assert_eq!(lanes + status.overhead, status.bytes_today);
            prop_assert_eq!(status.bytes_today, reading.traffic_bytes + reading.setup_bytes);
        }
    }
}
