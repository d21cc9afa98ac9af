//! What a real RocketMQ refuses: a topic that was re-created with another type holds its lane, throws
//! nothing away, and goes on by itself once it is right; records with more properties than the proxy
//! takes are dead letters with its reason, and those behind them go on.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use spillway_protocol::local::status::Status;
use spillway_protocol::record::Draft;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::arrival::Arrival;
use spillway_tests::gateway::{Gateway, accounted, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::oracle;
use spillway_tests::rocketmq::{Options, RocketMq};
use tokio::task::block_in_place;

/// Most properties that the proxy takes; the agent adds its own.
const PROPERTIES_MAX: u32 = 20;
/// A probe comes every minute, and the proxy remembers a topic for a while.
const ROUND: Duration = Duration::from_secs(180);

fn settings(port: u16) -> String {
    format!(
        "[upstream]\ntransport = \"grpc\"\nendpoint = \"127.0.0.1:{port}\"\n\
         [drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
         [backoff]\ninitial = \"100ms\"\nmax = \"1s\"\n\
         [[lane]]\nname = \"moody\"\ntopic = \"moody\"\ndefault = true\n\
         [[lane]]\nname = \"picky\"\ntopic = \"picky\"\n"
    )
}

struct Case {
    mq: RocketMq,
    gateway: Gateway,
}

impl Case {
    async fn start() -> Self {
        let mut mq = block_in_place(|| {
            let user_properties_max = Some(PROPERTIES_MAX);
            RocketMq::start(Options { user_properties_max, ..Options::default() })
        });
        for topic in ["moody", "picky"] {
            block_in_place(|| mq.create_topic(topic, "NORMAL"));
        }
        let mut gateway = Gateway::new(&settings(mq.grpc_port()));
        gateway.start_ready().await;
        Self { mq, gateway }
    }

    async fn hand_over(&self, ledger: &Ledger, lane: &str, drafts: Vec<Draft>) {
        hand_over(&self.gateway.socket(), ledger, lane, drafts).await;
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        self.gateway.until_within(ROUND, what, wanted).await
    }

    fn recreate(&mut self, topic: &str, kind: &str) {
        block_in_place(|| {
            self.mq.delete_topic(topic);
            self.mq.create_topic(topic, kind);
        });
    }

    fn arrivals(&mut self, topic: &str) -> Vec<Arrival> {
        let stored = block_in_place(|| self.mq.read_all(topic));
        stored.iter().map(Arrival::from).collect()
    }

    /// Hands single records over until the lane is held: what the proxy remembers of a topic
    /// outlives the topic for a while.
    async fn until_held(&mut self, lane_name: &str) -> Status {
        let ledger = Ledger::default();
        for nth in 0.. {
            self.hand_over(&ledger, lane_name, drafts("early", nth..nth + 1)).await;
            let what = "the record is delivered or the lane is held";
            let settled = |status: &Status| {
                let lane = lane(status, lane_name);
                lane.hold.is_some() || lane.waiting == 0
            };
            let status = self.until(what, settled).await;
            if lane(&status, lane_name).hold.is_some() {
                return status;
            }
        }
        unreachable!("the loop has no end of its own")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn operators_mistakes_hold_and_records_that_are_wrong_are_dead() {
    let mut case = Case::start().await;
    case.hand_over(&Ledger::default(), "moody", drafts("first", 0..50)).await;
    case.gateway.until_delivered(ROUND).await;
    case.recreate("moody", "FIFO");
    case.until_held("moody").await;
    let ledger = Ledger::default();
    case.hand_over(&ledger, "moody", drafts("r", 0..5000)).await;
    assert_held(&mut case).await;

    // The other lane does not mind.
    too_many_properties(&mut case).await;

    let held = case.gateway.status().await.unwrap();
    assert!(lane(&held, "moody").waiting >= 5000, "{held:?}");
    case.recreate("moody", "NORMAL");
    let status = case
        .until("the lane goes on", |status| {
            let moody = lane(status, "moody");
            moody.waiting == 0 && moody.hold.is_none()
        })
        .await;
    assert_eq!(lane(&status, "moody").dead, 0);
    let mut arrived = case.arrivals("moody");
    arrived.retain(|arrival| !arrival.id.starts_with("early"));
    oracle::assert_none("losses", &oracle::losses(&ledger.snapshot(), &arrived));
    assert_eq!(arrived.len(), 5000);
}

/// Nothing is thrown away, and everybody says why.
async fn assert_held(case: &mut Case) {
    let status = case.gateway.status().await.unwrap();
    let moody = lane(&status, "moody");
    let hold = moody.hold.as_ref().unwrap();
    assert_eq!((&*hold.code, moody.dead), ("topic_type", 0), "{hold:?}");
    assert!(!hold.reason.is_empty() && !hold.remedy.is_empty(), "{hold:?}");
    assert_eq!(moody.accepted, accounted(moody));
    let said = case.gateway.said("status").await;
    assert!(said.contains("topic_type"), "{said}");
    assert!(case.gateway.log().contains("held: "), "{}", case.gateway.log());
    let doctor = case.gateway.command("check --connect").await;
    let words = String::from_utf8_lossy(&[doctor.stdout, doctor.stderr].concat()).into_owned();
    assert_ne!(doctor.status.code(), Some(0), "{words}");
    assert!(words.contains("moody") && words.contains("FIFO"), "{words}");
}

async fn too_many_properties(case: &mut Case) {
    let ledger = Ledger::default();
    let many: BTreeMap<String, String> =
        (0..=PROPERTIES_MAX).map(|nth| (format!("p{nth}"), "v".to_owned())).collect();
    let wrong = |draft| Draft { properties: many.clone(), ..draft };
    for tens in 0..5 {
        let numbers = tens * 10..tens * 10 + 10;
        case.hand_over(&ledger, "picky", drafts("good", numbers.clone())).await;
        let wrong = drafts("wrong", numbers).into_iter().map(wrong).collect();
        case.hand_over(&Ledger::default(), "picky", wrong).await;
    }
    let status = case.until("all are settled", |s| lane(s, "picky").waiting == 0).await;
    let picky = lane(&status, "picky");
    assert_eq!((picky.delivered, picky.dead, &picky.hold), (50, 50, &None));
    assert_eq!(picky.accepted, accounted(picky));
    let list: Value =
        serde_json::from_str(&case.gateway.said("dead list --limit 100 --json").await).unwrap();
    let letters = list["letters"].as_array().unwrap();
    assert_eq!(letters.len(), 50);
    for letter in letters {
        let reason = letter["reason"].as_str().unwrap();
        assert!(letter["id"].as_str().unwrap().starts_with("wrong-"), "{letter}");
        assert!(letter["code"] == "43101" && reason.contains("too many user properties"));
    }
    let arrived = case.arrivals("picky");
    oracle::assert_none("losses", &oracle::losses(&ledger.snapshot(), &arrived));
    assert_eq!(arrived.len(), 50);
}
