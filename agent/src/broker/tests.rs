//! The broker over real sockets, asked by a client that signs for itself.

use std::time::SystemTime;

use spillway_protocol::rocketmq::http::consume::Consumed;
use spillway_protocol::rocketmq::http::fault::ErrorBody;
use spillway_protocol::rocketmq::http::publish::{Publish, Published};
use spillway_protocol::rocketmq::http::resource::{self, Consume};
use spillway_protocol::rocketmq::http::sign::{Signable, authorization};
use spillway_protocol::rocketmq::http::{CONTENT_TYPE, ack, consume};

use super::faults::{Kind, Rule};
use super::*;

const TOPIC: &str = "ward";
const GROUP: &str = "GID_ward";

fn options() -> BrokerOptions {
    let keys = vec![("ak".to_owned(), Secret::new("sk"))];
    BrokerOptions::new("127.0.0.1:0".parse().unwrap(), keys)
}

async fn start(options: BrokerOptions) -> (Broker, Client) {
    let broker = Broker::start(options).await.unwrap();
    let client = Client { http: http_client(), endpoint: broker.endpoint(), instance: None };
    (broker, client)
}

fn http_client() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap()
}

#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    endpoint: String,
    instance: Option<&'static str>,
}

impl Client {
    async fn ask(&self, method: &str, resource: &str, body: String) -> (u16, String) {
        let response = self.request(method, resource, body).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    fn request(&self, method: &str, resource: &str, body: String) -> reqwest::RequestBuilder {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let signable = Signable {
            method,
            content_md5: "",
            content_type: CONTENT_TYPE,
            date: &date,
            mq_headers: &[("x-mq-version", "2015-06-06")],
            resource,
        };
        self.http
            .request(method.parse().unwrap(), format!("{}{resource}", self.endpoint))
            .header("authorization", authorization("ak", &signable.signature("sk")))
            .header("date", &date)
            .header("content-type", CONTENT_TYPE)
            .header("x-mq-version", "2015-06-06")
            .body(body)
    }

    async fn publish(&self, body: &str, tag: &str, properties: &str) -> Published {
        let publish = Publish {
            body: body.into(),
            tag: (!tag.is_empty()).then(|| tag.into()),
            properties: properties.into(),
        };
        let resource = resource::publish(TOPIC, self.instance);
        let (status, answer) = self.ask("POST", &resource, publish.to_xml()).await;
        assert_eq!(status, 201, "{answer}");
        Published::parse(&answer).unwrap()
    }

    async fn consume(&self, tag: Option<&str>, wait_s: u8, orderly: bool) -> Vec<Consumed> {
        let ask = Consume {
            topic: TOPIC,
            instance: self.instance,
            group: GROUP,
            tag,
            count: 16,
            wait_s,
            orderly,
        };
        let (status, answer) = self.ask("GET", &ask.resource(), String::new()).await;
        match status {
            200 => consume::parse(&answer).unwrap(),
            _ => {
                assert_eq!((status, code(&answer).as_str()), (404, "MessageNotExist"));
                Vec::new()
            }
        }
    }

    async fn ack(&self, handles: &[&str]) -> (u16, String) {
        let resource = resource::ack(TOPIC, self.instance, GROUP);
        self.ask("DELETE", &resource, ack::request_xml(handles)).await
    }
}

fn code(answer: &str) -> String {
    ErrorBody::parse(answer).unwrap().code
}

fn bodies(messages: &[Consumed]) -> Vec<&str> {
    messages.iter().map(|message| message.body.as_str()).collect()
}

#[tokio::test]
async fn what_is_published_is_consumed_as_it_was_and_gone_once_acknowledged() {
    let (broker, client) = start(options()).await;
    let body = "a ]]> <b> & \r\n 🩺";
    let published = client.publish(body, "T", "KEYS:k1|unit:°C").await;
    let messages = client.consume(None, 0, false).await;
    let [message] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((&*message.body, message.tag.as_deref()), (body, Some("T")));
    assert_eq!(message.message_id, published.message_id);
    assert_eq!(Some(&message.body_md5), published.body_md5.as_ref());
    assert_eq!(message.properties[0], ("KEYS".to_owned(), "k1".to_owned()));
    assert_eq!((message.consumed_times, message.first_consume_ms > 0), (1, true));
    assert_eq!(message.next_consume_ms, message.first_consume_ms + 300_000);
    assert_eq!(client.ack(&[&message.receipt_handle]).await.0, 204);
    assert_eq!(client.consume(None, 0, false).await, []);
    assert_eq!(broker.messages(None, TOPIC)[0].key.as_deref(), Some("k1"));
}

#[tokio::test]
async fn a_partly_failed_acknowledgement_names_the_handles_that_failed() {
    let (_broker, client) = start(options()).await;
    client.publish("x", "", "").await;
    let handle = client.consume(None, 0, false).await.remove(0).receipt_handle;
    let (status, answer) = client.ack(&[&handle, "0-1", "nonsense"]).await;
    assert_eq!(status, 404);
    let failures = ack::parse_failures(&answer).unwrap();
    let failed: Vec<_> = failures.iter().map(|f| (f.code.as_str(), f.handle.as_str())).collect();
    assert_eq!(failed, [("ReceiptHandleError", "0-1"), ("ReceiptHandleError", "nonsense")]);
    assert_eq!(client.ack(&[&handle]).await.0, 404, "a handle works once");
}

#[tokio::test]
async fn a_waiting_consumer_is_woken_by_a_publish_and_by_a_redelivery() {
    let invisible = Duration::from_secs(3);
    let (broker, client) = start(BrokerOptions { invisible, ..options() }).await;
    let began = tokio::time::Instant::now();
    let waiter = tokio::spawn({
        let client = client.clone();
        async move { client.consume(None, 30, false).await }
    });
    let id = TopicId::new(None, TOPIC);
    while broker.server.store.watchers(&id) == 0 {
        tokio::task::yield_now().await;
    }
    client.publish("x", "", "").await;
    let first = waiter.await.unwrap();
    let again = client.consume(None, 30, false).await;
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!((bodies(&first), bodies(&again)), (vec!["x"], vec!["x"]));
    assert_eq!(again[0].consumed_times, 2);
    assert_ne!(again[0].receipt_handle, first[0].receipt_handle);
    assert_eq!(client.ack(&[&first[0].receipt_handle]).await.0, 404);
    assert_eq!(client.ack(&[&again[0].receipt_handle]).await.0, 204);
}

#[tokio::test]
async fn tags_and_instances_are_kept_apart() {
    let (_broker, client) = start(options()).await;
    let other = Client { instance: Some("MQ_INST_2"), ..client.clone() };
    for tag in ["A", "B", "C"] {
        client.publish(tag, tag, "").await;
    }
    other.publish("other", "A", "").await;
    assert_eq!(bodies(&client.consume(Some("A||C"), 0, false).await), ["A", "C"]);
    assert_eq!(bodies(&other.consume(None, 0, false).await), ["other"]);
}

#[tokio::test]
async fn an_ordered_consumer_gets_the_next_of_a_key_after_the_acknowledgement() {
    let (_broker, client) = start(options()).await;
    client.publish("a1", "", "__SHARDINGKEY:a").await;
    let first = client.consume(None, 0, true).await;
    client.publish("a2", "", "__SHARDINGKEY:a").await;
    client.publish("b1", "", "__SHARDINGKEY:b|").await;
    assert_eq!(bodies(&client.consume(None, 0, true).await), ["b1"]);
    assert_eq!(first[0].next_consume_ms, first[0].first_consume_ms + 60_000);
    client.ack(&[&first[0].receipt_handle]).await;
    assert_eq!(bodies(&client.consume(None, 0, true).await), ["a2"]);
}

#[tokio::test]
async fn a_publish_that_the_api_does_not_take_is_refused_with_its_code() {
    let (_broker, client) = start(options()).await;
    let good = "<MessageBody>x</MessageBody>";
    let long = format!("/topics/{}/messages", "x".repeat(65));
    let unsplit = format!("{good}<Properties>a</Properties>");
    let path = "/topics/t/messages";
    for (resource, inside, expected) in [
        (path, "<unclosed>", "MalformedXML"),
        (path, "", "MalformedXML"),
        (path, "<MessageBody>&#1;</MessageBody>", "MalformedXML"),
        (path, &unsplit, "InvalidArgument"),
        ("/topics/t/messages?x=1", good, "InvalidQueryString"),
        ("/topics/t/messages?ns=a%20b", good, "InvalidArgument"),
        (&long, good, "InvalidArgument"),
        ("/queues/t/messages", good, "InvalidRequestURL"),
    ] {
        let body = format!("<Message>{inside}</Message>");
        let (status, answer) = client.ask("POST", resource, body).await;
        assert_eq!((status, code(&answer).as_str()), (400, expected), "{resource} {inside}");
    }
}

#[tokio::test]
async fn other_requests_that_the_api_does_not_take_are_refused_with_their_codes() {
    let (_broker, client) = start(options()).await;
    for (method, query, expected) in [
        ("PUT", "consumer=G", "InvalidRequestURL"),
        ("GET", "numOfMessages=1", "InvalidQueryString"),
        ("GET", "consumer=G", "InvalidArgument"),
        ("GET", "consumer=G&numOfMessages=17", "InvalidArgument"),
        ("GET", "consumer=G&numOfMessages=1&waitseconds=31", "InvalidArgument"),
        ("GET", "consumer=G&numOfMessages=1&trans=pop", "InvalidArgument"),
        ("DELETE", "consumer=G", "MissingReceiptHandle"),
    ] {
        let resource = format!("/topics/t/messages?{query}");
        let (status, answer) = client.ask(method, &resource, "<ReceiptHandles/>".into()).await;
        assert_eq!((status, code(&answer).as_str()), (400, expected), "{method} {query}");
    }
    let unsigned = client.http.get(format!("{}/topics/t/messages", client.endpoint));
    let answer = unsigned.send().await.unwrap().text().await.unwrap();
    assert_eq!(code(&answer), "MissingAuthorizationHeader");
}

#[tokio::test]
async fn faults_can_be_switched_from_outside() {
    let (broker, client) = start(options()).await;
    let switch = |json: &'static str| {
        let request = client.http.post(format!("{}/_faults", client.endpoint));
        request.body(json).send()
    };
    assert_eq!(switch(r#"{"rules": [{"kind": "nap"}]}"#).await.unwrap().status(), 400);
    let json = r#"{"rules": [{"kind": "throttle", "count": 1, "retry_after_s": 3},
                             {"kind": "lost_reply", "count": 1}, {"kind": "lose", "count": 1}]}"#;
    assert_eq!(switch(json).await.unwrap().status(), 200);
    let publish = || {
        let xml = Publish { body: "x".into(), ..Publish::default() }.to_xml();
        client.request("POST", &resource::publish(TOPIC, None), xml).send()
    };
    let throttled = publish().await.unwrap();
    assert_eq!(
        (throttled.status().as_u16(), &throttled.headers()["retry-after"] == "3"),
        (400, true)
    );
    assert!(publish().await.is_err(), "stored, then cut");
    assert_eq!(broker.messages(None, TOPIC).len(), 1);
    assert_eq!(publish().await.unwrap().status(), 201);
    assert_eq!(broker.messages(None, TOPIC).len(), 1, "answered as stored, but lost");
    assert_eq!(publish().await.unwrap().status(), 201);
    assert_eq!(broker.messages(None, TOPIC).len(), 2);
}

#[tokio::test]
async fn a_lost_reply_to_a_consumer_leaves_the_messages_out_of_sight() {
    let (broker, client) = start(options()).await;
    client.publish("x", "", "").await;
    let consume = Rule { on: faults::Operation::Consume, ..Rule::times(Kind::LostReply, 1) };
    broker.faults().set_rules([consume]);
    let ask = format!("/topics/{TOPIC}/messages?consumer={GROUP}&numOfMessages=16");
    assert!(client.request("GET", &ask, String::new()).send().await.is_err());
    assert_eq!(client.consume(None, 0, false).await, []);
}

#[tokio::test]
async fn stored_messages_are_listed_as_json() {
    let (broker, client) = start(options()).await;
    client.publish("a\r\n<b>", "T", "KEYS:k").await;
    let get = async |path: &str| {
        let response = client.http.get(format!("{}{path}", client.endpoint)).send().await.unwrap();
        response.text().await.unwrap()
    };
    let listing: Vec<Stored> = serde_json::from_str(&get("/_topics/ward/messages").await).unwrap();
    assert_eq!(listing, [(*broker.messages(None, TOPIC)[0]).clone()]);
    assert_eq!(get("/_topics/none/messages").await, "[]");
    let topics = get("/_topics").await;
    assert!(topics.contains("\"messages\":1") && topics.contains("ward"), "{topics}");
}

#[tokio::test]
async fn a_folder_outlives_the_broker_and_a_torn_last_line() {
    let dir = tempfile::tempdir().unwrap();
    let stored = BrokerOptions { dir: Some(dir.path().to_owned()), ..options() };
    let (broker, client) = start(stored.clone()).await;
    client.publish("one", "T", "KEYS:k|__SHARDINGKEY:s").await;
    let first = client.publish("two\r\n", "", "").await;
    let messages = client.consume(None, 0, false).await;
    client.ack(&[&messages[0].receipt_handle]).await;
    let before = broker.messages(None, TOPIC);
    broker.stop().await;
    let file = dir.path().join(format!("@{TOPIC}.jsonl"));
    let mut torn = std::fs::read(&file).unwrap();
    torn.extend(b"{\"publish\":{\"offs");
    std::fs::write(&file, torn).unwrap();
    let (broker, client) = start(stored.clone()).await;
    assert_eq!(broker.messages(None, TOPIC), before);
    let again = client.publish("three", "", "").await;
    assert!(again.message_id > first.message_id);
    assert_eq!(bodies(&client.consume(None, 0, false).await), ["two\r\n", "three"]);
    drop(broker);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("publish", "pub", 1)).unwrap();
    let error = Broker::start(stored).await.err().unwrap().to_string();
    assert!(error.contains("line 1") && error.contains("ward.jsonl"), "{error}");
}

#[tokio::test]
async fn the_oldest_messages_go_beyond_the_bound() {
    let (broker, client) = start(BrokerOptions { keep_messages: Some(2), ..options() }).await;
    for body in ["1", "2", "3"] {
        client.publish(body, "", "").await;
    }
    assert_eq!(bodies(&client.consume(None, 0, false).await), ["2", "3"]);
    assert_eq!(broker.messages(None, TOPIC)[0].offset, 1);
}

#[tokio::test]
async fn only_loopback_and_only_a_free_port() {
    let outside = BrokerOptions { listen: "0.0.0.0:0".parse().unwrap(), ..options() };
    assert!(matches!(Broker::start(outside).await, Err(StartError::NotLoopback(_))));
    let (broker, _client) = start(options()).await;
    let taken = BrokerOptions { listen: broker.address(), ..options() };
    assert!(matches!(Broker::start(taken).await, Err(StartError::Listen { .. })));
}

#[tokio::test]
async fn a_stop_lets_waiting_consumers_go_and_frees_the_port() {
    let (broker, client) = start(options()).await;
    let address = broker.address();
    let id = TopicId::new(None, TOPIC);
    let waiter = tokio::spawn(async move { client.consume(None, 30, false).await });
    while broker.server.store.watchers(&id) == 0 {
        tokio::task::yield_now().await;
    }
    let began = tokio::time::Instant::now();
    broker.stop().await;
    assert_eq!(waiter.await.unwrap(), []);
    assert!(began.elapsed() < STOP_GRACE);
    start(BrokerOptions { listen: address, ..options() }).await;
}
