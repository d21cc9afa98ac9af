//! Two machines with one gateway id raise an alarm that names both; a gateway whose data folder moved
//! to another machine does not.

use std::time::Duration;

use serde_json::Value;
use spillway_protocol::local::client::Client;
use spillway_protocol::record::Draft;
use spillway_tests::broker::HttpBroker;
use spillway_tests::centre::{Consumer, Environment, command, environment, said, until_count};
use spillway_tests::gateway::{Gateway, PATIENCE};
use spillway_tests::mariadb::MariaDb;
use spillway_tests::relay::Relay;
use tokio::time::{Instant, sleep};

const TOPIC: &str = "ward";
/// Between two records of a gateway.
const EVERY: Duration = Duration::from_millis(250);

fn gateway(id: &str, endpoint: &str) -> Gateway {
    let upstream = HttpBroker::upstream_by(endpoint);
    Gateway::named(
        id,
        &format!(
            "{upstream}[[lane]]\nname = \"ward\"\ntopic = \"{TOPIC}\"\n\
             [drain]\nadaptive = false\nreconnect_spread = \"0s\"\n\
             [backoff]\ninitial = \"50ms\"\nmax = \"500ms\"\n"
        ),
    )
}

/// One record, stored.
async fn submit(gateway: &Gateway) {
    let client = Client::connect(gateway.socket()).await.unwrap();
    let draft = Draft { body: "{}".into(), ..Draft::default() };
    client.submit(draft, None).await.unwrap().await.unwrap();
}

async fn stream(gateway: &Gateway) -> String {
    gateway.status().await.unwrap().stream
}

struct Centre {
    environment: Environment,
    database: MariaDb,
}

impl Centre {
    /// Streams that the alarm of a gateway names, and whether the audit is content.
    async fn alarm(&self, gateway: &str, live: &str) -> (Vec<String>, bool) {
        let words = ["audit", "--json", "--gateway", gateway, "--live", live];
        let output = command(&self.environment, &words).await;
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        let lines = said(&output);
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let alarms: Vec<Value> = lines.filter(|line| line["alarm"] == "cloned").collect();
        assert!(alarms.iter().all(|alarm| alarm["gateway"] == gateway), "{alarms:?}");
        (alarms.iter().flat_map(names).collect(), output.status.success())
    }

    /// From the first sign of life of a stream to its last, by the gateway's clock.
    async fn accepted_for_ms(&self, stream: &str) -> u64 {
        let select = format!(
            "SELECT COALESCE(MAX(live_at_last) - MIN(live_at_first), 0) FROM sw_seen JOIN sw_lanes \
             ON sw_lanes.id = lane_id WHERE stream = '{stream}'"
        );
        self.database.count(&select).await
    }
}

fn names(alarm: &Value) -> Vec<String> {
    let streams = alarm["streams"].as_array().unwrap();
    streams.iter().map(|one| one["stream"].as_str().unwrap().to_owned()).collect()
}

/// Hands records over until `done`.
async fn go_on<F: Future<Output = bool>>(gateways: &[&Gateway], done: impl Fn() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !done().await {
        assert!(Instant::now() < deadline, "in vain");
        for gateway in gateways {
            submit(gateway).await;
        }
        sleep(EVERY).await;
    }
}

async fn scene() -> (HttpBroker, Centre, Consumer) {
    let (broker, database) = (HttpBroker::start().await, MariaDb::start());
    let environment = environment(broker.environment(), &database, TOPIC, "GID_audit");
    let auditor = Consumer::auditor(&environment);
    until_count(&database, "SELECT COUNT(*) FROM sw_seen", 0).await;
    (broker, Centre { environment, database }, auditor)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_with_one_id_raise_an_alarm_until_one_of_them_stops() {
    let (broker, centre, auditor) = scene().await;
    let mut gateways = [0, 1].map(|_| gateway("gw-twice", &broker.endpoint()));
    let mut streams = Vec::new();
    for gateway in &mut gateways {
        gateway.start_ready().await;
        streams.push(stream(gateway).await);
    }
    streams.sort();
    let [first, second] = &gateways;
    go_on(&[first, second], async || !centre.alarm("gw-twice", "1h").await.0.is_empty()).await;
    assert_eq!(centre.alarm("gw-twice", "1h").await, (streams.clone(), false));
    let text = said(&command(&centre.environment, &["status"]).await);
    let line = text.lines().find(|line| line.starts_with("ALARM: gateway gw-twice")).expect(&text);
    assert!(streams.iter().all(|stream| line.contains(stream)), "{line}");
    let json = said(&command(&centre.environment, &["status", "--json"]).await);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(names(&json["alarms"][0]), streams);

    gateways[0].stop(PATIENCE).await;
    go_on(&[&gateways[1]], async || centre.alarm("gw-twice", "3s").await.0.is_empty()).await;
    assert_eq!(centre.alarm("gw-twice", "3s").await, (vec![], true));
    auditor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_moved_with_its_backlog_raises_none() {
    let (broker, centre, auditor) = scene().await;
    let relay = Relay::start(broker.port()).await;
    let mut gateway = gateway("gw-moved", &format!("http://127.0.0.1:{}", relay.port()));
    gateway.start_ready().await;
    let old = stream(&gateway).await;
    // Long enough to be seen beside another, were it there.
    let long = |stream: String| {
        let centre = &centre;
        async move { centre.accepted_for_ms(&stream).await >= 12_000 }
    };
    go_on(&[&gateway], || long(old.clone())).await;
    relay.cut();
    for _ in 0..20 {
        submit(&gateway).await;
    }
    gateway.kill();
    gateway.move_to_another_host();
    gateway.start_ready().await;
    let new = stream(&gateway).await;
    assert_ne!(new, old);
    submit(&gateway).await;
    relay.mend();
    go_on(&[&gateway], || long(new.clone())).await;
    gateway.until_delivered(PATIENCE).await;
    let both = "SELECT COUNT(DISTINCT stream) FROM sw_lanes";
    assert_eq!(centre.database.count(both).await, 2);
    assert_eq!(centre.alarm("gw-moved", "1h").await, (vec![], true));
    auditor.stop().await;
}
