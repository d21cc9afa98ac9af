//! The transport against a server in this process that does what each test asks of it.

mod fake;
mod secure;

use std::sync::{Arc, Mutex};

use spillway_protocol::record::{RecordId, Tag, Topic};
use spillway_protocol::rocketmq::grpc::signing::{self, AccessKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use self::fake::{Fake, Reply};
use super::*;
use crate::upstream::{Scope, Verdict};

/// A clock that stands still.
struct Still(u64);

impl WallClock for Still {
    fn now_ms(&self) -> u64 {
        self.0
    }
}

/// 2024-03-07T18:49:58Z, that of the signature's test vector.
const NOW_MS: u64 = 1_709_837_398_000;

fn endpoint(port: u16, tls: bool) -> config::Endpoint {
    config::Endpoint { host: "127.0.0.1".into(), port, tls }
}

fn configured(endpoints: Vec<config::Endpoint>) -> config::Upstream {
    config::Upstream {
        transport: config::Transport::Grpc,
        endpoints,
        namespace: None,
        access: config::Credentials {
            id: "AKIDEXAMPLE".into(),
            secret: config::Secret::new("sk-Example/Secret+Key"),
            security_token: None,
        }
        .into(),
        tls: config::Tls::default(),
        proxy: None,
    }
}

fn upstream(config: &config::Upstream) -> GrpcUpstream {
    GrpcUpstream::new(config, "gw-1@7".into(), Arc::new(Still(NOW_MS))).unwrap()
}

fn upstream_to(ports: &[u16]) -> GrpcUpstream {
    upstream(&configured(ports.iter().map(|port| endpoint(*port, false)).collect()))
}

fn message() -> Message {
    Message {
        topic: Topic::parse("ward").unwrap(),
        tag: Some(Tag::parse("Sync").unwrap()),
        id: RecordId::parse("r-1").unwrap(),
        key: "patient-7".into(),
        order_key: None,
        properties: vec![("sw_seq".into(), "1".into())],
        body: vec![0, 159, 255].into(),
    }
}

/// Until the client has noticed that its connection is closed.
async fn until_closed(upstream: &GrpcUpstream) {
    let connection = upstream.pool.connection().await.unwrap();
    while connection.is_usable() {
        tokio::task::yield_now().await;
    }
}

fn is_delivered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Delivered { .. })
}

fn is_link_down(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::LinkDown { .. })
}

fn is_link_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unknown { link: true, .. })
}

#[tokio::test]
async fn a_message_arrives_signed_after_the_settings_and_is_delivered() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    let outcome = upstream.send(&message()).await;
    assert_eq!(outcome, Outcome::Delivered { message_id: "r-1".into() });
    let seen = fake.seen();
    assert_eq!(seen.order, ["settings", "send"]);
    assert_eq!(&seen.messages[0].body[..], [0, 159, 255]);
    assert_eq!(seen.header("x-mq-client-id"), "gw-1@7");
    let key =
        AccessKey { id: "AKIDEXAMPLE", secret: "sk-Example/Secret+Key", security_token: None };
    // The settings' answer has told the server's date, so it is not this clock's.
    let date = seen.header("x-mq-date-time");
    assert_ne!(date, signing::date_time(NOW_MS));
    assert_eq!(seen.header("authorization"), signing::authorization(&key, &date));
}

#[tokio::test]
async fn a_delay_that_this_transport_does_not_keep_is_refused_and_not_sent() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    let mut delayed = message();
    delayed.properties.push((START_DELIVER_TIME.into(), "1800000000000".into()));
    let outcome = upstream.send(&delayed).await;
    assert!(matches!(outcome, Outcome::Rejected { own: false, .. }), "{outcome:?}");
    assert!(is_delivered(&upstream.send(&message()).await));
    assert_eq!(fake.seen().messages.len(), 1);
}

#[tokio::test]
async fn settings_are_sent_once_for_many_messages_on_one_connection() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    let message = message();
    let all = futures::future::join_all((0..50).map(|_| upstream.send(&message))).await;
    assert!(all.iter().all(is_delivered));
    assert_eq!(fake.seen().count("settings"), 1);
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn the_brokers_words_become_outcomes() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    fake.reply(Reply::Entry(40_014, "type"));
    let outcome = upstream.send(&message()).await;
    assert!(matches!(
        outcome,
        Outcome::Misconfigured { scope: Scope::Topic, code: "topic_type", .. }
    ));
    fake.reply(Reply::Top(77_777, "never heard of"));
    let outcome = upstream.send(&message()).await;
    assert!(matches!(outcome, Outcome::Unknown { link: false, .. }));
    fake.reply(Reply::Grpc(tonic::Code::Unauthenticated));
    let outcome = upstream.send(&message()).await;
    assert!(matches!(outcome, Outcome::Misconfigured { scope: Scope::Link, .. }));
}

#[tokio::test]
async fn a_key_put_right_on_this_machine_signs_the_next_send_on_a_new_session() {
    let fake = Fake::start().await;
    let config = configured(vec![endpoint(fake.port, false)]);
    let right = config::Credentials {
        id: "AKIDOTHER".into(),
        secret: config::Secret::new("sk-Other"),
        security_token: None,
    };
    let unusable = config::Credentials { id: "ü".into(), ..right.clone() };
    let next = Arc::new(Mutex::new(Ok(config.access.keys.clone())));
    let source = Arc::clone(&next);
    let source = CredentialsSource::reading(vec![], move || source.lock().unwrap().clone());
    let upstream = upstream(&config).reading_credentials(source);
    let gone = Err("gone".to_owned());
    for wrong in [Ok(config.access.keys.clone()), gone, Ok(vec![unusable])] {
        *next.lock().unwrap() = wrong;
        fake.reply(Reply::Grpc(tonic::Code::Unauthenticated));
        let outcome = upstream.send(&message()).await;
        assert!(matches!(outcome, Outcome::Misconfigured { code: "credentials", .. }));
        assert!(fake.seen().header("authorization").contains("AKIDEXAMPLE"));
    }
    assert_eq!(fake.seen().count("settings"), 1);
    *next.lock().unwrap() = Ok(vec![right]);
    fake.reply(Reply::Grpc(tonic::Code::Unauthenticated));
    assert!(matches!(upstream.send(&message()).await, Outcome::OtherKey { .. }));
    fake.reply(Reply::Entry(20_000, ""));
    assert!(is_delivered(&upstream.send(&message()).await));
    let seen = fake.seen();
    let key = AccessKey { id: "AKIDOTHER", secret: "sk-Other", security_token: None };
    let date = seen.header("x-mq-date-time");
    assert_eq!(seen.header("authorization"), signing::authorization(&key, &date));
    assert_eq!(seen.count("settings"), 2);
}

#[tokio::test]
async fn a_server_that_does_not_know_the_client_is_met_anew_and_no_record_blamed() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    fake.reply(Reply::Entry(40_015, "unrecognized client type"));
    let outcome = upstream.send(&message()).await;
    assert!(matches!(outcome, Outcome::Unknown { link: false, .. }), "{outcome:?}");
    fake.reply(Reply::Entry(20_000, ""));
    assert!(is_delivered(&upstream.send(&message()).await));
    assert_eq!(fake.seen().order, ["settings", "send", "settings", "send"]);
}

#[tokio::test]
async fn a_deadline_without_an_answer_is_unknown_and_the_next_send_connects_anew() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    fake.reply(Reply::Silence);
    let message = message();
    let send = upstream.send(&message);
    let wait = async {
        fake.until_sent(1).await;
        // All is waiting now, so time jumps to the deadline.
        tokio::time::pause();
    };
    let (outcome, ()) = tokio::join!(send, wait);
    tokio::time::resume();
    assert!(is_link_unknown(&outcome), "{outcome:?}");
    fake.reply(Reply::Entry(20_000, ""));
    assert!(is_delivered(&upstream.send(&message).await));
    assert_eq!(fake.connections(), 2);
    assert_eq!(fake.seen().count("settings"), 2);
}

#[tokio::test]
async fn a_connection_cut_in_mid_call_is_unknown_and_the_next_send_connects_anew() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    fake.reply(Reply::Silence);
    let message = message();
    let cut = async {
        fake.until_sent(1).await;
        fake.cut();
    };
    let (outcome, ()) = tokio::join!(upstream.send(&message), cut);
    assert!(is_link_unknown(&outcome), "{outcome:?}");
    fake.reply(Reply::Entry(20_000, ""));
    assert!(is_delivered(&upstream.send(&message).await));
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_nothing() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    for round in 1..=3 {
        assert!(is_delivered(&upstream.send(&message()).await), "round {round}");
        fake.cut();
        until_closed(&upstream).await;
    }
    assert_eq!(fake.connections(), 3);
}

#[tokio::test]
async fn no_server_is_a_link_that_is_down_until_there_is_one() {
    let fake = Fake::start().await;
    let port = fake.port;
    fake.stop().await;
    let upstream = upstream_to(&[port]);
    assert!(is_link_down(&upstream.send(&message()).await));
    assert!(upstream.probe().await.unwrap_err().contains("127.0.0.1"));
    let _fake = Fake::start_on(port).await;
    assert_eq!(upstream.probe().await, Ok(()));
    assert!(is_delivered(&upstream.send(&message()).await));
}

#[tokio::test]
async fn the_next_access_point_is_used_where_one_does_not_answer() {
    let (first, second) = (Fake::start().await, Fake::start().await);
    let upstream = upstream_to(&[first.port, second.port]);
    assert!(is_delivered(&upstream.send(&message()).await));
    assert_eq!((first.seen().messages.len(), second.seen().messages.len()), (1, 0));
    first.stop().await;
    until_closed(&upstream).await;
    assert!(is_delivered(&upstream.send(&message()).await));
    assert_eq!(second.seen().messages.len(), 1);
}

#[tokio::test]
async fn a_portal_that_speaks_http_1_is_a_link_that_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 64]).await;
            let page = b"HTTP/1.1 302 Found\r\nlocation: http://portal/\r\n\r\n";
            let _ = stream.write_all(page).await;
        }
    });
    let outcome = upstream_to(&[port]).send(&message()).await;
    assert!(is_link_down(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn http_2_without_grpc_is_not_rocketmq() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    fake.reply(Reply::Page(403));
    let outcome = upstream.send(&message()).await;
    let stranger =
        matches!(&outcome, Outcome::Stranger { reason, .. } if reason.contains("portal"));
    assert!(stranger, "{outcome:?}");
}

#[tokio::test]
async fn heartbeats_are_sent_only_while_records_flow() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    assert!(is_delivered(&upstream.send(&message()).await));
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fake.seen().count("heartbeat"), 0);
    upstream.flowing(true);
    fake.until("heartbeat", 3).await;
    upstream.flowing(false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(fake.seen().count("heartbeat") <= 4);
}

#[tokio::test]
async fn a_connection_without_records_is_closed_after_long_and_the_next_send_opens_another() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    upstream.flowing(true);
    assert!(is_delivered(&upstream.send(&message()).await));
    tokio::time::pause();
    // Longer than it stays open without records.
    tokio::time::sleep(Duration::from_secs(22 * 60)).await;
    assert!(upstream.pool.connection().await.is_ok() && fake.connections() == 1, "records flow");
    upstream.flowing(false);
    let idle = tokio::time::Instant::now();
    let connection = upstream.pool.connection().await.unwrap();
    while !connection.wire.is_closed() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let minutes = idle.elapsed().as_secs() / 60;
    assert!((19..=21).contains(&minutes), "{minutes} minutes");
    tokio::time::resume();
    assert!(is_delivered(&upstream.send(&message()).await));
    assert_eq!(fake.connections(), 2);
}

#[tokio::test]
async fn on_another_way_the_next_send_opens_a_connection_at_once() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    assert!(is_delivered(&upstream.send(&message()).await));
    upstream.reconnect();
    assert!(is_delivered(&upstream.send(&message()).await));
    assert!(is_delivered(&upstream.send(&message()).await));
    assert_eq!(fake.connections(), 2);
    assert_eq!(upstream.addresses(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
}

#[tokio::test]
async fn settings_are_repeated_when_the_server_has_forgotten_them() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    assert!(is_delivered(&upstream.send(&message()).await));
    fake.forget_settings();
    upstream.flowing(true);
    fake.until("settings", 2).await;
}

#[tokio::test]
async fn the_server_is_told_when_the_upstream_goes() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    assert!(is_delivered(&upstream.send(&message()).await));
    drop(upstream);
    fake.until("goodbye", 1).await;
}

#[tokio::test]
async fn the_clocks_offset_is_learnt_from_the_date_header() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    assert_eq!(upstream.clock_offset_s(), None);
    assert!(is_delivered(&upstream.send(&message()).await));
    let real_s = crate::clock::SystemClock.now_ms() / 1_000;
    let offset_s = u64::try_from(upstream.clock_offset_s().unwrap()).unwrap();
    assert!((real_s - NOW_MS / 1_000).abs_diff(offset_s) <= 2, "{offset_s}");
}

#[tokio::test]
async fn a_topics_type_is_compared_with_the_lanes_order() {
    let fake = Fake::start().await;
    let upstream = upstream_to(&[fake.port]);
    let verdict = async |topic: &str, ordered| {
        let topic = Topic::parse(topic).unwrap();
        let finding = upstream.inspect(&topic, ordered).await.remove(0);
        assert_eq!(finding.subject, format!("topic {topic}"));
        (finding.verdict, finding.detail)
    };
    assert_eq!(verdict("normal", false).await.0, Verdict::Good);
    let (bad, detail) = verdict("normal", true).await;
    assert!(bad == Verdict::Bad && detail.contains("FIFO"), "{detail}");
    assert_eq!(verdict("fifo", true).await.0, Verdict::Good);
    let (bad, detail) = verdict("missing", false).await;
    assert!(bad == Verdict::Bad && detail.contains("does not exist"), "{detail}");
    let (bad, detail) = verdict("readonly", false).await;
    assert!(bad == Verdict::Bad && detail.contains("written"), "{detail}");
}

#[test]
fn a_configuration_that_cannot_work_is_refused_at_once() {
    let build = |config: &config::Upstream| {
        GrpcUpstream::new(config, "gw".into(), Arc::new(Still(0))).err().unwrap()
    };
    assert!(matches!(build(&configured(vec![])), BuildError::NoEndpoint));
    let mut namespace = configured(vec![endpoint(1, false)]);
    namespace.namespace = Some("ü".into());
    assert!(matches!(build(&namespace), BuildError::Header("upstream.namespace")));
    let mut ca = configured(vec![endpoint(1, true)]);
    ca.tls.ca = Some("/nowhere/ca.pem".into());
    assert!(build(&ca).to_string().contains("/nowhere/ca.pem"));
}
