//! A bad configuration never stops intake: pushed to a running agent, and to one that is killed and
//! started again with `--resilient`. What was stored leaves once the file is good again.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use spillway_protocol::local::status::{LinkState, Status};
use spillway_protocol::record::Draft;
use spillway_tests::app::{body, drafts, hand_over};
use spillway_tests::broker::{HttpBroker, INSTANCE, KEY, SECRET};
use spillway_tests::gateway::{Gateway, PATIENCE, lane};
use spillway_tests::ledger::{Ledger, Sent};
use spillway_tests::{http, oracle};
use tokio::time::timeout;

const SWIFT: &str = "[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
                     [backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n";
const LANES: &str = "[[lane]]\nname = \"main\"\ntopic = \"main\"\ndefault = true\n\
                     [[lane]]\nname = \"other\"\ntopic = \"other\"\n";

/// A good configuration whose secret is in a file.
fn good(broker: &HttpBroker, secret: &Path) -> String {
    format!(
        "[upstream]\nendpoint = \"{}\"\ninstance_id = \"{INSTANCE}\"\naccess_key_id = \"{KEY}\"\n\
         access_key_secret = {{ file = {secret:?} }}\n{SWIFT}{LANES}",
        broker.endpoint()
    )
}

/// What is done to the file: text, and in its place; then the line and the key that are named. Lines
/// count the three that each file of a test begins with.
const CASES: [(&str, &str, &str, &str); 6] = [
    ("adaptive = false", "adaptive = = false", ":10: ", "is not TOML"),
    ("adaptive", "adaptiv", ":10: ", "drain.adaptiv"),
    ("http://", "", ":5: ", "upstream.endpoint"),
    ("{ file = ", "{ file = \"/nowhere\" } #", ":8: ", "upstream.access_key_secret"),
    ("{ file = ", "{ env = \"SPILLWAY_TEST_NOT_SET\" } #", ":8: ", "upstream.access_key_secret"),
    ("topic = \"other\"", "topic = \"o t h e r\"", ":22: ", "lane.other.topic"),
];

/// The socket answers: a hang is what this is about, not how long it takes.
async fn store(gateway: &Gateway, ledger: &Ledger, lane: &str, id: &str) {
    let sent = Sent::new(lane, body(id, 40, false));
    ledger.send(id, sent.clone());
    let text = String::from_utf8(sent.body.to_vec()).unwrap();
    let record = serde_json::json!({"id": id, "lane": lane, "body": text}).to_string();
    let socket = gateway.socket();
    let post = http::post(&socket, "/v1/records", "application/json", record.as_bytes());
    let answer = timeout(PATIENCE, post).await.expect("intake does not answer").unwrap();
    assert_eq!(answer.status, 201, "{answer:?}\n{}", gateway.tail());
    ledger.acknowledge(id, answer.json()["seq"].as_u64().unwrap());
}

fn assert_named(status: &Status, place: &str, key: &str) {
    let configuration = &status.configuration;
    let named = |text: &String| text.contains(place) && text.contains(key);
    assert!(named(&configuration.state), "{place} {key}: {configuration:?}");
    assert!(configuration.faults.iter().any(named), "{place} {key}: {configuration:?}");
}

fn check(ledger: &Ledger, broker: &HttpBroker) {
    let arrived = broker.arrivals(&["main", "other", "renamed"]);
    oracle::assert_none("losses", &oracle::losses(&ledger.snapshot(), &arrived));
    oracle::assert_none("gaps", &oracle::gaps(&arrived));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bad_file_stops_intake_of_a_running_agent_or_of_one_that_starts() {
    let mut broker = HttpBroker::start().await;
    for (nth, (text, bad, place, key)) in CASES.into_iter().enumerate() {
        let mut gateway = Gateway::new("").resilient();
        let secret = gateway.file("secret");
        std::fs::write(&secret, SECRET).unwrap();
        let good = good(&broker, &secret);
        let file = good.replacen(text, bad, 1);
        assert_ne!(file, good, "{text}");
        gateway.configure(&good);
        gateway.start_ready().await;
        let ledger = Ledger::default();
        broker.stop().await;
        store(&gateway, &ledger, "main", &format!("before-{nth}")).await;
        gateway.configure(&file);
        let output = gateway.command("reload").await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        assert!(said.contains(place) && said.contains(key), "{said}");
        assert!(said.contains("what was in force still is"), "{said}");
        store(&gateway, &ledger, "other", &format!("running-{nth}")).await;
        let status = gateway.status().await.unwrap();
        assert_named(&status, place, key);
        assert!(gateway.said("status").await.contains(key));
        gateway.kill();
        gateway.start_ready().await;
        store(&gateway, &ledger, "other", &format!("again-{nth}")).await;
        let status = gateway.status().await.unwrap();
        assert_named(&status, place, key);
        let state = "refused, the last that was accepted is in force";
        assert!(status.configuration.state.starts_with(state), "{:?}", status.configuration);
        broker.restart().await;
        // What is kept leads to RocketMQ, whatever the file says: its secret is where it was.
        gateway.until_delivered(PATIENCE).await;
        gateway.configure(&good);
        assert_eq!(gateway.reload("").await.0, 0, "{}", gateway.tail());
        let status = gateway.status().await.unwrap();
        assert_eq!(status.configuration.state, "in force");
        assert!(status.configuration.faults.is_empty());
        store(&gateway, &ledger, "main", &format!("after-{nth}")).await;
        gateway.until_delivered(PATIENCE).await;
        let arrived = broker.arrivals(&["main", "other"]);
        let own: Vec<_> = arrived
            .into_iter()
            .filter(|arrival| arrival.id.ends_with(&format!("-{nth}")))
            .collect();
        oracle::assert_none("losses", &oracle::losses(&ledger.snapshot(), &own));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_gone_leaves_the_link_unconfigured_until_it_is_back() {
    let broker = HttpBroker::start().await;
    let mut gateway = Gateway::new("").resilient();
    let secret = gateway.file("secret");
    std::fs::write(&secret, SECRET).unwrap();
    gateway.configure(&good(&broker, &secret));
    gateway.start_ready().await;
    let ledger = Ledger::default();
    gateway.kill();
    std::fs::remove_file(&secret).unwrap();
    gateway.start_ready().await;
    store(&gateway, &ledger, "other", "one").await;
    let status = gateway.status().await.unwrap();
    assert_named(&status, ":8: ", "upstream.access_key_secret");
    assert_eq!(status.link.state, LinkState::Unconfigured);
    assert!(status.link.reason.contains("upstream.access_key_secret"), "{:?}", status.link);
    let why = gateway.said("why").await;
    assert!(why.contains("upstream.access_key_secret"), "{why}");
    std::fs::write(&secret, SECRET).unwrap();
    assert_eq!(gateway.reload("").await.0, 0);
    gateway.until_delivered(PATIENCE).await;
    check(&ledger, &broker);
}

/// No file in the folder holds it.
fn assert_nowhere(folder: &Path, secret: &str) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            assert_nowhere(&path, secret);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!found, "{} holds the secret", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_file_is_not_kept_and_nothing_is_sent_without_it() {
    let broker = HttpBroker::start().await;
    let good = format!("{}{SWIFT}{LANES}", broker.upstream());
    let mut gateway = Gateway::new(&good).resilient();
    gateway.start_ready().await;
    let ledger = Ledger::default();
    store(&gateway, &ledger, "main", "first").await;
    let kept = gateway.data_dir().join("configuration");
    let mode = std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_nowhere(&gateway.data_dir(), SECRET);
    gateway.configure(&good.replace("[drain]", "[drian]"));
    gateway.kill();
    gateway.start_ready().await;
    store(&gateway, &ledger, "other", "second").await;
    let status = gateway.status().await.unwrap();
    assert_named(&status, ":9: ", "drian");
    assert_eq!(status.link.state, LinkState::Unconfigured);
    assert!(status.link.reason.contains("upstream.access_key_secret"), "{:?}", status.link);
    assert_eq!(lane(&status, "other").waiting, 1);
    let checked = gateway.command("check").await;
    assert_eq!(checked.status.code(), Some(78));
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(said.contains("run --resilient goes on with"), "{said}");
    gateway.configure(&good);
    assert_eq!(gateway.reload("").await.0, 0);
    gateway.until_delivered(PATIENCE).await;
    check(&ledger, &broker);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_accepted_configuration_records_are_taken_in_and_leave_by_the_default_lane() {
    let broker = HttpBroker::start().await;
    let good = format!("{}{SWIFT}{LANES}", broker.upstream());
    let mut gateway = Gateway::new("").resilient();
    std::fs::write(
        gateway.file("spillway.toml"),
        format!(
            "gateway.data_dir = {:?}\nlisten.socket = {:?}\n[[lane]\nname = ",
            gateway.data_dir(),
            gateway.socket()
        ),
    )
    .unwrap();
    gateway.start_ready().await;
    let ledger = Ledger::default();
    let status = gateway.status().await.unwrap();
    assert_named(&status, ":3: ", "is not TOML");
    assert_eq!(status.link.state, LinkState::Unconfigured);
    assert_eq!(status.lanes.len(), 1);
    hand_over(&gateway.socket(), &ledger, "default", drafts("d", 0..5)).await;
    for _ in 0..2 {
        gateway.kill();
        gateway.start_ready().await;
    }
    gateway.configure(&good);
    assert_eq!(gateway.reload("").await.0, 0, "{}", gateway.tail());
    gateway.until_delivered(PATIENCE).await;
    let arrived = broker.arrivals(&["main", "other", "default"]);
    assert!(arrived.iter().all(|arrival| arrival.lane == "default"), "{arrived:#?}");
    assert_eq!(broker.arrivals(&["main"]).len(), 5, "the default lane's topic is theirs");
    oracle::assert_none("losses", &oracle::losses(&ledger.snapshot(), &arrived));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_stops_the_plain_agent_and_not_the_resilient_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let data_dir = format!("SPILLWAY__GATEWAY__DATA_DIR={}", file("data"));
    let id = "SPILLWAY__GATEWAY__ID=gw-test";
    let gateway = Gateway::new("");
    let socket = format!("SPILLWAY__LISTEN__SOCKET={}", gateway.socket().display());
    let words = ["env", &data_dir, id, &socket];
    std::fs::remove_file(gateway.file("spillway.toml")).unwrap();
    let mut gateway = gateway.wrapped(&words);
    gateway.start();
    assert_eq!(gateway.ended(PATIENCE).await.code(), Some(78));
    let mut gateway = gateway.resilient();
    gateway.start_ready().await;
    let ledger = Ledger::default();
    let draft = Draft { id: Some("one".to_owned()), body: "x".into(), ..Draft::default() };
    hand_over(&gateway.socket(), &ledger, "default", vec![draft]).await;
    let status = gateway.status().await.unwrap();
    assert!(status.configuration.state.contains("cannot be read"), "{:?}", status.configuration);
    let healthy = gateway.stop(Duration::from_secs(20));
    healthy.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_renamed_while_the_agent_is_away_is_two_lanes() {
    let broker = HttpBroker::start().await;
    let nowhere = HttpBroker::upstream_by("http://127.0.0.1:1");
    let mut gateway = Gateway::new(&format!("{nowhere}{SWIFT}{LANES}")).resilient();
    gateway.start_ready().await;
    let ledger = Ledger::default();
    store(&gateway, &ledger, "other", "old").await;
    gateway.kill();
    gateway.configure(
        &format!("{}{SWIFT}{LANES}", broker.upstream()).replace("\"other\"", "\"renamed\""),
    );
    gateway.start_ready().await;
    store(&gateway, &ledger, "renamed", "new").await;
    gateway.until_delivered(PATIENCE).await;
    check(&ledger, &broker);
    assert_eq!(broker.arrivals(&["other"]).len(), 1, "under the topic that it had");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_sealed_is_not_stored_in_the_clear_for_want_of_its_key() {
    let mut gateway = Gateway::new("").resilient();
    let key = gateway.file("key");
    let hex: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(&key, hex).unwrap();
    let sealed = format!("gateway.encryption_key = {{ file = {key:?} }}\n{LANES}");
    gateway.configure(&sealed);
    gateway.start_ready().await;
    let ledger = Ledger::default();
    store(&gateway, &ledger, "main", "sealed-before").await;
    gateway.kill();
    // A bad file is no matter while the key is there ...
    gateway.configure(&sealed.replace("topic = \"other\"", "topik = \"other\""));
    gateway.start_ready().await;
    store(&gateway, &ledger, "main", "sealed-again").await;
    assert_nowhere(&gateway.data_dir(), "sealed-again");
    // ... nor its file while the agent runs, which has it ...
    std::fs::remove_file(&key).unwrap();
    gateway.configure(&sealed);
    let (code, said) = gateway.reload("").await;
    assert_eq!((code, &said["taken"]), (78, &serde_json::json!(false)), "{said}");
    store(&gateway, &ledger, "main", "sealed-still").await;
    assert_nowhere(&gateway.data_dir(), "sealed-still");
    gateway.kill();
    // ... and without it nothing is stored.
    gateway.start();
    assert_eq!(gateway.ended(PATIENCE).await.code(), Some(78));
    assert!(gateway.log().contains("gateway.encryption_key"), "{}", gateway.tail());
}
