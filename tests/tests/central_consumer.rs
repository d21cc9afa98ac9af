//! The example `central-consumer` on a real MariaDB, fed by the embedded broker: each record is there
//! once, whoever races, dies or is told twice, and what cannot be stored is parked with its reason.

use std::time::Duration;

use serde_json::json;
use spillway_protocol::message::Message;
use spillway_tests::broker::HttpBroker;
use spillway_tests::centre::{
    Consumer, Environment, environment, patient, patients, publish_many, until_count, with,
    with_body,
};
use spillway_tests::gateway::PATIENCE;
use spillway_tests::mariadb::MariaDb;
use spillway_tests::redis::Redis;
use tokio::time::sleep;

const ROWS: &str = "SELECT COUNT(*) FROM patient_records";
const IDS: &str = "SELECT COUNT(DISTINCT local_record_id) FROM patient_records";
const PARKED: &str = "SELECT COUNT(*) FROM parked_messages";
const TOPIC: &str = "ward";

struct Scene {
    broker: HttpBroker,
    database: MariaDb,
}

impl Scene {
    /// What is not acknowledged comes again soon; over HTTP that is also how a try follows another.
    async fn new() -> Self {
        let broker = HttpBroker::hiding_for(Duration::from_secs(5)).await;
        Self { broker, database: MariaDb::start() }
    }

    fn environment(&self, group: &str) -> Environment {
        environment(self.broker.environment(), &self.database, TOPIC, group)
    }

    /// That many rows, no id twice.
    async fn has_once(&self, count: u64) {
        until_count(&self.database, IDS, count).await;
        assert_eq!(self.database.count(ROWS).await, count);
    }
}

/// No failure was charged to a message and none gave way to a database's trouble.
fn assert_smooth(log: &str) {
    let last = log.lines().find(|line| line.contains("stopped")).expect(log);
    assert!(last.contains("failed: 0") && last.contains("away: 0"), "{last}");
    assert!(!log.contains(" WARN ") && !log.contains("ERROR"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_race_on_the_same_repeated_messages_and_nobody_sees_an_error() {
    let scene = Scene::new().await;
    let messages = patients(TOPIC, 1500);
    let mut twice: Vec<Message> = messages.clone();
    twice.extend(messages.iter().rev().cloned());
    publish_many(&scene.broker, &twice).await;
    // Two members of one group, and another group, which gets the same messages again.
    let groups = ["GID_a", "GID_a", "GID_b"].map(|group| scene.environment(group));
    let consumers = groups.each_ref().map(|group| Consumer::start(group, &[]));
    scene.has_once(1500).await;
    // More, where an acknowledgement came too late and the message again.
    let done = "SELECT CAST(SUM(done) AS UNSIGNED) >= 6000 FROM sw_consumers";
    until_count(&scene.database, done, 1).await;
    for consumer in consumers {
        assert_smooth(&consumer.stop().await);
    }
    assert_eq!(scene.database.count(ROWS).await, 1500);
    assert_eq!(scene.database.count(PARKED).await, 0);
    let sample = "SELECT patient_id, notes, DATE_FORMAT(device_timestamp, '%Y-%m-%d %T.%f') \
                  FROM patient_records WHERE local_record_id = 'ward-7'";
    let row: (String, String, String) = scene.database.rows(sample).await.remove(0);
    assert_eq!(row, ("p-7".into(), "note 7 ☤".into(), "2023-11-14 22:13:20.007000".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_and_a_consumer_that_are_killed_under_load_lose_and_double_nothing() {
    let mut scene = Scene::new().await;
    publish_many(&scene.broker, &patients(TOPIC, 3000)).await;
    let group = scene.environment("GID_a");
    let (first, second) =
        (Consumer::start(&group, &["--batch", "8"]), Consumer::start(&group, &["--batch", "8"]));
    let at_least = |count| format!("SELECT COUNT(*) >= {count} FROM patient_records");
    until_count(&scene.database, &at_least(300), 1).await;
    scene.database.kill();
    // Both meet it before it is back.
    for consumer in [&first, &second] {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !consumer.log().contains("the database is away") {
            assert!(std::time::Instant::now() < deadline, "{}", consumer.log());
            sleep(Duration::from_millis(20)).await;
        }
    }
    scene.database.restart();
    until_count(&scene.database, &at_least(900), 1).await;
    first.kill();
    let third = Consumer::start(&group, &[]);
    until_count(&scene.database, &at_least(1500), 1).await;
    scene.database.kill();
    scene.database.restart();
    scene.has_once(3000).await;
    second.stop().await;
    third.stop().await;
    assert_eq!(scene.database.count(PARKED).await, 0);
    let seen = "SELECT COUNT(DISTINCT lane_id) FROM sw_seen";
    assert_eq!(scene.database.count(seen).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_parked_with_its_reason_and_the_others_go_on() {
    let scene = Scene::new().await;
    let mut messages = patients(TOPIC, 200);
    // No patient: the database refuses the row. Too long. No JSON. No time.
    messages[20] = with_body(TOPIC, 21, &json!({"notes": "whose?"}));
    messages[70] = with_body(TOPIC, 71, &json!({"patient_id": "x".repeat(65)}));
    messages[120].body = "<xml/>".into();
    messages[170] = with_body(TOPIC, 171, &json!({"patient_id": "p", "device_timestamp": "noon"}));
    scene.broker.publish(&messages).await;
    let consumer = Consumer::start(&scene.environment("GID_a"), &["--tries", "2"]);
    scene.has_once(196).await;
    until_count(&scene.database, PARKED, 4).await;
    let log = consumer.stop().await;
    // Only they were charged, each twice.
    assert!(log.contains("failed: 8") && log.contains("parked: 4"), "{log}");
    let query = "SELECT record_id, reason, body, seq FROM parked_messages ORDER BY seq";
    let parked: Vec<(String, String, Vec<u8>, u64)> = scene.database.rows(query).await;
    for ((id, reason, body, seq), (number, part)) in parked.into_iter().zip([
        (21_u64, "patient_id"),
        (71, "patient_id"),
        (121, "no JSON"),
        (171, "device_timestamp"),
    ]) {
        assert_eq!((id, seq), (format!("ward-{number}"), number));
        assert!(reason.contains(part), "{reason}");
        assert_eq!(body, messages[number as usize - 1].body);
    }
    let again = Consumer::start(&scene.environment("GID_a"), &[]);
    scene.broker.publish(&[patient(TOPIC, 201)]).await;
    scene.has_once(197).await;
    again.stop().await;
    assert_eq!(scene.database.count(PARKED).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_comes_again_later_does_not_overwrite_a_newer_state() {
    let scene = Scene::new().await;
    let folder = tempfile::tempdir().unwrap();
    let map = folder.path().join("beds.toml");
    let text = "table = \"beds\"\nidentity = [\"bed\"]\nkeep = \"latest\"\n\
        [[column]]\nname = \"bed\"\nfrom = \"order_key\"\n\
        [[column]]\nname = \"patient\"\nfrom = \"body.patient\"\n\
        [[column]]\nname = \"taken\"\nfrom = \"accepted\"\nas = \"time\"\n";
    std::fs::write(&map, text).unwrap();
    let state = |seq, patient: &str| {
        let mut message = with_body(TOPIC, seq, &json!({"patient": patient}));
        message.order_key = Some("bed-12".into());
        message
    };
    let other_gateway = |seq, patient: &str, at: &str| {
        with(with(state(seq, patient), "sw_gw", "gw-2"), "sw_at", at)
    };
    let consumer = Consumer::start(&scene.environment("GID_a"), &["--map", map.to_str().unwrap()]);
    let holds = |patient| format!("SELECT COUNT(*) FROM beds WHERE patient = '{patient}'");
    // Each settled before the next, as days later.
    for (message, patient) in [
        (state(5, "five"), "five"),
        (state(9, "nine"), "nine"),
        (with(state(7, "seven"), "sw_flags", "resend"), "nine"),
        (state(9, "nine"), "nine"),
        // Another gateway's, older and newer by its clock.
        (other_gateway(1, "before", "1700000000001"), "nine"),
        (other_gateway(2, "after", "1700000000999"), "after"),
        (with(state(10, "ten"), "sw_at", "1700000000500"), "after"),
    ] {
        scene.broker.publish(std::slice::from_ref(&message)).await;
        // Its state may be the old one, so that it has come shows in the consumer's own word.
        let done =
            format!("SELECT COALESCE(SUM(done), 0) >= {} FROM sw_consumers", published(&scene));
        until_count(&scene.database, &done, 1).await;
        until_count(&scene.database, &holds(patient), 1).await;
    }
    consumer.stop().await;
    assert_eq!(scene.database.count("SELECT COUNT(*) FROM beds").await, 1);
}

fn published(scene: &Scene) -> usize {
    scene.broker.messages(TOPIC).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_repeats_out_of_a_table_without_a_unique_key() {
    let scene = Scene::new().await;
    let mut redis = Redis::start();
    let table = "CREATE TABLE patient_records (local_record_id VARCHAR(64) NOT NULL, \
                 patient_id VARCHAR(64) NOT NULL, notes TEXT, device_timestamp DATETIME(3))";
    scene.database.run(&[table]).await;
    let messages = patients(TOPIC, 600);
    publish_many(&scene.broker, &[messages.clone(), messages.clone()].concat()).await;
    let url = redis.url();
    let arguments = ["--redis", &*url, "--tries", "2"];
    let group = scene.environment("GID_a");
    let consumers = [Consumer::start(&group, &arguments), Consumer::start(&group, &arguments)];
    scene.has_once(600).await;
    // All are marked, too.
    // More, where an acknowledgement came too late and the message again.
    let done = "SELECT CAST(SUM(done) AS UNSIGNED) >= 1200 FROM sw_consumers";
    until_count(&scene.database, done, 1).await;
    // Redis away: nothing is stored, nothing is charged; back (and empty), it goes on.
    redis.kill();
    scene.broker.publish(&[patient(TOPIC, 601)]).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !consumers.iter().any(|consumer| consumer.log().contains("Redis")) {
        assert!(std::time::Instant::now() < deadline, "{}", consumers[0].log());
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(scene.database.count(ROWS).await, 600);
    redis.restart();
    scene.has_once(601).await;
    // A row that fails releases its claim, so that the next try is not taken for a repeat.
    scene.broker.publish(&[with_body(TOPIC, 602, &json!({"notes": "whose?"}))]).await;
    until_count(&scene.database, PARKED, 1).await;
    for consumer in consumers {
        consumer.stop().await;
    }
    assert_eq!(scene.database.count(ROWS).await, 601);
}
