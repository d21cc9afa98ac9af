//! `[budget]`: the bytes of a day, with the real agent against the embedded broker over HTTP, and a
//! relay between them that counts.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use spillway_protocol::local::status::{Budget, LaneBudget, LinkState, Status};
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, PATIENCE, lane, now_ms};
use spillway_tests::ledger::Ledger;
use spillway_tests::relay::Relay;
use tokio::time::sleep;

const BYTES_PER_DAY: u64 = 200 << 10;
const PACE: &str = "[drain]\nadaptive = false\nreconnect_spread = \"0s\"\n\
                    bytes_per_second = \"1 GiB\"\n[backoff]\ninitial = \"50ms\"\nmax = \"500ms\"\n";
const LANES: &str = "[[lane]]\nname = \"bulk\"\ntopic = \"bulk\"\npriority = 2\ndefault = true\n\
                     [[lane]]\nname = \"first\"\ntopic = \"first\"\npriority = 1\n";
const DAY_MS: u64 = 24 * 3_600_000;
/// The test has to end on the day on which it began.
const LASTS_MS: u64 = 180_000;
/// What no request may cost more than.
const REQUEST_BYTES: u64 = 4 << 10;

fn settings(relay: &Relay, bytes_per_day: u64) -> String {
    let upstream = HttpBroker::upstream_by(&format!("http://127.0.0.1:{}", relay.port()));
    format!("{upstream}{PACE}[budget]\nbytes_per_day = \"{bytes_per_day} B\"\n{LANES}")
}

fn budget(status: &Status) -> &Budget {
    status.budget.as_ref().unwrap()
}

fn part<'a>(status: &'a Status, name: &str) -> &'a LaneBudget {
    budget(status).lanes.iter().find(|lane| lane.name == name).unwrap()
}

/// Without what is estimated, it has counted what went through the relay.
#[track_caller]
fn compare(status: &Status, relay: &Relay) {
    let budget = budget(status);
    let (counted, carried) = (budget.bytes_today - budget.headers_today, relay.bytes());
    assert!(counted.abs_diff(carried) * 100 <= carried * 3, "counted {counted}, of {carried}");
    let lanes: u64 = budget.lanes.iter().map(|lane| lane.bytes_today).sum();
    assert_eq!(lanes + budget.overhead, budget.bytes_today);
}

async fn not_at_midnight() {
    let left_ms = DAY_MS - now_ms() % DAY_MS;
    if left_ms < LASTS_MS {
        sleep(Duration::from_millis(left_ms)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_leaves_the_reserve_and_when_all_is_used_the_link_rests_over_restarts() {
    not_at_midnight().await;
    let broker = HttpBroker::start().await;
    let relay = Relay::start(broker.port()).await;
    let mut gateway = Gateway::new(&settings(&relay, BYTES_PER_DAY));
    gateway.start_ready().await;
    let ledger = Ledger::default();

    hand_over(&gateway.socket(), &ledger, "bulk", drafts("bulk", 0..400)).await;
    let status = gateway.until("bulk has used its part", |s| part(s, "bulk").stopped).await;
    assert!(matches!(status.link.state, LinkState::Online | LinkState::Ramping));
    let (used, most) = (budget(&status).bytes_today, BYTES_PER_DAY / 4 * 3);
    assert!((most - REQUEST_BYTES..=most).contains(&used), "{used} of {most}");
    let bulk = lane(&status, "bulk");
    assert!(bulk.delivered > 50 && bulk.waiting > 50, "{bulk:?}");
    assert_eq!(part(&status, "bulk").delivered_today, bulk.delivered);
    let each = part(&status, "bulk").bytes_per_record.unwrap();
    assert!((900..2_500).contains(&each), "{each} bytes a record");
    // 64 connections at most, each with its beginning.
    assert!(budget(&status).overhead < 64 * 500, "{:?}", budget(&status));
    compare(&status, &relay);

    hand_over(&gateway.socket(), &ledger, "first", drafts("first", 0..200)).await;
    let status = gateway.until("all is used", |s| s.link.state == LinkState::Budget).await;
    assert_eq!(lane(&status, "bulk").delivered, bulk.delivered, "the reserve is not for bulk");
    assert!(lane(&status, "first").delivered > 10 && lane(&status, "first").waiting > 50);
    let used = budget(&status).bytes_today;
    assert!((BYTES_PER_DAY - REQUEST_BYTES..=BYTES_PER_DAY).contains(&used), "{used}");
    let next_s = status.link.next_attempt_in_s.unwrap();
    assert!(next_s.abs_diff(budget(&status).resets_in_s) <= 1);
    assert!(((DAY_MS - now_ms() % DAY_MS) / 1000).abs_diff(next_s) <= 10, "until midnight");
    assert_eq!(budget(&status).resets_at / 1000 % (DAY_MS / 1000), 0);
    until_closed(&relay).await;
    compare(&gateway.status().await.unwrap(), &relay);
    let said = gateway.said("status").await;
    assert!(said.contains("lane bulk: today's bytes are used"), "{said}");

    // Neither a stop nor a kill begins the day anew.
    let (carried, connections) = (relay.bytes(), relay.connections());
    let used = budget(&gateway.status().await.unwrap()).bytes_today;
    gateway.stop(PATIENCE).await;
    for _ in 0..2 {
        gateway.start_ready().await;
        let status = gateway.until("it knows", |s| s.link.state == LinkState::Budget).await;
        assert_eq!(budget(&status).bytes_today, used);
        assert_eq!(part(&status, "bulk").delivered_today, bulk.delivered);
        gateway.kill();
    }
    assert_eq!((relay.bytes(), relay.connections()), (carried, connections));

    gateway.configure(&settings(&relay, 100 << 20));
    gateway.start_ready().await;
    let status = gateway.until_delivered(PATIENCE).await;
    compare(&status, &relay);
    for (topic, count) in [("bulk", 400), ("first", 200)] {
        let arrivals = broker.arrivals(&[topic]);
        let ids: BTreeSet<&str> = arrivals.iter().map(|arrival| arrival.id.as_str()).collect();
        assert_eq!((ids.len(), arrivals.len()), (count, count), "{topic}");
        assert!((0..count).all(|nth| ids.contains(format!("{topic}-{nth}").as_str())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_count_is_begun_anew_and_said_so() {
    not_at_midnight().await;
    let broker = HttpBroker::start().await;
    let relay = Relay::start(broker.port()).await;
    let mut gateway = Gateway::new(&settings(&relay, BYTES_PER_DAY));
    gateway.start_ready().await;
    let ledger = Ledger::default();
    hand_over(&gateway.socket(), &ledger, "first", drafts("first", 0..10)).await;
    gateway.until_delivered(PATIENCE).await;
    gateway.stop(PATIENCE).await;
    let file = gateway.data_dir().join("budget");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let status = gateway.start_ready().await;
    // A connection at most.
    assert!(budget(&status).bytes_today < 1_000, "{:?}", budget(&status));
    assert!(gateway.log().contains("it is begun anew"), "{}", gateway.tail());
}

async fn until_closed(relay: &Relay) {
    let closed = async {
        while relay.connections().1 > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("connections are closed");
}
