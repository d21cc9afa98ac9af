//! `spillway why` against the real agent and the embedded broker: what it says is so, for links,
//! lanes, records and keys, and of an agent that is stopped.

use std::time::{Duration, Instant};

use serde_json::Value;
use spillway::broker::faults::{Kind, Plan, Rule};
use spillway_protocol::local::status::{LinkState, Status};
use spillway_protocol::record::Draft;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, PATIENCE, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::{http, port};

const DRAIN: &str = "[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\n\
                     reconnect_spread = \"0s\"\n[backoff]\ninitial = \"200ms\"\nmax = \"20s\"\n";

/// Lanes `(name, order)`, the first is the default; topics are called like their lanes.
fn lanes(lanes: &[(&str, &str)]) -> String {
    let lane = |(nth, (name, order)): (usize, &(&str, &str))| {
        let default = nth == 0;
        format!(
            "[[lane]]\nname = \"{name}\"\ntopic = \"{name}\"\norder = \"{order}\"\n\
             default = {default}\n"
        )
    };
    lanes.iter().enumerate().map(lane).collect()
}

async fn store(gateway: &Gateway, lane: &str, drafts: Vec<Draft>) {
    hand_over(&gateway.socket(), &Ledger::default(), lane, drafts).await;
}

fn of_key(key: &str, drafts: Vec<Draft>) -> Vec<Draft> {
    drafts.into_iter().map(|draft| Draft { order_key: Some(key.to_owned()), ..draft }).collect()
}

/// The one answer to `why WORDS`, as JSON.
async fn asked(gateway: &Gateway, words: &str) -> Value {
    let text = gateway.said(&format!("why {words} --json")).await;
    let mut said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(said["answers"].as_array().unwrap().len(), 1, "{words}: {said}");
    said["answers"][0].take()
}

/// Asks until the answer has this state: while a retry or a probe is under way, it is another.
async fn until(gateway: &Gateway, words: &str, state: &str) -> Value {
    let (mut last, deadline) = (Value::Null, Instant::now() + PATIENCE);
    while Instant::now() < deadline {
        last = asked(gateway, words).await;
        if last["state"] == state {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("why {words}: never {state}, at last {last}");
}

#[track_caller]
fn says(answer: &Value, state: &str, why: &[&str], help: &str) {
    assert_eq!(answer["state"], state, "{answer:#}");
    for words in why {
        assert!(answer["why"].as_str().unwrap().contains(words), "{words:?} in {answer:#}");
    }
    assert!(answer["help"].as_str().unwrap().contains(help), "{help:?} in {answer:#}");
}

async fn refused(gateway: &Gateway, words: &str) -> String {
    let output = gateway.command(words).await;
    assert_eq!(output.status.code(), Some(65), "{words}: {output:?}");
    assert!(output.stdout.is_empty(), "{words}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn away_from_the_broker_and_then_stopped() {
    let upstream = HttpBroker::upstream_by(&format!("http://127.0.0.1:{}", port::free()));
    let lanes = lanes(&[("ward", "none"), ("beds", "key"), ("quiet", "none")]);
    let mut gateway = Gateway::new(&format!("{upstream}{DRAIN}{lanes}"));
    gateway.start_ready().await;
    store(&gateway, "ward", drafts("r", 0..3)).await;
    store(&gateway, "beds", of_key("bed 1", drafts("b", 0..2))).await;
    let keyed = Draft { key: Some("patient-7".into()), ..drafts("k", 0..1).remove(0) };
    store(&gateway, "ward", vec![keyed]).await;
    let body = br#"{"body": "private words"}"#;
    let stored = http::post(&gateway.socket(), "/v1/records", "application/json", body).await;
    let own_id = stored.unwrap().json()["id"].as_str().unwrap().to_owned();
    gateway.until("the link is away", |s| s.link.state == LinkState::Offline).await;

    offline(&gateway, &own_id).await;
    unknown(&gateway).await;
    gateway.stop(Duration::from_secs(20)).await;
    stopped(&gateway, &own_id).await;
}

async fn offline(gateway: &Gateway, own_id: &str) {
    let said = gateway.said("why").await;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("RocketMQ has not been reached for "), "{said}");
    assert!(lines[0].ends_with("; 7 records wait.") && lines[0].contains("onnection refused"));
    assert!(lines[1].starts_with("  Help: It is "), "{said}");
    assert!(lines[2].starts_with("Lane ward: 5 records are waiting, the oldest for "), "{said}");
    assert!(lines[4].starts_with("Lane beds: 2 records are waiting,"), "{said}");
    assert_eq!(lines.len(), 6, "nothing waits in quiet: {said}");

    let away = ["RocketMQ has not been reached for"];
    let lane = asked(gateway, "ward").await;
    let state = lane["state"].as_str().unwrap().to_owned();
    assert!(["offline", "probing"].contains(&&*state), "{lane:#}");
    assert_eq!(lane["facts"]["lane"]["waiting"], 5);
    for (words, why) in [
        ("r-1", "Record r-1 (lane ward, number 2) has been here for"),
        ("--id r-2", "with 2 records of its lane before it"),
        (own_id, "with 4 records of its lane before it"),
        ("patient-7", "1 record of key patient-7 waits in lane ward; it is number 4, id k-0:"),
    ] {
        let answer = asked(gateway, words).await;
        says(
            &answer,
            answer["state"].as_str().unwrap(),
            &[why, away[0]],
            "spillway check --connect",
        );
    }
    says(&asked(gateway, "quiet").await, "idle", &["nothing waits"], "Nothing to do");
    let everything =
        gateway.said("why --json").await + &gateway.said(&format!("why {own_id}")).await;
    assert!(!everything.contains("private") && !everything.contains("patient-7"), "{everything}");
}

async fn unknown(gateway: &Gateway) {
    let said = refused(gateway, "why nobody").await;
    for words in
        ["lane, record or key \"nobody\"", "lanes ward, beds, quiet", "7 records", "0 dead"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(refused(gateway, "why --id ward").await.contains("no record \"ward\""));
    assert!(refused(gateway, "why --key r").await.contains("key or order key \"r\""));
    let said = refused(gateway, "why --lane r-1").await;
    assert!(said.contains("\"r-1\" is no lane here; there are: ward, beds, quiet"), "{said}");
    assert_eq!(gateway.command("why --id a --key b").await.status.code(), Some(2));
}

async fn stopped(gateway: &Gateway, own_id: &str) {
    let output = gateway.command("why").await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.starts_with("No agent is running here (the last one was at work about "),
        "{said}"
    );
    assert!(said.contains(" ago); 7 records wait.\n  Help: Start the agent"), "{said}");
    let why = ["(lane ward, number 2)", "with 1 record of its lane before it, because no agent is"];
    says(&asked(gateway, "r-1").await, "stopped", &why, "Start the agent");
    says(&asked(gateway, own_id).await, "stopped", &["no agent is running"], "lies on disk");
    says(&asked(gateway, "patient-7").await, "stopped", &["1 record of key patient-7"], "Start");
    assert!(refused(gateway, "why nobody").await.contains("7 records"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_upstream_and_without_an_agent() {
    let mut gateway = Gateway::new(&lanes(&[("ward", "none")]));
    assert_eq!(gateway.command("why").await.status.code(), Some(69));
    gateway.start_ready().await;
    store(&gateway, "ward", drafts("r", 0..1)).await;
    let why = ["the configuration has no [upstream], so there is nowhere to send"];
    says(&asked(&gateway, "r-0").await, "unconfigured", &why, "Write [upstream]");
    says(&asked(&gateway, "ward").await, "unconfigured", &why, "Write [upstream]");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_refused_dead_or_delivered() {
    let broker = HttpBroker::start().await;
    broker.faults().set_rules([
        Rule { topic: Some("gone".to_owned()), ..Rule::always(Kind::TopicMissing) },
        Rule { key_prefix: Some("bad".to_owned()), ..Rule::always(Kind::RefuseRecord) },
    ]);
    let lanes = lanes(&[("ward", "none"), ("beds", "key"), ("gone", "none")]);
    let settings = format!("{}{DRAIN}{lanes}[audit]\n", broker.upstream());
    let mut gateway = Gateway::new(&settings);
    gateway.start_ready().await;
    store(&gateway, "ward", drafts("good", 0..30)).await;
    store(&gateway, "ward", drafts("bad", 0..1)).await;
    // It is dead once others that left after its first refusal have passed.
    gateway.until("it is refused", |status| lane(status, "ward").last_error.is_some()).await;
    store(&gateway, "ward", drafts("more", 0..30)).await;
    store(&gateway, "gone", drafts("g", 0..2)).await;
    store(&gateway, "beds", of_key("bed 1", drafts("bad-bed", 0..1))).await;
    store(&gateway, "beds", of_key("bed 1", drafts("after", 0..2))).await;
    store(&gateway, "beds", of_key("bed 2", drafts("other", 0..5))).await;
    let settled = |status: &Status| {
        let (ward, beds) = (lane(status, "ward"), lane(status, "beds"));
        let gone = lane(status, "gone").hold.is_some();
        gone && (ward.delivered, ward.dead) == (60, 1) && (beds.delivered, beds.held_keys) == (5, 1)
    };
    gateway.until("everything has its answer", settled).await;

    a_missing_topic(&gateway).await;
    a_refused_order_key(&gateway).await;
    dead_and_delivered(&gateway).await;
    one_name_for_several_things(&gateway).await;

    broker.faults().clear();
    gateway.said("dead replay").await;
    let delivered = until(&gateway, "bad-0", "delivered").await;
    says(&delivered, "delivered", &["(lane ward, number 62) has left"], "sends it again");
}

async fn a_missing_topic(gateway: &Gateway) {
    let why = ["has been held for ", "(topic_missing): topic gone: ", "TopicNotExist"];
    let help = "Create topic gone at the broker";
    says(&asked(gateway, "gone").await, "held", &why, help);
    let second = until(gateway, "g-1", "held").await;
    says(&second, "held", &["with 1 record of its lane", why[1]], help);
    let said = gateway.said("why").await;
    assert!(said.starts_with("RocketMQ has been reached for "), "{said}");
    assert_eq!(said.lines().nth(1), Some("  Help: See the lanes below."), "{said}");
    assert!(said.contains("Lane gone: 2 records are waiting, the oldest for "), "{said}");
    assert!(said.contains("Lane beds: 3 records are waiting,") && !said.contains("Lane ward"));
}

async fn a_refused_order_key(gateway: &Gateway) {
    let help = "spillway dead accept beds";
    let refused = "RocketMQ refused";
    let head = until(gateway, "bad-bed-0", "retry").await;
    says(&head, "retry", &["(lane beds, number 1)", refused, "MalformedXML"], help);
    let behind = ["it waits for record 1 (id bad-bed-0), which is before it", "MalformedXML"];
    says(&asked(gateway, "after-1").await, "order", &behind, help);
    let lane = ["those of one order key wait for the first", "record 1 (id bad-bed-0)"];
    says(&asked(gateway, "beds").await, "order", &lane, help);
    // The words of a command end at blanks: the key is asked for on the socket itself.
    let path = "/v1/why?key=bed%201";
    let why = ["3 records of key bed 1 wait in lane beds; the first is number 1, id bad-bed-0:"];
    let deadline = Instant::now() + PATIENCE;
    let answer = loop {
        let answer = http::get(&gateway.file("control.sock"), path).await.unwrap().json();
        if answer["answers"][0]["state"] != "sending" || Instant::now() > deadline {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    says(&answer["answers"][0], "retry", &[why[0], refused], help);
}

async fn dead_and_delivered(gateway: &Gateway) {
    let dead = asked(gateway, "bad-0").await;
    let why = ["(lane ward, number 31) has been in the dead letters for ", "MalformedXML"];
    says(&dead, "dead", &why, "then spillway dead replay ");
    let why = ["nothing of key bad-0 waits", "1 record is in the dead letters"];
    let key = asked(gateway, "--key bad-0").await;
    says(&key, "dead", &[&why[0][1..], why[1]], "dead replay");
    let delivered = asked(gateway, "good-4").await;
    let help = "spillway resend --lane ward --from 5 --to 5 sends it again";
    says(&delivered, "delivered", &["(lane ward, number 5) has left"], help);
}

async fn one_name_for_several_things(gateway: &Gateway) {
    let named = |name: &str| Draft { id: Some(name.to_owned()), ..drafts("x", 0..1).remove(0) };
    store(gateway, "gone", vec![named("ward")]).await;
    let said = gateway.said("why ward").await;
    assert!(said.starts_with("Lane ward: nothing waits."), "{said}");
    assert!(
        said.contains("There is also a record with this id: spillway why --id ward\n"),
        "{said}"
    );
    assert!(said.contains("There is also a record with this key: spillway why --key ward\n"));
    let record = until(gateway, "--id ward", "held").await;
    says(&record, "held", &["Record ward (lane gone, number 3)"], "gone");
    says(&asked(gateway, "--lane ward").await, "idle", &["Lane ward"], "Nothing to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_a_pause_and_a_slow_lane() {
    let broker = HttpBroker::start().await;
    broker.faults().set_rules([Rule::always(Kind::RefuseSignature)]);
    let lanes = lanes(&[("ward", "none"), ("steps", "lane")]);
    let mut gateway = Gateway::new(&format!("{}{DRAIN}{lanes}", broker.upstream()));
    gateway.start_ready().await;
    store(&gateway, "ward", drafts("r", 0..2)).await;
    gateway.until("the link is held", |s| s.link.state == LinkState::Held).await;
    let why = ["RocketMQ has refused this gateway's access key for ", "SignatureDoesNotMatch"];
    let help = "Put the access key of [upstream] right";
    says(&until(&gateway, "r-1", "held").await, "held", &why, help);
    says(&asked(&gateway, "ward").await, "held", &why, help);
    let said = gateway.said("why").await;
    assert!(said.contains(why[0]) && said.contains("for the same reason"), "{said}");

    // A new life with the mistake put right, and a broker that is busy until it is told otherwise.
    gateway.kill();
    let busy = Rule { retry_after_s: Some(4), ..Rule::always(Kind::Throttle) };
    broker.faults().set_rules([busy]);
    gateway.start_ready().await;
    let paused = until(&gateway, "r-1", "throttled").await;
    says(&paused, "throttled", &["RocketMQ is busy and asked for a pause"], "by itself in ");

    broker.faults().set(Plan { latency_ms: 400, ..Plan::default() });
    gateway.until("the pause is over", |s| lane(s, "ward").delivered == 2).await;
    store(&gateway, "steps", drafts("s", 0..100)).await;
    let slow = until(&gateway, "steps", "leaving").await;
    let why = ["order = \"lane\" sends one message a round trip", "records are waiting"];
    says(&slow, "leaving", &why, "With bundle = {} in the lane many would leave in one message");
    let last = until(&gateway, "s-99", "order").await;
    says(&last, "order", &["it waits for record ", "before it in the same order"], "by itself");
    let sent = until(&gateway, "s-0", "delivered").await;
    says(&sent, "delivered", &["(lane steps, number 1) has left"], "at the far side");

    // No answer comes in time, so that it is sent again and again.
    broker.faults().set(Plan { latency_ms: 60_000, ..Plan::default() });
    store(&gateway, "ward", drafts("z", 0..1)).await;
    let sending = until(&gateway, "z-0", "sending").await;
    says(&sending, "sending", &["it is being sent at this moment (for "], "answer decides");
}
