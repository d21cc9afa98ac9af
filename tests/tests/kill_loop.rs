//! SIGKILL in a loop, at random moments, while apps hand records over and a broker takes them:
//! everything acknowledged arrives, nothing invented, in order where order was asked, and what
//! arrives twice is bounded.
//!
//! The bound on what arrives twice is the one of [`spillway_tests::kill`].

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;
use spillway_protocol::local::status::{Lane, Status};
use spillway_tests::app::{Crowd, Habit};
use spillway_tests::arrival::Arrival;
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, accounted};
use spillway_tests::kill::{self, Kill};
use spillway_tests::ledger::Ledger;
use spillway_tests::{full, oracle, random};
use tokio::task::block_in_place;
use tokio::time::sleep;

/// How long a change is waited for, and how often it is looked for: it is over in milliseconds.
const CHANGE_WITHIN: Duration = Duration::from_secs(4);
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// Lanes, each with a topic of its name.
const LANES: [&str; 4] = ["plain", "keyed", "strict", "lines"];

fn settings(broker: &HttpBroker) -> String {
    let orders = [("plain", "none"), ("keyed", "key"), ("strict", "lane"), ("lines", "none")];
    let lane = |(name, order): (&str, &str)| {
        let default = name == "plain";
        format!(
            "[[lane]]\nname = \"{name}\"\ntopic = \"{name}\"\norder = \"{order}\"\n\
             default = {default}\n"
        )
    };
    // With 16 MiB a segment has one.
    format!(
        "limits.memory = \"16 MiB\"\n{}[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\n\
         reconnect_spread = \"0s\"\n[backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n{}",
        broker.upstream(),
        orders.map(lane).concat()
    )
}

fn crowd(ledger: &Ledger, socket: &Path, seed: u64) -> Crowd {
    let habit = Habit::brisk;
    let mut crowd = Crowd::new(ledger, socket, seed);
    crowd.client(habit("a", "plain"));
    let large = Duration::from_millis(400);
    crowd.client(Habit { body_bytes: 60_000..300_000, pause_max: large, ..habit("b", "plain") });
    crowd.client(Habit { order_keys: 5, ..habit("c", "keyed") });
    crowd.client(Habit { pause_max: Duration::from_millis(30), ..habit("d", "strict") });
    let pause_max = Duration::from_millis(80);
    crowd.ndjson(Habit { window: 20, pause_max, ..habit("e", "lines") });
    crowd
}

/// The accounts add up, nothing acknowledged is missing in them, and none of them goes back.
fn check_accounts(acknowledged: &[u64], status: &Status, before: &mut [u64], ledger: &Ledger) {
    for (nth, lane) in status.lanes.iter().enumerate() {
        assert_eq!(lane.accepted, accounted(lane), "{lane:?}");
        let given_up = |lane: &Lane| lane.dead + lane.expired + lane.dropped + lane.damaged;
        assert_eq!(given_up(lane), 0, "{lane:?}");
        assert!(lane.accepted >= acknowledged[nth], "{} < {acknowledged:?}", lane.accepted);
        assert!(lane.accepted >= before[nth], "{} < {before:?}", lane.accepted);
        assert!(lane.accepted <= ledger.sent(&lane.name), "{lane:?}");
        before[nth] = lane.accepted;
    }
}

/// A gateway with its apps and its broker, through many lives of the agent.
struct Trial {
    broker: HttpBroker,
    gateway: Gateway,
    ledger: Ledger,
    crowd: Crowd,
    rng: StdRng,
    kills: Vec<Kill>,
    /// What each lane had accepted when it was last looked at.
    before: [u64; LANES.len()],
    /// Kills in the middle of a change of the files.
    changes: usize,
}

/// Whether there is a name that stands for half of something.
fn changes(lane: &Path) -> bool {
    let half = |name: &str| ["tmp-", "dead-", "new-"].iter().any(|half| name.starts_with(half));
    let mut names = std::fs::read_dir(lane).into_iter().flatten().flatten();
    names.any(|entry| entry.file_name().to_str().is_some_and(half))
}

impl Trial {
    async fn start() -> Self {
        let seed = random::seed();
        let broker = HttpBroker::start().await;
        let gateway = Gateway::new(&settings(&broker));
        let ledger = Ledger::default();
        let crowd = crowd(&ledger, &gateway.socket(), seed);
        let rng = random::rng(seed, 0);
        let (kills, before) = (Vec::new(), [0; LANES.len()]);
        Self { broker, gateway, ledger, crowd, rng, kills, before, changes: 0 }
    }

    /// One life of the agent: so many milliseconds once it is ready.
    async fn live(&mut self, ms: Range<u64>) {
        self.gateway.start();
        let acknowledged = LANES.map(|lane| self.ledger.acknowledged(lane));
        let status = self.gateway.ready().await;
        check_accounts(&acknowledged, &status, &mut self.before, &self.ledger);
        self.kill_after(ms).await;
    }

    /// A life that ends while it begins, or just after.
    async fn be_born(&mut self) {
        self.gateway.start();
        self.kill_after(0..150).await;
    }

    /// A life that ends while a segment is being made or removed, or a table of ids written.
    fn live_to_a_change(&mut self) {
        self.gateway.start();
        let lanes = LANES.map(|lane| self.gateway.data_dir().join("lanes").join(lane));
        let begun = Instant::now();
        let mut met = false;
        while !met && begun.elapsed() < CHANGE_WITHIN {
            std::thread::sleep(LOOK_EVERY);
            met = lanes.iter().any(|lane| changes(lane));
        }
        self.kills.push(Kill::of(&mut self.gateway, &LANES));
        self.changes += usize::from(met);
    }

    async fn kill_after(&mut self, ms: Range<u64>) {
        sleep(Duration::from_millis(self.rng.random_range(ms))).await;
        self.kills.push(Kill::of(&mut self.gateway, &LANES));
    }

    /// The last life, in peace: everything arrives, at least `records` of them.
    async fn settle(mut self, records: u64) {
        self.gateway.start_ready().await;
        self.crowd.stop().await;
        let status = self.gateway.until_delivered(Duration::from_secs(120)).await;
        let acknowledged = LANES.map(|lane| self.ledger.acknowledged(lane));
        check_accounts(&acknowledged, &status, &mut self.before, &self.ledger);
        self.gateway.stop(Duration::from_secs(20)).await;
        check(&self.ledger, &self.broker.arrivals(&LANES), &status, &self.kills);
        let all: u64 = acknowledged.iter().sum();
        assert!(all > records, "only {all} records: nothing was tried");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_every_kill_once_and_in_order() {
    let mut trial = Trial::start().await;
    let kills = if full() { 1000 } else { 76 };
    for _ in 0..kills {
        match trial.rng.random_range(0..10) {
            0 | 1 => trial.be_born().await,
            2 => trial.live(100..9000).await,
            3 => block_in_place(|| trial.live_to_a_change()),
            _ => trial.live(100..700).await,
        }
    }
    println!("{} kills in the middle of a change", trial.changes);
    assert!(trial.changes > 0);
    trial.settle(30 * kills).await;
}

/// A new queue that never lives long enough to save its state: what it knows of its numbers is
/// what lies in its segments.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_queue_outlives_one_kill_after_another() {
    for _ in 0..if full() { 20 } else { 2 } {
        let mut trial = Trial::start().await;
        for _ in 0..12 {
            trial.live(0..150).await;
        }
        trial.settle(100).await;
    }
}

fn check(ledger: &Ledger, arrived: &[Arrival], status: &Status, kills: &[Kill]) {
    let sent = ledger.snapshot();
    oracle::assert_none("losses", &oracle::losses(&sent, arrived));
    oracle::assert_none("gaps", &oracle::gaps(arrived));
    oracle::assert_none("order of the lane", &oracle::disorder(&sent, arrived, strict));
    oracle::assert_none("order of the keys", &oracle::disorder(&sent, arrived, order_key));
    for lane in &status.lanes {
        let of_lane = arrived.iter().filter(|arrival| arrival.lane == lane.name);
        // Lives may be so short that a lane never got a record.
        let last = of_lane.map(|arrival| arrival.seq).max().unwrap_or(0);
        assert_eq!(last, lane.accepted, "the newest number of {}", lane.name);
    }
    let repeats = kill::explain(arrived, kills);
    assert!(repeats.unexplained.is_empty(), "{:#?}", repeats.unexplained);
    println!("{} kills: {repeats}", kills.len());
}

/// The lane that is ordered as a whole.
fn strict(arrival: &Arrival) -> Option<&str> {
    Some(arrival.lane.as_str()).filter(|lane| *lane == "strict")
}

fn order_key(arrival: &Arrival) -> Option<&str> {
    arrival.order_key.as_deref().filter(|_| arrival.lane == "keyed")
}
