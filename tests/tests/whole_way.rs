//! From apps on five gateways into the database of the centre, while agents, consumers, the
//! database and the broker are killed at random: each record once, none missing, and the centre's
//! own audit says so. And what a proxy on the way loses comes back without anybody's help.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::json;
use spillway_protocol::local::client::Client;
use spillway_protocol::record::Draft;
use spillway_tests::broker::HttpBroker;
use spillway_tests::centre::{
    Consumer, Environment, command, environment, said, until_count_within,
};
use spillway_tests::gateway::Gateway;
use spillway_tests::mariadb::MariaDb;
use spillway_tests::page::CentralControl;
use spillway_tests::sieve::Sieve;
use spillway_tests::{full, random};
use tokio::time::{Instant, sleep};

const GATEWAYS: u64 = 5;
const TOPIC: &str = "ward";
/// Records of one app between two pauses, and the pause.
const STEP: u64 = 100;
/// Ten thousand rows, each synced, take a slow machine its time.
const PATIENCE: Duration = Duration::from_secs(240);
const PAUSE: Duration = Duration::from_millis(400);

/// Of each gateway; 20,000 in all with `--full`.
fn records() -> u64 {
    if full() { 4000 } else { 2000 }
}

/// A gateway whose reports and tombstones go where its records go.
fn gateway(upstream: &str, nth: u64, more: &str) -> Gateway {
    let lane = format!("[[lane]]\nname = \"ward\"\ntopic = \"{TOPIC}\"\n");
    let report = format!("[report]\ntopic = \"{TOPIC}\"\nevery = \"2s\"\n");
    let pace = "[drain]\nadaptive = false\nreconnect_spread = \"0s\"\nbytes_per_second = \"1 GiB\"\n\
                [backoff]\ninitial = \"50ms\"\nmax = \"500ms\"\n";
    Gateway::named(&format!("gw-{nth}"), &format!("{upstream}{lane}{report}{pace}{more}"))
}

/// An app that hands its records over and does not give up.
async fn app(socket: PathBuf, nth: u64) {
    let client = loop {
        match Client::connect(&socket).await {
            Ok(client) => break client,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    };
    for first in (1..=records()).step_by(usize::try_from(STEP).unwrap()) {
        let mut answers = Vec::new();
        for seq in first..first + STEP {
            let body = json!({"patient_id": format!("p-{}", seq % 50), "notes": "☤",
                "device_timestamp": 1_700_000_000_000_u64 + seq});
            let id = Some(format!("gw-{nth}-{seq}"));
            let draft = Draft { id, body: body.to_string().into(), ..Draft::default() };
            answers.push(client.submit(draft, None).await.unwrap());
        }
        for answer in answers {
            answer.await.unwrap();
        }
        sleep(PAUSE).await;
    }
}

struct Scene {
    broker: HttpBroker,
    database: MariaDb,
    environment: Environment,
    gateways: Vec<Gateway>,
    consumers: Vec<Consumer>,
    rng: StdRng,
}

impl Scene {
    async fn start() -> Self {
        let broker = HttpBroker::hiding_for(Duration::from_secs(2)).await;
        let database = MariaDb::start();
        let environment = environment(broker.environment(), &database, TOPIC, "GID_centre");
        let mut gateways: Vec<Gateway> =
            (0..GATEWAYS).map(|nth| gateway(&broker.upstream(), nth, "")).collect();
        for gateway in &mut gateways {
            gateway.start_ready().await;
        }
        let consumers =
            vec![Consumer::start(&environment, &[]), Consumer::start(&environment, &[])];
        let rng = random::rng(random::seed(), 0);
        Self { broker, database, environment, gateways, consumers, rng }
    }

    /// One mishap, and its end after a while; answers whose it was.
    async fn mishap(&mut self) -> &'static str {
        let pause = Duration::from_millis(self.rng.random_range(50..1500));
        match self.rng.random_range(0..10) {
            0..4 => {
                let nth = self.rng.random_range(0..self.gateways.len());
                self.gateways[nth].kill();
                sleep(pause).await;
                self.gateways[nth].start_ready().await;
                "agent killed"
            }
            4..7 => {
                let nth = self.rng.random_range(0..self.consumers.len());
                self.consumers.swap_remove(nth).kill();
                sleep(pause).await;
                self.consumers.push(Consumer::start(&self.environment, &[]));
                "consumer killed"
            }
            7..9 => {
                self.broker.kill().await;
                sleep(pause).await;
                self.broker.restart().await;
                "broker killed"
            }
            _ => {
                self.database.kill();
                sleep(pause).await;
                self.database.restart();
                "database killed"
            }
        }
    }

    /// What the centre's audit says of all gateways, and whether it is content.
    async fn audit(&self) -> (String, bool) {
        let output = command(&self.environment, &["audit", "--grace", "0s"]).await;
        (said(&output), output.status.success())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_in_the_database_once_and_the_audit_says_so_by_itself() {
    let mut scene = Scene::start().await;
    let apps = scene.gateways.iter().zip(0..).map(|(gateway, nth)| app(gateway.socket(), nth));
    let apps: Vec<_> = apps.map(tokio::spawn).collect();
    let begun = Instant::now();
    let mut mishaps: BTreeMap<&str, u64> = BTreeMap::new();
    while apps.iter().any(|app| !app.is_finished()) {
        *mishaps.entry(scene.mishap().await).or_default() += 1;
    }
    for app in apps {
        app.await.unwrap();
    }
    for gateway in &mut scene.gateways {
        gateway.until_delivered(PATIENCE).await;
    }
    let all = GATEWAYS * records();
    until_count_within(PATIENCE, &scene.database, "SELECT COUNT(*) FROM patient_records", all)
        .await;
    let ids = "SELECT local_record_id FROM patient_records";
    let stored: Vec<String> = scene.database.rows(ids).await;
    let each = (0..GATEWAYS).flat_map(|nth| (1..=records()).map(move |n| format!("gw-{nth}-{n}")));
    assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), each.collect::<BTreeSet<_>>());
    assert_eq!(scene.database.count("SELECT COUNT(*) FROM parked_messages").await, 0);

    let deadline = Instant::now() + PATIENCE;
    loop {
        // Until the last reports have told where the lanes end.
        let (text, content) = scene.audit().await;
        let whole = (0..GATEWAYS).all(|nth| {
            let mut lines =
                text.lines().filter(|line| line.starts_with(&format!("gw-{nth}/ward/")));
            let sum = format!("accepted {0} = stored {0}", records());
            lines.any(|line| line.contains(&sum) && line.ends_with("missing 0"))
        });
        if content && whole {
            println!("{all} records, {mishaps:?}, {:?}\n{text}", begun.elapsed());
            break;
        }
        assert!(Instant::now() < deadline, "{mishaps:?}\n{text}");
        sleep(Duration::from_millis(500)).await;
    }
    for consumer in scene.consumers {
        consumer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_records_that_a_proxy_lost_come_back_without_help() {
    let broker = HttpBroker::hiding_for(Duration::from_secs(2)).await;
    let database = MariaDb::start();
    let environment = environment(broker.environment(), &database, TOPIC, "GID_centre");
    let consumer = Consumer::start(&environment, &[]);
    until_count_within(PATIENCE, &database, "SELECT COUNT(*) FROM patient_records", 0).await;
    let control = CentralControl::of_tables(&database, "1s").await;
    let asked = format!(
        "[audit]\n[control]\nurl = \"{}\"\nevery = \"1s\"\npublic_key = \"{}\"\n",
        control.url(),
        control.key
    );
    // Answered as stored and never passed on: here and there, and the very last.
    let lost = (1..=50).map(|nth| format!("gw-0-{}", nth * records() / 50));
    let sieve = Sieve::start(broker.port(), lost).await;
    let mut gateway = gateway(&HttpBroker::upstream_by(&sieve.endpoint()), 0, &asked);
    gateway.start_ready().await;
    app(gateway.socket(), 0).await;
    gateway.until_delivered(PATIENCE).await;
    assert_eq!(sieve.left(), BTreeSet::new(), "the proxy lost fifty");
    assert_eq!(first_sends(&broker), records() - 50);

    until_count_within(PATIENCE, &database, "SELECT COUNT(*) FROM patient_records", records())
        .await;
    assert_eq!(database.count(IDS).await, records());
    consumer.stop().await;
}

const IDS: &str = "SELECT COUNT(DISTINCT local_record_id) FROM patient_records";

/// Records at the broker that did not come because they were asked for.
fn first_sends(broker: &HttpBroker) -> u64 {
    let messages = broker.messages(TOPIC);
    let first = messages.iter().filter(|stored| stored.property("sw_flags").is_none());
    first.map(|stored| stored.key.clone()).collect::<BTreeSet<_>>().len() as u64
}
