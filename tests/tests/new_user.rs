//! A new user's first hour, as docs/getting-started.md tells it: the package on a fresh Debian, one
//! file edited, an app in Python; then the cable is pulled, the status page says so on a phone at
//! the service port, the cable is plugged in again, and each record has arrived once. Pictures of
//! the page lie in target/pictures.
//!
//! Needs root, debootstrap's folder, iproute2, nftables, python3, chromium and chromium-driver.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spillway_tests::arrival::Arrival;
use spillway_tests::broker::{HttpBroker, INSTANCE, KEY, SECRET};
use spillway_tests::chromium::{Chromium, PHONE, picture};
use spillway_tests::debian::{Agent, CONFIG, Debian, SOCKET, package};
use spillway_tests::namespace::Namespace;
use spillway_tests::python_app::PythonApp;
use spillway_tests::relay::Relay;
use spillway_tests::{http, oracle};
use tokio::time::sleep;

/// Another test program has the networks from 1 up.
const NETWORK: u8 = 200;
const PORT: u16 = 7_071;
const DRAINED_WITHIN: Duration = Duration::from_secs(180);
const TOKEN: &str = "5f0c9d1e2a7b4c68";

/// The one file that a new user edits.
fn edit(debian: &Debian, far: &str) {
    std::fs::write(debian.path("/etc/spillway/access_key_secret"), SECRET).unwrap();
    std::fs::write(debian.path("/etc/spillway/admin_token"), TOKEN).unwrap();
    debian.said(&["sh", "-ec", "chown spillway /etc/spillway/a*; chmod 0400 /etc/spillway/a*"]);
    let shipped = std::fs::read_to_string(debian.path(CONFIG)).unwrap();
    let added = format!(
        "[upstream]\ntransport = \"http\"\nendpoint = \"http://{far}:{PORT}\"\nplaintext = true\n\
         instance_id = \"{INSTANCE}\"\naccess_key_id = \"{KEY}\"\n\
         access_key_secret = {{ file = \"/etc/spillway/access_key_secret\" }}\n\
         [listen.admin]\naddress = \"0.0.0.0:9465\"\n\
         token = {{ file = \"/etc/spillway/admin_token\" }}\n"
    );
    let named = shipped.replace("[gateway]\n", "[gateway]\nid = \"gw-0042\"\n");
    std::fs::write(debian.path(CONFIG), format!("{named}\n{added}")).unwrap();
    let said = debian.said(&["spillway", "check"]);
    assert!(!said.contains("error"), "{said}");
}

/// What the phone's camera reads at the service port.
fn scanned(debian: &Debian, wrapper: &[&str], service: &str) -> String {
    let words = ["spillway", "admin", "url", "--host", service, "--json"];
    let said: Value = serde_json::from_str(&debian.answered(wrapper, &words)).unwrap();
    said["urls"][0].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn from_the_package_to_every_record_delivered_once_through_a_pulled_cable() {
    let (debian, made) = (Debian::new(), tempfile::tempdir().unwrap());
    debian.install(&package("0.1.0~1", made.path()));
    let (network, broker) = (Namespace::numbered(NETWORK), HttpBroker::start().await);
    let near = (network.far().into(), PORT);
    let _relay = Relay::between(near, broker.port(), Duration::ZERO).await;
    let service = network.service_port().to_string();
    edit(&debian, &network.far().to_string());
    let (agent, _) = Agent::start(&debian, &network.wrapper()).await;

    let phone = Chromium::start();
    phone.look(PHONE, false);
    phone.devtools("Emulation.setLocaleOverride", &json!({"locale": "en-GB"}));
    phone.open(&scanned(&debian, &network.wrapper(), &service));
    phone.until_says("#gateway", "gw-0042");
    let mut app = PythonApp::start(&[], &debian.path(SOCKET));
    app.measure(0..25);
    until_delivered(&debian, 25).await;
    phone.until_says("#title-text", "Online");
    phone.until("#sentence", "all is sent", |text| text == "No record waits; nothing is lost.");
    phone.glance(&picture("new-user-1-online"));

    // The cable is pulled: the app goes on, and is told the same.
    network.plug(false);
    app.measure(25..60);
    phone.until_says("#title-text", "Offline since");
    phone.until_says("#sentence", "35 records wait");
    assert!(phone.text("#sentence").contains("nothing is lost"));
    assert_eq!(broker.messages("spillway").len(), 25);
    phone.glance(&picture("new-user-2-cable-out"));

    // The agent does not mind, nor does it a restart meanwhile.
    agent.stop();
    phone.until_says("#contact-text", "Connection to the agent lost since");
    let (agent, status) = Agent::start(&debian, &network.wrapper()).await;
    assert_eq!(status.lanes[0].waiting, 35);
    phone.until_says("#contact-text", "Live");

    network.plug(true);
    app.measure(60..65);
    app.end();
    until_delivered(&debian, 65).await;
    phone.until_says("#title-text", "Online");
    phone.until("#sentence", "all is sent", |text| text == "No record waits; nothing is lost.");
    phone.glance(&picture("new-user-3-back"));
    assert_eq!(phone.overflow(), 0);
    assert_once(&broker.arrivals(&["spillway"]));
    agent.stop();
}

/// First sends of a fleet are spread after an outage: each gateway's begin at its slot.
async fn until_delivered(debian: &Debian, count: u64) {
    let deadline = Instant::now() + DRAINED_WITHIN;
    loop {
        let answer = http::get(&debian.path(SOCKET), "/v1/status").await.unwrap();
        let main = &answer.json()["lanes"][0];
        if main["delivered"] == count && main["accepted"] == count {
            return;
        }
        assert!(Instant::now() < deadline, "in vain until {count} are delivered: {main}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// All 65 readings are there, each once by its id and without a gap in their numbers. What was on
/// the cable when it was pulled may have come again: the same record under the same id.
fn assert_once(arrived: &[Arrival]) {
    let mut records: BTreeMap<&str, &Arrival> = BTreeMap::new();
    for arrival in arrived {
        let first = records.entry(&arrival.id).or_insert(arrival);
        assert_eq!((first.seq, &first.body), (arrival.seq, &arrival.body));
    }
    let reading = |arrival: &Arrival| std::str::from_utf8(&arrival.body).unwrap().parse().unwrap();
    let mut readings: Vec<u64> = records.values().map(|arrival| reading(arrival)).collect();
    readings.sort_unstable();
    assert_eq!(readings, (0..65).collect::<Vec<_>>());
    oracle::assert_none("gaps", &oracle::gaps(arrived));
    println!("{} messages of 65 records", arrived.len());
}
