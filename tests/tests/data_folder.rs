//! The data folder is moved away under a running agent, replaced by a copy, and put back: nothing
//! is acknowledged that a restart would not find, nothing is taken for damaged that is only away.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use spillway_protocol::local::status::{LinkState, Status};
use spillway_protocol::record::Draft;
use spillway_tests::app::{body, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, accounted};
use spillway_tests::ledger::Ledger;
use spillway_tests::{http, oracle};

const PATIENCE: Duration = Duration::from_secs(120);
/// Several segments' worth: the older ones are closed, and opened again by their paths.
const RECORDS: u64 = 300;
const BODY_BYTES: usize = 40_000;
const AWAY: &str = "moved, replaced or mounted over";

fn drafts(name: &str, count: u64) -> Vec<Draft> {
    let draft = |nth| {
        let id = format!("{name}-{nth}");
        Draft { body: body(&id, BODY_BYTES, false), id: Some(id), ..Draft::default() }
    };
    (0..count).map(draft).collect()
}

async fn assert_refused(gateway: &Gateway) {
    let (socket, kind) = (gateway.socket(), "application/octet-stream");
    let answer = http::post(&socket, "/v1/records", kind, b"x").await.unwrap();
    let error = &answer.json()["error"];
    assert_eq!((answer.status, error["code"].as_str()), (503, Some("disk_failed")), "{answer:?}");
    assert!(error["message"].as_str().unwrap().contains(AWAY), "{error}");
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_is_away_costs_no_record() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let mut gateway = Gateway::new(&format!(
        "{}[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
         [backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n[[lane]]\nname = \"main\"\ntopic = \"t\"\n",
        broker.upstream()
    ));
    gateway.start_ready().await;
    let ledger = Ledger::default();
    hand_over(&gateway.socket(), &ledger, "main", drafts("before", RECORDS)).await;
    let (data, aside) = (gateway.data_dir(), gateway.file("aside"));
    fs::rename(&data, &aside).unwrap();
    assert_refused(&gateway).await;
    copy(&aside, &data);
    // The lane's file has its path again, and is another one.
    assert_refused(&gateway).await;
    fs::rename(&data, gateway.file("copy")).unwrap();
    assert_refused(&gateway).await;
    // The drain looks for the records now.
    broker.restart().await;
    let looked = |s: &Status| s.link.state == LinkState::Online;
    gateway.until_within(PATIENCE, "the link is up", looked).await;
    let log = gateway.file("agent.log");
    let told = |line: &str| line.contains("read") && line.contains(AWAY);
    let said = |_: &Status| fs::read_to_string(&log).unwrap().lines().any(told);
    gateway.until_within(PATIENCE, "the log says that it cannot be read", said).await;
    fs::rename(&aside, &data).unwrap();
    hand_over(&gateway.socket(), &ledger, "main", drafts("after", 10)).await;
    let status = gateway.until_delivered(PATIENCE).await;
    assert_eq!((status.lanes[0].damaged, accounted(&status.lanes[0])), (0, RECORDS + 10));
    oracle::assert_none("losses", &oracle::losses(&ledger.snapshot(), &broker.arrivals(&["t"])));
    gateway.stop(PATIENCE).await;
    gateway.start_ready().await;
    let status = gateway.until_delivered(PATIENCE).await;
    assert_eq!(accounted(&status.lanes[0]), RECORDS + 10);
}
