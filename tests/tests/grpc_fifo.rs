//! 200 devices, each with its records in order, to a FIFO topic of a real `RocketMQ`, while replies
//! are lost, its proxy is killed twice, and the agent is killed: at the broker each device's
//! records lie in order in one queue, many devices were under way at a time, one record of each,
//! and nothing was sent again but what had no answer, or was delivered just before the kill.
//!
//! A gate before the proxy keeps the book: see [`spillway_tests::gate`].

use std::collections::BTreeMap;
use std::time::Duration;

use spillway_protocol::local::status::Status;
use spillway_protocol::record::Draft;
use spillway_tests::app::{body, hand_over};
use spillway_tests::arrival::Arrival;
use spillway_tests::gate::{Call, Gate};
use spillway_tests::gateway::Gateway;
use spillway_tests::kill::{self, Kill};
use spillway_tests::ledger::Ledger;
use spillway_tests::oracle;
use spillway_tests::rocketmq::{Options, RocketMq};
use tokio::task::block_in_place;
use tokio::time::timeout;

/// A proxy needs a while to start, longer on a machine that is busy with builds.
const PATIENCE: Duration = Duration::from_secs(180);
const DEVICES: usize = 200;
const RECORDS_EACH: usize = 40;
const TOPIC: &str = "devices";
/// Records between two events.
const STEP: u64 = 300;
/// Answers that only the request's deadline ends (20 s).
const SWALLOWED: usize = 3;
/// So many devices at least are under way at a time, when all have records waiting.
const KEYS_MANY: usize = 20;

fn settings(port: u16) -> String {
    format!(
        "[upstream]\ntransport = \"grpc\"\nendpoint = \"127.0.0.1:{port}\"\n\
         [drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
         [backoff]\ninitial = \"100ms\"\nmax = \"1s\"\n\
         [[lane]]\nname = \"main\"\ntopic = \"{TOPIC}\"\norder = \"key\"\n"
    )
}

/// In turns: each device has one record in each round.
fn drafts() -> Vec<Draft> {
    let draft = |nth: usize| {
        let (device, number) = (nth % DEVICES, nth / DEVICES);
        let id = format!("{device}/{number}");
        Draft {
            body: body(&id, 64, false),
            order_key: Some(format!("device-{device}")),
            id: Some(id),
            ..Draft::default()
        }
    };
    (0..DEVICES * RECORDS_EACH).map(draft).collect()
}

struct Story {
    mq: RocketMq,
    gate: Gate,
    gateway: Gateway,
    kills: Vec<Kill>,
    /// Answers that were kept back at the cuts.
    cut: usize,
}

impl Story {
    /// Until [`STEP`] records more are delivered: what comes next meets records under way.
    async fn flow(&mut self) {
        let from = self.gateway.ready().await.lanes[0].delivered;
        let flowed = |status: &Status| status.lanes[0].delivered >= from + STEP;
        self.gateway.until_within(PATIENCE, "records flow", flowed).await;
    }

    async fn lose_replies(&mut self) {
        self.gate.hold();
        let quiet = timeout(PATIENCE, self.gate.until_quiet()).await;
        self.cut += quiet.expect("no answers were kept back");
        self.gate.cut();
    }

    /// The proxy dies with what is under way in it, and comes back.
    async fn restart_proxy(&mut self) {
        block_in_place(|| self.mq.kill_proxy());
        self.gate.close();
        self.gateway.until("the link is down", |status| !status.link.reason.is_empty()).await;
        block_in_place(|| self.mq.start_proxy());
        self.gate.open();
    }

    async fn kill_agent(&mut self) {
        self.kills.push(Kill::of(&mut self.gateway, &["main"]));
        self.gate.agent_died();
        self.gateway.start_ready().await;
    }

    async fn tell(&mut self) {
        self.flow().await;
        self.lose_replies().await;
        self.flow().await;
        self.restart_proxy().await;
        self.flow().await;
        self.kill_agent().await;
        self.flow().await;
        self.restart_proxy().await;
        self.flow().await;
        self.lose_replies().await;
        self.flow().await;
        self.gate.swallow(SWALLOWED);
        self.gateway.until_delivered(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_device_stays_in_order_through_lost_replies_restarts_and_a_kill() {
    let mut mq = block_in_place(|| RocketMq::start(Options::default()));
    block_in_place(|| mq.create_topic(TOPIC, "FIFO"));
    let gate = Gate::start(mq.grpc_port()).await;
    let mut gateway = Gateway::new(&settings(gate.port()));
    gateway.start_ready().await;
    let (ledger, socket) = (Ledger::default(), gateway.socket());
    let mut story = Story { mq, gate, gateway, kills: vec![], cut: 0 };
    tokio::join!(story.tell(), hand_over(&socket, &ledger, "main", drafts()));
    let Story { mut mq, gate, mut gateway, kills, cut } = story;
    gateway.stop(Duration::from_secs(20)).await;
    let stored = block_in_place(|| mq.read_all(TOPIC));
    let arrived: Vec<Arrival> = stored.iter().map(Arrival::from).collect();
    check_order(&ledger, &arrived, &gate);
    check_repeats(&arrived, &gate.calls(), &kills, cut);
}

fn check_order(ledger: &Ledger, arrived: &[Arrival], gate: &Gate) {
    let sent = ledger.snapshot();
    oracle::assert_none("losses", &oracle::losses(&sent, arrived));
    oracle::assert_none("gaps", &oracle::gaps(arrived));
    let order = oracle::disorder(&sent, arrived, |a| a.order_key.as_deref());
    oracle::assert_none("order of each device", &order);
    assert!(gate.crossed().is_empty(), "two records of a device at a time: {:?}", gate.crossed());
    println!("{} devices were under way at a time", gate.keys_most());
    assert!(gate.keys_most() >= KEYS_MANY, "only {}", gate.keys_most());
}

/// Sent again is only what had no answer, or what a kill made the agent forget; and the broker
/// holds each record as often as it said so.
fn check_repeats(arrived: &[Arrival], calls: &[Call], kills: &[Kill], cut: usize) {
    let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
    arrived.iter().for_each(|arrival| *copies.entry(&arrival.id).or_default() += 1);
    let mut of: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    calls.iter().for_each(|call| of.entry(&call.id).or_default().push(call));
    let mut forgotten = 0;
    for (id, calls) in &of {
        let said = |wanted| calls.iter().filter(|call| call.stored == wanted).count();
        let (surely, perhaps) = (said(Some(true)), said(None));
        let copies = copies[id];
        assert!((surely..=surely + perhaps).contains(&copies), "{id}: {copies} of {calls:?}");
        for pair in calls.windows(2) {
            let heard = pair[0].answered && pair[0].stored == Some(true);
            assert!(!heard || pair[0].life < pair[1].life, "{id} was sent again: {calls:?}");
            forgotten += usize::from(heard);
        }
    }
    let lost = calls.iter().filter(|call| call.stored == Some(true) && !call.answered).count();
    let silent = calls.iter().filter(|call| call.stored.is_none()).count();
    let doubles = arrived.len() - copies.len();
    println!(
        "{} calls, {lost} lost replies ({cut} of them at two cuts), {silent} without any reply, \
         {forgotten} sent again after the kill; {doubles} doubles at the broker",
        calls.len()
    );
    assert!(cut >= 2 && lost >= cut + SWALLOWED, "too few replies were lost");
    assert!((lost..=lost + silent + forgotten).contains(&doubles), "{doubles} doubles");
    // Also asserts how far back a kill reaches.
    let by_kills = kill::explain(arrived, kills).by_kills;
    assert!(by_kills >= forgotten, "{forgotten} forgotten, {by_kills} near the kill");
}
