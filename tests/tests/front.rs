//! Apps written against the official SDKs of the MQ HTTP API, with nothing changed but their
//! endpoint: they publish at the agent while no broker can be reached, and their consumers read
//! it all from the broker later. What the front answers to what it does not take stands in
//! `agent/src/intake/tests/front.rs`.

#![allow(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spillway_protocol::rocketmq::http::digest::md5_matches;
use spillway_protocol::rocketmq::http::publish::{Publish, Published};
use spillway_tests::broker::{self, HttpBroker};
use spillway_tests::front::{Front, KEY, SECRET};
use spillway_tests::gateway::{Gateway, lane, now_ms};
use spillway_tests::sdk::Sdk;
use tokio::task::JoinSet;

const DELIVERED_WITHIN: Duration = Duration::from_secs(60);
const DRAIN: &str = "[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\n\
                     reconnect_spread = \"0s\"\n[backoff]\ninitial = \"100ms\"\nmax = \"500ms\"\n";
const LANES: &str = "[[lane]]\nname = \"main\"\ntopic = \"ward\"\ndefault = true\n\
                     [[lane]]\nname = \"moves\"\ntopic = \"moves\"\norder = \"key\"\n";

/// A message as the programs read and write it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    topic: String,
    key: String,
    tag: String,
    #[serde(default)]
    sharding_key: String,
    properties: BTreeMap<String, String>,
    body: String,
}

/// Messages for both lanes and for a topic that has none.
fn items() -> Vec<Item> {
    let bodies = [
        "plain",
        "<Message><MessageBody>nested &amp; escaped</MessageBody></Message>",
        "emoji 🩺 and 日本語, é",
        "lines\nof Unix\twith tabs",
        r#"{"ward":"7","temperature":36.6,"note":"a 'quoted' | text: with all"}"#,
    ];
    let mut items = Vec::new();
    for (topic, sharding_key) in [("ward", ""), ("moves", "bed-12"), ("elsewhere", "")] {
        for (nth, body) in bodies.iter().enumerate() {
            let properties = [("unit", "°C indoor"), ("nth", &nth.to_string())];
            items.push(Item {
                topic: topic.into(),
                key: format!("patient-{nth}"),
                tag: ["SyncEvent", "Alarm"][nth % 2].into(),
                sharding_key: sharding_key.into(),
                properties: properties.map(|(n, v)| (n.into(), v.into())).into(),
                body: (*body).into(),
            });
        }
    }
    items
}

/// A broker that does not run, and a running agent with a front that sends to it.
async fn cut_off(lanes: &str) -> (HttpBroker, Gateway, Front) {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let front = Front::new();
    let upstream = broker.upstream();
    let mut gateway = Gateway::new(&format!("{}{upstream}{DRAIN}{lanes}", front.settings()));
    gateway.start_ready().await;
    (broker, gateway, front)
}

/// What a program said, one JSON a line.
fn said<T: for<'de> Deserialize<'de>>(lines: &str) -> Vec<T> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    message_id: String,
    md5: String,
}

#[derive(Deserialize)]
struct Refused {
    code: String,
    message: String,
}

/// An unchanged app publishes at the agent, and its consumer reads it all from the broker.
async fn publishes_and_reads(sdk: Sdk, program: &str) {
    let (mut broker, mut gateway, front) = cut_off(LANES).await;
    let items = items();
    let file = gateway.file("items.json");
    std::fs::write(&file, serde_json::to_vec(&items).unwrap()).unwrap();
    let file = file.display().to_string();
    let run = async |task: &str, endpoint: &str, key: &str, secret: &str| {
        sdk.run(program, &[task, endpoint, key, secret, broker::INSTANCE, &file]).await
    };
    let receipts: Vec<Receipt> = said(&run("publish", &front.endpoint(), KEY, SECRET).await);
    assert_eq!(receipts.len(), items.len());
    for (receipt, item) in receipts.iter().zip(&items) {
        assert!(md5_matches(&receipt.md5, item.body.as_bytes()), "{item:?}");
    }
    let status = gateway.until("all wait", |_| true).await;
    assert_eq!((lane(&status, "main").waiting, lane(&status, "moves").waiting), (10, 5));
    let refused: Vec<Refused> = said(&run("strays", &front.endpoint(), KEY, SECRET).await);
    let words = format!("at {} (instance {})", broker.endpoint(), broker::INSTANCE);
    assert_eq!(refused.len(), 2);
    for Refused { code, message } in refused {
        assert!(code == "AccessDenied" && message.contains(&words), "{code}: {message}");
    }
    broker.restart().await;
    gateway.until_delivered(DELIVERED_WITHIN).await;
    let read = run("consume", &broker.endpoint(), broker::KEY, broker::SECRET).await;
    assert_same(said(&read), items, &receipts);
}

/// All that was published was read, with nothing more than the agent's own properties.
fn assert_same(read: Vec<Item>, mut published: Vec<Item>, receipts: &[Receipt]) {
    let mut ids = Vec::new();
    let strip = |mut item: Item| {
        ids.extend(item.properties.get("sw_id").cloned());
        item.properties.retain(|name, _| !name.starts_with("sw_"));
        // Some SDKs leave those that they have a method for among the properties.
        item.properties.retain(|name, _| !["KEYS", "__SHARDINGKEY"].contains(&name.as_str()));
        item
    };
    let mut read: Vec<Item> = read.into_iter().map(strip).collect();
    read.sort();
    published.sort();
    assert_eq!(read, published);
    let mut answered: Vec<&str> = receipts.iter().map(|r| r.message_id.as_str()).collect();
    answered.sort_unstable();
    ids.sort_unstable();
    assert_eq!(ids, answered, "the ids that the app was told and those that arrived");
}

#[tokio::test]
async fn a_node_app_publishes_without_a_link_and_reads_it_all_from_the_broker() {
    publishes_and_reads(Sdk::Node, "node/app.js").await;
}

#[tokio::test]
async fn a_python_app_publishes_without_a_link_and_reads_it_all_from_the_broker() {
    publishes_and_reads(Sdk::Python, "python/app.py").await;
}

#[tokio::test]
async fn a_java_app_publishes_without_a_link_and_reads_it_all_from_the_broker() {
    publishes_and_reads(Sdk::Java, "java/App.java").await;
}

fn message<'a>(body: &'a str, properties: &'a str) -> Publish<'a> {
    Publish { body: body.into(), tag: None, properties: properties.into() }
}

/// Publishes and returns the id it was told.
async fn publish(front: Front, topic: &str, message: Publish<'_>) -> String {
    let answer = front.publish(topic, &message).await.unwrap();
    let body = String::from_utf8(answer.body).unwrap();
    assert_eq!(answer.status, 201, "{body}");
    Published::parse(&body).unwrap().message_id
}

#[tokio::test]
async fn what_was_answered_is_in_the_queue_after_a_kill() {
    let (mut broker, mut gateway, front) = cut_off(LANES).await;
    let mut tasks = JoinSet::new();
    for task in 0..16 {
        tasks.spawn(async move {
            let mut stored = Vec::new();
            for nth in 0.. {
                let body = format!("{task}-{nth}");
                let Some(answer) = front.publish("ward", &message(&body, "KEYS:same")).await else {
                    break;
                };
                match answer.status {
                    201 => stored.push(body),
                    status => panic!("{status}"),
                }
            }
            stored
        });
    }
    gateway.until("records come in", |status| lane(status, "main").accepted > 300).await;
    gateway.kill();
    let mut stored: Vec<String> = tasks.join_all().await.concat();
    assert!(stored.len() > 200, "{}", stored.len());
    gateway.start_ready().await;
    broker.restart().await;
    gateway.until_delivered(DELIVERED_WITHIN).await;
    let mut arrived: Vec<String> =
        broker.messages("ward").iter().map(|message| message.body.clone()).collect();
    let unanswered = arrived.len() - stored.len();
    assert!(unanswered <= 16, "{unanswered} more than were answered");
    arrived.sort();
    arrived.dedup();
    stored.retain(|body| arrived.binary_search(body).is_err());
    assert_eq!(stored, [""; 0], "answered, and lost");
}

#[tokio::test]
async fn one_key_does_not_make_one_record_of_three() {
    let (mut broker, mut gateway, front) = cut_off(LANES).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(publish(front, "ward", message("the same", "KEYS:patient-7")).await);
    }
    broker.restart().await;
    gateway.until_delivered(DELIVERED_WITHIN).await;
    let arrived = broker.messages("ward");
    let keys: Vec<_> = arrived.iter().map(|message| message.key.as_deref().unwrap()).collect();
    assert_eq!(keys, ["patient-7"; 3]);
    let mut arrived: Vec<_> =
        arrived.iter().map(|message| message.property("sw_id").unwrap()).collect();
    ids.sort();
    arrived.sort();
    assert_eq!(arrived, ids);
}

#[tokio::test]
async fn a_delay_reaches_the_broker_as_it_was_asked_for_even_over_a_restart() {
    let (mut broker, mut gateway, front) = cut_off(LANES).await;
    let at_ms = now_ms() + 3_600_000;
    let delayed = format!("KEYS:later|__STARTDELIVERTIME:{at_ms}");
    publish(front, "ward", message("later", &delayed)).await;
    publish(front, "ward", message("now", "KEYS:now")).await;
    gateway.kill();
    gateway.start_ready().await;
    broker.restart().await;
    gateway.until_delivered(DELIVERED_WITHIN).await;
    let arrived = broker.messages("ward");
    let start = |key: &str| {
        let found = arrived.iter().find(|message| message.key.as_deref() == Some(key));
        found.unwrap().start_deliver_ms
    };
    assert_eq!((start("later"), start("now")), (Some(at_ms), None));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_the_agent_does_not_start_without_it() {
    let front = Front::new();
    let port = front.endpoint().rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut gateway = Gateway::new(&format!("{}{LANES}", front.settings()));
    gateway.start();
    let status = gateway.ended(DELIVERED_WITHIN).await;
    assert_eq!(status.code(), Some(75));
    let log = gateway.log();
    assert!(log.contains("[listen.mq_http]: cannot listen on 127.0.0.1:"), "{log}");
    assert!(!Path::exists(&gateway.socket()));
}

#[tokio::test]
async fn a_stop_ends_the_front_in_good_order() {
    let (_broker, mut gateway, front) = cut_off(LANES).await;
    publish(front, "ward", message("x", "")).await;
    // Kept alive by the app, as SDKs do.
    let _idle = tokio::net::TcpStream::connect(&front.endpoint()["http://".len()..]).await.unwrap();
    gateway.stop(Duration::from_secs(40)).await;
    assert!(front.publish("ward", &message("x", "")).await.is_none());
    assert_eq!(gateway.start_ready().await.lanes[0].waiting, 1);
}
