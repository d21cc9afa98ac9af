//! The hourly temperatures of Seattle go through the agent to the embedded broker by HTTP, while the
//! broker loses replies, throttles, fails, is stopped and started, and the agent is killed: every
//! row arrives as it was, in order; twice only where a reply was lost or the agent was killed.

use std::time::Duration;

use spillway::broker::faults::{Kind, Rule};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, PATIENCE};
use spillway_tests::kill::{self, Kill};
use spillway_tests::ledger::Ledger;
use spillway_tests::{oracle, series};

const LANE: &str = "series";
/// Replies that are lost after the broker stored the row.
const LOST: u64 = 5;
const GRACE: Duration = Duration::from_secs(40);
/// All rows have one order key, so that one is in flight at a time.
const OPTIONS: [&str; 4] = ["--order-key", "seattle", "--rate", "500"];

fn settings(broker: &HttpBroker) -> String {
    format!(
        "{}[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
         [backoff]\ninitial = \"100ms\"\nmax = \"1s\"\n\
         [[lane]]\nname = \"{LANE}\"\ntopic = \"{LANE}\"\norder = \"key\"\n",
        broker.upstream()
    )
}

struct Story {
    broker: HttpBroker,
    gateway: Gateway,
    kills: Vec<Kill>,
}

impl Story {
    async fn until_delivered(&mut self, rows: u64) {
        let what = format!("{rows} rows are delivered");
        self.gateway.until(&what, |status| status.lanes[0].delivered >= rows).await;
    }

    async fn kill(&mut self) {
        self.kills.push(Kill::of(&mut self.gateway, &[LANE]));
        self.gateway.start_ready().await;
    }

    /// Everything that goes wrong, spread over the series.
    async fn tell(&mut self) {
        self.until_delivered(500).await;
        self.kill().await;
        self.until_delivered(1500).await;
        self.broker.faults().set_rules([Rule::times(Kind::LostReply, LOST)]);
        self.until_delivered(2500).await;
        let rule = |kind| Rule { retry_after_s: Some(1), ..Rule::times(kind, 2) };
        let faults = [Kind::Throttle, Kind::ServerError].map(rule);
        self.broker.faults().set_rules(faults);
        self.until_delivered(3500).await;
        self.kill().await;
        self.until_delivered(4500).await;
        self.broker.stop().await;
        // Killed while the broker is away.
        self.gateway.until("the link is down", |status| !status.link.reason.is_empty()).await;
        self.kill().await;
        self.broker.restart().await;
        self.broker.faults().set_rules([Rule::times(Kind::Cut, 3)]);
        self.until_delivered(6500).await;
        self.kill().await;
        self.until_delivered(7500).await;
        self.broker.stop().await;
        self.broker.restart().await;
        self.until_delivered(series::ROWS).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_arrives_in_order_whatever_happens() {
    let broker = HttpBroker::start().await;
    let mut gateway = Gateway::new(&settings(&broker));
    gateway.start_ready().await;
    let socket = gateway.socket();
    let mut story = Story { broker, gateway, kills: vec![] };
    tokio::join!(story.tell(), series::replay(&socket, &OPTIONS));
    let Story { broker, mut gateway, kills } = story;
    let status = gateway.until_delivered(PATIENCE).await;
    assert_eq!((status.lanes[0].accepted, status.lanes[0].delivered), (series::ROWS, series::ROWS));
    gateway.stop(GRACE).await;

    let ledger = Ledger::default();
    series::expect(&ledger, LANE, Some("seattle"));
    let (arrived, sent) = (broker.arrivals(&[LANE]), ledger.snapshot());
    oracle::assert_none("losses", &oracle::losses(&sent, &arrived));
    oracle::assert_none("gaps", &oracle::gaps(&arrived));
    let order = oracle::disorder(&sent, &arrived, |arrival| arrival.order_key.as_deref());
    oracle::assert_none("order", &order);
    let repeats = kill::explain(&arrived, &kills);
    println!("{} kills, {LOST} lost replies: {repeats}", kills.len());
    assert!(repeats.unexplained.len() as u64 <= LOST, "{:#?}", repeats.unexplained);
}
