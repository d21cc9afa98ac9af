//! The gRPC transport against a real RocketMQ: what is sent lies there byte for byte, and what
//! RocketMQ refuses is understood. The codes and words are those of 5.5.0.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use spillway::clock::SystemClock;
use spillway::config;
use spillway::upstream::grpc::GrpcUpstream;
use spillway::upstream::{Outcome, Scope, Upstream, Verdict};
use spillway_protocol::message::Message;
use spillway_protocol::record::{RecordId, Tag, Topic};
use spillway_tests::rocketmq::{Options, RocketMq, Stored};
use tempfile::TempDir;

/// Most user properties that the shared broker takes.
const PROPERTIES_MAX: u32 = 20;

/// The broker of all tests that do not stop theirs.
struct Shared {
    mq: Mutex<RocketMq>,
    port: u16,
    pem: TempDir,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let pem = TempDir::new().unwrap();
    let mq = RocketMq::start(Options {
        user_properties_max: Some(PROPERTIES_MAX),
        certificate: Some(issue(&pem)),
        ..Options::default()
    });
    let port = mq.grpc_port();
    Shared { mq: Mutex::new(mq), port, pem }
});

impl Shared {
    fn create(&self, topic: &str, message_type: &str) {
        self.mq.lock().unwrap().create_topic(topic, message_type);
    }

    fn read(&self, topic: &str) -> Vec<Stored> {
        self.mq.lock().unwrap().read_all(topic)
    }
}

/// An authority in `ca.pem` and a certificate of its for 127.0.0.1.
fn issue(dir: &TempDir) -> (PathBuf, PathBuf) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    std::fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();
    let (certificate_file, key_file) = (dir.path().join("proxy.pem"), dir.path().join("proxy.key"));
    std::fs::write(&certificate_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    (certificate_file, key_file)
}

fn configured(port: u16) -> config::Upstream {
    config::Upstream {
        transport: config::Transport::Grpc,
        endpoints: vec![config::Endpoint { host: "127.0.0.1".into(), port, tls: false }],
        namespace: None,
        access: config::AccessKeys::default(),
        tls: config::Tls::default(),
        proxy: None,
    }
}

fn upstream(config: &config::Upstream) -> GrpcUpstream {
    GrpcUpstream::new(config, "gw-1@1".into(), Arc::new(SystemClock)).unwrap()
}

fn message(topic: &str, id: &str, order_key: Option<&str>) -> Message {
    Message {
        topic: Topic::parse(topic).unwrap(),
        tag: Some(Tag::parse("SyncEvent").unwrap()),
        id: RecordId::parse(id).unwrap(),
        key: format!("key-{id}"),
        order_key: order_key.map(str::to_owned),
        properties: vec![("bed".into(), "7".into()), ("unit".into(), "°C indoor".into())],
        body: format!("body of {id}").into(),
    }
}

fn is_delivered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Delivered { .. })
}

fn hold(outcome: &Outcome) -> Option<(Scope, &'static str)> {
    match outcome {
        Outcome::Misconfigured { scope, code, .. } => Some((*scope, code)),
        _ => None,
    }
}

#[tokio::test]
async fn what_is_sent_lies_at_the_broker_byte_for_byte() {
    SHARED.create("normal", "NORMAL");
    let upstream = upstream(&configured(SHARED.port));
    let bodies: [Vec<u8>; 4] =
        [(0..=255).collect(), "a ]]> <b> \r\n 🩺".into(), vec![0], vec![b'x'; 4 * 1024 * 1024]];
    for (number, body) in bodies.iter().enumerate() {
        let mut message = message("normal", &format!("réc/{number}"), None);
        message.body = body.clone().into();
        let outcome = upstream.send(&message).await;
        assert_eq!(outcome, Outcome::Delivered { message_id: message.id.to_string() });
    }
    let mut stored = SHARED.read("normal");
    stored.sort_by(|a, b| a.message_id.cmp(&b.message_id));
    assert_eq!(stored.len(), bodies.len());
    for (number, (stored, body)) in stored.iter().zip(&bodies).enumerate() {
        assert_eq!(stored.message_id, format!("réc/{number}"));
        assert_eq!(stored.keys.as_deref(), Some(&format!("key-réc/{number}")[..]));
        assert_eq!(stored.tag.as_deref(), Some("SyncEvent"));
        assert_eq!(stored.properties["bed"], "7");
        assert_eq!(stored.properties["unit"], "°C indoor");
        assert!(stored.body == *body, "body {number} differs");
    }
}

#[tokio::test]
async fn one_order_key_stays_in_one_queue_and_in_order() {
    SHARED.create("ordered", "FIFO");
    let upstream = upstream(&configured(SHARED.port));
    let lanes = (0..5).map(async |lane| {
        for number in 0..40 {
            let id = format!("{lane}-{number:02}");
            let message = message("ordered", &id, Some(&format!("bed-{lane}")));
            assert!(is_delivered(&upstream.send(&message).await));
        }
    });
    futures::future::join_all(lanes).await;
    let mut queues: BTreeMap<String, Vec<(i32, String)>> = BTreeMap::new();
    for stored in SHARED.read("ordered") {
        let key = stored.properties["__SHARDINGKEY"].clone();
        queues.entry(key).or_default().push((stored.queue_id, stored.message_id));
    }
    assert_eq!(queues.len(), 5);
    for (lane, stored) in queues.values().enumerate() {
        let queue = stored[0].0;
        let expected: Vec<_> =
            (0..40).map(|number| (queue, format!("{lane}-{number:02}"))).collect();
        assert_eq!(*stored, expected);
    }
}

/// Messages that are themselves wrong, with the code and some of the words they are refused with.
fn wrong_messages() -> Vec<(Message, &'static str, &'static str)> {
    let good = |id: &str| message("picky", id, None);
    let property = |name: &str, value: &str| Message {
        properties: vec![(name.to_owned(), value.to_owned())],
        ..good("property")
    };
    let many = (0..=PROPERTIES_MAX).map(|i| (format!("p{i}"), "v".to_owned()));
    let many = Message { properties: many.collect(), ..good("many") };
    let large = Message { body: vec![b'x'; 4_194_305].into(), ..good("large") };
    let empty = Message { body: vec![].into(), ..good("empty") };
    let blank = Message { key: "\t".into(), ..good("key") };
    let group = message("picky-fifo", "group", Some(&"g".repeat(64)));
    let wide = property("p", &"v".repeat(17_000));
    vec![
        (many, "43101", "too many user properties, max is 20"),
        (wide, "43101", "total size of user property is too large"),
        (property("UNIQ_KEY", "v"), "40007", "property is used by system: UNIQ_KEY"),
        (property("p", "\u{1}"), "40007", "cannot contain control character"),
        (large, "41301", "4194304"),
        (empty, "41302", "cannot be empty"),
        (blank, "40005", "whitespace"),
        (group, "40006", "max size 64"),
    ]
}

#[tokio::test]
async fn what_is_wrong_with_a_record_itself_is_told_apart() {
    SHARED.create("picky", "NORMAL");
    SHARED.create("picky-fifo", "FIFO");
    let upstream = upstream(&configured(SHARED.port));
    for (message, code, words) in wrong_messages() {
        let outcome = upstream.send(&message).await;
        let Outcome::Rejected { code: got, reason, own: true } = &outcome else {
            panic!("{}: {outcome:?}", message.id);
        };
        assert!(got == code && reason.contains(words), "{outcome:?}");
    }
    let system = message("SCHEDULE_TOPIC_XXXX", "system", None);
    let outcome = upstream.send(&system).await;
    assert!(matches!(outcome, Outcome::Rejected { own: false, .. }), "{outcome:?}");
    assert!(is_delivered(&upstream.send(&message("picky", "after", None)).await));
    assert_eq!(SHARED.read("picky").len(), 1);
}

#[tokio::test]
async fn a_missing_topic_and_one_of_another_type_hold_it_until_put_right() {
    let upstream = upstream(&configured(SHARED.port));
    let unordered = message("moody", "unordered", None);
    let ordered = message("moody", "ordered", Some("bed-1"));
    let missing = Some((Scope::Topic, "topic_missing"));
    let other_type = Some((Scope::Topic, "topic_type"));
    assert_eq!(hold(&upstream.send(&unordered).await), missing);
    assert_eq!(hold(&upstream.send(&ordered).await), missing);
    SHARED.create("moody", "FIFO");
    assert_eq!(hold(&upstream.send(&unordered).await), other_type);
    assert!(is_delivered(&upstream.send(&ordered).await));
    SHARED.mq.lock().unwrap().delete_topic("moody");
    assert_eq!(hold(&upstream.send(&ordered).await), missing);
    SHARED.create("moody", "NORMAL");
    assert_eq!(hold(&upstream.send(&ordered).await), other_type);
    assert!(is_delivered(&upstream.send(&unordered).await));
}

#[tokio::test]
async fn a_topic_closed_for_writing_holds_it_until_it_is_opened() {
    SHARED.create("closed", "NORMAL");
    let upstream = upstream(&configured(SHARED.port));
    let close = |closed: bool| SHARED.mq.lock().unwrap().permit_writing("closed", !closed);
    // Before the proxy knows the topic's route, and after.
    for id in ["first", "second"] {
        close(true);
        let outcome = upstream.send(&message("closed", id, None)).await;
        assert_eq!(hold(&outcome), Some((Scope::Topic, "permission")), "{outcome:?}");
        close(false);
        let outcome = upstream.send(&message("closed", id, None)).await;
        assert!(is_delivered(&outcome), "{outcome:?}");
    }
}

#[tokio::test]
async fn the_doctor_sees_a_topics_type() {
    SHARED.create("seen", "NORMAL");
    let upstream = upstream(&configured(SHARED.port));
    let verdict = async |topic, ordered| {
        let topic = Topic::parse(topic).unwrap();
        upstream.inspect(&topic, ordered).await.remove(0).verdict
    };
    assert_eq!(verdict("seen", false).await, Verdict::Good);
    assert_eq!(verdict("seen", true).await, Verdict::Bad);
    assert_eq!(verdict("unseen", false).await, Verdict::Bad);
    assert_eq!(upstream.probe().await, Ok(()));
}

#[tokio::test]
async fn tls_to_the_proxy_takes_its_authority_and_no_other() {
    SHARED.create("secure", "NORMAL");
    let mut config = configured(SHARED.port);
    config.endpoints[0].tls = true;
    config.tls.ca = Some(SHARED.pem.path().join("ca.pem"));
    let outcome = upstream(&config).send(&message("secure", "s-1", None)).await;
    assert!(is_delivered(&outcome), "{outcome:?}");

    let stranger = TempDir::new().unwrap();
    issue(&stranger);
    config.tls.ca = Some(stranger.path().join("ca.pem"));
    let outcome = upstream(&config).send(&message("secure", "s-2", None)).await;
    assert!(
        matches!(&outcome, Outcome::LinkDown { reason } if reason.contains("certificate")),
        "{outcome:?}"
    );
    assert_eq!(SHARED.read("secure").len(), 1);
}

#[tokio::test]
async fn the_signature_is_accepted_and_a_wrong_one_is_the_links_fault() {
    let access_key = ("gateways".to_owned(), "secret-12345".to_owned());
    let mut mq = RocketMq::start(Options { access_key: Some(access_key), ..Options::default() });
    mq.create_topic("signed", "NORMAL");
    let outcome = async |key: Option<(&str, &str)>| {
        let mut config = configured(mq.grpc_port());
        let key = key.map(|(id, secret)| config::Credentials {
            id: id.to_owned(),
            secret: config::Secret::new(secret),
            security_token: None,
        });
        config.access = key.map(Into::into).unwrap_or_default();
        upstream(&config).send(&message("signed", "s-1", None)).await
    };
    for refused in [None, Some(("gateways", "guess")), Some(("nobody", "secret-12345"))] {
        let outcome = outcome(refused).await;
        assert_eq!(hold(&outcome), Some((Scope::Link, "credentials")), "{outcome:?}");
    }
    let outcome = outcome(Some(("gateways", "secret-12345"))).await;
    assert!(is_delivered(&outcome), "{outcome:?}");
}

/// Sends records of one order key, each until it is delivered, until told to stop. Returns how
/// many it sent and what else than deliveries came.
async fn send_until(upstream: &GrpcUpstream, stop: &AtomicBool) -> (usize, Vec<Outcome>) {
    let (mut sent, mut troubles) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let outcome = upstream.send(&storm(sent)).await;
        if is_delivered(&outcome) {
            sent += 1;
            continue;
        }
        troubles.push(outcome);
        while upstream.probe().await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    (sent, troubles)
}

fn storm(number: usize) -> Message {
    message("storm", &format!("{number:06}"), Some("bed-1"))
}

/// Kills and stops the proxy under the sender's feet, and lets it recover each time.
fn trouble(mut mq: RocketMq, stop: &AtomicBool) -> RocketMq {
    mq.await_messages("storm", 300);
    mq.kill_proxy();
    mq.start_proxy();
    mq.await_messages("storm", 600);
    mq.stop_proxy();
    mq.start_proxy();
    mq.await_messages("storm", 900);
    stop.store(true, Ordering::Relaxed);
    mq
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_killed_and_stopped_costs_no_record_and_no_order() {
    let mut mq = RocketMq::start(Options::default());
    mq.create_topic("storm", "FIFO");
    let upstream = upstream(&configured(mq.grpc_port()));
    let stop = Arc::new(AtomicBool::new(false));
    let troubled = Arc::clone(&stop);
    let troubles = tokio::task::spawn_blocking(move || trouble(mq, &troubled));
    let ((sent, outcomes), mq) = tokio::join!(send_until(&upstream, &stop), troubles);

    let unknown = |o: &&Outcome| matches!(o, Outcome::Unknown { link: true, .. });
    let unknown = outcomes.iter().filter(unknown).count();
    // A proxy that has just come back may not have the topic's route yet.
    let down = |o: &&Outcome| match o {
        Outcome::Misconfigured { code, .. } => *code == "topic_missing",
        other => matches!(other, Outcome::LinkDown { .. }),
    };
    let down = outcomes.iter().filter(down).count();
    // Killed once and stopped once, and seen as nothing but that.
    assert!(outcomes.len() >= 2 && unknown + down == outcomes.len(), "{outcomes:#?}");

    let stored = mq.unwrap().read_all("storm");
    let mut ids: Vec<_> = stored.into_iter().map(|message| message.message_id).collect();
    let with_doubles = ids.len();
    ids.dedup();
    let doubles = with_doubles - ids.len();
    assert!(doubles <= unknown, "{doubles} doubles, {outcomes:#?}");
    let expected: Vec<_> = (0..sent).map(|number| storm(number).id.to_string()).collect();
    assert!(ids == expected, "lost or out of order");
}
