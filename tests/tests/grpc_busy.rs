//! A real `RocketMQ` that says "broker busy": one send thread that waits for its disk, a send queue
//! in which nothing may wait long, and another producer that keeps it full. The agent meets the
//! refusals, sends less, loses nothing, dead-letters nothing, and has its pace again when the load
//! is gone.
//!
//! The proxy runs in cluster mode: one in the broker's own process does not use its send queue.

use std::collections::BTreeMap;
use std::time::Duration;

use spillway::pace::{Memory, Quiet};
use spillway_protocol::local::status::Status;
use spillway_tests::app::{Crowd, Habit};
use spillway_tests::arrival::Arrival;
use spillway_tests::gate::Gate;
use spillway_tests::gateway::Gateway;
use spillway_tests::ledger::Ledger;
use spillway_tests::oracle;
use spillway_tests::rocketmq::{Options, RocketMq};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

/// The broker writes one message after the other. Without the load it refuses nothing, whatever
/// else this machine does.
const NARROW: &str = "sendMessageThreadPoolNums=1\nasyncSendEnable=false\n\
                      flushDiskType=SYNC_FLUSH\n";
const WAIT_MS: u32 = 30_000;
/// Under load, what waits longer than this is refused.
const SHORT_WAIT_MS: u32 = 50;
/// Threads that keep the send queue full.
const LOAD: usize = 128;
/// What the agent has learned of its app, in records per second.
const OWN_PER_S: f64 = 50.0;
/// Longest pause of the app: it makes a little less than that.
const PAUSE_MAX: Duration = Duration::from_millis(42);
/// Refusals under load, before the load goes away.
const REFUSED_MANY: usize = 20;
/// For how long requests are counted.
const COUNTED: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(180);
const TOPIC: &str = "vitals";

fn settings(port: u16) -> String {
    format!(
        "[upstream]\ntransport = \"grpc\"\nendpoint = \"127.0.0.1:{port}\"\n\
         [drain]\nreconnect_spread = \"0s\"\n[[lane]]\nname = \"main\"\ntopic = \"{TOPIC}\"\n"
    )
}

/// A gateway that knows its own rate from earlier days.
fn gateway(port: u16) -> Gateway {
    let gateway = Gateway::new(&settings(port));
    std::fs::create_dir_all(gateway.data_dir()).unwrap();
    let watched = Duration::from_secs(4 * 3600);
    let memory = Memory { own_rate_per_s: OWN_PER_S, watched, quiet: Quiet::default() };
    std::fs::write(gateway.data_dir().join("pace"), memory.encode()).unwrap();
    gateway
}

fn crowd(ledger: &Ledger, gateway: &Gateway) -> Crowd {
    let mut crowd = Crowd::new(ledger, &gateway.socket(), 1);
    crowd.client(Habit {
        name: "monitor",
        lane: "main",
        order_keys: 0,
        body_bytes: 50..300,
        pause_max: PAUSE_MAX,
        window: 64,
    });
    crowd
}

fn allowed(status: &Status) -> f64 {
    status.pace.allowed_per_s.unwrap_or(f64::INFINITY)
}

/// Requests per second through the gate, over [`COUNTED`].
async fn requests_per_s(gate: &Gate) -> f64 {
    let (before, from) = (gate.calls().len(), Instant::now());
    sleep(COUNTED).await;
    (gate.calls().len() - before) as f64 / from.elapsed().as_secs_f64()
}

fn refused(gate: &Gate) -> usize {
    gate.calls().iter().filter(|call| call.stored == Some(false)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_busy_broker_is_spared_and_nothing_is_lost() {
    let options = Options { cluster: true, broker: NARROW, ..Options::default() };
    let mut mq = block_in_place(|| RocketMq::start(options));
    block_in_place(|| mq.let_wait(WAIT_MS));
    for topic in [TOPIC, "load"] {
        block_in_place(|| mq.create_topic(topic, "NORMAL"));
    }
    let gate = Gate::start(mq.grpc_port()).await;
    let mut gateway = gateway(gate.port());
    gateway.start_ready().await;
    let ledger = Ledger::default();
    let crowd = crowd(&ledger, &gateway);

    let calm = |status: &Status| status.lanes[0].delivered > 200 && allowed(status) >= OWN_PER_S;
    let before = gateway.until_within(PATIENCE, "it keeps up with its app", calm).await;
    let usual = requests_per_s(&gate).await;

    block_in_place(|| mq.let_wait(SHORT_WAIT_MS));
    block_in_place(|| mq.load("load", LOAD));
    let slow = |status: &Status| allowed(status) < 0.5 * usual;
    let low = gateway.until_within(PATIENCE, "the pace falls", slow).await;
    let spared = requests_per_s(&gate).await;
    let met = |_: &Status| refused(&gate) >= REFUSED_MANY;
    let under = gateway.until_within(PATIENCE, "the broker refuses many", met).await;
    let (loaded, turned_away) = block_in_place(|| mq.unload());
    block_in_place(|| mq.let_wait(WAIT_MS));
    let ended = Instant::now();

    let back = |status: &Status| allowed(status) >= 0.9 * allowed(&before);
    let after = gateway.until_within(PATIENCE, "the pace is back", back).await;
    let returned = ended.elapsed();
    crowd.stop().await;
    let last = gateway.until_delivered(PATIENCE).await;
    println!(
        "allowed per second: {:.0}, then {:.1} ({} waiting), then {:.0} after {:.0} s; requests per \
         second: {usual:.0}, then {spared:.1}; refused {} of {}; the load: {loaded} stored, \
         {turned_away} refused",
        allowed(&before),
        allowed(&low),
        under.lanes[0].waiting,
        allowed(&after),
        returned.as_secs_f64(),
        refused(&gate),
        gate.calls().len(),
    );
    assert!(spared < 0.7 * usual, "{spared} requests per second under load, {usual} before");
    assert_eq!((last.lanes[0].dead, last.lanes[0].dropped), (0, 0));
    check_words(&gateway, &under);
    gateway.stop(Duration::from_secs(20)).await;
    let stored = block_in_place(|| mq.read_all(TOPIC));
    check_stored(&ledger, &stored.iter().map(Arrival::from).collect::<Vec<_>>(), &gate);
}

/// It says what it met, and took none of it for a fault of the link or the lane.
fn check_words(gateway: &Gateway, under: &Status) {
    let log = gateway.log();
    assert!(log.contains("42900") && log.contains("broker busy"), "{}", gateway.tail());
    assert!(under.pace.reject_share > 0.0, "{:?}", under.pace);
    assert!(under.lanes[0].hold.is_none(), "{:?}", under.lanes[0].hold);
    let words = under.lanes[0].last_error.clone().unwrap_or_default();
    assert!(words.contains("broker busy"), "{words}");
    assert!(under.link.reason.is_empty(), "{:?}", under.link);
}

/// All is there, and what was refused was not stored: nothing is there twice.
fn check_stored(ledger: &Ledger, arrived: &[Arrival], gate: &Gate) {
    oracle::assert_none("losses", &oracle::losses(&ledger.snapshot(), arrived));
    oracle::assert_none("gaps", &oracle::gaps(arrived));
    let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
    arrived.iter().for_each(|arrival| *copies.entry(&arrival.id).or_default() += 1);
    let silent = gate.calls().iter().filter(|call| call.stored.is_none()).count();
    let doubles = arrived.len() - copies.len();
    assert!(doubles <= silent, "{doubles} doubles, {silent} requests without an answer");
}
