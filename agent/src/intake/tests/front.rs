//! The MQ HTTP front over real connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};

use futures::future::join_all;
use spillway_protocol::record::Record;
use spillway_protocol::rocketmq::http::digest::{body_md5, content_md5};
use spillway_protocol::rocketmq::http::fault::ErrorBody;
use spillway_protocol::rocketmq::http::publish::{Publish, Published};
use spillway_protocol::rocketmq::http::sign::{Signable, authorization};
use spillway_protocol::rocketmq::http::{CONTENT_TYPE, VERSION};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::WallClock;
use crate::config::Secret;
use crate::intake::{Front, FrontOptions, Instance, serve_mq_http};
use crate::queue::AppendError;

const NOW_MS: u64 = 1_800_000_000_000;
const DATE: &str = "Fri, 15 Jan 2027 08:00:00 GMT";
const TOPIC: &str = "/topics/main-topic/messages";

#[derive(Clone)]
struct TestClock(Arc<AtomicU64>);

impl WallClock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Atomic::Relaxed)
    }
}

struct FrontRig {
    fake: Arc<Fake>,
    intake: Intake,
    clock: TestClock,
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl FrontRig {
    async fn new(options: Options) -> Self {
        Self::before(options, Instance::Upstreams(Some("MQ_INST_1".into()))).await
    }

    async fn before(options: Options, instance: Instance) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Fake::new();
        let intake = Intake::new(Arc::clone(&fake) as _, options, || uuid::Uuid::now_v7().into());
        let clock = TestClock(Arc::new(AtomicU64::new(NOW_MS)));
        let options = FrontOptions {
            address,
            access_keys: vec![("app".into(), Secret::new("s3cret"))],
            instance,
            consume_at: "https://mq.example:443".into(),
        };
        let front = Front::new(intake.clone(), options, Arc::new(clock.clone()));
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve_mq_http(listener, Arc::new(front), stop.clone()));
        Self { fake, intake, clock, address, stop, served }
    }

    async fn plain() -> Self {
        Self::new(ruled(Rules { http_limits: true, delays: true, ..Rules::default() })).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn ask(&self, request: &[u8]) -> Reply {
        let mut stream = self.connect().await;
        // A refusal may come, and the connection go, before everything is written.
        let _ = stream.write_all(request).await;
        Reply::read(&mut stream).await
    }

    async fn publish(&self, publish: Publish<'_>) -> Reply {
        self.ask(&Signed::default().request(publish.to_xml().as_bytes())).await
    }

    async fn with_properties(&self, properties: &str) -> Reply {
        self.publish(Publish { properties: properties.into(), ..message("x") }).await
    }

    fn last(&self) -> Record {
        self.fake.records().pop().unwrap()
    }

    /// The others are served.
    async fn assert_serves(&self) {
        assert_eq!(self.publish(message("x")).await.status, 201);
    }
}

fn message(body: &str) -> Publish<'_> {
    Publish { body: body.into(), ..Publish::default() }
}

/// A request signed as the SDKs do, but for what a test changes.
struct Signed<'a> {
    method: &'a str,
    resource: &'a str,
    key: (&'a str, &'a str),
    date: &'a str,
    content_md5: &'a str,
}

impl Default for Signed<'_> {
    fn default() -> Self {
        Self {
            method: "POST",
            resource: TOPIC,
            key: ("app", "s3cret"),
            date: DATE,
            content_md5: "",
        }
    }
}

impl Signed<'_> {
    fn head(&self, body_bytes: usize) -> String {
        let signable = Signable {
            method: self.method,
            content_md5: self.content_md5,
            content_type: CONTENT_TYPE,
            date: self.date,
            mq_headers: &[("x-mq-version", VERSION)],
            resource: self.resource,
        };
        let authorization = authorization(self.key.0, &signable.signature(self.key.1));
        let md5 = match self.content_md5 {
            "" => String::new(),
            md5 => format!("content-md5: {md5}\r\n"),
        };
        format!(
            "{} {} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\ndate: {}\r\n{md5}\
             content-type: {CONTENT_TYPE}\r\nx-mq-version: {VERSION}\r\n\
             content-length: {body_bytes}\r\n\r\n",
            self.method, self.resource, self.date
        )
    }

    fn request(&self, body: &[u8]) -> Vec<u8> {
        [self.head(body.len()).as_bytes(), body].concat()
    }
}

/// Status, code and words of a refusal.
fn refused(reply: &Reply) -> (u16, String, String) {
    let error = ErrorBody::parse(&reply.body).unwrap_or_else(|e| panic!("{e}: {reply:?}"));
    assert!(reply.head.contains("x-mq-request-id: "), "{}", reply.head);
    (reply.status, error.code, error.message)
}

#[track_caller]
fn assert_refused(reply: &Reply, status: u16, code: &str, words: &str) {
    let (said_status, said_code, said) = refused(reply);
    assert_eq!((said_status, said_code.as_str()), (status, code), "{said}");
    assert!(said.contains(words), "{said}");
}

#[tokio::test]
async fn a_message_is_answered_when_stored_and_keeps_all_it_has() {
    let rig = FrontRig::plain().await;
    rig.fake.set_disk(false);
    let full = Publish {
        body: "a <b> ]]> & c".into(),
        tag: Some("Sync".into()),
        properties: "KEYS:patient-7|__SHARDINGKEY:bed-12|unit:°C|__STARTDELIVERTIME:1800000060000|"
            .into(),
    };
    let resource = "/topics/keyed-topic/messages?ns=MQ_INST_1";
    let request = Signed { resource, ..Signed::default() }.request(full.to_xml().as_bytes());
    let mut stream = rig.connect().await;
    stream.write_all(&request).await.unwrap();
    let early = Reply::read(&mut stream);
    let early = tokio::time::timeout(Duration::from_millis(200), early).await;
    assert!(early.is_err(), "answered before it was on disk: {early:?}");
    rig.fake.set_disk(true);
    let reply = Reply::read(&mut stream).await;
    let published = Published::parse(&reply.body).unwrap();
    let record = rig.last();
    assert_eq!((reply.status, published.message_id), (201, record.id.to_string()));
    assert_eq!(published.body_md5, Some(body_md5(b"a <b> ]]> & c")));
    assert_eq!(&record.body[..], b"a <b> ]]> & c");
    assert_eq!(record.message_key(), "patient-7");
    assert_eq!(record.tag.unwrap().as_str(), "Sync");
    assert_eq!(record.order_key.unwrap().as_str(), "bed-12");
    assert_eq!(record.topic, None);
    let properties: Vec<_> = record.properties.iter().collect();
    assert_eq!(properties, [("__STARTDELIVERTIME", "1800000060000"), ("unit", "°C")]);
}

#[tokio::test]
async fn the_topic_chooses_its_lane_else_the_default_lane_keeps_it() {
    let rig = FrontRig::plain().await;
    for (topic, lane, own) in [
        ("main-topic", "main", None),
        ("laned-topic", "laned", None),
        ("elsewhere", "main", Some("elsewhere")),
    ] {
        let resource = format!("/topics/{topic}/messages");
        let request = Signed { resource: &resource, ..Signed::default() };
        let reply = rig.ask(&request.request(message("x").to_xml().as_bytes())).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        let (found, record) = rig.fake.last();
        assert_eq!(found.as_str(), lane);
        assert_eq!(record.topic.as_ref().map(|topic| topic.as_str()), own);
    }
    let long = format!("/topics/{}/messages", "x".repeat(65));
    let request = Signed { resource: &long, ..Signed::default() };
    let reply = rig.ask(&request.request(message("x").to_xml().as_bytes())).await;
    assert_refused(&reply, 400, "InvalidArgument", "at most 64");
}

#[tokio::test]
async fn three_messages_of_one_key_are_three_records() {
    let rig = FrontRig::plain().await;
    for _ in 0..3 {
        assert_eq!(rig.with_properties("KEYS:same").await.status, 201);
    }
    let records = rig.fake.records();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record.message_key() == "same"));
    assert!(records[0].id != records[1].id && records[1].id != records[2].id);
}

#[tokio::test]
async fn strangers_are_refused_before_their_body_and_any_date_of_a_friend_passes() {
    let rig = FrontRig::plain().await;
    let xml = message("x").to_xml();
    let ask = async |signed: Signed<'_>| rig.ask(&signed.request(xml.as_bytes())).await;
    let wrong = Signed { key: ("app", "other"), ..Signed::default() };
    assert_refused(&ask(wrong).await, 403, "SignatureDoesNotMatch", "signed must be");
    let unknown = Signed { key: ("nobody", "s3cret"), ..Signed::default() };
    assert_refused(&ask(unknown).await, 403, "InvalidAccessKeyId", "no such");
    let no_date = Signed { date: "yesterday", ..Signed::default() };
    assert_refused(&ask(no_date).await, 400, "InvalidDateHeader", "date");
    let unsigned = String::from_utf8(Signed::default().request(xml.as_bytes())).unwrap();
    let unsigned = unsigned.replace("authorization:", "x-authorization:");
    let reply = rig.ask(unsigned.as_bytes()).await;
    assert_refused(&reply, 400, "MissingAuthorizationHeader", "missing");
    // Only announced: no byte of the body is waited for.
    let announced = Signed { key: ("app", "other"), ..Signed::default() }.head(1 << 20);
    assert_refused(&rig.ask(announced.as_bytes()).await, 403, "SignatureDoesNotMatch", "");
    assert_eq!(rig.fake.bodies().len(), 0);
    for date in ["Thu, 01 Jan 1970 00:00:09 GMT", "Fri, 15 Jan 2044 08:00:00 GMT"] {
        let reply = ask(Signed { date, ..Signed::default() }).await;
        assert_eq!(reply.status, 201, "{reply:?}");
    }
}

#[tokio::test]
async fn a_digest_is_checked_where_it_is_sent() {
    let rig = FrontRig::plain().await;
    let xml = message("x").to_xml();
    let right = content_md5(xml.as_bytes());
    let signed = Signed { content_md5: &right, ..Signed::default() };
    assert_eq!(rig.ask(&signed.request(xml.as_bytes())).await.status, 201);
    let changed = signed.request(message("y").to_xml().as_bytes());
    assert_refused(&rig.ask(&changed).await, 400, "InvalidDigest", "content-md5");
}

#[tokio::test]
async fn what_is_wrong_in_itself_is_named_and_others_go_on() {
    let rig = FrontRig::plain().await;
    for xml in ["", "<Message>", "<Message><MessageBody></MessageBody></Message>", "no", "\u{7f}"] {
        let reply = rig.ask(&Signed::default().request(xml.as_bytes())).await;
        assert_refused(&reply, 400, "MalformedXML", "");
    }
    let reply = rig.ask(&Signed::default().request(b"\xff\xfe")).await;
    assert_refused(&reply, 400, "MalformedXML", "UTF-8");
    for (properties, words) in [
        ("at:12:00", "one name and one value"),
        ("a:1|a:2", "twice"),
        ("KEYS:two words", "key holds U+0020"),
        ("UNIQ_KEY:1", "UNIQ_KEY is a name"),
        ("sw_seq:1", "sw_seq is a name"),
        ("__unknown:1", "__unknown is a name"),
        ("__TransCheckT:30", "transaction"),
        (&"p:x|".repeat(200_000), "properties have 800000 bytes"),
        (&(0..200).map(|n| format!("p{n}:x|")).collect::<String>(), "properties are 200"),
        ("__SHARDINGKEY:bed", "write order = \"key\""),
        ("__STARTDELIVERTIME:soon", "ms since 1970"),
        ("__STARTDELIVERTIME:1900000000000", "40 days"),
    ] {
        let reply = rig.with_properties(properties).await;
        assert_refused(&reply, 400, "InvalidArgument", words);
    }
    let long = "x".repeat(4 << 20);
    let reply = rig.publish(message(&format!("{long}x"))).await;
    assert_refused(&reply, 400, "InvalidArgument", "body has 4194305 bytes");
    assert_eq!(rig.publish(message(&long)).await.status, 201);
    let reply = rig.publish(Publish { tag: Some("a||b".into()), ..message("x") }).await;
    assert_refused(&reply, 400, "InvalidArgument", "tag holds '|'");
    for (resource, code) in [
        ("/", "InvalidRequestURL"),
        ("/topics/a%01b/messages", "InvalidArgument"),
        ("/topics/main-topic/messages?%01=x", "InvalidQueryString"),
        ("/topics/main-topic/messages?trans=order", "InvalidQueryString"),
        ("/topics/main-topic/messages?ns=MQ_INST_2", "InvalidArgument"),
    ] {
        let request = Signed { resource, ..Signed::default() }.request(b"");
        assert_refused(&rig.ask(&request).await, 400, code, "");
    }
    rig.assert_serves().await;
    assert_eq!(rig.fake.bodies().len(), 2);
}

#[tokio::test]
async fn consume_and_acknowledge_say_where_to_go() {
    let rig = FrontRig::plain().await;
    for method in ["GET", "DELETE"] {
        let resource = "/topics/ward/messages?consumer=GID_x&numOfMessages=3&waitseconds=3";
        let request = Signed { method, resource, ..Signed::default() };
        let reply = rig.ask(&request.request(b"")).await;
        let words = "consume and acknowledge topic ward at https://mq.example:443";
        assert_refused(&reply, 403, "AccessDenied", words);
        let stranger = Signed { key: ("app", "other"), ..request };
        let reply = rig.ask(&stranger.request(b"")).await;
        assert_refused(&reply, 403, "SignatureDoesNotMatch", "");
    }
    let put = Signed { method: "PUT", ..Signed::default() };
    assert_refused(&rig.ask(&put.request(b"")).await, 400, "InvalidRequestURL", "POST");
}

#[tokio::test]
async fn delays_and_instances_that_the_upstream_does_not_have_are_refused() {
    let delayed = "__STARTDELIVERTIME:1800000060000";
    let grpc = FrontRig::before(Options::default(), Instance::Any).await;
    let reply = grpc.with_properties(delayed).await;
    assert_refused(&reply, 400, "InvalidArgument", "not the MQ HTTP API");
    let any = Signed { resource: "/topics/t/messages?ns=MQ_INST_9", ..Signed::default() };
    assert_eq!(grpc.ask(&any.request(message("x").to_xml().as_bytes())).await.status, 201);
    let none = FrontRig::before(Options::default(), Instance::Upstreams(None)).await;
    let reply = none.ask(&any.request(b"")).await;
    assert_refused(&reply, 400, "InvalidArgument", "instance_id: none");
    let rig = FrontRig::plain().await;
    let large = "x".repeat(65 << 10);
    let reply = rig.publish(Publish { properties: delayed.into(), ..message(&large) }).await;
    assert_refused(&reply, 400, "InvalidArgument", "at most 64 KiB");
    rig.clock.0.store(9_000, Atomic::Relaxed);
    let reply = rig.with_properties(delayed).await;
    assert_refused(&reply, 503, "InternalError", "clock has not been set");
    assert!(reply.head.contains("retry-after: 30"), "{}", reply.head);
    rig.assert_serves().await;
}

#[tokio::test]
async fn full_and_failing_disks_are_503_with_the_reason_and_a_time() {
    let rig = FrontRig::plain().await;
    for (error, seconds, words) in [
        (AppendError::Full("no room".into()), 30, "no room; send it again when"),
        (AppendError::Disk("input/output error".into()), 5, "input/output error"),
        (AppendError::Stopping, 5, "stopping"),
    ] {
        *rig.fake.failing.lock().unwrap() = Some(error);
        let reply = rig.publish(message("x")).await;
        assert_refused(&reply, 503, "InternalError", words);
        assert!(reply.head.contains(&format!("retry-after: {seconds}\r\n")), "{}", reply.head);
    }
    *rig.fake.failing.lock().unwrap() = None;
    rig.assert_serves().await;
}

#[tokio::test]
async fn beyond_the_memory_it_is_busy_and_room_comes_back() {
    let options =
        ruled(Rules { memory_bytes: 1 << 20, http_limits: true, delays: true, ..Rules::default() });
    let rig = FrontRig::new(options).await;
    let reply = rig.publish(message(&"x".repeat(400 << 10))).await;
    assert_refused(&reply, 400, "InvalidArgument", "[limits] memory");
    let held = rig.intake.budget().try_hold(900 << 10).unwrap();
    let reply = rig.publish(message(&"x".repeat(200 << 10))).await;
    assert_refused(&reply, 503, "QpsLimitExceeded", "memory");
    assert!(reply.head.contains("retry-after: 1\r\n"), "{}", reply.head);
    rig.assert_serves().await;
    drop(held);
    assert_eq!(rig.publish(message(&"x".repeat(200 << 10))).await.status, 201);
}

#[tokio::test]
async fn slow_clients_are_timed_out_and_hold_up_nobody() {
    let rig = FrontRig::new(Options {
        pause_max: Duration::from_millis(100),
        idle_max: Duration::from_millis(300),
        ..Options::default()
    })
    .await;
    let request = Signed::default().request(message("x").to_xml().as_bytes());
    let mut in_body = rig.connect().await;
    in_body.write_all(&request[..request.len() - 1]).await.unwrap();
    let mut in_head = rig.connect().await;
    in_head.write_all(&request[..20]).await.unwrap();
    let mut silent = rig.connect().await;
    rig.assert_serves().await;
    assert_refused(&Reply::read(&mut in_body).await, 408, "RequestTimeout", "stopped coming");
    assert!(matches!(Reply::read(&mut in_head).await.status, 0 | 408));
    assert_eq!(Reply::read(&mut silent).await.status, 0);
    assert_eq!(rig.fake.bodies().len(), 1);
}

#[tokio::test]
async fn connections_too_many_are_told_so_and_those_before_go_on() {
    let rig = FrontRig::plain().await;
    let request = Signed::default().request(message("x").to_xml().as_bytes());
    let mut kept = Vec::new();
    for _ in 0..64 {
        let mut stream = rig.connect().await;
        stream.write_all(&request).await.unwrap();
        assert_eq!(Reply::read(&mut stream).await.status, 201);
        kept.push(stream);
    }
    let replies = join_all((0..20).map(|_| rig.ask(&request))).await;
    let told = replies.iter().find(|reply| reply.status == 503).unwrap();
    assert!(told.body.contains("<Code>QpsLimitExceeded</Code>"), "{told:?}");
    assert!(told.head.contains("retry-after: "), "{}", told.head);
    kept[0].write_all(&request).await.unwrap();
    assert_eq!(Reply::read(&mut kept[0]).await.status, 201);
}

#[tokio::test]
async fn a_stop_lets_requests_under_way_finish() {
    let rig = FrontRig::plain().await;
    rig.fake.set_disk(false);
    let mut stream = rig.connect().await;
    let request = Signed::default().request(message("x").to_xml().as_bytes());
    stream.write_all(&request).await.unwrap();
    while rig.fake.bodies().is_empty() {
        tokio::task::yield_now().await;
    }
    rig.stop.cancel();
    rig.fake.set_disk(true);
    assert_eq!(Reply::read(&mut stream).await.status, 201);
    rig.served.await.unwrap();
    assert!(TcpStream::connect(rig.address).await.is_err());
    assert_eq!(rig.intake.budget().used_bytes(), 0);
}
