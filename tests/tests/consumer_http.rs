//! The consumer over the MQ HTTP API against the embedded broker.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt;
use spillway::broker::faults::{Kind, Operation, Rule};
use spillway::broker::{Broker, BrokerOptions};
use spillway::clock::SystemClock;
use spillway::config::{self, Secret, Transport};
use spillway::upstream::http::HttpUpstream;
use spillway_protocol::consumer::http::HttpFeed;
use spillway_protocol::consumer::{
    Access, Credentials, Feed, FeedError, Options, Subscription, Verdict, WallClock,
};
use spillway_protocol::message::Message;
use spillway_protocol::record::Draft;
use spillway_protocol::rocketmq::http::consume::{self, Consumed};
use spillway_protocol::rocketmq::http::digest::body_md5;
use spillway_protocol::rocketmq::http::{VERSION, VERSION_HEADER};
use spillway_tests::collector::{Collector, Running, in_order, options};
use spillway_tests::{random, sample};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const INSTANCE: &str = "MQ_INST_1_abc";
const KEY: &str = "test-key";
const SECRET: &str = "test/secret+";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A broker whose messages stay out of sight for two seconds only.
/// Longer than a busy machine takes for what has to be in time.
const LONG: Duration = Duration::from_secs(10);

async fn broker() -> Broker {
    hiding(Duration::from_secs(2)).await
}

/// What is received comes again after `invisible`, unless it is acknowledged.
async fn hiding(invisible: Duration) -> Broker {
    let keys = vec![(KEY.to_owned(), Secret::new(SECRET))];
    let options = BrokerOptions {
        invisible,
        invisible_orderly: invisible,
        ..BrokerOptions::new(([127, 0, 0, 1], 0).into(), keys)
    };
    Broker::start(options).await.unwrap()
}

fn access(endpoint: String) -> Access {
    let credentials = Credentials { id: KEY.into(), secret: SECRET.into(), security_token: None };
    Access {
        endpoints: vec![endpoint],
        instance: Some(INSTANCE.into()),
        credentials: Some(credentials),
        ..Access::default()
    }
}

fn subscription(topic: &str) -> Subscription {
    Subscription::new(topic, format!("GID_{topic}"))
}

fn feed(broker: &Broker, subscription: &Subscription) -> Arc<dyn Feed> {
    Arc::new(HttpFeed::new(&access(broker.endpoint()), subscription).unwrap())
}

fn start(broker: &Broker, topic: &str, handler: &Collector, options: Options) -> Running {
    Running::start(feed(broker, &subscription(topic)), handler.clone(), options)
}

async fn publish(broker: &Broker, messages: &[Message]) {
    let credentials =
        config::Credentials { id: KEY.into(), secret: Secret::new(SECRET), security_token: None };
    let port = broker.address().port();
    let upstream = sample::upstream(Transport::Http, port, Some(INSTANCE), Some(credentials));
    let upstream = HttpUpstream::new(&upstream, Arc::new(SystemClock)).unwrap();
    sample::publish(&upstream, messages).await;
}

#[tokio::test]
async fn all_arrives_as_it_was_sent_once_and_a_group_begins_at_the_oldest() {
    let broker = hiding(LONG).await;
    let special = Draft {
        key: Some("patient-7".into()),
        tag: Some("Sync".into()),
        order_key: Some("bed 1: left".into()),
        properties: BTreeMap::from([("traceparent".to_owned(), TRACE.to_owned())]),
        body: vec![0, 159, 255].into(),
        ..Draft::default()
    };
    let mut messages = sample::plain("all", 60);
    messages.push(sample::message("all", 61, special));
    publish(&broker, &messages).await;
    let handler = Collector::taking_all();
    let running = start(&broker, "all", &handler, options(1));
    handler.until_done(61).await;
    let status = running.stop().await;
    assert_eq!((status.acked, status.ack_lost, status.in_hand), (61, 0, 0), "{status:?}");
    let seen = handler.seen();
    assert_eq!((seen.done_once().len(), seen.handled.len()), (61, 61));
    let special = seen.of("all-61")[0];
    assert_eq!(
        (special.keys.as_deref(), special.tag.as_deref()),
        (Some("patient-7"), Some("Sync"))
    );
    assert_eq!((special.traceparent(), &special.body[..]), (Some(TRACE), &[0, 159, 255][..]));
    assert_eq!(special.order_key.as_deref().map(str::len), Some(32), "as its hash");
    assert!(special.flag("base64") && special.faults.is_empty() && special.attempt == 1);
    let stored = broker.messages(Some(INSTANCE), "all");
    assert_eq!(stored[60].property("traceparent"), Some(TRACE));
}

#[tokio::test]
async fn only_the_tags_asked_for_come() {
    let broker = broker().await;
    publish(&broker, &sample::tagged("tags", 20)).await;
    let handler = Collector::taking_all();
    let subscription = Subscription { tag: Some("a||c".into()), ..subscription("tags") };
    let running = Running::start(feed(&broker, &subscription), handler.clone(), options(2));
    handler.until_done(10).await;
    running.stop().await;
    let seen = handler.seen();
    assert!(seen.handled.iter().all(|(delivery, _)| delivery.tag.as_deref() == Some("a")));
}

#[tokio::test]
async fn a_failure_comes_again_and_is_parked_in_the_end_and_absence_is_not_charged() {
    let broker = broker().await;
    publish(&broker, &sample::plain("faults", 10)).await;
    let handler = Collector::new(|delivery, times| match (delivery.id(), times) {
        ("faults-3", _) => Verdict::failed("never"),
        ("faults-5", 1) => Verdict::failed("once"),
        ("faults-7", 1..=6) => Verdict::away("the database restarts"),
        _ => Verdict::Done,
    });
    let options = Options { charges_max: 3, batch_max: 1, ..options(3) };
    let running = start(&broker, "faults", &handler, options);
    handler.until("one is parked", |seen| !seen.parked.is_empty()).await;
    handler.until_done(9).await;
    let status = running.stop().await;
    let seen = handler.seen();
    assert_eq!(seen.parked.len(), 1);
    assert_eq!((seen.parked[0].0.id(), seen.parked[0].1.as_str()), ("faults-3", "never"));
    let attempts = |id: &str| seen.of(id).iter().map(|d| d.attempt).collect::<Vec<_>>();
    assert_eq!((attempts("faults-3"), attempts("faults-5")), (vec![1, 2, 3], vec![1, 2]));
    assert_eq!(seen.of("faults-7").len(), 7);
    assert_eq!((status.failed, status.parked, status.in_hand), (4, 1, 0), "{status:?}");
}

#[tokio::test]
async fn order_is_kept_while_handlers_fail_at_random_and_messages_come_again() {
    let broker = broker().await;
    publish(&broker, &sample::keyed("ordered", 150, 5)).await;
    let rng = Mutex::new(random::rng(random::seed(), 1));
    let handler = Collector::new(move |_, _| match rng.lock().unwrap().random_range(0..10) {
        0 | 1 => Verdict::failed("at random"),
        2 => Verdict::away("at random"),
        _ => Verdict::Done,
    });
    let subscription = Subscription { ordered: true, ..subscription("ordered") };
    let options = Options { ordered: true, charges_max: 100, ..options(4) };
    let running = Running::start(feed(&broker, &subscription), handler.clone(), options);
    handler.until_done(150).await;
    running.stop().await;
    in_order(&handler.seen()).unwrap();
}

#[tokio::test]
async fn a_consumer_that_is_killed_loses_nothing() {
    let broker = broker().await;
    publish(&broker, &sample::plain("killed", 40)).await;
    let first = Collector::taking_all().taking(Duration::from_millis(100));
    let running = start(&broker, "killed", &first, Options { batch_max: 4, ..options(5) });
    first.until_done(8).await;
    running.kill().await;
    let before = first.seen();
    let done = before.done_once();
    assert!(done.len() < 40);
    let second = Collector::taking_all();
    let running = start(&broker, "killed", &second, options(6));
    let all = |others: BTreeSet<&str>| done.union(&others).count() == 40;
    second.until("each is done by one of them", |seen| all(seen.done_once())).await;
    running.stop().await;
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_hand() {
    let broker = hiding(LONG).await;
    publish(&broker, &sample::plain("stopped", 12)).await;
    let handler = Collector::taking_all().taking(Duration::from_millis(700));
    let mut running = start(&broker, "stopped", &handler, options(7));
    running.until("all are in hand", |status| status.in_hand == 12).await;
    let status = running.stop().await;
    assert_eq!((status.done, status.acked, status.in_hand), (12, 12, 0), "{status:?}");
    let feed = feed(&broker, &subscription("stopped"));
    assert_eq!(feed.receive(16, LONG + Duration::from_secs(2)).await.unwrap(), []);
}

#[tokio::test]
async fn lost_replies_and_server_errors_lose_nothing() {
    let broker = hiding(LONG).await;
    publish(&broker, &sample::plain("faulty", 60)).await;
    let rule = |kind, on| Rule { on, ..Rule::times(kind, 2) };
    broker.faults().set_rules([
        rule(Kind::LostReply, Operation::Consume),
        rule(Kind::ServerError, Operation::Consume),
        rule(Kind::Throttle, Operation::Ack),
        rule(Kind::LostReply, Operation::Ack),
    ]);
    let handler = Collector::taking_all();
    let mut running = start(&broker, "faulty", &handler, options(8));
    handler.until_done(60).await;
    running.until("nothing is left", |status| status.in_hand == 0).await;
    running.stop().await;
    let feed = feed(&broker, &subscription("faulty"));
    assert_eq!(feed.receive(16, LONG + Duration::from_secs(2)).await.unwrap(), []);
}

#[tokio::test]
async fn wrong_credentials_are_an_operators_matter_and_a_wrong_clock_is_none() {
    struct Year1970;
    impl WallClock for Year1970 {
        fn now_ms(&self) -> u64 {
            60_000
        }
    }
    let broker = broker().await;
    publish(&broker, &sample::plain("clock", 3)).await;
    let mut access = access(broker.endpoint());
    let feed = HttpFeed::with_clock(&access, &subscription("clock"), Arc::new(Year1970)).unwrap();
    assert_eq!(Feed::receive(&feed, 16, Duration::ZERO).await.unwrap().len(), 3);
    access.credentials.as_mut().unwrap().secret = "another".into();
    let feed = HttpFeed::new(&access, &subscription("clock")).unwrap();
    let refused = Feed::receive(&feed, 16, Duration::ZERO).await;
    assert!(matches!(refused, Err(FeedError::Refused(_))), "{refused:?}");
}

/// A server with one answer whose second message is broken, and then nothing; it keeps the bodies
/// of acknowledgements.
async fn broken_server() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let acks: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&acks);
    tokio::spawn(async move {
        let mut answers = vec![broken_answer()];
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 64 * 1024];
            let read = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let answer = match request.starts_with("DELETE") {
                true => {
                    kept.lock().unwrap().push(request);
                    "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".to_owned()
                }
                false => answers.pop().unwrap_or_else(empty_answer),
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (endpoint, acks)
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{VERSION_HEADER}: {VERSION}\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

fn empty_answer() -> String {
    answer("404 Not Found", "<Error><Code>MessageNotExist</Code><Message>none</Message></Error>")
}

fn broken_answer() -> String {
    let message = |body: &str, number: u32| Consumed {
        message_id: format!("m-{number}"),
        body_md5: body_md5(body.as_bytes()),
        body: body.into(),
        receipt_handle: format!("handle-{number}"),
        next_consume_ms: 9_000_000_000_000,
        consumed_times: 1,
        ..Consumed::default()
    };
    let bodies = [("good", 1), ("bad \u{1}", 2), ("good too", 3)];
    answer("200 OK", &consume::to_xml(&bodies.map(|(body, number)| message(body, number))))
}

#[tokio::test]
async fn a_message_that_breaks_the_xml_is_parked_and_holds_up_no_other() {
    let (endpoint, acks) = broken_server().await;
    let feed = Arc::new(HttpFeed::new(&access(endpoint), &subscription("broken")).unwrap());
    let handler = Collector::taking_all();
    let mut running = Running::start(feed, handler.clone(), Options { receivers: 1, ..options(9) });
    running.until("all are acknowledged", |status| status.acked == 3).await;
    running.stop().await;
    let seen = handler.seen();
    assert_eq!(seen.done_once(), BTreeSet::from(["m-1", "m-3"]));
    assert_eq!(seen.parked[0].0.message_id, "m-2");
    assert!(seen.parked[0].0.unreadable().is_some());
    let acked = acks.lock().unwrap().concat();
    assert!((1..=3).all(|number| acked.contains(&format!("handle-{number}"))), "{acked}");
}
