//! Bounds of the disk, with the real agent: a full lane is refused while another goes on, what it holds still
//! leaves, and intake resumes by itself; a lane that drops its oldest tells exactly those; a file system on which
//! others leave no space or no inodes refuses in words.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use spillway_protocol::local::status::Status;
use spillway_protocol::tombstone::Reason;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::room::{self, check, fill, on_tmpfs, post, settings, settle};

const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_full_lane_is_refused_while_another_goes_on_and_resumes_when_it_is_drained() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let mut gateway = Gateway::new(&settings(&broker, "", "quota = \"1 MiB\""));
    gateway.start_ready().await;
    let ledger = Ledger::default();
    let (refused, words) = fill(&gateway, &ledger, "bulk", 0).await;
    assert!(refused > 20 && refused < 50, "{refused}");
    for part in ["lane bulk is full", "of 1.0 MiB, its quota", "is still sent", "raise its quota"] {
        assert!(words.contains(part), "{part} in {words}");
    }
    hand_over(&gateway.socket(), &ledger, "critical", drafts("critical", 0..200)).await;
    // What is known is answered all the same, so that an app that never heard goes on.
    assert_eq!(post(&gateway, &ledger, "bulk", 0).await.status, 200);
    gateway.kill();
    gateway.start_ready().await;
    assert_eq!(post(&gateway, &ledger, "bulk", refused).await.status, 507);
    let status = gateway.until("it answers", |_| true).await;
    check(&status, &ledger);
    let full = |status: &Status| lane(status, "bulk").limit.clone().unwrap().full;
    assert!(full(&status).is_some_and(|full| full.contains("lane bulk is full")), "{status:?}");
    let why = gateway.said("why bulk").await;
    assert!(why.contains("it is full and refuses new records"), "{why}");
    broker.restart().await;
    settle(&mut gateway, &broker, &ledger).await;
    gateway.until("it is full no more", |status| full(status).is_none()).await;
    let pid = gateway.pid();
    assert_eq!(post(&gateway, &ledger, "bulk", refused).await.status, 201);
    settle(&mut gateway, &broker, &ledger).await;
    assert_eq!(gateway.pid(), pid);
}

/// Numbers of the bulk lane that are told to be given up.
fn told(broker: &HttpBroker) -> BTreeSet<u64> {
    let ranges = room::told(broker);
    assert!(ranges.iter().all(|range| range.reason == Reason::Dropped));
    ranges.iter().flat_map(|range| range.from..=range.to).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_drops_its_oldest_takes_all_and_tells_exactly_what_it_dropped() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let bulk = "quota = \"1 MiB\"\nwhen_full = \"drop-oldest\"";
    let mut gateway = Gateway::new(&settings(&broker, "", bulk));
    gateway.start_ready().await;
    let ledger = Ledger::default();
    let records = 200;
    for number in 0..records {
        // What is being tried at this moment cannot go: such a record is asked to come again.
        while post(&gateway, &ledger, "bulk", number).await.status == 507 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if number == 120 {
            let before = gateway.until("some are dropped", |s| lane(s, "bulk").dropped > 0).await;
            gateway.kill();
            let status = gateway.start_ready().await;
            check(&status, &ledger);
            assert_eq!(lane(&status, "bulk").dropped, lane(&before, "bulk").dropped);
        }
    }
    hand_over(&gateway.socket(), &ledger, "critical", drafts("critical", 0..50)).await;
    let status = gateway.until("it answers", |_| true).await;
    check(&status, &ledger);
    let dropped = lane(&status, "bulk").dropped;
    assert!(dropped > 100 && dropped < 180, "{dropped}");
    broker.restart().await;
    let done = |status: &Status| {
        status.lanes.iter().all(|lane| lane.waiting == 0)
            && status.own.as_ref().unwrap().waiting == 0
    };
    gateway.until_within(PATIENCE, "nothing waits", done).await;
    gateway.until("all is told", |_| told(&broker).len() as u64 == dropped).await;
    let arrived: BTreeSet<u64> = broker.arrivals(&["bulk"]).iter().map(|a| a.seq).collect();
    let told = told(&broker);
    assert!(arrived.is_disjoint(&told));
    assert_eq!(arrived.union(&told).copied().collect::<BTreeSet<_>>(), (1..=records).collect());
    assert_eq!(broker.arrivals(&["critical"]).len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_to_others_is_never_taken_in_bytes() {
    let mut broker = HttpBroker::start().await;
    let (mut gateway, tmpfs) = on_tmpfs(&settings(&broker, "", ""), "size=64m");
    gateway.start_ready().await;
    let ledger = Ledger::default();
    assert_eq!(post(&gateway, &ledger, "bulk", 0).await.status, 201);
    settle(&mut gateway, &broker, &ledger).await;
    broker.stop().await;
    assert_eq!(post(&gateway, &ledger, "bulk", 1).await.status, 201);
    // Another program fills the disk.
    let file = gateway.data_dir().join("others");
    tmpfs.run(&format!("head -c 55M /dev/zero > {file:?}"));
    let (number, words) = fill(&gateway, &ledger, "bulk", 2).await;
    assert!(number < 100, "it is noticed soon: {number}");
    for part in ["the file system is nearly full", "9.5 MiB are left to others", "keep_free"] {
        assert!(words.contains(part), "{part} in {words}");
    }
    broker.restart().await;
    settle(&mut gateway, &broker, &ledger).await;
    assert_eq!(post(&gateway, &ledger, "bulk", number).await.status, 507, "others have it still");
    tmpfs.run(&format!("rm {file:?}"));
    gateway
        .until("it is full no more", |s| lane(s, "bulk").limit.clone().unwrap().full.is_none())
        .await;
    assert_eq!(post(&gateway, &ledger, "bulk", number).await.status, 201);
    settle(&mut gateway, &broker, &ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_to_others_is_never_taken_in_inodes() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let limits = "limits.disk = \"40 MiB\"\nlimits.memory = \"16 MiB\"\n";
    let text = format!("{limits}{}", settings(&broker, "", ""));
    let (mut gateway, _tmpfs) = on_tmpfs(&text, "size=64m,nr_inodes=80");
    gateway.start_ready().await;
    let ledger = Ledger::default();
    let (refused, words) = fill(&gateway, &ledger, "bulk", 0).await;
    for part in ["inodes are free", "11 are left to others by [limits] keep_free", "still sent"] {
        assert!(words.contains(part), "{part} in {words}");
    }
    let status = gateway.until("it answers", |_| true).await;
    check(&status, &ledger);
    broker.restart().await;
    settle(&mut gateway, &broker, &ledger).await;
    gateway
        .until("it is full no more", |s| lane(s, "bulk").limit.clone().unwrap().full.is_none())
        .await;
    assert_eq!(post(&gateway, &ledger, "bulk", refused).await.status, 201);
    settle(&mut gateway, &broker, &ledger).await;
}
