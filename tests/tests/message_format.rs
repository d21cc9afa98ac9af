//! docs/message-vectors.json, which central teams write against: the agent makes these messages,
//! our consumer reads them so, and so does the Java reader of the examples.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use spillway_protocol::bundle::Compress;
use spillway_protocol::consumer::{Delivery, Fault};
use spillway_protocol::message::{Defaults, Flags, Message, Stamp, fit_order_key};
use spillway_protocol::record::{Draft, LaneName, Record as AgentRecord, RecordId, Topic};

#[derive(Deserialize)]
struct Vectors {
    messages: Vec<Vector>,
    order_keys: Vec<OrderKey>,
    bundles: Vec<Bundle>,
}

#[derive(Deserialize)]
struct Bundle {
    name: String,
    transport: Option<String>,
    message: Sent,
    #[serde(default)]
    records: Vec<Record>,
    fault: Option<String>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    transport: Option<String>,
    message: Sent,
    record: Option<Record>,
    fault: Option<String>,
}

#[derive(Clone, Deserialize)]
struct Sent {
    message_id: String,
    keys: Option<String>,
    order_key: Option<String>,
    properties: BTreeMap<String, String>,
    body_base64: String,
}

#[derive(Deserialize)]
struct Record {
    id: String,
    /// Said of a bundle's records only.
    key: Option<String>,
    properties: BTreeMap<String, String>,
    origin: Option<Origin>,
    body_base64: String,
}

#[derive(Deserialize)]
struct Origin {
    gateway: String,
    lane: String,
    stream: String,
    seq: u64,
    accepted_ms: u64,
    clock_set: bool,
    flags: Vec<String>,
}

#[derive(Deserialize)]
struct OrderKey {
    given: String,
    sent: String,
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn text() -> String {
    std::fs::read_to_string(repository("docs/message-vectors.json")).unwrap()
}

fn vectors() -> Vectors {
    serde_json::from_str(&text()).unwrap()
}

fn bytes(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap()
}

#[test]
fn the_consumer_reads_the_vectors() {
    for vector in vectors().messages {
        let name = vector.name;
        let read = received(vector.message);
        let fault = read.faults.first().map(|fault| match fault {
            Fault::Origin { property, .. } => (*property).to_owned(),
            Fault::Base64(_) => "body".to_owned(),
            other => panic!("{name}: {other}"),
        });
        assert_eq!(fault, vector.fault, "{name}");
        if let Some(record) = vector.record {
            compare(&read, &record, &name);
        }
    }
}

fn received(sent: Sent) -> Delivery {
    let mut read = Delivery {
        message_id: sent.message_id,
        keys: sent.keys,
        order_key: sent.order_key,
        body: bytes(&sent.body_base64).into(),
        ..Delivery::default()
    };
    read.read_properties(sent.properties);
    read
}

fn compare(read: &Delivery, record: &Record, name: &str) {
    assert_eq!((read.id(), &read.properties), (record.id.as_str(), &record.properties), "{name}");
    assert_eq!(read.body, bytes(&record.body_base64), "{name}");
    let origin = read.origin.as_ref().map(|origin| Origin {
        gateway: origin.gateway.clone(),
        lane: origin.lane.clone(),
        stream: origin.stream.to_string(),
        seq: origin.seq,
        accepted_ms: origin.accepted_ms,
        clock_set: origin.clock_set,
        flags: origin.flags.clone(),
    });
    assert_eq!(parts(origin.as_ref()), parts(record.origin.as_ref()), "{name}");
}

#[test]
fn the_consumer_unpacks_the_bundles_and_parks_those_that_are_none() {
    let mut refused = 0;
    for bundle in vectors().bundles {
        let (name, order_key) = (bundle.name, bundle.message.order_key.clone());
        let read = received(bundle.message).unpack();
        if bundle.fault.is_some() {
            let reason = read[0].unreadable();
            assert!(
                read.len() == 1 && reason.is_some_and(|text| text.contains("bundle")),
                "{name}"
            );
            refused += 1;
            continue;
        }
        assert_eq!(read.len(), bundle.records.len(), "{name}");
        for (read, record) in read.iter().zip(&bundle.records) {
            compare(read, record, &name);
            let key = record.key.as_deref().unwrap_or(&record.id);
            assert_eq!((read.keys.as_deref(), &read.order_key), (Some(key), &order_key), "{name}");
        }
    }
    assert!(refused >= 10, "only {refused}");
}

#[test]
fn the_agent_makes_the_bundles() {
    let mut made = 0;
    for bundle in vectors().bundles.into_iter().filter(|bundle| bundle.transport.is_some()) {
        let stored = bundle.records.iter().map(|record| stored(record.key.clone(), record));
        let (records, stamps): (Vec<_>, Vec<_>) = stored.unzip();
        let all: Vec<_> = records.iter().zip(&stamps).collect();
        let topic = Topic::parse("ward").unwrap();
        let defaults = Defaults { topic: &topic, tag: None };
        let (sent, name) = (bundle.message, bundle.name);
        let order_key = sent.order_key.as_deref();
        let message = Message::bundle(&all, &defaults, order_key, Compress::None).unwrap();
        let properties: BTreeMap<String, String> = message.properties.into_iter().collect();
        assert_eq!(
            (message.id.as_str(), properties),
            (&*sent.message_id, sent.properties),
            "{name}"
        );
        assert_eq!((Some(message.key), message.order_key), (sent.keys, sent.order_key), "{name}");
        assert_eq!(message.body, bytes(&sent.body_base64), "{name}");
        made += 1;
    }
    assert!(made >= 2, "only {made}");
}

type Parts<'a> = (&'a str, &'a str, &'a str, u64, u64, bool, &'a [String]);

fn parts(origin: Option<&Origin>) -> Option<Parts<'_>> {
    let o = origin?;
    Some((&o.gateway, &o.lane, &o.stream, o.seq, o.accepted_ms, o.clock_set, &o.flags))
}

#[test]
fn the_agent_makes_the_vectors() {
    let mut made = 0;
    for vector in vectors().messages {
        let (Some(transport), Some(record)) = (vector.transport, vector.record) else { continue };
        let message = compose(&vector.message, &record);
        let message = match transport.as_str() {
            "http" => message.into_xml_safe().unwrap(),
            _ => message,
        };
        let (sent, name) = (vector.message, vector.name);
        assert_eq!(Some(message.key), sent.keys, "{name}");
        assert_eq!(message.order_key, sent.order_key, "{name}");
        assert_eq!(message.body, bytes(&sent.body_base64), "{name}");
        let properties: BTreeMap<String, String> = message.properties.into_iter().collect();
        assert_eq!(properties, sent.properties, "{name}");
        if transport == "grpc" {
            assert_eq!(message.id.as_str(), sent.message_id, "{name}");
        }
        made += 1;
    }
    assert!(made >= 9, "only {made}");
}

/// Those that the agent stores with a record; base64 follows from the body.
fn flags(names: &[String]) -> Flags {
    let all = [
        ("replay", Flags::REPLAY),
        ("resend", Flags::RESEND),
        ("tombstone", Flags::TOMBSTONE),
        ("report", Flags::REPORT),
    ];
    let named = all.iter().filter(|(name, _)| names.iter().any(|other| other == name));
    named.fold(Flags::NONE, |flags, (_, flag)| flags.with(*flag))
}

/// A record as the agent has it.
fn stored(key: Option<String>, record: &Record) -> (AgentRecord, Stamp) {
    let draft = Draft {
        id: Some(record.id.clone()),
        key: key.filter(|key| *key != record.id),
        properties: record.properties.clone(),
        body: bytes(&record.body_base64).into(),
        ..Draft::default()
    };
    let origin = record.origin.as_ref().unwrap();
    let stamp = Stamp {
        gateway: origin.gateway.clone(),
        lane: LaneName::parse(origin.lane.as_str()).unwrap(),
        stream: origin.stream.parse().unwrap(),
        seq: origin.seq,
        accepted_ms: origin.accepted_ms,
        clock_set: origin.clock_set,
        flags: flags(&origin.flags),
    };
    (draft.parse(|| RecordId::parse("unused").unwrap()).unwrap(), stamp)
}

/// The message of a record, as the agent makes it.
fn compose(sent: &Sent, record: &Record) -> Message {
    let (record, stamp) = stored(sent.keys.clone(), record);
    let topic = Topic::parse("ward").unwrap();
    let defaults = Defaults { topic: &topic, tag: None };
    Message::compose(&record, &stamp, &defaults, sent.order_key.as_deref())
}

#[test]
fn order_keys_are_sent_as_the_vectors_say() {
    let hashed = vectors().order_keys.iter().filter(|key| key.given != key.sent).count();
    assert!(hashed >= 3);
    for key in vectors().order_keys {
        assert_eq!(fit_order_key(&key.given), key.sent, "{}", key.given);
    }
}

fn java(vectors: PathBuf) -> Output {
    let reader = repository("examples/java-reader/MessageReader.java");
    let run = Command::new("java").arg(reader).arg(vectors).output();
    run.expect("java has to be installed")
}

#[test]
fn the_java_reader_reads_the_vectors() {
    let run = java(repository("docs/message-vectors.json"));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let all = vectors();
    let expected = all.messages.len() + all.order_keys.len() + all.bundles.len();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert_eq!(said.trim(), format!("{expected} vectors read as expected"));
}

#[test]
fn the_java_reader_says_so_when_a_bundles_record_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let changed = dir.path().join("vectors.json");
    std::fs::write(&changed, text().replacen("\"seq\": 1003", "\"seq\": 1004", 1)).unwrap();
    let run = java(changed);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!run.status.success() && said.contains("over HTTP: record 3: origin"), "{said}");
}

#[test]
fn the_java_reader_says_so_when_a_vector_is_not_met() {
    let dir = tempfile::tempdir().unwrap();
    let changed = dir.path().join("vectors.json");
    std::fs::write(&changed, text().replacen("\"seq\": 42", "\"seq\": 43", 1)).unwrap();
    let run = java(changed);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!run.status.success() && said.contains("origin"), "{said}");
}
