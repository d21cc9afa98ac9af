//! The operator's desk (`tests/rocketmq/Desk.java`): topics are created and read through it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use serde::Deserialize;

use super::files::Options;
use super::ports::Ports;
use super::{START_DEADLINE, java};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rocketmq/Desk.java");

/// A message as it lies at the broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Stored {
    /// Its queue.
    pub queue_id: i32,
    /// Its place there.
    pub offset: i64,
    /// When the broker stored it, ms since 1970.
    pub stored_ms: u64,
    /// UNIQ_KEY, the id that the sender chose.
    pub message_id: String,
    /// KEYS.
    pub keys: Option<String>,
    /// Tag.
    pub tag: Option<String>,
    /// All properties, RocketMQ's own among them.
    pub properties: BTreeMap<String, String>,
    /// Payload.
    #[serde(deserialize_with = "base64")]
    pub body: Vec<u8>,
}

fn base64<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    use base64::Engine;
    let text = String::deserialize(from)?;
    base64::engine::general_purpose::STANDARD.decode(text).map_err(serde::de::Error::custom)
}

/// One JVM that obeys commands, and ends with its standard input.
pub(super) struct Desk {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Desk {
    pub(super) fn open(dir: &Path, ports: &Ports, options: &Options) -> Self {
        let key = options.access_key.iter().flat_map(|(id, secret)| [id, secret]);
        let mut child = Command::new("java")
            .args(java::common(dir))
            .arg(SOURCE)
            .arg(format!("127.0.0.1:{}", ports.namesrv))
            .arg(format!("127.0.0.1:{}", ports.broker))
            .args(key)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(dir.join("desk.log")).unwrap())
            .spawn()
            .expect("java has to be installed");
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut desk = Self { child, commands, answers };
        if let Err(reason) = desk.collect() {
            panic!("desk: {reason}; see {}", dir.join("desk.log").display());
        }
        desk
    }

    /// Obeys, or panics with the reason.
    pub(super) fn obey(&mut self, command: &str) {
        if let Err(reason) = self.ask(command) {
            panic!("{command}: {reason}");
        }
    }

    /// Until the broker obeys and the name server knows it.
    pub(super) fn await_broker(&mut self) {
        let begun = Instant::now();
        while let Err(reason) = self.ask("ready") {
            assert!(begun.elapsed() < START_DEADLINE, "broker: {reason}");
        }
    }

    pub(super) fn read(&mut self, topic: &str) -> Vec<Stored> {
        let lines = self.ask(&format!("read {topic}"));
        let lines = lines.unwrap_or_else(|reason| panic!("read {topic}: {reason}"));
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Ends the load; how many of its messages were stored and how many refused.
    pub(super) fn unload(&mut self) -> (u64, u64) {
        let lines = self.ask("unload").unwrap_or_else(|reason| panic!("unload: {reason}"));
        let (stored, refused) = lines[0].split_once(' ').unwrap();
        (stored.parse().unwrap(), refused.parse().unwrap())
    }

    fn ask(&mut self, command: &str) -> Result<Vec<String>, String> {
        let commands = self.commands.as_mut().ok_or("closed")?;
        writeln!(commands, "{command}").map_err(|e| e.to_string())?;
        self.collect()
    }

    /// The lines of one answer.
    fn collect(&mut self) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.answers.read_line(&mut line);
            match line.trim_end() {
                _ if read.is_err() || line.is_empty() => return Err("has ended".to_owned()),
                "done" => return Ok(lines),
                text => match text.strip_prefix("error ") {
                    Some(reason) => return Err(reason.to_owned()),
                    None => lines.push(text.to_owned()),
                },
            }
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}
