//! SIGKILL in a loop, at random moments, while apps hand records over and a broker takes them:
//! everything acknowledged arrives, nothing invented, in order where order was asked, and what
//! arrives twice is bounded.
//!
//! **The bound.** The agent notes what was delivered every 200 ms. What a kill makes it send again
//! is what was delivered since the last note, and what was in flight.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rand::RngExt;
use rand::rngs::StdRng;
use spillway_protocol::local::status::{Lane, Status};
use spillway_tests::app::{Crowd, Habit};
use spillway_tests::arrival::Arrival;
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, accounted, now_ms};
use spillway_tests::ledger::Ledger;
use spillway_tests::{full, oracle, random};
use tokio::time::sleep;

/// Lanes, each with a topic of its name.
const LANES: [&str; 4] = ["plain", "keyed", "strict", "lines"];
/// Most requests in flight.
const IN_FLIGHT_MAX: usize = 128;
/// A note is 200 ms old at most, and takes a sync: generously, on a disk that builds share. Some
/// lives are twice as long, so that an agent that notes nothing is found out.
const NOTED_WITHIN_MS: u64 = 2000;
/// Clocks of files tick every 4 ms.
const TICK_MS: u64 = 10;

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
    let habit = |name: &'static str, lane: &'static str| Habit {
        name,
        lane,
        order_keys: 0,
        body_bytes: 20..3000,
        pause_max: Duration::from_millis(6),
        window: 64,
    };
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

/// One kill: when, and until when deliveries had been noted per lane.
struct Kill {
    at_ms: u64,
    noted_ms: BTreeMap<&'static str, u64>,
}

impl Kill {
    fn of(gateway: &mut Gateway) -> Self {
        gateway.kill();
        let noted =
            |lane: &'static str| (lane, noted_ms(&gateway.data_dir().join("lanes").join(lane)));
        Self { at_ms: now_ms(), noted_ms: LANES.map(noted).into() }
    }
}

/// When the lane's state was written last; 0 if it never was.
fn noted_ms(lane: &Path) -> u64 {
    let written = |slot: &str| {
        let modified = lane.join(slot).metadata().ok()?.modified().unwrap();
        u64::try_from(modified.duration_since(UNIX_EPOCH).unwrap().as_millis()).ok()
    };
    ["state-0", "state-1"].into_iter().filter_map(written).max().unwrap_or(0)
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

/// One life of the agent, however short.
async fn live(gateway: &mut Gateway, rng: &mut StdRng, before: &mut [u64], ledger: &Ledger) {
    gateway.start();
    if rng.random_bool(0.2) {
        // Killed while it starts, or just after.
        return sleep(Duration::from_millis(rng.random_range(0..150))).await;
    }
    let acknowledged = LANES.map(|lane| ledger.acknowledged(lane));
    check_accounts(&acknowledged, &gateway.ready().await, before, ledger);
    let long = rng.random_bool(0.1);
    let most_ms = if long { 4000 } else { 700 };
    sleep(Duration::from_millis(rng.random_range(100..most_ms))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_every_kill_once_and_in_order() {
    let seed = random::seed();
    let mut rng = random::rng(seed, 0);
    let broker = HttpBroker::start().await;
    let mut gateway = Gateway::new(&settings(&broker));
    let ledger = Ledger::default();
    let crowd = crowd(&ledger, &gateway.socket(), seed);
    let (mut kills, mut before) = (Vec::new(), [0; LANES.len()]);
    for _ in 0..if full() { 500 } else { 50 } {
        live(&mut gateway, &mut rng, &mut before, &ledger).await;
        kills.push(Kill::of(&mut gateway));
    }
    gateway.start_ready().await;
    crowd.stop().await;
    let status = gateway.until_delivered(Duration::from_secs(120)).await;
    let acknowledged = LANES.map(|lane| ledger.acknowledged(lane));
    check_accounts(&acknowledged, &status, &mut before, &ledger);
    gateway.stop(Duration::from_secs(20)).await;
    check(&ledger, &broker.arrivals(&LANES), &status, &kills);
}

fn check(ledger: &Ledger, arrived: &[Arrival], status: &Status, kills: &[Kill]) {
    let sent = ledger.snapshot();
    oracle::assert_none("losses", &oracle::losses(&sent, arrived));
    oracle::assert_none("gaps", &oracle::gaps(arrived));
    oracle::assert_none("order of the lane", &oracle::disorder(&sent, arrived, strict));
    oracle::assert_none("order of the keys", &oracle::disorder(&sent, arrived, order_key));
    for lane in &status.lanes {
        let of_lane = arrived.iter().filter(|arrival| arrival.lane == lane.name);
        let last = of_lane.map(|arrival| arrival.seq).max();
        assert_eq!(last, Some(lane.accepted), "the newest number of {}", lane.name);
    }
    check_repeats(arrived, kills);
    let acknowledged: u64 = LANES.iter().map(|lane| ledger.acknowledged(lane)).sum();
    assert!(acknowledged > 50 * kills.len() as u64, "only {acknowledged}: nothing was tried");
}

/// The lane that is ordered as a whole.
fn strict(arrival: &Arrival) -> Option<&str> {
    Some(arrival.lane.as_str()).filter(|lane| *lane == "strict")
}

fn order_key(arrival: &Arrival) -> Option<&str> {
    arrival.order_key.as_deref().filter(|_| arrival.lane == "keyed")
}

/// Every repeat is explained by a kill; see the module for the bound.
fn check_repeats(arrived: &[Arrival], kills: &[Kill]) {
    let repeats = oracle::repeats(arrived);
    let mut noted_before = vec![0; kills.len()];
    let mut oldest_ms = 0;
    for (first, again) in &repeats {
        let between =
            |kill: &&Kill| kill.at_ms >= first.at_ms && kill.at_ms <= again.at_ms + TICK_MS;
        // What was in flight may reach the broker just after the kill.
        let during = |kill: &&Kill| kill.at_ms + 1000 >= first.at_ms && kill.at_ms <= again.at_ms;
        let kill = kills.iter().find(between).or_else(|| kills.iter().rfind(during));
        let kill = kill.unwrap_or_else(|| panic!("no kill explains {first:?} and {again:?}"));
        let age_ms = kill.at_ms.saturating_sub(first.at_ms);
        assert!(age_ms <= NOTED_WITHIN_MS, "{} came twice, {age_ms} ms before a kill", first.id);
        oldest_ms = oldest_ms.max(age_ms);
        if first.at_ms + TICK_MS < kill.noted_ms[&*first.lane] {
            let nth = kills.iter().position(|other| std::ptr::eq(other, kill)).unwrap();
            noted_before[nth] += 1;
        }
    }
    let most = noted_before.iter().max().unwrap();
    assert!(*most <= IN_FLIGHT_MAX, "{most} were sent again though noted as delivered");
    println!(
        "{} kills: {} arrivals, {} of them repeats; the oldest was delivered {oldest_ms} ms before \
         its kill, at most {most} before the last note",
        kills.len(),
        arrived.len(),
        repeats.len(),
    );
}
