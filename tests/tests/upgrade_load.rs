//! The upgrade of a gateway that works: a folder of level 1 in which records wait, apps that go on
//! handing records over in both dialects, an agent that is killed and stopped again and again, and
//! `spillway upgrade --commit` in the midst of it. Until the commit each end of the agent leaves a
//! folder that agents of level 1 read; at the end everything acknowledged has arrived, what waited
//! before the upgrade too, in order where order was asked.
//!
//! `SPILLWAY_OLD_BIN` names an agent of level 1 (tests/run --full builds one): then it, too, has a
//! life after each of the others before the commit, as when the old firmware is booted again.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::Value;
use spillway_protocol::local::status::Status;
use spillway_tests::app::{Crowd, Habit};
use spillway_tests::arrival::Arrival;
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, accounted, binary, lane as lane_of};
use spillway_tests::golden::{self, draft};
use spillway_tests::kill::{self, Kill};
use spillway_tests::ledger::{Ledger, Sent};
use spillway_tests::{frozen, full, http, oracle, random};
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(120);
/// Each with a topic of its name. The golden folder has the first two.
const LANES: [&str; 3] = ["critical", "bulk", "strict"];
/// Where commits keep being cut off, one comes through in the end.
const TRIES_MAX: usize = 60;
/// How long `upgrade --commit` takes here, about: kills come anywhere within.
const COMMIT_MS: u64 = 60;

/// Level 2 would compress and let records expire.
fn settings(broker: &HttpBroker) -> String {
    let orders = [("critical", "none"), ("bulk", "key"), ("strict", "lane")];
    let lane = |(name, order): (&str, &str)| {
        format!(
            "[[lane]]\nname = \"{name}\"\ntopic = \"{name}\"\norder = \"{order}\"\n\
             compress = \"lz4\"\nttl = \"520w\"\ndefault = {}\n",
            name == "critical"
        )
    };
    format!(
        "limits.memory = \"16 MiB\"\n{}[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\n\
         reconnect_spread = \"0s\"\n[backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n[audit]\n{}",
        broker.upstream(),
        orders.map(lane).concat()
    )
}

fn crowd(ledger: &Ledger, socket: &Path, seed: u64) -> Crowd {
    let mut crowd = Crowd::new(ledger, socket, seed);
    crowd.client(Habit::brisk("app", "critical"));
    crowd.client(Habit { order_keys: 5, ..Habit::brisk("keyed", "bulk") });
    let pause_max = Duration::from_millis(30);
    crowd.client(Habit { pause_max, ..Habit::brisk("strict", "strict") });
    let pause_max = Duration::from_millis(80);
    crowd.ndjson(Habit { window: 20, pause_max, ..Habit::brisk("lines", "critical") });
    crowd
}

/// This machine's name for itself, as an agent writes it.
async fn host() -> String {
    let mut gateway = Gateway::new("[[lane]]\nname = \"a\"\ntopic = \"a\"\n");
    gateway.start_ready().await;
    identity(&gateway)["host"].as_str().unwrap().to_owned()
}

fn identity(gateway: &Gateway) -> Value {
    serde_json::from_slice(&fs::read(gateway.data_dir().join("identity")).unwrap()).unwrap()
}

/// The golden folder as this machine's own: its numbers go on in their stream.
fn lay_golden(gateway: &Gateway, host: &str, ledger: &Ledger) -> String {
    golden::level_1(&gateway.data_dir());
    let mut identity = identity(gateway);
    let stream = identity["stream"].as_str().unwrap().to_owned();
    let sum = crc32fast::hash(format!("1 {stream} {host}").as_bytes());
    (identity["host"], identity["sum"]) = (host.into(), sum.into());
    fs::write(gateway.data_dir().join("identity"), identity.to_string()).unwrap();
    for (lane, waiting) in golden::waiting() {
        let lane = if lane == "_resend" { "critical" } else { lane };
        for (seq, n) in waiting {
            let draft = draft(lane, n);
            let id = draft.id.unwrap_or_else(|| format!("b-{n}"));
            let order_key = draft.order_key;
            ledger.send(&id, Sent { order_key, ..Sent::new(lane, draft.body) });
            ledger.acknowledge(&id, seq);
        }
    }
    stream
}

/// Those numbers of the golden folder that were delivered or given up before.
fn gone_before(stream: &str) -> Vec<Arrival> {
    let of = |lane: &str, numbers: Vec<u64>| -> Vec<Arrival> {
        let arrival = |seq| Arrival {
            id: format!("{lane} {seq} before"),
            key: String::new(),
            tag: None,
            order_key: None,
            lane: lane.to_owned(),
            stream: stream.to_owned(),
            seq,
            body: Default::default(),
            place: (0, 0),
            at_ms: 0,
        };
        numbers.into_iter().map(arrival).collect()
    };
    [of("critical", (4..=14).collect()), of("bulk", vec![1, 2, 3, 10, 11])].concat()
}

/// An agent of level 1. It is killed when this is dropped.
struct OldAgent(Child);

impl OldAgent {
    /// With the gateway's configuration, but for what such agents do not know.
    fn start(binary: &Path, gateway: &Gateway) -> Self {
        let (given, file) = (gateway.file("spillway.toml"), gateway.file("old.toml"));
        let text = fs::read_to_string(given).unwrap();
        let newer = |line: &str| line.starts_with("compress") || line.starts_with("ttl");
        let known: Vec<&str> = text.lines().filter(|line| !newer(line)).collect();
        fs::write(&file, known.join("\n")).unwrap();
        let mut command = Command::new(binary);
        command.args(["run", "--config"]).arg(file).stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    async fn status(&self, socket: &Path) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(answer) = http::get(socket, "/v1/status").await {
                return answer.json();
            }
            assert!(Instant::now() < deadline, "the old agent does not answer");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for OldAgent {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

struct Trial {
    broker: HttpBroker,
    gateway: Gateway,
    ledger: Ledger,
    crowd: Crowd,
    rng: StdRng,
    stream: String,
    kills: Vec<Kill>,
    /// What each lane had accepted when it was last looked at.
    before: [u64; LANES.len()],
}

impl Trial {
    /// On the old folder, with a broker that is not there.
    async fn start(seed: u64) -> Self {
        let mut broker = HttpBroker::start().await;
        let gateway = Gateway::new(&settings(&broker));
        broker.stop().await;
        let ledger = Ledger::default();
        let stream = lay_golden(&gateway, &host().await, &ledger);
        let crowd = crowd(&ledger, &gateway.socket(), seed);
        let (rng, kills) = (random::rng(seed, 0), Vec::new());
        Self { broker, gateway, ledger, crowd, rng, stream, kills, before: [0; LANES.len()] }
    }

    fn chance(&mut self, ms: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(ms))
    }

    /// The agent begins a life: what was acknowledged is in its accounts.
    async fn live(&mut self) -> Status {
        self.gateway.start();
        let acknowledged = LANES.map(|lane| self.ledger.acknowledged(lane));
        let status = self.gateway.ready().await;
        for (nth, name) in LANES.into_iter().enumerate() {
            let lane = lane_of(&status, name);
            assert_eq!((lane.accepted, lane.damaged), (accounted(lane), 0), "{lane:?}");
            assert!(lane.accepted >= acknowledged[nth].max(self.before[nth]), "{lane:?}");
            self.before[nth] = lane.accepted;
        }
        status
    }

    fn kill(&mut self) {
        self.kills.push(Kill::of(&mut self.gateway, &LANES));
    }

    /// A life at level 1, after which agents of level 1 find all that has not left.
    async fn live_at_level_1(&mut self, stop: bool) {
        let status = self.live().await;
        assert_eq!((status.format.level, status.format.newest), (1, 2));
        let life = self.chance(50..900);
        sleep(life).await;
        match stop {
            true => self.gateway.stop(PATIENCE).await,
            false => self.kill(),
        }
        self.old_agents_find_all();
        if let Some(old) = std::env::var_os("SPILLWAY_OLD_BIN") {
            self.live_as_before(Path::new(&old)).await;
            self.old_agents_find_all();
        }
    }

    /// A life of the old agent, up to its kill.
    async fn live_as_before(&mut self, binary: &Path) {
        let acknowledged = LANES.map(|lane| self.ledger.acknowledged(lane));
        let old = OldAgent::start(binary, &self.gateway);
        let status = old.status(&self.gateway.socket()).await;
        for (nth, name) in LANES.into_iter().enumerate() {
            let mut lanes = status["lanes"].as_array().unwrap().iter();
            let lane = lanes.find(|lane| lane["name"] == name).unwrap();
            assert_eq!(lane["damaged"], 0, "{lane}");
            self.before[nth] = lane["accepted"].as_u64().unwrap();
            assert!(self.before[nth] >= acknowledged[nth], "{lane} < {acknowledged:?}");
        }
        let life = self.chance(50..900);
        sleep(life).await;
        drop(old);
        self.kill();
    }

    fn old_agents_find_all(&self) {
        let stored = frozen::read_killed(&self.gateway.data_dir());
        let arrived = self.arrivals();
        let arrived: BTreeSet<&str> = arrived.iter().map(|arrival| arrival.id.as_str()).collect();
        for lane in LANES {
            let kept = |(id, sent): &(&String, &Sent)| {
                let copied = ["c-1", "c-2", "c-3"].contains(&id.as_str());
                sent.lane == lane && sent.acknowledged.is_some() && !copied
            };
            let sent = self.ledger.snapshot();
            let kept = sent.iter().filter(kept).filter(|(id, _)| !arrived.contains(id.as_str()));
            let (kept, found) = (kept.count() as u64, stored.get(lane).copied().unwrap_or(0));
            assert!(found >= kept, "{lane}: {kept} are to be kept, and {found} are stored");
        }
    }

    fn arrivals(&self) -> Vec<Arrival> {
        if self.broker.is_running() { self.broker.arrivals(&LANES) } else { vec![] }
    }

    /// Commits, and kills the agent while it is at it; returns whether the command said that it is
    /// committed.
    async fn commit_and_kill(&mut self) -> bool {
        self.live().await;
        let config = self.gateway.file("spillway.toml");
        let mut commit = Command::new(binary());
        commit.args(["upgrade", "--commit", "--config"]).arg(config);
        let commit = commit.stdout(Stdio::null()).spawn().unwrap();
        let meanwhile = self.chance(0..COMMIT_MS);
        sleep(meanwhile).await;
        self.kill();
        commit.wait_with_output().unwrap().status.success()
    }

    /// Commits until that is done; returns how often it was cut off before.
    async fn commit(&mut self) -> usize {
        for cut in 0..TRIES_MAX {
            let said = self.commit_and_kill().await;
            match identity(&self.gateway)["format"].as_u64() {
                Some(2) => return cut,
                level => assert_eq!((level, said), (Some(1), false), "what it says is durable"),
            }
            self.old_agents_find_all();
        }
        panic!("{TRIES_MAX} commits were cut off");
    }

    /// The last life, in peace: everything arrives.
    async fn settle(mut self) {
        self.live().await;
        self.crowd.stop().await;
        let empty = |status: &Status| status.lanes.iter().all(|lane| lane.waiting == 0);
        let status = self.gateway.until_within(PATIENCE, "all is sent", empty).await;
        self.gateway.stop(PATIENCE).await;
        let (sent, arrived) = (self.ledger.snapshot(), self.broker.arrivals(&LANES));
        oracle::assert_none("losses", &oracle::losses(&sent, &arrived));
        let all = [gone_before(&self.stream), arrived.clone()].concat();
        oracle::assert_none("gaps", &oracle::gaps(&all));
        assert!(arrived.iter().all(|arrival| arrival.stream == self.stream), "another stream");
        oracle::assert_none("order of the lane", &oracle::disorder(&sent, &arrived, strict));
        oracle::assert_none("order of the keys", &oracle::disorder(&sent, &arrived, order_key));
        for name in LANES {
            let lane = lane_of(&status, name);
            assert_eq!(lane.accepted, accounted(lane), "{lane:?}");
            let last = all.iter().filter(|arrival| arrival.lane == name).map(|a| a.seq).max();
            // The golden folder's replayed letter has a number more.
            assert_eq!(last, Some(lane.accepted + u64::from(name == "critical")), "{name}");
        }
        let repeats = kill::explain(&arrived, &self.kills);
        assert!(repeats.unexplained.is_empty(), "{:#?}", repeats.unexplained);
        println!("{} kills: {repeats}", self.kills.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_folder_is_upgraded_and_committed_while_apps_send_and_the_agent_is_killed() {
    let (seed, mut cut) = (random::seed(), 0);
    for round in 0..if full() { 20 } else { 2 } {
        let mut trial = Trial::start(seed + round).await;
        // What waited and what came since waits on: the broker is away.
        for stop in [false, true, false] {
            trial.live_at_level_1(stop).await;
        }
        trial.broker.restart().await;
        for stop in [false, false, true, false] {
            trial.live_at_level_1(stop).await;
        }
        cut += trial.commit().await;
        let data = trial.gateway.data_dir();
        assert!(catch_unwind(|| frozen::read_killed(&data)).is_err(), "it is level 2's");
        for _ in 0..4 {
            assert_eq!(trial.live().await.format.level, 2);
            let life = trial.chance(50..900);
            sleep(life).await;
            trial.kill();
        }
        trial.settle().await;
    }
    println!("{cut} commits were cut off");
}

/// The lane that is ordered as a whole.
fn strict(arrival: &Arrival) -> Option<&str> {
    Some(arrival.lane.as_str()).filter(|lane| *lane == "strict")
}

fn order_key(arrival: &Arrival) -> Option<&str> {
    arrival.order_key.as_deref().filter(|_| arrival.lane == "bulk")
}
