//! Records that ask to be answered only when the broker has them.

use spillway_protocol::local::frame::{self, Append, ToAgent, ToClient};
use spillway_protocol::local::{Level, Receipt, Request};

use super::binary::{Raw, append, draft};
use super::*;

const ASKS: &[u8] = br#"{"body":"x","level":"broker"}"#;

fn impatient() -> Options {
    Options { broker_max: Duration::from_millis(50), ..Options::default() }
}

#[tokio::test]
async fn it_is_201_once_the_broker_has_it_and_202_where_that_takes_too_long() {
    let rig = Rig::new(impatient()).await;
    let late = rig.post(JSON, ASKS).await;
    assert_eq!((late.status, &late.json()["level"]), (202, &"disk".into()));
    rig.fake.set_broker(true);
    let body = br#"{"body":"x","id":"r-1","level":"broker"}"#;
    let reply = rig.post(JSON, body).await;
    assert_eq!((reply.status, &reply.json()["level"]), (201, &"broker".into()));
    let repeat = rig.post(JSON, body).await;
    assert_eq!((repeat.status, &repeat.json()["level"]), (200, &"broker".into()));
    assert_eq!(repeat.json()["duplicate"], true);
    let plain = rig.post(JSON, br#"{"body":"x"}"#).await;
    assert_eq!((plain.status, &plain.json()["level"]), (201, &"disk".into()));
    rig.settle(0).await;
}

#[tokio::test]
async fn a_record_that_is_given_up_has_reached_the_disk() {
    let rig = Rig::plain().await;
    let asking = rig.post(JSON, ASKS);
    rig.fake.set_broker(false);
    let reply = asking.await;
    assert_eq!((reply.status, &reply.json()["level"]), (202, &"disk".into()));
}

#[tokio::test]
async fn a_disk_that_refuses_is_said_at_once() {
    let rig = Rig::plain().await;
    *rig.fake.failing.lock().unwrap() = Some(crate::queue::AppendError::Full("full".into()));
    assert_eq!(rig.post(JSON, ASKS).await.status, 507);
}

#[tokio::test]
async fn while_it_waits_a_record_costs_no_more_than_its_answer() {
    let rig = Rig::plain().await;
    let mut stream = rig.connect().await;
    let body = format!("{{\"body\":\"{}\",\"level\":\"broker\"}}", "x".repeat(1_000_000));
    stream.write_all(&post(JSON, body.as_bytes(), "")).await.unwrap();
    while rig.fake.bodies().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    rig.settle(100_000).await;
    rig.stop.cancel();
    let reply = Reply::read(&mut stream).await;
    assert_eq!((reply.status, &reply.json()["level"]), (202, &"disk".into()), "at the stop");
}

fn asking(correlation: u64) -> Vec<u8> {
    let request = Request { draft: draft(None, "x"), level: Level::Broker, ..Request::default() };
    let mut out = Vec::new();
    let message = ToAgent::Append(Append::new(correlation, request));
    frame::put(frame::VERSION, &message, &mut out).unwrap();
    out
}

#[tokio::test]
async fn frames_that_ask_for_less_are_answered_before() {
    let rig = Rig::plain().await;
    let mut raw = Raw::welcome(&rig).await;
    raw.stream.write_all(&[asking(1), append(2, "y")].concat()).await.unwrap();
    let mut heard = Vec::new();
    for _ in 0..2 {
        let Some(ToClient::Answer { correlation, result }) = raw.hear().await else {
            panic!("{heard:?}");
        };
        heard.push((correlation, Receipt::from(result.unwrap()).level));
        rig.fake.set_broker(true);
    }
    assert_eq!(heard, [(2, Level::Disk), (1, Level::Broker)]);
}

#[tokio::test]
async fn lines_are_answered_in_their_order_each_with_its_level() {
    let rig = Rig::plain().await;
    rig.fake.set_broker(true);
    let lines = b"{\"body\":\"a\"}\n{\"body\":\"b\",\"level\":\"broker\"}\n{\"body\":\"c\"}\n";
    let reply = rig.post(LINES, lines).await;
    let levels: Vec<_> = reply.lines().iter().map(|line| line["level"].to_string()).collect();
    assert_eq!(levels, ["\"disk\"", "\"broker\"", "\"disk\""]);
}

#[tokio::test]
async fn the_waits_of_all_lines_are_one() {
    let rig = Rig::new(Options { broker_max: Duration::from_secs(1), ..Options::default() }).await;
    let begun = tokio::time::Instant::now();
    let reply = rig.post(LINES, &b"{\"body\":\"x\",\"level\":\"broker\"}\n".repeat(60)).await;
    assert_eq!(reply.lines().len(), 60);
    assert!(reply.lines().iter().all(|line| line["level"] == "disk"));
    assert!(begun.elapsed() < Duration::from_secs(30), "not one after the other");
}

/// Begins a request of these lines.
async fn begin(rig: &Rig, text: &str) -> UnixStream {
    let mut stream = rig.connect().await;
    stream.write_all(&post(LINES, text.as_bytes(), "")).await.unwrap();
    stream
}

async fn stored(rig: &Rig, count: usize) {
    let all = async {
        while rig.fake.bodies().len() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let timeout = tokio::time::timeout(Duration::from_secs(10), all).await;
    assert!(timeout.is_ok(), "{} of {count} are stored", rig.fake.bodies().len());
}

#[tokio::test]
async fn lines_behind_one_that_waits_cost_no_more_than_their_answers() {
    let rig = Rig::plain().await;
    let line = |level| format!("{{\"body\":\"{}\",\"level\":\"{level}\"}}\n", "x".repeat(500_000));
    let text = line("broker") + &line("broker").repeat(3) + &line("disk").repeat(3);
    let mut stream = begin(&rig, &text).await;
    stored(&rig, 7).await;
    rig.settle(100_000).await;
    rig.stop.cancel();
    assert_eq!(Reply::read(&mut stream).await.lines().len(), 7);
}

#[tokio::test]
async fn a_line_whose_id_is_known_waits_for_the_disk_only() {
    let rig = Rig::plain().await;
    rig.post(JSON, br#"{"body":"1","id":"x"}"#).await;
    let text = r#"{"body":"2","level":"broker"}
        {"body":"1","id":"x","order_key":"k"}
        {"body":"3","order_key":"k"}
        {"body":"other","id":"x","order_key":"k"}
        {"body":"4","order_key":"k"}
        {"body":"5"}"#;
    let mut stream = begin(&rig, text).await;
    stored(&rig, 4).await;
    assert_eq!(rig.fake.bodies(), ["1", "2", "3", "5"]);
    rig.fake.set_broker(true);
    let reply = Reply::read(&mut stream).await;
    let lines = reply.lines();
    let codes = lines.iter().map(|line| line["error"]["code"].to_string());
    let reused = ["null", "null", "null", "\"id_reused\"", "\"not_attempted\"", "null"];
    assert_eq!(codes.collect::<Vec<_>>(), reused);
}
