//! `"level": "broker"` with the real agent: an answer when the broker has the record, 202 where it
//! has not come there in time, or never will.

use std::time::Duration;

use spillway_protocol::local::Level;
use spillway_protocol::local::client::{Client, Options};
use spillway_protocol::record::Draft;
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, lane};
use spillway_tests::http;
use tokio::time::{Instant, sleep};

const JSON: &str = "application/json";

fn settings(broker: &HttpBroker) -> String {
    format!(
        "{}[drain]\nadaptive = false\nreconnect_spread = \"0s\"\n[backoff]\ninitial = \"50ms\"\n\
         max = \"200ms\"\n[[lane]]\nname = \"main\"\ntopic = \"main\"\n",
        broker.upstream()
    )
}

fn asking(id: &str) -> Vec<u8> {
    format!("{{\"id\":\"{id}\",\"body\":\"{id}\",\"level\":\"broker\"}}").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_answered_when_the_broker_has_it() {
    let mut broker = HttpBroker::start().await;
    let mut gateway = Gateway::new(&settings(&broker));
    gateway.start_ready().await;
    let reply = http::post(&gateway.socket(), "/v1/records", JSON, &asking("a")).await.unwrap();
    assert_eq!((reply.status, &reply.json()["level"]), (201, &"broker".into()));
    assert_eq!(broker.arrivals(&["main"]).len(), 1, "it is there before the answer");

    // Away, and back while the app waits.
    broker.stop().await;
    let socket = gateway.socket();
    let client =
        Client::connect_with(&socket, Options { level: Level::Broker, ..Options::default() });
    let client = client.await.unwrap();
    let draft = Draft { id: Some("b".into()), body: "b".into(), ..Draft::default() };
    let pending = client.submit(draft, None).await.unwrap();
    gateway.until("it is on disk", |status| lane(status, "main").accepted == 2).await;
    sleep(Duration::from_millis(200)).await;
    broker.restart().await;
    assert_eq!(pending.await.unwrap().level, Level::Broker);
    assert_eq!(broker.arrivals(&["main"]).len(), 2);
    let repeat = http::post(&socket, "/v1/records", JSON, &asking("b")).await.unwrap();
    assert_eq!((repeat.status, &repeat.json()["level"]), (200, &"broker".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_broker_it_is_202_with_what_was_reached() {
    let mut broker = HttpBroker::start().await;
    let mut gateway = Gateway::new(&settings(&broker));
    broker.stop().await;
    gateway.start_ready().await;
    let begun = Instant::now();
    let socket = gateway.socket();
    let reply = http::post(&socket, "/v1/records", JSON, &asking("a")).await.unwrap();
    assert_eq!((reply.status, &reply.json()["level"]), (202, &"disk".into()));
    assert!(begun.elapsed() > Duration::from_secs(25), "it has waited");
    broker.restart().await;
    gateway.until_delivered(Duration::from_secs(60)).await;
    assert_eq!(broker.arrivals(&["main"]).len(), 1);
}
