//! The official Node and Python SDKs of the MQ HTTP API read what the agent's upstream sends, and
//! publish, consume, consume in order and acknowledge at the embedded broker.

#![allow(clippy::expect_used, reason = "a step that fails is a failed test")]

use std::sync::Arc;

use serde::Serialize;
use spillway::broker::{Broker, BrokerOptions};
use spillway::clock::SystemClock;
use spillway::config::{Credentials, Endpoint, Secret, Tls, Transport, Upstream as Settings};
use spillway::upstream::http::HttpUpstream;
use spillway::upstream::{Outcome, Upstream};
use spillway_protocol::message::Message;
use spillway_protocol::record::{RecordId, Tag, Topic};
use spillway_tests::sdk::Sdk;

const INSTANCE: &str = "MQ_INST_1_abc";

/// A body, and whether it has to travel as base64; the scripts read these as JSON.
#[derive(Serialize)]
struct Case {
    key: String,
    body: Vec<u8>,
    base64: bool,
}

fn cases() -> Vec<Case> {
    let bodies: [(&[u8], bool); 11] = [
        (b"plain", false),
        (b"<Message><MessageBody>nested &amp; escaped</MessageBody></Message>", false),
        ("emoji 🩺 and 日本語, é, \u{10FFFF}".as_bytes(), false),
        (b"a CDATA end ]]> inside <![CDATA[ text ]]>", false),
        (b"lines\r\nof Windows\rand old Macs\n", false),
        (b"lines\nof Unix\twith tabs\n", false),
        (b"&#13; &lt; &quot; \" ' |:", false),
        (br#"{"ward":"7","temperature":36.6}"#, false),
        (b"control \x01 inside", true),
        (&[0, 159, 146, 150, 255], true),
        ("not a character: \u{FFFE}".as_bytes(), true),
    ];
    let case = |(number, (body, base64)): (usize, &(&[u8], bool))| Case {
        key: format!("key-{number}"),
        body: body.to_vec(),
        base64: *base64,
    };
    bodies.iter().enumerate().map(case).collect()
}

fn message(case: &Case) -> Message {
    Message {
        topic: Topic::parse("from-agent").expect("topic"),
        tag: Some(Tag::parse("T").expect("tag")),
        id: RecordId::parse(case.key.as_str()).expect("id"),
        key: case.key.clone(),
        order_key: Some("bed-12".into()),
        properties: vec![("unit".into(), "°C indoor".into())],
        body: case.body.clone().into(),
    }
}

fn upstream(broker: &Broker) -> HttpUpstream {
    let settings = Settings {
        transport: Transport::Http,
        endpoints: vec![Endpoint {
            host: "127.0.0.1".into(),
            port: broker.address().port(),
            tls: false,
        }],
        namespace: Some(INSTANCE.into()),
        access: Credentials {
            id: "sdk-key".into(),
            secret: Secret::new("sdk/secret+"),
            security_token: None,
        }
        .into(),
        tls: Tls::default(),
        proxy: None,
    };
    HttpUpstream::new(&settings, Arc::new(SystemClock)).expect("upstream")
}

/// A broker that has the cases, sent by the agent's upstream.
async fn broker_with_cases() -> Broker {
    let keys = vec![("sdk-key".to_owned(), Secret::new("sdk/secret+"))];
    let listen = "127.0.0.1:0".parse().expect("address");
    let broker = Broker::start(BrokerOptions::new(listen, keys)).await.expect("broker");
    let upstream = upstream(&broker);
    for case in cases() {
        let outcome = upstream.send(&message(&case)).await;
        assert!(matches!(outcome, Outcome::Delivered { .. }), "{}: {outcome:?}", case.key);
    }
    broker
}

/// Runs a program with the broker's address and the cases.
async fn run(broker: &Broker, sdk: Sdk, program: &str) {
    let folder = tempfile::tempdir().expect("folder");
    let cases_file = folder.path().join("cases.json");
    std::fs::write(&cases_file, serde_json::to_vec(&cases()).expect("JSON")).expect("cases");
    let cases_file = cases_file.display().to_string();
    let arguments = [&broker.endpoint(), "sdk-key", "sdk/secret+", INSTANCE, &cases_file];
    sdk.run(program, &arguments).await;
}

/// What an SDK published under `topic` is byte for byte what it was given.
fn assert_published(broker: &Broker, topic: &str, count: usize) {
    let stored = broker.messages(Some(INSTANCE), topic);
    assert_eq!(stored.len(), count, "{topic}");
    for message in stored {
        let key = message.key.as_deref();
        let all = cases();
        let case = all.iter().find(|case| key == Some(&case.key)).expect("a known key");
        assert_eq!(message.body.as_bytes(), case.body, "{key:?}");
        assert_eq!(message.tag.as_deref(), Some("T"));
        assert_eq!(message.property("unit"), Some("°C indoor"));
    }
}

#[tokio::test]
async fn the_node_sdk_and_the_agent_understand_each_other_through_the_broker() {
    let broker = broker_with_cases().await;
    run(&broker, Sdk::Node, "node/sdk.js").await;
    // Of eight texts it cannot publish the one with a CDATA end and the one with CR.
    assert_published(&broker, "from-node", 6);
}

#[tokio::test]
async fn the_python_sdk_and_the_agent_understand_each_other_through_the_broker() {
    let broker = broker_with_cases().await;
    run(&broker, Sdk::Python, "python/sdk.py").await;
    // Of eight texts it cannot publish the one with CR.
    assert_published(&broker, "from-python", 7);
}
