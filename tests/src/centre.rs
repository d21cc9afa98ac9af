//! The centre: the example `central-consumer`, and messages for it.

use std::fs::File;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spillway_protocol::message::Message;
use spillway_protocol::record::Draft;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::broker::HttpBroker;
use crate::gateway::{PATIENCE, built};
use crate::mariadb::MariaDb;
use crate::sample;

const POLL: Duration = Duration::from_millis(50);
const GRACE: Duration = Duration::from_secs(40);

/// What a consumer finds in its environment.
pub type Environment = Vec<(&'static str, String)>;

/// The environment of a consumer of `topic` as `group`.
pub fn environment(
    broker: impl IntoIterator<Item = (&'static str, String)>,
    database: &MariaDb,
    topic: &str,
    group: &str,
) -> Environment {
    let names = [("ROCKETMQ_TOPIC", topic.to_owned()), ("ROCKETMQ_GROUP_ID", group.to_owned())];
    broker.into_iter().chain(database.environment()).chain(names).collect()
}

/// A running `central-consumer run` or `auditor`. It is killed when this is dropped.
#[derive(Debug)]
pub struct Consumer {
    folder: TempDir,
    child: Child,
}

impl Consumer {
    /// Starts one that makes its tables.
    pub fn start(environment: &Environment, arguments: &[&str]) -> Self {
        Self::spawn("run", environment, arguments)
    }

    /// Starts one that only notes what arrived.
    pub fn auditor(environment: &Environment) -> Self {
        Self::spawn("auditor", environment, &[])
    }

    fn spawn(command: &str, environment: &Environment, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(built("central-consumer"))
            .args([command, "--create-tables"])
            .args(arguments)
            .envs(environment.iter().cloned())
            .env("RUST_LOG", "info,central_consumer=debug,central_store=debug")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { folder, child }
    }

    /// Kills it (SIGKILL).
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it as an operator does, and answers its log; it has to end well.
    pub async fn stop(mut self) -> String {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let deadline = Instant::now() + GRACE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}\n{}", self.log());
                return self.log();
            }
            assert!(Instant::now() < deadline, "it does not stop\n{}", self.log());
            sleep(POLL).await;
        }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "the consumer's log ends:\n{}",
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}

/// Runs another command of the example.
pub async fn command(environment: &Environment, words: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(built("central-consumer"));
    command.args(words).envs(environment.iter().cloned()).stdin(Stdio::null());
    command.kill_on_drop(true);
    tokio::time::timeout(PATIENCE, command.output()).await.expect("in time").unwrap()
}

/// Standard output of a command.
pub fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Polls until a query answers `wanted`; a database that is away answers later.
pub async fn until_count(database: &MariaDb, query: &str, wanted: u64) {
    until_count_within(PATIENCE, database, query, wanted).await;
}

/// The same, for what takes a slow machine longer.
pub async fn until_count_within(within: Duration, database: &MariaDb, query: &str, wanted: u64) {
    let deadline = Instant::now() + within;
    loop {
        let count = database.try_count(query).await;
        if count == Some(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{query}: {count:?}, not {wanted}");
        sleep(POLL).await;
    }
}

/// A record for `patient_records`: number `seq` of the lane `ward` of `gw-1`.
pub fn patient(topic: &str, seq: u64) -> Message {
    let body = json!({"patient_id": format!("p-{}", seq % 50), "notes": format!("note {seq} ☤"),
        "device_timestamp": 1_700_000_000_000_u64 + seq});
    with_body(topic, seq, &body)
}

/// The same with another body.
pub fn with_body(topic: &str, seq: u64, body: &Value) -> Message {
    sample::message(topic, seq, Draft { body: body.to_string().into(), ..Draft::default() })
}

/// Patients number 1 to `count`.
pub fn patients(topic: &str, count: u64) -> Vec<Message> {
    (1..=count).map(|seq| patient(topic, seq)).collect()
}

/// Publishes side by side, as fast as the broker takes them, in no order.
pub async fn publish_many(broker: &HttpBroker, messages: &[Message]) {
    let parts = messages.chunks(messages.len().div_ceil(16).max(1));
    futures::future::join_all(parts.map(|part| broker.publish(part))).await;
}

/// Sets one of the agent's properties.
#[must_use]
pub fn with(mut message: Message, name: &str, value: &str) -> Message {
    message.properties.retain(|(known, _)| known != name);
    message.properties.push((name.to_owned(), value.to_owned()));
    message
}
