//! Delivered records are sent again when they are asked for: under their old numbers, flagged,
//! behind everything else, and to where they went the first time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use spillway_protocol::local::client::Client;
use spillway_protocol::record::Draft;
use spillway_tests::arrival::Arrival;
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, accounted, lane};

const LANES: &str = r#"
[drain]
adaptive = false
reconnect_spread = "0s"
[[lane]]
name = "main"
topic = "main"
default = true
[[lane]]
name = "states"
topic = "states"
tag = "State"
order = "key"
"#;
const COUNT: u64 = 200;

async fn hand_over(gateway: &Gateway, lane: &str) {
    let client = Client::connect(&gateway.socket()).await.unwrap();
    for n in 0..COUNT {
        let draft = Draft {
            id: Some(format!("{lane}-{n}")),
            order_key: (lane == "states").then(|| format!("device-{}", n % 3)),
            body: Bytes::from(format!("{lane} {n}")),
            ..Draft::default()
        };
        client.submit(draft, Some(lane)).await.unwrap().await.unwrap();
    }
}

/// What came again because it was asked for.
fn resent(broker: &HttpBroker) -> Vec<Arrival> {
    let flag = ("sw_flags".to_owned(), "resend".to_owned());
    let messages = broker.messages("states");
    let flagged = messages.iter().filter(|stored| stored.properties.contains(&flag));
    flagged.map(|stored| Arrival::from(&**stored)).collect()
}

/// What must be the same each time.
fn facts(a: &Arrival) -> impl PartialEq + std::fmt::Debug + use<> {
    let lane = (a.lane.clone(), a.stream.clone(), a.seq);
    (a.id.clone(), a.key.clone(), a.tag.clone(), a.order_key.clone(), lane, a.body.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_comes_again_as_it_was() {
    let mut broker = HttpBroker::start().await;
    let audit = "[audit]\nkeep = \"10 MiB\"\n";
    let mut gateway = Gateway::new(&format!("{}{audit}{LANES}", broker.upstream()));
    gateway.start_ready().await;
    hand_over(&gateway, "main").await;
    hand_over(&gateway, "states").await;
    let before = gateway.until_delivered(Duration::from_secs(60)).await;
    let first: BTreeMap<u64, Arrival> =
        broker.arrivals(&["states"]).into_iter().map(|arrival| (arrival.seq, arrival)).collect();
    assert_eq!(first.len() as u64, COUNT);

    // Asked for while the link is down, and killed before it is back: it is a promise.
    broker.stop().await;
    let said = gateway.said("resend --lane states --from 50 --to 250").await;
    assert!(said.contains("151 will be sent again: 50-200"), "{said}");
    assert!(said.contains("50 never existed: 201-250"), "{said}");
    gateway.kill();
    broker.restart().await;
    gateway.start_ready().await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let again = resent(&broker);
        if again.iter().map(|arrival| arrival.seq).collect::<BTreeSet<_>>().len() >= 151 {
            again
                .iter()
                .for_each(|arrival| assert_eq!(facts(arrival), facts(&first[&arrival.seq])));
            assert!(again.iter().all(|arrival| (50..=200).contains(&arrival.seq)));
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", gateway.tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = gateway.status().await.unwrap();
    assert_eq!(status.lanes.len(), 2, "its own lanes are not shown as users'");
    assert_eq!(lane(&status, "states").accepted, lane(&before, "states").accepted);
    assert_eq!(lane(&status, "states").accepted, accounted(lane(&status, "states")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_audit_it_says_what_to_do() {
    let mut gateway = Gateway::new("[[lane]]\nname = \"main\"\ntopic = \"main\"\n");
    gateway.start_ready().await;
    let output = gateway.command("resend --lane main --from 1 --to 5").await;
    assert_eq!(output.status.code(), Some(65));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("add [audit] to the configuration"), "{said}");
}
