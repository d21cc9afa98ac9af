//! Killed at the moments of a change: after what comes was written down and before it is in force, and
//! before it is written down that it was accepted. The start stands on what one would expect, says so,
//! and no record is without its lane.

use std::path::Path;
use std::time::Duration;

use spillway::broker::faults::Plan;
use spillway_protocol::local::status::Status;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::{HttpBroker, INSTANCE, KEY, SECRET};
use spillway_tests::gateway::{Gateway, PATIENCE, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::oracle;
use spillway_tests::relay::Relay;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const SWIFT: &str = "[drain]\nadaptive = false\nreconnect_spread = \"0s\"\n\
                     [backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n";
const MAIN: &str = "[[lane]]\nname = \"main\"\ntopic = \"main\"\ndefault = true\n";
const OLD: &str = "[[lane]]\nname = \"old\"\ntopic = \"old\"\n";
const NEW: &str = "[[lane]]\nname = \"new\"\ntopic = \"new\"\ntag = \"Is\"\n";
/// Less than a request's deadline.
const SILENCE_MS: u64 = 14_000;

/// A gateway whose way leads over a cable, behind which nothing is answered while that is wanted.
struct Case {
    gateway: Gateway,
    broker: HttpBroker,
    relay: Relay,
    ledger: Ledger,
}

impl Case {
    async fn start() -> Self {
        let broker = HttpBroker::start().await;
        let relay = Relay::start(broker.port()).await;
        let mut case = Self { gateway: Gateway::new(""), broker, relay, ledger: Ledger::default() };
        std::fs::write(case.gateway.file("secret"), SECRET).unwrap();
        case.gateway.configure(&case.settings("127.0.0.1", OLD));
        case.gateway.start_ready().await;
        case
    }

    fn settings(&self, host: &str, lane: &str) -> String {
        let (port, secret) = (self.relay.port(), self.gateway.file("secret"));
        format!(
            "[upstream]\nendpoint = \"http://{host}:{port}\"\ninstance_id = \"{INSTANCE}\"\n\
             access_key_id = \"{KEY}\"\naccess_key_secret = {{ file = {secret:?} }}\n{SWIFT}{MAIN}{lane}"
        )
    }

    /// A reload that waits for a request under way, once what comes with it is written down.
    async fn announced(&self, words: &'static str, written: &str) -> JoinHandle<()> {
        self.broker.faults().set(Plan { latency_ms: SILENCE_MS, ..Plan::default() });
        let before = self.relay.bytes();
        hand_over(&self.gateway.socket(), &self.ledger, "old", drafts("o", 0..5)).await;
        self.until("a request is under way", || self.relay.bytes() > before).await;
        self.gateway.configure(&self.settings("localhost", NEW));
        let binary = spillway_tests::gateway::binary();
        let mut reload = tokio::process::Command::new(binary);
        reload.arg("reload").args(words.split_whitespace()).arg("--config");
        reload.arg(self.gateway.file("spillway.toml")).kill_on_drop(true);
        let reload = tokio::spawn(async move { drop(reload.output().await) });
        self.until(written, || self.written().contains(written)).await;
        let status = self.gateway.status().await.unwrap();
        assert_eq!(names(&status), ["main", "old"], "the window is missed");
        reload
    }

    /// What a start without a file would go on with.
    fn written(&self) -> String {
        std::fs::read_to_string(self.accepted()).unwrap_or_default()
    }

    fn accepted(&self) -> std::path::PathBuf {
        self.gateway.data_dir().join("configuration")
    }

    async fn until(&self, what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline, "in vain until {what}\n{}", self.gateway.tail());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// What is under way ends; the broker answers from now on.
    async fn answer(&self) {
        self.broker.faults().clear();
        self.relay.cut();
        self.until("all connections are cut", || self.relay.connections().1 == 0).await;
        self.relay.mend();
    }

    async fn assert_delivered(&mut self) {
        let all = self.ledger.snapshot();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let losses = oracle::losses(&all, &self.broker.arrivals(&["main", "old", "new"]));
            if losses.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{losses:?}\n{}", self.gateway.tail());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn names(status: &Status) -> Vec<&str> {
    status.lanes.iter().map(|lane| lane.name.as_str()).collect()
}

fn spoil(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, text.replace("adaptive = ", "adaptive = = ")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_mark_of_a_trial_and_the_change_the_start_goes_on_with_the_trial() {
    let mut case = Case::start().await;
    let reload = case.announced("--confirm 10m", "\"trial\":{").await;
    case.gateway.kill();
    reload.abort();
    let status = case.gateway.start_ready().await;
    assert!(status.configuration.trial_left_s.is_some(), "{:?}", status.configuration);
    assert_eq!(names(&status)[..2], ["main", "new"]);
    assert!(lane(&status, "old").retired, "what waits there is sent");
    case.answer().await;
    let kept = |status: &Status| status.configuration.state == "in force";
    case.gateway.until("a delivery keeps it", kept).await;
    case.assert_delivered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_there_and_started_after_its_time_the_former_is_in_force() {
    let mut case = Case::start().await;
    let reload = case.announced("--confirm 1s", "\"trial\":{").await;
    case.gateway.kill();
    reload.abort();
    sleep(Duration::from_secs(1)).await;
    let status = case.gateway.start_ready().await;
    let state = &status.configuration.state;
    assert!(state.starts_with("not kept in time, the former is in force"), "{state}");
    assert_eq!(names(&status), ["main", "old"]);
    case.answer().await;
    case.assert_delivered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_acceptance_is_written_down_no_record_is_without_its_lane() {
    let mut case = Case::start().await;
    let reload = case.announced("", "\"new\"").await;
    let written = case.written();
    case.answer().await;
    reload.await.unwrap();
    let status = case.gateway.until("it is taken", |status| names(status).contains(&"new")).await;
    assert_eq!(status.configuration.state, "in force");
    case.broker.faults().set(Plan { latency_ms: SILENCE_MS, ..Plan::default() });
    hand_over(&case.gateway.socket(), &case.ledger, "new", drafts("n", 0..5)).await;
    case.gateway.kill();
    // What lay there until the acceptance was written down.
    std::fs::write(case.accepted(), &written).unwrap();
    // With a file that is good the new one is in force ...
    let status = case.gateway.start_ready().await;
    assert_eq!((status.configuration.state.as_str(), names(&status)[1]), ("in force", "new"));
    case.gateway.kill();
    // ... and with a bad one that which was accepted; the new lane's records are sent as they were to be.
    std::fs::write(case.accepted(), &written).unwrap();
    spoil(&case.gateway.file("spillway.toml"));
    case.gateway = case.gateway.resilient();
    let status = case.gateway.start_ready().await;
    let state = &status.configuration.state;
    assert!(state.starts_with("refused, the last that was accepted is in force"), "{state}");
    assert_eq!(names(&status), ["main", "old", "new"]);
    assert!(lane(&status, "new").retired && lane(&status, "new").waiting > 0, "{status:#?}");
    case.answer().await;
    case.assert_delivered().await;
    let tags = case.broker.arrivals(&["new"]).into_iter().map(|arrival| arrival.tag);
    assert!(tags.into_iter().all(|tag| tag.as_deref() == Some("Is")));
}
