//! `freshness`: live records beside a backlog, through the real agent, and a SIGKILL in the middle.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, accounted, lane, now_ms};
use spillway_tests::kill::{self, Kill};
use spillway_tests::ledger::Ledger;
use tokio::time::sleep;

const BACKLOG: u64 = 3000;
const LIVE: u64 = 40;
/// Between two live records: a tenth of what may leave.
const EVERY: Duration = Duration::from_millis(100);
const GOAL_MS: u64 = 5000;
const PATIENCE: Duration = Duration::from_secs(240);

/// A hundred records a second leave, so the backlog takes half a minute.
fn settings(broker: &HttpBroker, topic: &str, freshness: &str) -> String {
    format!(
        "{}[drain]\nadaptive = false\nrecords_per_second = 100\nreconnect_spread = \"0s\"\n\
         [backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n[[lane]]\nname = \"main\"\n\
         topic = \"{topic}\"\n{freshness}",
        broker.upstream(),
    )
}

/// A gateway with a backlog, made while nobody listened and in an earlier life of its agent: what is there at
/// the start is backlog.
async fn behind(broker: &HttpBroker, topic: &str, freshness: &str) -> (Gateway, Ledger) {
    let mut gateway = Gateway::new(&settings(broker, topic, freshness));
    let ledger = Ledger::default();
    gateway.start_ready().await;
    hand_over(&gateway.socket(), &ledger, "main", drafts("old", 0..BACKLOG)).await;
    gateway.stop(PATIENCE).await;
    gateway.start_ready().await;
    (gateway, ledger)
}

/// Hands live records over one after the other; returns when each was accepted, ms since 1970.
async fn hand_over_live(gateway: &Gateway, ledger: &Ledger, count: u64, from: u64) -> Vec<u64> {
    let mut accepted = Vec::new();
    for nth in from..from + count {
        hand_over(&gateway.socket(), ledger, "main", drafts("live", nth..nth + 1)).await;
        accepted.push(now_ms());
        sleep(EVERY).await;
    }
    accepted
}

/// How long live records took to the broker, ms, sorted.
fn waits(broker: &HttpBroker, topic: &str, accepted: &[u64]) -> Vec<u64> {
    let arrivals = broker.arrivals(&[topic]);
    let wait = |(nth, at): (usize, &u64)| {
        let id = format!("live-{nth}");
        let arrival = arrivals.iter().find(|a| a.id == id).unwrap_or_else(|| panic!("no {id}"));
        arrival.at_ms.saturating_sub(*at)
    };
    let mut waits: Vec<u64> = accepted.iter().enumerate().map(wait).collect();
    waits.sort_unstable();
    waits
}

fn expected(live: u64) -> BTreeSet<String> {
    let old = (0..BACKLOG).map(|n| format!("old-{n}"));
    old.chain((0..live).map(|n| format!("live-{n}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn live_records_pass_a_backlog_that_drains_beside_them() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let (mut fresh, ledger) = behind(&broker, "fresh", "freshness = \"5s\"\n").await;
    let (mut plain, plain_ledger) = behind(&broker, "plain", "").await;
    broker.restart().await;
    for gateway in [&mut fresh, &mut plain] {
        gateway.until("records flow", |status| lane(status, "main").delivered > 0).await;
    }
    let (accepted, plain_accepted) = tokio::join!(
        hand_over_live(&fresh, &ledger, LIVE, 0),
        hand_over_live(&plain, &plain_ledger, LIVE, 0)
    );
    let status = fresh.until("the state", |_| true).await;
    let shown = lane(&status, "main").freshness.clone().unwrap();
    assert!(shown.goal_ms == GOAL_MS && shown.backlog > 0 && shown.backlog < BACKLOG, "{shown:?}");
    fresh.until_delivered(PATIENCE).await;
    plain.until_delivered(PATIENCE).await;

    let (waits, plain_waits) =
        (waits(&broker, "fresh", &accepted), waits(&broker, "plain", &plain_accepted));
    let p99 = |waits: &[u64]| waits[waits.len() * 99 / 100 - 1];
    println!("live p99 {} ms with freshness, {} ms without", p99(&waits), p99(&plain_waits));
    assert!(p99(&waits) < GOAL_MS, "{waits:?}");
    assert!(plain_waits[0] > GOAL_MS, "they waited for the backlog: {plain_waits:?}");
    // The backlog kept its order, but for what was in flight side by side.
    let arrivals = broker.arrivals(&["fresh"]);
    let ids: BTreeSet<String> = arrivals.iter().map(|arrival| arrival.id.clone()).collect();
    assert_eq!((ids, arrivals.len() as u64), (expected(LIVE), BACKLOG + LIVE));
    let old: Vec<u64> =
        arrivals.iter().filter(|a| a.id.starts_with("old")).map(|a| a.seq).collect();
    let in_flight = kill::IN_FLIGHT_MAX as u64;
    assert!(old.iter().zip(0..).all(|(seq, nth)| seq.abs_diff(nth) <= in_flight), "{old:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_repeats_no_more_than_any() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let (mut gateway, ledger) = behind(&broker, "killed", "freshness = \"2s\"\n").await;
    broker.restart().await;
    gateway.until("records flow", |status| lane(status, "main").delivered > 0).await;
    let mut kills = Vec::new();
    for round in 0..3 {
        hand_over_live(&gateway, &ledger, 12, round * 12).await;
        kills.push(Kill::of(&mut gateway, &["main"]));
        let status = gateway.start_ready().await;
        let main = lane(&status, "main");
        assert_eq!(main.accepted, accounted(main), "{main:?}");
        assert!(main.freshness.is_some() && main.waiting > 0, "in the middle: {main:?}");
    }
    let last = gateway.until_delivered(PATIENCE).await;
    assert_eq!(lane(&last, "main").accepted, BACKLOG + 36);
    let arrivals = broker.arrivals(&["killed"]);
    let ids: BTreeSet<String> = arrivals.iter().map(|arrival| arrival.id.clone()).collect();
    assert_eq!(ids, expected(36), "everything arrived");
    let repeats = kill::explain(&arrivals, &kills);
    println!("{repeats}");
    assert!(repeats.unexplained.is_empty(), "{repeats:?}");
}
