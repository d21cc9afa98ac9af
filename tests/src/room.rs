//! Gateways with little room on the disk, and apps that are told so.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use spillway_protocol::local::status::Status;
use spillway_protocol::tombstone::{Range, Tombstones};

use crate::broker::HttpBroker;
use crate::gateway::{Gateway, accounted};
use crate::http::{self, Answer};
use crate::ledger::{Ledger, Sent};
use crate::oracle;

const PATIENCE: Duration = Duration::from_secs(120);
const BODY_BYTES: usize = 20_000;
/// More records than any lane here holds.
const MANY: u64 = 10_000;

/// A configuration with the lanes `critical` and `bulk`, the default, and more lines in each.
pub fn settings(broker: &HttpBroker, critical: &str, bulk: &str) -> String {
    let lanes = [("critical", 0, critical), ("bulk", 2, bulk)].map(|(name, priority, rest)| {
        let default = name == "bulk";
        format!(
            "[[lane]]\nname = \"{name}\"\ntopic = \"{name}\"\npriority = {priority}\n\
             default = {default}\n{rest}\n"
        )
    });
    format!(
        "{}[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
         [backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n[report]\ntopic = \"reports\"\n{}",
        broker.upstream(),
        lanes.concat()
    )
}

/// A tmpfs that only a gateway sees, also over its restarts. It is gone when this is dropped.
#[derive(Debug)]
pub struct Tmpfs(Child);

/// A gateway whose queue lies on a tmpfs with these options of mount.
pub fn on_tmpfs(settings: &str, options: &str) -> (Gateway, Tmpfs) {
    let gateway = Gateway::new(settings);
    std::fs::create_dir_all(gateway.data_dir()).unwrap();
    let folder = gateway.data_dir();
    let mount = format!("mount -t tmpfs -o {options} none {folder:?} && echo && exec sleep inf");
    let mut unshare = Command::new("unshare");
    unshare.args(["-m", "sh", "-c", &mount]).stdout(Stdio::piped());
    let mut keeper = unshare.spawn().unwrap();
    let mut mounted = [0];
    keeper.stdout.as_mut().unwrap().read_exact(&mut mounted).expect("mount needs root");
    let pid = keeper.id().to_string();
    (gateway.wrapped(&["nsenter", "--target", &pid, "--mount"]), Tmpfs(keeper))
}

impl Tmpfs {
    /// Runs a command where it is seen.
    pub fn run(&self, command: &str) {
        let pid = self.0.id().to_string();
        let words = ["--target", &pid, "--mount", "sh", "-c", command];
        assert!(Command::new("nsenter").args(words).status().unwrap().success(), "{command}");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

/// Hands over one record of 20 kB as JSON, for the first time or again.
pub async fn post(gateway: &Gateway, ledger: &Ledger, lane: &str, number: u64) -> Answer {
    let (id, body) = (format!("{lane}-{number}"), "x".repeat(BODY_BYTES));
    if !ledger.snapshot().contains_key(&id) {
        ledger.send(&id, Sent::new(lane, body.clone().into_bytes()));
    }
    let record = json!({"id": id, "lane": lane, "body": body}).to_string();
    let kind = "application/json";
    let answer = http::post(&gateway.socket(), "/v1/records", kind, record.as_bytes()).await;
    let answer = answer.unwrap();
    if answer.status < 300 {
        ledger.acknowledge(&id, answer.json()["seq"].as_u64().unwrap());
    }
    answer
}

/// Hands records over until one is refused: its number and the words.
pub async fn fill(gateway: &Gateway, ledger: &Ledger, lane: &str, from: u64) -> (u64, String) {
    for number in from..from + MANY {
        let answer = post(gateway, ledger, lane, number).await;
        if answer.status >= 300 {
            let error: Value = answer.json();
            assert_eq!((answer.status, &error["error"]["code"]), (507, &json!("disk_full")));
            assert!(answer.head.to_lowercase().contains("retry-after"), "{}", answer.head);
            return (number, error["error"]["message"].as_str().unwrap().to_owned());
        }
    }
    panic!("{lane} takes without a bound");
}

/// Ranges of the bulk lane that the agent has told to be given up.
pub fn told(broker: &HttpBroker) -> Vec<Range> {
    let bodies = broker.messages("reports");
    let is_told = |(name, value): &(String, String)| name == "sw_flags" && value == "tombstone";
    let told = bodies.iter().filter(|message| message.properties.iter().any(is_told));
    let ranges: Vec<_> =
        told.flat_map(|m| Tombstones::from_json(m.body.as_bytes()).unwrap().ranges).collect();
    assert!(ranges.len() < 60, "ranges, not one a record: {}", ranges.len());
    assert!(ranges.iter().all(|range| range.lane == "bulk"), "{ranges:?}");
    ranges
}

/// The accounts are those of the ledger, and no lane has more than it may.
pub fn check(status: &Status, ledger: &Ledger) {
    for lane in &status.lanes {
        assert_eq!(lane.accepted, accounted(lane), "{lane:?}");
        assert_eq!(lane.accepted, ledger.acknowledged(&lane.name), "{lane:?}");
        let limit = lane.limit.as_ref().unwrap();
        assert!(limit.used <= limit.bytes, "{lane:?}");
    }
}

/// Everything that was acknowledged arrives; numbers follow each other.
pub async fn settle(gateway: &mut Gateway, broker: &HttpBroker, ledger: &Ledger) {
    let status = gateway.until_delivered(PATIENCE).await;
    check(&status, ledger);
    let arrived = broker.arrivals(&["critical", "bulk"]);
    oracle::assert_none("acknowledged and lost", &oracle::losses(&ledger.snapshot(), &arrived));
    oracle::assert_none("missing numbers", &oracle::gaps(&arrived));
}
