//! What is answered is so: of a repeat, of a record that was given up, and before there is an upstream.

use serde_json::{Value, json};
use spillway_tests::gateway::{Gateway, PATIENCE, lane};
use spillway_tests::http;

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";
const LANES: &str = "[[lane]]\nname = \"main\"\ntopic = \"main\"\ndefault = true\n\
    [[lane]]\nname = \"brief\"\ntopic = \"brief\"\nttl = \"1s\"\n\
    [[lane]]\nname = \"small\"\ntopic = \"small\"\nquota = \"1 MiB\"\nwhen_full = \"drop-oldest\"\n";

async fn post(gateway: &Gateway, record: Value) -> (u16, Value) {
    let body = record.to_string();
    let answer = http::post(&gateway.socket(), "/v1/records", JSON, body.as_bytes()).await.unwrap();
    (answer.status, answer.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_answered_with_the_first_ones_key_and_what_became_of_it() {
    let mut gateway = Gateway::new(LANES);
    gateway.start_ready().await;
    let first = post(&gateway, json!({"body": "x", "id": "a", "key": "k1"})).await;
    assert_eq!((first.0, &first.1["key"], &first.1["state"]), (201, &json!("k1"), &Value::Null));
    for repeat in [json!({"body": "x", "id": "a"}), json!({"body": "x", "id": "a", "key": "k2"})] {
        let wanted = json!({"id": "a", "key": "k1", "lane": "main", "seq": 1, "level": "disk",
                            "duplicate": true, "state": "waiting"});
        assert_eq!(post(&gateway, repeat).await, (200, wanted));
    }

    post(&gateway, json!({"body": "x", "id": "b", "lane": "brief"})).await;
    gateway.until("it expires", |status| lane(status, "brief").expired == 1).await;
    gateway.said("queue purge --lane main --all").await;
    for (id, lane, state, cause) in [
        ("a", "main", "dropped", "was purged by an operator"),
        ("b", "brief", "expired", "was older than its lane's ttl"),
    ] {
        let (status, again) = post(&gateway, json!({"body": "x", "id": id, "lane": lane})).await;
        assert_eq!(
            (status, &again["duplicate"], &again["state"]),
            (200, &json!(true), &json!(state))
        );
        let why = gateway.said(&format!("why --id {id}")).await;
        assert!(why.contains(cause), "{why}");
        assert!(why.contains("Help: The app may send it again, under another id;"), "{why}");
        let (status, _) = post(&gateway, json!({"body": "x", "id": format!("{id}-2")})).await;
        assert_eq!(status, 201, "under another id it is stored");
    }
    gateway.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_drops_its_oldest_is_the_cause_that_is_named() {
    let mut gateway = Gateway::new(LANES);
    gateway.start_ready().await;
    let large = "x".repeat(300_000);
    for number in 0..8 {
        let record = json!({"body": large, "id": format!("s-{number}"), "lane": "small"});
        assert_eq!(post(&gateway, record).await.0, 201);
    }
    gateway.until("one is dropped", |status| lane(status, "small").dropped > 0).await;
    let why = gateway.said("why --id s-0").await;
    assert!(
        why.contains("was dropped to make room for newer ones (when_full = \"drop-oldest\")"),
        "{why}"
    );
    assert!(!why.contains("degrade"), "{why}");
}

/// How a body of three MiB and a byte that XML cannot carry is answered, and a topic of 65 characters.
async fn limits(gateway: &Gateway) -> (u16, u16) {
    let binary = vec![0; (3 << 20) + 1];
    let body = http::post(&gateway.socket(), "/v1/records", BYTES, &binary).await.unwrap();
    let topic = post(gateway, json!({"body": "x", "topic": "t".repeat(65)})).await;
    (body.status, topic.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_upstream_the_default_transports_limits_hold() {
    let mut gateway = Gateway::new(LANES);
    gateway.start_ready().await;
    assert_eq!(limits(&gateway).await, (413, 400));
    gateway.stop(PATIENCE).await;

    // Of this one no more is known than how it will send.
    let broken = "[upstream]\ntransport = \"grpc\"\nendpoint = \"127.0.0.1\"\n";
    let mut gateway = Gateway::new(&format!("{broken}{LANES}")).resilient();
    for _ in 0..2 {
        gateway.start_ready().await;
        assert_eq!(limits(&gateway).await, (201, 201));
        gateway.stop(PATIENCE).await;
    }
}
