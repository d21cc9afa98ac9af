//! Records find lane, topic, tag and order key by their properties, in every form of intake.

use std::time::Duration;

use spillway_protocol::local::client::Client;
use spillway_protocol::record::Draft;
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, lane};
use spillway_tests::http;

const ROUTES: &str = r#"
[[lane]]
name = "bulk"
topic = "bulk"
default = true
[[lane]]
name = "state"
topic = "state"
order = "key"
[[route]]
when = { kind = "state", device = "*", zone = "*" }
lane = "state"
topic = "state-{zone}"
order_key = "{device}"
[[route]]
when = { kind = "*" }
tag = "{kind}"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn records_go_where_their_properties_lead_them() {
    let broker = HttpBroker::start().await;
    let mut gateway = Gateway::new(&format!("{}{ROUTES}", broker.upstream()));
    gateway.start_ready().await;
    let socket = gateway.socket();
    let json =
        br#"{"body": "1", "properties": {"kind": "state", "device": "d-1", "zone": "north"}}"#;
    let answer = http::post(&socket, "/v1/records", "application/json", json).await.unwrap();
    assert_eq!((answer.status, answer.json()["lane"].as_str()), (201, Some("state")));
    let lines = br#"{"body": "2", "properties": {"kind": "state", "device": "d-1", "zone": "a b"}}
{"body": "3", "properties": {"kind": "state", "device": "d-1", "zone": "north"}}
{"body": "3", "properties": {"kind": "reading"}}
"#;
    let answer = http::post(&socket, "/v1/records", "application/x-ndjson", lines).await.unwrap();
    let lines = answer.lines();
    assert!(lines[0].contains(r#""field":"properties.zone""#), "{lines:?}");
    assert!(lines[1].contains("not_attempted"), "it could be of the same order key: {lines:?}");
    assert!(lines[2].contains(r#""lane":"bulk""#), "{lines:?}");
    let client = Client::connect(&socket).await.unwrap();
    let properties = [("kind", "state"), ("device", "d-2"), ("zone", "south")];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let draft = Draft { body: "4".into(), properties, ..Draft::default() };
    client.submit(draft, None).await.unwrap().await.unwrap();

    let status = gateway.until_delivered(Duration::from_secs(30)).await;
    assert_eq!(lane(&status, "state").delivered, 2);
    let north = broker.arrivals(&["state-north"]);
    assert_eq!((north[0].order_key.as_deref(), &*north[0].body), (Some("d-1"), &b"1"[..]));
    let south = broker.arrivals(&["state-south"]);
    assert_eq!((south[0].order_key.as_deref(), &*south[0].body), (Some("d-2"), &b"4"[..]));
    let bulk = broker.arrivals(&["bulk"]);
    assert_eq!((bulk.len(), bulk[0].tag.as_deref()), (1, Some("reading")));
}
