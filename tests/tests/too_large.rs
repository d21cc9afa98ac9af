//! A record that takes more by itself than its lane may ever have is refused for good, in every dialect, with
//! the lane, its part and what to change; it keeps nobody from being stored.

use serde_json::json;
use spillway_protocol::local::Code;
use spillway_protocol::local::client::{AppendError, Client};
use spillway_protocol::record::Draft;
use spillway_protocol::rocketmq::http::publish::Publish;
use spillway_tests::broker::HttpBroker;
use spillway_tests::front::Front;
use spillway_tests::gateway::{Gateway, lane};
use spillway_tests::http;
use spillway_tests::room::settings;

const WORDS: [&str; 4] = ["lane bulk may have 1.0 MiB", "its quota", "[[lane]]", "never be stored"];

#[track_caller]
fn explains(words: &str) {
    for part in WORDS {
        assert!(words.contains(part), "{part} in {words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_fits_its_lane_is_refused_for_good_in_every_dialect() {
    let (broker, front) = (HttpBroker::start().await, Front::new());
    let settings = format!("{}{}", front.settings(), settings(&broker, "", "quota = \"1 MiB\""));
    let mut gateway = Gateway::new(&settings);
    gateway.start_ready().await;
    let (socket, large) = (gateway.socket(), "x".repeat(3 << 19));

    let record = json!({ "body": large }).to_string();
    for (kind, body) in [("application/json", &record), ("application/octet-stream", &large)] {
        let answer = http::post(&socket, "/v1/records", kind, body.as_bytes()).await.unwrap();
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["code"]), (413, &json!("too_large")));
        explains(error["message"].as_str().unwrap());
    }

    let lines = format!("{{\"body\":\"before\"}}\n{record}\n{{\"body\":\"behind\"}}\n");
    let kind = "application/x-ndjson";
    let answer = http::post(&socket, "/v1/records", kind, lines.as_bytes()).await.unwrap();
    let said = answer.lines().join("\n");
    let codes = said.lines().map(|line| line.contains("too_large")).collect::<Vec<_>>();
    assert_eq!(codes, [false, true, false], "{said}");
    explains(&said);

    // Of its order key nothing behind it is stored.
    let first = json!({ "body": large, "order_key": "k" }).to_string();
    let lines = format!("{first}\n{{\"body\":\"behind\",\"order_key\":\"k\"}}\n");
    let answer = http::post(&socket, "/v1/records", kind, lines.as_bytes()).await.unwrap();
    let said = answer.lines();
    assert!(said[0].contains("too_large") && said[1].contains("not_attempted"), "{said:?}");

    let client = Client::connect(&socket).await.unwrap();
    let draft = Draft { body: large.clone().into(), ..Draft::default() };
    let Err(AppendError::Refused(refusal)) = client.append(draft, None).await else {
        panic!("it is stored");
    };
    assert_eq!((refusal.code, refusal.retry_after_s()), (Code::TooLarge, None));
    explains(&refusal.message);

    let message = Publish { body: large.as_str().into(), tag: None, properties: "".into() };
    let answer = front.publish("bulk", &message).await.unwrap();
    let said = String::from_utf8(answer.body).unwrap();
    assert!(answer.status == 400 && said.contains("InvalidArgument"), "{said}");
    explains(&said);

    let file = gateway.file("large");
    std::fs::write(&file, &large).unwrap();
    let output = gateway.command(&format!("send {}", file.display())).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(65), "{said}");
    explains(&said);

    // The other lane has more, and this one takes what fits.
    let body = json!({ "body": large, "lane": "critical" }).to_string();
    let kind = "application/json";
    let answer = http::post(&socket, "/v1/records", kind, body.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 201);
    let status = gateway.until_delivered(std::time::Duration::from_secs(60)).await;
    let bulk = lane(&status, "bulk");
    assert_eq!((bulk.accepted, bulk.limit.clone().unwrap().full), (2, None));
}
