//! The hourly temperatures of Seattle go through the agent to a real RocketMQ by gRPC, while its proxy
//! is stopped, killed and started again and the agent is killed: every row arrives as it was.
//!
//! All rows go to a NORMAL topic, many in flight, by the example app; all of them again to a FIFO
//! topic, in order for each hour of the day; the first ones once more, strictly in order. What
//! arrives twice was in flight when the proxy went away, or is explained by a kill of the agent.

use std::time::Duration;

use spillway_protocol::record::Draft;
use spillway_tests::app::hand_over;
use spillway_tests::arrival::Arrival;
use spillway_tests::gateway::Gateway;
use spillway_tests::kill::{self, IN_FLIGHT_MAX, Kill};
use spillway_tests::ledger::Ledger;
use spillway_tests::rocketmq::{Options, RocketMq};
use spillway_tests::series::{self, ROWS};
use spillway_tests::{full, oracle};
use tokio::task::block_in_place;

/// Lanes and topics.
const LANES: [&str; 3] = ["many", "hours", "strict"];
/// How often the proxy goes away.
const OUTAGES: usize = 2;
/// A proxy needs a while to start.
const PATIENCE: Duration = Duration::from_secs(180);

/// One request is under way at a time.
fn strict_rows() -> usize {
    if full() { 8759 } else { 1500 }
}

fn settings(port: u16) -> String {
    let lane = |(name, order): (&str, &str)| {
        let default = name == "many";
        format!(
            "[[lane]]\nname = \"{name}\"\ntopic = \"{name}\"\norder = \"{order}\"\n\
             default = {default}\n"
        )
    };
    format!(
        "[upstream]\ntransport = \"grpc\"\nendpoint = \"127.0.0.1:{port}\"\n\
         [drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
         [backoff]\ninitial = \"100ms\"\nmax = \"2s\"\n{}",
        [("many", "none"), ("hours", "key"), ("strict", "lane")].map(lane).concat()
    )
}

/// Rows as records with ids of their own; those of one hour of the day share an order key.
fn drafts(name: &str, rows: usize, by_hour: bool) -> Vec<Draft> {
    let draft = |row: series::Row| Draft {
        id: Some(format!("{name}-{}", row.number)),
        key: Some(row.date[..10].to_owned()),
        tag: Some("temperature".to_owned()),
        order_key: by_hour.then(|| format!("hour-{}", &row.date[11..13])),
        body: row.body.into(),
        ..Draft::default()
    };
    series::rows().into_iter().take(rows).map(draft).collect()
}

struct Story {
    mq: RocketMq,
    gateway: Gateway,
    kills: Vec<Kill>,
}

impl Story {
    async fn until_delivered(&mut self, count: u64) {
        let what = format!("{count} records are delivered");
        let delivered = |lanes: &[_]| lanes.iter().map(delivered).sum::<u64>() >= count;
        self.gateway.until_within(PATIENCE, &what, |status| delivered(&status.lanes)).await;
    }

    async fn kill(&mut self) {
        self.kills.push(Kill::of(&mut self.gateway, &LANES));
        self.gateway.start_ready().await;
    }

    /// Everything that goes wrong, spread over the series.
    async fn tell(&mut self, all: u64) {
        self.until_delivered(all / 20).await;
        self.kill().await;
        self.until_delivered(all * 3 / 20).await;
        block_in_place(|| self.mq.stop_proxy());
        self.gateway.until("the link is down", |status| !status.link.reason.is_empty()).await;
        self.kill().await;
        block_in_place(|| self.mq.start_proxy());
        self.until_delivered(all * 7 / 20).await;
        self.kill().await;
        self.until_delivered(all * 9 / 20).await;
        block_in_place(|| self.mq.kill_proxy());
        block_in_place(|| self.mq.start_proxy());
        self.until_delivered(all * 13 / 20).await;
        self.kill().await;
        self.kill().await;
        self.until_delivered(all).await;
    }
}

fn delivered(lane: &spillway_protocol::local::status::Lane) -> u64 {
    lane.delivered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_row_reaches_the_real_rocketmq_whatever_happens() {
    let mut mq = block_in_place(|| RocketMq::start(Options::default()));
    for (topic, kind) in LANES.into_iter().zip(["NORMAL", "FIFO", "FIFO"]) {
        block_in_place(|| mq.create_topic(topic, kind));
    }
    let mut gateway = Gateway::new(&settings(mq.grpc_port()));
    gateway.start_ready().await;
    let (ledger, socket) = (Ledger::default(), gateway.socket());
    series::expect(&ledger, "many", None);
    let all = 2 * ROWS + strict_rows() as u64;
    let mut story = Story { mq, gateway, kills: vec![] };
    tokio::join!(
        story.tell(all),
        series::replay(&socket, &["--lane", "many", "--rate", "400"]),
        hand_over(&socket, &ledger, "hours", drafts("hours", usize::MAX, true)),
        hand_over(&socket, &ledger, "strict", drafts("strict", strict_rows(), false)),
    );
    let Story { mut mq, mut gateway, kills } = story;
    gateway.until_delivered(PATIENCE).await;
    gateway.stop(Duration::from_secs(20)).await;
    let stored = block_in_place(|| LANES.map(|topic| mq.read_all(topic)).concat());
    let arrived: Vec<Arrival> = stored.iter().map(Arrival::from).collect();
    check(&ledger, &arrived, &kills);
}

fn check(ledger: &Ledger, arrived: &[Arrival], kills: &[Kill]) {
    let sent = ledger.snapshot();
    oracle::assert_none("losses", &oracle::losses(&sent, arrived));
    oracle::assert_none("gaps", &oracle::gaps(arrived));
    let hours = |a: &Arrival| a.lane == "hours";
    let strict = |a: &Arrival| a.lane == "strict";
    let order = oracle::disorder(&sent, arrived, |a| a.order_key.as_deref().filter(|_| hours(a)));
    oracle::assert_none("order of each hour", &order);
    let order = oracle::disorder(&sent, arrived, |a| strict(a).then_some("strict"));
    oracle::assert_none("order of the strict lane", &order);
    let repeats = kill::explain(arrived, kills);
    println!("{} kills, {OUTAGES} outages: {repeats}", kills.len());
    let most = OUTAGES * IN_FLIGHT_MAX;
    assert!(repeats.unexplained.len() <= most, "{:#?}", repeats.unexplained);
}
