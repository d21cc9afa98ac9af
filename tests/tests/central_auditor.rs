//! `central-consumer auditor` on a real MariaDB: of topics that nobody consumes the centre knows what
//! arrived, and stores none of it; with a consumer beside it nothing counts twice.

use std::time::Duration;

use serde_json::{Value, json};
use spillway_protocol::message::Message;
use spillway_protocol::record::Draft;
use spillway_protocol::tombstone::{Range, Reason, Tombstones};
use spillway_tests::broker::HttpBroker;
use spillway_tests::centre::{
    Consumer, Environment, command, environment, patients, publish_many, said, until_count, with,
};
use spillway_tests::gateway::PATIENCE;
use spillway_tests::mariadb::MariaDb;
use spillway_tests::sample;
use tokio::time::{Instant, sleep};

const TABLES: &str = "SELECT COUNT(*) FROM information_schema.tables \
                      WHERE table_name = 'patient_records'";
const LABS: u64 = 1500;

struct Scene {
    broker: HttpBroker,
    database: MariaDb,
    /// Both topics; without a group.
    environment: Environment,
}

impl Scene {
    async fn new() -> Self {
        let broker = HttpBroker::hiding_for(Duration::from_secs(2)).await;
        let database = MariaDb::start();
        let mut environment = environment(broker.environment(), &database, "ward, labs", "");
        environment.retain(|(name, _)| *name != "ROCKETMQ_GROUP_ID");
        Self { broker, database, environment }
    }

    /// Waits until so many messages were worked off, also by those that were killed.
    async fn until_done(&self, topic: &str, count: usize) {
        let done = format!(
            "SELECT COALESCE(SUM(done), 0) >= {count} FROM sw_consumers \
             WHERE topic = '{topic}' AND consumer_group = 'central-auditor'"
        );
        until_count(&self.database, &done, 1).await;
    }

    /// Waits for words in a log.
    async fn until_told(consumer: &Consumer, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !consumer.log().contains(words) {
            assert!(Instant::now() < deadline, "{}", consumer.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn until_stored(&self, gateway: &str, count: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = command(&self.environment, &["audit", "--gateway", gateway]).await;
            let text = said(&output);
            if text.contains(&format!("stored {count} ")) {
                return;
            }
            assert!(Instant::now() < deadline, "{text}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The audit of a gateway's one day: stored, explained, and what is missing.
    async fn audit(&self, gateway: &str) -> (u64, Value, Value) {
        let words = ["audit", "--json", "--grace", "0s", "--gateway", gateway];
        let line: Value =
            serde_json::from_str(&said(&command(&self.environment, &words).await)).unwrap();
        (line["stored"].as_u64().unwrap(), line["explained"].clone(), line["missing"].clone())
    }
}

/// Number 1 of the gateway's own lane: 7 will not come.
fn tombstone() -> Message {
    let range = Range {
        lane: "ward".into(),
        stream: "00000007".into(),
        from: 7,
        to: 7,
        reason: Reason::Dead,
        count: 1,
        kept_every: None,
        first_ms: 1,
        last_ms: 2,
    };
    let told = Tombstones { gateway: "gw-2".into(), ranges: vec![range] };
    let draft = Draft { body: told.to_json().unwrap().into(), ..Draft::default() };
    let message = with(sample::message("labs", 1, draft), "sw_flags", "tombstone");
    with(with(message, "sw_gw", "gw-2"), "sw_lane", "_agent")
}

/// Without numbers 5 to 7, and whatever is in the bodies.
fn labs() -> Vec<Message> {
    let all = patients("labs", LABS).into_iter().map(|message| with(message, "sw_gw", "gw-2"));
    let mut all: Vec<Message> = all.collect();
    all[99].body = "no JSON".into();
    all.drain(4..7);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_consumes_is_noted_once_and_nothing_of_it_stored() {
    let scene = Scene::new().await;
    publish_many(&scene.broker, &patients("ward", 200)).await;
    let labs = labs();
    publish_many(&scene.broker, &labs).await;
    // One dies at work, another goes on; then all comes again.
    let first = Consumer::auditor(&scene.environment);
    until_count(&scene.database, "SELECT COUNT(*) > 0 FROM sw_seen", 1).await;
    first.kill();
    let second = Consumer::auditor(&scene.environment);
    scene.until_stored("gw-1", 200).await;
    scene.until_stored("gw-2", LABS - 3).await;
    publish_many(&scene.broker, &labs).await;
    scene.broker.publish(&[tombstone()]).await;
    scene.until_done("labs", labs.len() + 1).await;
    until_count(&scene.database, "SELECT COUNT(*) FROM sw_explained", 1).await;

    let gap = json!([{"from": 5, "to": 6}]);
    let dead = json!({"dead": 1});
    assert_eq!(scene.audit("gw-2").await, (LABS - 3, dead, gap));
    let nothing = (json!({}), json!([]));
    assert_eq!(scene.audit("gw-1").await, (200, nothing.0.clone(), nothing.1.clone()));
    assert_eq!(scene.database.count(TABLES).await, 0);
    assert_eq!(scene.database.count("SELECT COUNT(*) FROM parked_messages").await, 0);

    // A consumer of one of the topics, into the same database: nothing counts twice.
    let mut own = environment(scene.broker.environment(), &scene.database, "ward", "GID_ward");
    let consumer = Consumer::start(&own, &[]);
    until_count(&scene.database, "SELECT COUNT(*) FROM patient_records", 200).await;
    assert_eq!(scene.audit("gw-1").await, (200, nothing.0, nothing.1));
    let log = second.stop().await;
    assert!(!log.contains("it has a consumer"), "{log}");
    let third = Consumer::auditor(&scene.environment);
    Scene::until_told(&third, "it has a consumer").await;
    drop((third, consumer));

    // What would make numbers look missing is refused.
    own.push(("ROCKETMQ_TAG", "a".to_owned()));
    let refused = command(&own, &["auditor"]).await;
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
}
