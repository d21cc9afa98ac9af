//! Several records in one message, from the app through the real agent to the consumer library:
//! over HTTP to the embedded broker and by gRPC to a real RocketMQ 5.5.0, while agents are killed
//! and answers are lost. And batches: many messages in one request.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use spillway::broker::faults::{Kind, Plan, Rule};
use spillway_protocol::bundle;
use spillway_protocol::consumer::grpc::GrpcFeed;
use spillway_protocol::consumer::http::HttpFeed;
use spillway_protocol::consumer::{
    Access, Credentials, Feed, Options, Status, Subscription, Verdict,
};
use spillway_protocol::local::status::{self, Lane};
use spillway_protocol::record::Draft;
use spillway_tests::app::hand_over;
use spillway_tests::broker::{HttpBroker, INSTANCE, KEY, SECRET};
use spillway_tests::collector::{Collector, Running, Seen, in_order, options};
use spillway_tests::gateway::{Gateway, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::random;
use spillway_tests::relay::Relay;
use spillway_tests::rocketmq::{self, RocketMq, Stored};
use tokio::task::block_in_place;
use tokio::time::sleep;

/// Lanes, which are topics too, and their order.
const LANES: [(&str, &str); 3] = [("loose", "none"), ("keyed", "key"), ("strict", "lane")];
/// Records of each lane.
const RECORDS: usize = 1500;
/// Order keys of the lane that is ordered by key.
const KEYS: usize = 7;
/// How often the agent is killed.
const KILLS: usize = 4;
/// Of each lane, whatever was cut into its records by a fault.
const BUNDLES_MIN: usize = 10;
const PATIENCE: Duration = Duration::from_secs(180);

const PACE: &str = "[drain]\nadaptive = false\nreconnect_spread = \"0s\"\n\
                    bytes_per_second = \"1 GiB\"\n[backoff]\ninitial = \"50ms\"\nmax = \"500ms\"\n";

fn settings(upstream: &str) -> String {
    let lane = |(name, order): (&str, &str)| {
        let default = name == "loose";
        format!(
            "[[lane]]\nname = \"{name}\"\ntopic = \"{name}\"\norder = \"{order}\"\n\
             default = {default}\nbundle = {{ records = 32, linger = \"50ms\" }}\n"
        )
    };
    format!("{upstream}{PACE}{}", LANES.map(lane).concat())
}

/// Records of two tags, some of which no text is.
fn drafts(name: &str) -> Vec<Draft> {
    let draft = |nth: usize| Draft {
        id: Some(format!("{name}-{nth}")),
        key: nth.is_multiple_of(3).then(|| format!("patient-{}", nth % 5)),
        tag: Some(if nth % 40 < 30 { "even" } else { "odd" }.to_owned()),
        order_key: (name == "keyed").then(|| format!("bed {}", nth % KEYS)),
        properties: [("unit".to_owned(), format!("u{nth}"))].into(),
        body: match nth % 10 {
            0 => vec![0, 159, u8::try_from(nth % 256).unwrap()].into(),
            _ => format!("{{\"device\":\"pump-{}\",\"bpm\":{nth}}}", nth % 5).into(),
        },
        ..Draft::default()
    };
    (0..RECORDS).map(draft).collect()
}

/// A consumer of each lane's topic, of which each record of a few fails for its own reason.
struct Consumers(Vec<(&'static str, Collector, Running)>);

impl Consumers {
    fn start(feed: impl Fn(&Subscription) -> Arc<dyn Feed>) -> Self {
        let of = |(nth, (topic, order)): (usize, &(&'static str, &str))| {
            let ordered = *order != "none";
            let invisible = Duration::from_secs(10);
            let subscription = Subscription::new(*topic, format!("GID_{topic}"));
            let subscription = Subscription { ordered, invisible, ..subscription };
            let options = Options { ordered, charges_max: 2, ..options(nth as u64) };
            let handler = Collector::new(|delivery, times| match delivery.id() {
                id if id.ends_with("-77") => Verdict::failed("always"),
                id if id.ends_with("-123") && times == 1 => Verdict::failed("once"),
                _ => Verdict::Done,
            });
            (*topic, handler.clone(), Running::start(feed(&subscription), handler, options))
        };
        Self(LANES.iter().enumerate().map(of).collect())
    }

    async fn until_done(&self) {
        for (topic, handler, _) in &self.0 {
            handler
                .until(&format!("all of {topic}"), |seen| {
                    seen.done_once().len() == RECORDS - 1 && !seen.parked.is_empty()
                })
                .await;
        }
    }

    /// Each record was done once, but for the one that is parked, and none out of order.
    async fn check(self) -> Vec<Status> {
        let mut last = Vec::new();
        for (topic, handler, mut running) in self.0 {
            running.until("nothing is in hand", |status| status.in_hand == 0).await;
            last.push(running.stop().await);
            let seen = handler.seen();
            let expected: BTreeSet<String> = (0..RECORDS).map(|n| format!("{topic}-{n}")).collect();
            let bad = format!("{topic}-77");
            let parked: BTreeSet<&str> = seen.parked.iter().map(|(d, _)| d.id()).collect();
            assert_eq!(parked, BTreeSet::from([bad.as_str()]));
            let all: BTreeSet<String> =
                seen.done_once().union(&parked).map(|id| (*id).to_owned()).collect();
            assert_eq!(all, expected, "{topic}");
            numbers(&seen);
            compare(topic, &seen);
            if topic != "loose" {
                in_order(&seen).unwrap_or_else(|found| panic!("{topic}: {found}"));
            }
        }
        last
    }
}

/// The audit's view: each number of the lane has come.
fn numbers(seen: &Seen) {
    let handled = seen.handled.iter().map(|(delivery, _)| delivery);
    let numbers: BTreeSet<u64> = handled.map(|d| d.origin.as_ref().unwrap().seq).collect();
    assert_eq!(numbers, (1..=RECORDS as u64).collect());
}

/// What the app gave is what arrived.
fn compare(topic: &str, seen: &Seen) {
    let given = drafts(topic);
    for (delivery, _) in &seen.handled {
        let id = delivery.id();
        let nth: usize = id.rsplit('-').next().unwrap().parse().unwrap();
        let draft = &given[nth];
        assert_eq!((&delivery.body, &delivery.tag), (&draft.body, &draft.tag), "{id}");
        assert_eq!(delivery.properties, draft.properties, "{id}");
        assert_eq!(delivery.keys.as_deref(), Some(draft.key.as_deref().unwrap_or(id)), "{id}");
        assert!(delivery.faults.is_empty(), "{id}: {:?}", delivery.faults);
    }
}

async fn apps(gateway: &Gateway) {
    let (socket, ledger) = (gateway.socket(), Ledger::default());
    let hand = |name: &'static str| hand_over(&socket, &ledger, name, drafts(name));
    tokio::join!(hand("loose"), hand("keyed"), hand("strict"));
}

/// Kills the agent while it drains, at random moments.
async fn kill(gateway: &mut Gateway, seed: u64) {
    let mut rng = random::rng(seed, 3);
    for _ in 0..KILLS {
        sleep(Duration::from_millis(rng.random_range(20..400))).await;
        gateway.kill();
        gateway.start_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn over_http_every_record_is_written_once_and_in_order_whatever_happens() {
    let broker = HttpBroker::hiding_for(Duration::from_secs(5)).await;
    let lost = |kind| Rule { probability: 0.1, ..Rule::always(kind) };
    let rules = vec![lost(Kind::LostReply), lost(Kind::ServerError), lost(Kind::Cut)];
    // Shut until all waits, so that bundles are full however fast this machine is.
    broker.faults().set(Plan { rules: vec![Rule::always(Kind::Cut)], ..Plan::default() });
    let mut gateway = Gateway::new(&settings(&broker.upstream()));
    gateway.start_ready().await;
    let access = Access {
        endpoints: vec![broker.endpoint()],
        instance: Some(INSTANCE.into()),
        credentials: Some(Credentials {
            id: KEY.into(),
            secret: SECRET.into(),
            security_token: None,
        }),
        ..Access::default()
    };
    let consumers =
        Consumers::start(|subscription| Arc::new(HttpFeed::new(&access, subscription).unwrap()));
    apps(&gateway).await;
    broker.faults().set(Plan { latency_ms: 5, rules, ..Plan::default() });
    kill(&mut gateway, random::seed()).await;
    let delivered =
        |status: &status::Status| status.lanes.iter().map(|lane| lane.delivered).sum::<u64>();
    gateway.until("a third is delivered", |status| delivered(status) > RECORDS as u64).await;
    // A lane that is held by now is asked once a minute: with faults nobody knows how often.
    broker.faults().set(Plan { latency_ms: 5, ..Plan::default() });
    gateway.until_delivered(PATIENCE).await;
    consumers.until_done().await;
    consumers.check().await;
    let status = gateway.status().await.unwrap();
    for (name, _) in LANES {
        let lane = lane(&status, name);
        assert_eq!((lane.dead, lane.delivered), (0, RECORDS as u64), "{lane:?}");
        let messages = broker.messages(name);
        let flagged = |(name, flags): &(String, String)| {
            name == "sw_flags" && flags.split(',').any(|flag| flag == "bundle")
        };
        let bundles = messages.iter().filter(|m| m.properties.iter().any(flagged)).count();
        assert!(bundles > BUNDLES_MIN, "{name}: {bundles} of {}", messages.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn by_grpc_every_record_is_written_once_and_in_order_whatever_happens() {
    let mut mq = block_in_place(|| RocketMq::start(rocketmq::Options::default()));
    for (topic, order) in LANES {
        let ordered = order != "none";
        block_in_place(|| mq.create_topic(topic, if ordered { "FIFO" } else { "NORMAL" }));
        block_in_place(|| mq.create_group(&format!("GID_{topic}"), topic, ordered));
    }
    // Cut in the middle, answers are lost.
    let relay = Relay::start(mq.grpc_port()).await;
    // Until all waits, so that bundles are full however fast this machine is.
    relay.cut();
    let upstream =
        |port| format!("[upstream]\ntransport = \"grpc\"\nendpoint = \"127.0.0.1:{port}\"\n");
    let mut gateway = Gateway::new(&settings(&upstream(relay.port())));
    gateway.start_ready().await;
    let endpoints = vec![format!("http://127.0.0.1:{}", mq.grpc_port())];
    let access = Access { endpoints, ..Access::default() };
    let consumers =
        Consumers::start(|subscription| Arc::new(GrpcFeed::new(&access, subscription).unwrap()));
    let cuts = async {
        for _ in 0..4 {
            sleep(Duration::from_millis(150)).await;
            relay.cut();
            sleep(Duration::from_millis(100)).await;
            relay.mend();
        }
    };
    apps(&gateway).await;
    relay.mend();
    tokio::join!(kill(&mut gateway, random::seed()), cuts);
    gateway.until_delivered(PATIENCE).await;
    consumers.until_done().await;
    consumers.check().await;
    for (topic, _) in LANES {
        let stored = block_in_place(|| mq.read_all(topic));
        let bundles = stored.iter().filter(|message| is_bundle(message)).count();
        assert!(bundles > BUNDLES_MIN, "{topic}: {bundles} of {}", stored.len());
    }
}

fn is_bundle(message: &Stored) -> bool {
    message.properties.get("sw_flags").is_some_and(|flags| flags == "bundle")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_that_the_broker_refuses_is_found_in_its_bundle_and_dead_alone() {
    let broker = HttpBroker::start().await;
    let lane_a = "[[lane]]\nname = \"a\"\ntopic = \"a\"\nbundle = { linger = \"0s\" }\n";
    let mut gateway = Gateway::new(&format!("{}{PACE}{lane_a}", broker.upstream()));
    // Whatever has this key first is refused: the bundle that it leads, then it alone.
    let rule = Rule { key_prefix: Some("bad".into()), ..Rule::always(Kind::RefuseRecord) };
    broker.faults().set(Plan { rules: vec![rule], ..Plan::default() });
    let mut all: Vec<Draft> = drafts("a").into_iter().take(200).collect();
    for draft in &mut all {
        (draft.key, draft.tag) = (None, None);
    }
    (all[0].key, all[0].order_key) = (Some("bad".into()), None);
    gateway.start_ready().await;
    let rest = all.split_off(100);
    hand_over(&gateway.socket(), &Ledger::default(), "a", all).await;
    // It is to blame once others that left after its refusal got through.
    let alone = |error: &String| !error.contains("sent again one by one");
    let refused = |status: &spillway_protocol::local::status::Status| {
        lane(status, "a").last_error.as_ref().is_some_and(alone)
    };
    gateway.until("it is refused alone", refused).await;
    hand_over(&gateway.socket(), &Ledger::default(), "a", rest).await;
    let status = gateway.until("199 are delivered", |s| lane(s, "a").delivered == 199).await;
    assert!(lane(&status, "a").hold.is_none(), "{status:?}");
    // A letter is there a moment before the record that it was counts as settled.
    let settled = |lane: &Lane| (lane.dead, lane.waiting) == (1, 0);
    gateway.until("one is dead", |status| settled(lane(status, "a"))).await;
    let ids = broker.messages("a").into_iter().map(|message| {
        let flags = message.properties.iter().find(|(name, _)| name == "sw_flags");
        let packed = flags.is_some_and(|(_, flags)| flags.contains("bundle"));
        if packed { unpacked(&message.body) } else { 1 }
    });
    assert_eq!(ids.sum::<usize>(), 199);
}

/// Records in a body as HTTP carries it.
fn unpacked(body: &str) -> usize {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    bundle::unpack(&bytes).unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_batch_leaves_every_message_its_own_at_the_real_rocketmq() {
    let mut mq = block_in_place(|| RocketMq::start(rocketmq::Options::default()));
    block_in_place(|| mq.create_topic("loose", "NORMAL"));
    let relay = Relay::start(mq.grpc_port()).await;
    let upstream =
        format!("[upstream]\ntransport = \"grpc\"\nendpoint = \"127.0.0.1:{}\"\n", relay.port());
    let lane_a = "[[lane]]\nname = \"loose\"\ntopic = \"loose\"\nbatch = { records = 64 }\n";
    let mut gateway = Gateway::new(&format!("{upstream}{PACE}{lane_a}"));
    gateway.start_ready().await;
    let given = drafts("loose");
    let cut = async {
        sleep(Duration::from_millis(100)).await;
        relay.cut();
        sleep(Duration::from_millis(100)).await;
        relay.mend();
    };
    let (socket, ledger) = (gateway.socket(), Ledger::default());
    tokio::join!(hand_over(&socket, &ledger, "loose", given.clone()), cut);
    gateway.kill();
    gateway.start_ready().await;
    gateway.until_delivered(PATIENCE).await;
    let stored = block_in_place(|| mq.read_all("loose"));
    let ids: BTreeSet<&str> = stored.iter().map(|message| message.message_id.as_str()).collect();
    assert_eq!(ids.len(), RECORDS);
    for message in &stored {
        let nth: usize = message.message_id.rsplit('-').next().unwrap().parse().unwrap();
        let (unit, seq) = (&message.properties["unit"], &message.properties["sw_seq"]);
        assert_eq!((unit, seq), (&format!("u{nth}"), &(nth + 1).to_string()));
        assert_eq!(message.body, given[nth].body);
    }
}
