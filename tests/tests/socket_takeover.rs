//! Agents that meet, and agents that end: a living agent's socket and queue are left alone, a dead
//! one's are taken over, and SIGTERM finishes what is under way.

use std::process::Output;
use std::time::Duration;

use spillway::broker::faults::Plan;
use spillway_protocol::local::client::Client;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, PATIENCE, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::{http, oracle};

const LANE: &str = "[[lane]]\nname = \"main\"\ntopic = \"main\"\n";
const GRACE: Duration = Duration::from_secs(40);
/// Refused for now: the other agent may be gone later.
const TRY_AGAIN: i32 = 75;
const UNREACHABLE: i32 = 69;

/// Runs the agent of a gateway that must not come up, and returns what it says.
async fn refused(gateway: &Gateway) -> String {
    let Output { status, stdout, stderr } = gateway.command("run").await;
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(TRY_AGAIN), "{said}");
    assert!(stdout.is_empty());
    said
}

#[tokio::test]
async fn the_socket_of_a_living_agent_is_left_alone() {
    let mut first = Gateway::new(LANE);
    let pid = first.start_ready().await.pid;
    let second = Gateway::new(LANE);
    second.write(&second.data_dir(), &first.socket(), LANE);
    let said = refused(&second).await;
    let place = first.socket().display().to_string();
    assert!(said.contains(&place) && said.contains("another agent listens there"), "{said}");
    assert!(said.contains("stop it, or give this one its own"), "{said}");
    assert_eq!(first.status().await.unwrap().pid, pid);
    hand_over(&first.socket(), &Ledger::default(), "main", drafts("r", 0..3)).await;
}

#[tokio::test]
async fn the_socket_of_a_dead_agent_is_taken_over() {
    let mut gateway = Gateway::new(LANE);
    let first = gateway.start_ready().await.pid;
    hand_over(&gateway.socket(), &Ledger::default(), "main", drafts("r", 0..3)).await;
    gateway.kill();
    assert!(gateway.socket().exists() && gateway.file("control.sock").exists());
    let dead = gateway.command("send --lane main /dev/null").await;
    assert_eq!(dead.status.code(), Some(UNREACHABLE), "{dead:?}");
    let status = gateway.start_ready().await;
    assert_ne!(status.pid, first);
    assert_eq!(lane(&status, "main").waiting, 3);
    gateway.said("dead list").await;
    gateway.stop(GRACE).await;
    assert!(!gateway.socket().exists() && !gateway.file("control.sock").exists());
}

#[tokio::test]
async fn the_queue_of_another_agent_is_left_alone() {
    let mut first = Gateway::new(LANE);
    first.start_ready().await;
    let second = Gateway::new(LANE);
    second.write(&first.data_dir(), &second.socket(), LANE);
    let said = refused(&second).await;
    let place = first.data_dir().display().to_string();
    assert!(said.contains(&place) && said.contains("another agent"), "{said}");
    assert!(!second.socket().exists(), "the agent that did not come up leaves its socket");
    hand_over(&first.socket(), &Ledger::default(), "main", drafts("r", 0..3)).await;
    assert_eq!(lane(&first.status().await.unwrap(), "main").waiting, 3);
}

/// A gateway whose broker takes its time, with one record delivered, so that all others may leave
/// at once.
async fn slow(broker: &HttpBroker, ledger: &Ledger, latency_ms: u64) -> Gateway {
    let mut gateway = Gateway::new(&format!(
        "{}[drain]\nadaptive = false\nreconnect_spread = \"0s\"\n{LANE}",
        broker.upstream()
    ));
    gateway.start_ready().await;
    hand_over(&gateway.socket(), ledger, "main", drafts("first", 0..1)).await;
    gateway.until_delivered(PATIENCE).await;
    broker.faults().set(Plan { latency_ms, ..Plan::default() });
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn at_sigterm_what_is_in_flight_arrives_and_is_noted() {
    let (broker, ledger) = (HttpBroker::start().await, Ledger::default());
    let mut gateway = slow(&broker, &ledger, 1000).await;
    hand_over(&gateway.socket(), &ledger, "main", drafts("r", 0..300)).await;
    // More than fit in flight: where some have arrived, the next are under way.
    gateway.until("some have arrived", |status| lane(status, "main").delivered > 1).await;
    let arrived = broker.messages("main").len();
    gateway.stop(GRACE).await;
    let finished = broker.messages("main").len();
    assert!(finished > arrived, "what was in flight was cut off");
    // It is known as delivered: only the rest leaves after a start.
    broker.faults().clear();
    gateway.start_ready().await;
    gateway.until_delivered(PATIENCE).await;
    let arrived = broker.arrivals(&["main"]);
    oracle::assert_none("losses", &oracle::losses(&ledger.snapshot(), &arrived));
    assert_eq!(arrived.len(), 301, "{finished} had arrived before the start");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_stops_takes_nothing_in_and_says_so() {
    let (broker, ledger) = (HttpBroker::start().await, Ledger::default());
    let mut gateway = slow(&broker, &ledger, 4000).await;
    let client = Client::connect(gateway.socket()).await.unwrap();
    hand_over(&gateway.socket(), &ledger, "main", drafts("r", 0..5)).await;
    gateway.terminate(gateway.pid());
    // It is stopping once new connections are not served any more.
    while gateway.status().await.is_some() {}
    std::fs::write(gateway.file("record"), "late").unwrap();
    let file = gateway.file("record").display().to_string();
    let sent = gateway.command(&format!("send {file}")).await;
    assert!(matches!(sent.status.code(), Some(UNREACHABLE | TRY_AGAIN)), "{sent:?}");
    if let Ok(answer) = http::post(&gateway.socket(), "/v1/records", "text/plain", b"late").await {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.head.to_ascii_lowercase().contains("retry-after"), "{answer:?}");
    }
    // The client waits for the next life.
    let late =
        tokio::spawn(async move { client.append(drafts("late", 0..1).remove(0), None).await });
    assert!(gateway.ended(GRACE).await.success());
    let gone = gateway.command(&format!("send {file}")).await;
    assert_eq!(gone.status.code(), Some(UNREACHABLE), "{gone:?}");
    broker.faults().clear();
    gateway.start_ready().await;
    assert!(!late.await.unwrap().unwrap().duplicate);
    let status = gateway.until_delivered(PATIENCE).await;
    assert_eq!(lane(&status, "main").accepted, 7);
    assert_eq!(broker.messages("main").len(), 7);
}
