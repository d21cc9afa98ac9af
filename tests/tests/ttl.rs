//! `ttl`: what waited longer than its lane allows is not sent but counted, answered for and told,
//! whatever the clock on the wall is set to meanwhile and between two runs.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use spillway_protocol::local::status::{RecordState, RecordStatus, Status};
use spillway_protocol::tombstone::Reason;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::faketime::WallClock;
use spillway_tests::gateway::{Gateway, accounted, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::{http, room};

const RECORDS: u64 = 100;
const TEN_YEARS: Duration = Duration::from_secs(10 * 366 * 86_400);

async fn state_of(gateway: &Gateway, path: &str) -> RecordState {
    let answer = http::get(&gateway.socket(), path).await.unwrap();
    serde_json::from_slice::<RecordStatus>(&answer.body).unwrap().state
}

async fn hand(gateway: &Gateway, ledger: &Ledger, name: &str, numbers: std::ops::Range<u64>) {
    hand_over(&gateway.socket(), ledger, name, drafts(name, numbers)).await;
}

fn arrived(broker: &HttpBroker, lane: &str) -> BTreeSet<u64> {
    broker.arrivals(&[lane]).iter().map(|arrival| arrival.seq).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_not_sent_but_counted_and_told_over_kills_and_restarts() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let ledger = Ledger::default();
    let mut gateway = Gateway::new(&room::settings(&broker, "", "ttl = \"2s\"\norder = \"key\""));
    gateway.start_ready().await;
    for name in ["critical", "bulk"] {
        hand(&gateway, &ledger, name, 1..RECORDS + 1).await;
    }
    gateway.kill();
    gateway.start_ready().await;
    let gone = |status: &Status| lane(status, "bulk").expired == RECORDS;
    let status = gateway.until("all are too old", gone).await;
    assert_eq!(lane(&status, "bulk").accepted, accounted(lane(&status, "bulk")));
    gateway.until("its files are gone", |status| lane(status, "bulk").disk_bytes == 0).await;
    gateway.kill();
    let status = gateway.start_ready().await;
    assert_eq!(lane(&status, "bulk").expired, RECORDS, "what has expired stays so");
    assert_eq!(lane(&status, "critical").waiting, RECORDS);
    let stream = status.stream.clone();
    let by_number = format!("/v1/records?lane=bulk&stream={stream}&seq=7");
    for path in ["/v1/records/bulk-7", &by_number] {
        assert_eq!(state_of(&gateway, path).await, RecordState::Expired, "{path}");
    }
    assert!(gateway.said("why bulk-7").await.contains("it was older than its lane's ttl"));
    broker.restart().await;
    // What is sent in time arrives as ever.
    hand(&gateway, &ledger, "bulk", RECORDS + 1..RECORDS + 11).await;
    let done = |status: &Status| {
        status.lanes.iter().all(|lane| lane.waiting == 0)
            && status.own.as_ref().unwrap().waiting == 0
    };
    let status = gateway.until("nothing waits", done).await;
    let bulk = lane(&status, "bulk");
    let told = || -> BTreeSet<u64> {
        let ranges = room::told(&broker);
        assert!(ranges.iter().all(|range| range.reason == Reason::Expired), "{ranges:?}");
        ranges.iter().flat_map(|range| range.from..=range.to).collect()
    };
    let all: BTreeSet<u64> = (1..RECORDS + 11).collect();
    gateway
        .until("all is told", |_| {
            arrived(&broker, "bulk").union(&told()).copied().collect::<BTreeSet<_>>() == all
        })
        .await;
    assert!(arrived(&broker, "bulk").is_disjoint(&told()), "nothing is both");
    assert_eq!(bulk.expired, told().len() as u64);
    assert_eq!(bulk.accepted, accounted(bulk));
    assert_eq!(arrived(&broker, "critical").len() as u64, RECORDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_by_years_lets_nothing_expire() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let ledger = Ledger::default();
    let gateway = Gateway::new(&room::settings(&broker, "", "ttl = \"10m\""));
    let clock = WallClock::new(gateway.file("wall-clock"));
    let words = clock.wrapper();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut gateway = gateway.wrapped(&words);
    gateway.start_ready().await;
    hand(&gateway, &ledger, "bulk", 1..RECORDS + 1).await;
    clock.set_ahead(TEN_YEARS);
    // Stored under the other clock, so the agent has seen it.
    hand(&gateway, &ledger, "bulk", RECORDS + 1..RECORDS + 2).await;
    gateway.kill();
    clock.set_ahead(TEN_YEARS * 2);
    gateway.start_ready().await;
    gateway.kill();
    clock.set_right();
    gateway.start_ready().await;
    hand(&gateway, &ledger, "bulk", RECORDS + 2..RECORDS + 3).await;
    broker.restart().await;
    let done = |status: &Status| lane(status, "bulk").waiting == 0;
    let status = gateway.until("nothing waits", done).await;
    assert_eq!(lane(&status, "bulk").expired, 0);
    assert_eq!(arrived(&broker, "bulk"), (1..RECORDS + 3).collect());
}
