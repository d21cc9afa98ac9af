//! `degrade`: while the link is away a bulk lane gives way by its rules and a critical one keeps all; then the
//! link comes, and what arrived and what was told of account for every number. With SIGKILLs.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use spillway_protocol::local::status::{RecordState, RecordStatus, Status};
use spillway_protocol::tombstone::Reason;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::{HttpBroker, INSTANCE, KEY, SECRET};
use spillway_tests::gateway::{Gateway, accounted, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::{http, room};

const EVERY: u64 = 10;
const RECORDS: u64 = 1000;
const PATIENCE: Duration = Duration::from_secs(120);

fn settings(broker: &HttpBroker, rules: &str) -> String {
    room::settings(broker, "", rules)
}

/// A gateway whose lanes filled while nobody listened.
async fn filled(settings: &str, ledger: &Ledger) -> Gateway {
    let mut gateway = Gateway::new(settings);
    gateway.start_ready().await;
    for name in ["critical", "bulk"] {
        hand_over(&gateway.socket(), ledger, name, drafts(name, 1..RECORDS + 1)).await;
    }
    gateway
}

/// Numbers of a lane's records that arrived.
fn arrived(broker: &HttpBroker, lane: &str) -> BTreeSet<u64> {
    broker.arrivals(&[lane]).iter().map(|arrival| arrival.seq).collect()
}

/// Numbers of the bulk lane that are told to be given up, and why.
fn told(broker: &HttpBroker) -> (BTreeSet<u64>, BTreeSet<Reason>) {
    let ranges = room::told(broker);
    let mut numbers = BTreeSet::new();
    for range in &ranges {
        let given_up: BTreeSet<u64> =
            (range.from..=range.to).filter(|number| range.gives_up(*number)).collect();
        assert_eq!(given_up.len() as u64, range.count, "{range:?}");
        numbers.extend(given_up);
    }
    (numbers, ranges.iter().map(|range| range.reason).collect())
}

fn check(status: &Status) {
    for lane in &status.lanes {
        assert_eq!(lane.accepted, accounted(lane), "{lane:?}");
        assert_eq!(lane.accepted, RECORDS, "{lane:?}");
    }
    assert_eq!(lane(status, "critical").dropped, 0);
}

async fn state_of(gateway: &Gateway, id: &str) -> RecordState {
    let answer = http::get(&gateway.socket(), &format!("/v1/records/{id}")).await.unwrap();
    serde_json::from_slice::<RecordStatus>(&answer.body).unwrap().state
}

/// Everything that waits arrives, and with what is told that is all there was.
async fn settle(gateway: &mut Gateway, broker: &HttpBroker) -> Status {
    let done = |status: &Status| {
        status.lanes.iter().all(|lane| lane.waiting == 0)
            && status.own.as_ref().unwrap().waiting == 0
    };
    gateway.until_within(PATIENCE, "nothing waits", done).await;
    let all: BTreeSet<u64> = (1..=RECORDS).collect();
    assert_eq!(arrived(broker, "critical"), all);
    let dropped = || told(broker).0;
    gateway
        .until("all is told", |_| {
            arrived(broker, "bulk").union(&dropped()).count() as u64 == RECORDS
        })
        .await;
    let status = gateway.until("the state", |_| true).await;
    check(&status);
    let (arrived, dropped) = (arrived(broker, "bulk"), dropped());
    assert_eq!(arrived.intersection(&dropped).count(), 0, "nothing is both");
    assert_eq!(lane(&status, "bulk").delivered, arrived.len() as u64);
    assert_eq!(lane(&status, "bulk").dropped, dropped.len() as u64);
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_lane_is_thinned_while_a_critical_one_keeps_all() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let rules = "degrade = [{ when = \"backlog 3s\", do = \"thin\", keep = \"1 in 10\" }]";
    let ledger = Ledger::default();
    let mut gateway = filled(&settings(&broker, rules), &ledger).await;
    // Killed at any moment of it, and thinned again: the same records go.
    let mut before = 0;
    for _ in 0..3 {
        gateway.until("some are dropped", |status| lane(status, "bulk").dropped > 0).await;
        gateway.kill();
        let status = gateway.start_ready().await;
        check(&status);
        before = lane(&status, "bulk").dropped;
    }
    // The few that were tried while the link was away may lie anywhere.
    // All may have gone in the life before; the rule shows itself at its first look in this one.
    let thinned = |status: &Status| {
        let bulk = lane(status, "bulk");
        let in_force = bulk.degraded.as_ref().filter(|shown| shown.since_s.is_some());
        // The rule counts what it has dropped in this life once that is on disk.
        let on_disk = in_force.is_some_and(|shown| shown.dropped + before >= bulk.dropped);
        bulk.waiting == RECORDS / EVERY && on_disk
    };
    let status = gateway.until("it is thinned", thinned).await;
    check(&status);
    let shown = lane(&status, "bulk").degraded.clone().unwrap();
    assert!(shown.rule.contains("backlog 3s") && shown.since_s.is_some(), "{shown:?}");
    assert_eq!(state_of(&gateway, "bulk-11").await, RecordState::Dropped);
    assert_eq!(state_of(&gateway, "bulk-20").await, RecordState::Waiting);
    gateway.kill();
    gateway.start_ready().await;
    broker.restart().await;
    settle(&mut gateway, &broker).await;
    let kept: BTreeSet<u64> = (1..=RECORDS).filter(|number| number % EVERY == 0).collect();
    assert_eq!(arrived(&broker, "bulk"), kept);
    assert_eq!(told(&broker).1, BTreeSet::from([Reason::Thinned]));
    assert_eq!(state_of(&gateway, "bulk-11").await, RecordState::Dropped);
    assert_eq!(state_of(&gateway, "bulk-20").await, RecordState::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_lane_drops_its_oldest_and_its_files_go() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let rules = "degrade = [{ when = \"backlog 3s\", do = \"drop-oldest\" }]";
    let ledger = Ledger::default();
    let mut gateway = filled(&settings(&broker, rules), &ledger).await;
    // The rule counts what it has dropped once that is on disk.
    let counted = |status: &Status| lane(status, "bulk").degraded.clone().map_or(0, |d| d.dropped);
    gateway.until("all are too old", |status| counted(status) == RECORDS).await;
    check(&gateway.until("the state", |_| true).await);
    gateway.kill();
    let status = gateway.start_ready().await;
    check(&status);
    assert_eq!(lane(&status, "bulk").dropped, RECORDS, "what was dropped stays so");
    let emptied = |status: &Status| lane(status, "bulk").disk_bytes == 0;
    gateway.until("its files are gone", emptied).await;
    broker.restart().await;
    settle(&mut gateway, &broker).await;
    assert_eq!(told(&broker).1, BTreeSet::from([Reason::Dropped]));
}

/// The disk is one of 256 MiB that the agent alone sees, so the queue may have 25.6 MiB, and each lane half of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_lets_the_bulk_lane_drop_and_intake_go_on() {
    let broker = HttpBroker::start().await;
    let endpoint = format!("http://127.0.0.1:{}", spillway_tests::port::free());
    let rules = "degrade = [{ when = \"disk 80%\", do = \"drop-oldest\" }]";
    let away = settings(&broker, rules).replace(&broker.endpoint(), &endpoint);
    assert!(away.contains(INSTANCE) && away.contains(KEY) && away.contains(SECRET));
    let gateway = Gateway::new(&format!("limits.memory = \"16 MiB\"\n{away}"));
    std::fs::create_dir_all(gateway.data_dir()).unwrap();
    let mount = format!("mount -t tmpfs -o size=256m none {:?} && exec \"$@\"", gateway.data_dir());
    let mut gateway = gateway.wrapped(&["unshare", "-m", "sh", "-c", &mount, "sh"]);
    gateway.start_ready().await;
    let ledger = Ledger::default();
    let body = vec![b'x'; 100_000];
    let large = |name: &str, numbers: std::ops::Range<u64>| {
        let mut drafts = drafts(name, numbers);
        drafts.iter_mut().for_each(|draft| draft.body = body.clone().into());
        drafts
    };
    hand_over(&gateway.socket(), &ledger, "critical", large("critical", 0..20)).await;
    for nth in 0..20 {
        // 20 MB in all, one and a half times what the lane may have.
        let drafts = large("bulk", nth * 10..nth * 10 + 10);
        hand_over(&gateway.socket(), &ledger, "bulk", drafts).await;
        if nth % 2 == 1 {
            let calm = |status: &Status| {
                let bulk = lane(status, "bulk");
                let limit = bulk.limit.as_ref().unwrap();
                limit.used < limit.bytes / 10 * 8 && (nth < 12 || bulk.dropped > 0)
            };
            gateway.until("the disk is given back", calm).await;
        }
    }
    // The rule counts what it has dropped once that is on disk.
    let counted = |status: &Status| {
        let bulk = lane(status, "bulk");
        bulk.degraded.as_ref().is_some_and(|shown| shown.dropped == bulk.dropped)
    };
    let status = gateway.until("the rule's count is the lane's", counted).await;
    let (bulk, critical) = (lane(&status, "bulk"), lane(&status, "critical"));
    assert_eq!((critical.waiting, critical.dropped), (20, 0));
    assert_eq!((bulk.accepted, bulk.accepted), (200, accounted(bulk)));
    assert!(bulk.waiting > 0, "{bulk:?}");
}
