//! What the broker refuses, over HTTP: mistakes of an operator hold and are seen, nothing of them
//! is thrown away, and everything goes on once they are put right, without a restart. Records
//! that are wrong themselves go to the dead letters.
//!
//! Held lanes and links are asked every minute, so all cases run side by side.

use std::time::Duration;

use serde_json::Value;
use spillway::broker::faults::{Kind, Rule};
use spillway_protocol::local::status::{LinkState, Status};
use spillway_protocol::record::Draft;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::arrival::Arrival;
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, accounted, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::oracle;
use tokio::time::{Instant, sleep_until};

/// A round of probes comes every minute, a refused record's next turn within one and a half.
const ROUND: Duration = Duration::from_secs(150);

/// A broker and a gateway with lanes `(name, order)`; topics are called like their lanes.
struct Case {
    broker: HttpBroker,
    gateway: Gateway,
    ledger: Ledger,
}

impl Case {
    async fn start(lanes: &[(&str, &str)], rules: &[Rule]) -> Self {
        let broker = HttpBroker::start().await;
        broker.faults().set_rules(rules);
        let lane = |(nth, (name, order)): (usize, &(&str, &str))| {
            let default = nth == 0;
            format!(
                "[[lane]]\nname = \"{name}\"\ntopic = \"{name}\"\norder = \"{order}\"\n\
                 default = {default}\n"
            )
        };
        let lanes: String = lanes.iter().enumerate().map(lane).collect();
        let mut gateway = Gateway::new(&format!(
            "{}[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
             [backoff]\ninitial = \"100ms\"\nmax = \"1s\"\n{lanes}",
            broker.upstream()
        ));
        gateway.start_ready().await;
        Self { broker, gateway, ledger: Ledger::default() }
    }

    async fn hand_over(&self, lane: &str, drafts: Vec<Draft>) {
        hand_over(&self.gateway.socket(), &self.ledger, lane, drafts).await;
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        self.gateway.until_within(ROUND, what, wanted).await
    }

    async fn until_delivered(&mut self) {
        let status = self.gateway.until_delivered(ROUND).await;
        let held = status.lanes.iter().any(|lane| lane.hold.is_some() || lane.held_keys > 0);
        assert!(!held && status.link.state != LinkState::Held, "{status:?}");
    }

    async fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.gateway.said(&format!("{words} --json")).await).unwrap()
    }

    /// Everything arrived, and came only once unless it says otherwise.
    fn check(&self, topics: &[&str], repeats: usize) -> Vec<Arrival> {
        let arrived = self.broker.arrivals(topics);
        oracle::assert_none("losses", &oracle::losses(&self.ledger.snapshot(), &arrived));
        assert_eq!(oracle::repeats(&arrived).len(), repeats);
        arrived
    }
}

/// A publish whose key begins so.
fn keyed(kind: Kind, prefix: &str) -> Rule {
    Rule { key_prefix: Some(prefix.to_owned()), ..Rule::always(kind) }
}

fn assert_accounts(status: &Status) {
    for lane in &status.lanes {
        assert_eq!(lane.accepted, accounted(lane), "{lane:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_and_dead_letters() {
    tokio::join!(
        a_refused_signature_for_a_minute_holds_the_link(),
        a_missing_topic_holds_its_lane_alone(),
        a_record_that_is_itself_wrong_goes_to_the_dead_letters(),
        a_long_run_of_refusals_holds_until_an_operator_accepts(),
        a_wrong_md5_is_tried_three_times_and_holds(),
        a_refused_record_holds_its_order_key_alone(),
    );
}

async fn a_refused_signature_for_a_minute_holds_the_link() {
    let mut case = Case::start(&[("main", "none")], &[Rule::always(Kind::RefuseSignature)]).await;
    let begun = Instant::now();
    case.hand_over("main", drafts("r", 0..300)).await;
    let status = case.until("the link is held", |s| s.link.state == LinkState::Held).await;
    let reason = &status.link.reason;
    assert!(reason.contains("credentials") && reason.contains("SignatureDoesNotMatch"), "{reason}");
    assert!(case.gateway.log().contains("link held: credentials"), "{}", case.gateway.log());
    let said = case.gateway.said("status").await;
    assert!(said.contains("held for ") && said.contains("SignatureDoesNotMatch"), "{said}");
    let check = case.gateway.command("status --check").await;
    assert_ne!(check.status.code(), Some(0), "{check:?}");

    sleep_until(begun + Duration::from_secs(57)).await;
    let status = case.gateway.status().await.unwrap();
    let main = lane(&status, "main");
    assert_eq!((main.waiting, main.dead), (300, 0));
    assert_eq!(status.link.state, LinkState::Held);
    case.broker.faults().clear();
    case.until_delivered().await;
    case.check(&["main"], 0);
}

async fn a_missing_topic_holds_its_lane_alone() {
    let rule = Rule { topic: Some("gone".to_owned()), ..Rule::always(Kind::TopicMissing) };
    let mut case = Case::start(&[("gone", "none"), ("well", "none")], &[rule]).await;
    case.hand_over("gone", drafts("g", 0..100)).await;
    case.hand_over("well", drafts("w", 0..300)).await;
    let status = case
        .until("one is held and the other goes on", |status| {
            lane(status, "gone").hold.is_some() && lane(status, "well").delivered == 300
        })
        .await;
    let hold = lane(&status, "gone").hold.clone().unwrap();
    assert_eq!(hold.code, "topic_missing");
    assert!(hold.reason.contains("TopicNotExist") && !hold.remedy.is_empty(), "{hold:?}");
    assert!(lane(&status, "well").hold.is_none());
    let said = case.gateway.said("status").await;
    assert!(said.contains("topic_missing"), "{said}");
    // Once put right, it goes on without a restart.
    case.broker.faults().clear();
    let gone = case.until("the lane goes on", |s| lane(s, "gone").delivered == 100).await;
    assert_eq!(lane(&gone, "gone").dead, 0);
    case.until_delivered().await;
    case.check(&["gone", "well"], 0);
}

async fn a_record_that_is_itself_wrong_goes_to_the_dead_letters() {
    let rules = [keyed(Kind::RefuseRecord, "bad")];
    let mut case = Case::start(&[("main", "none")], &rules).await;
    case.hand_over("main", drafts("good", 0..50)).await;
    case.hand_over("main", drafts("bad", 0..5)).await;
    // A record is to blame once others that left after its refusal got through.
    case.until("they are refused", |s| lane(s, "main").last_error.is_some()).await;
    for nth in 0..50 {
        case.hand_over("main", drafts("more", nth..nth + 1)).await;
    }
    let dead = |s: &Status| (lane(s, "main").dead, lane(s, "main").waiting) == (5, 0);
    let status = case.until("the bad are dead", dead).await;
    assert_accounts(&status);
    let main = lane(&status, "main");
    assert_eq!((main.delivered, main.waiting, &main.hold), (100, 0, &None));

    let list = case.json("dead list").await;
    let letters = list["letters"].as_array().unwrap();
    assert_eq!(letters.len(), 5);
    for letter in letters {
        assert_eq!(letter["code"], "MalformedXML", "{letter}");
        assert!(letter["id"].as_str().unwrap().starts_with("bad-"), "{letter}");
    }
    let number = &letters[0]["number"];
    let shown = case.gateway.said(&format!("dead show {number} --body")).await;
    assert!(shown.contains("MalformedXML") && shown.contains("bad-"), "{shown}");

    case.broker.faults().clear();
    assert_eq!(case.json("dead replay").await["count"], 5);
    let status =
        case.until("the replayed are delivered", |s| lane(s, "main").delivered == 105).await;
    assert_accounts(&status);
    let arrived = case.broker.messages("main");
    let replayed = |key: &str| arrived.iter().filter(|m| m.key.as_deref() == Some(key)).count();
    assert!((0..5).all(|nth| replayed(&format!("bad-{nth}")) == 1));
    let flagged = arrived.iter().filter(|message| message.property("sw_flags") == Some("replay"));
    assert_eq!(flagged.count(), 5);
}

async fn a_long_run_of_refusals_holds_until_an_operator_accepts() {
    let rules = [keyed(Kind::RefuseRecord, "bad")];
    let mut case = Case::start(&[("main", "none")], &rules).await;
    case.hand_over("main", drafts("bad", 0..60)).await;
    let status = case.until("the lane is held", |s| lane(s, "main").hold.is_some()).await;
    let hold = lane(&status, "main").hold.clone().unwrap();
    assert_eq!((&*hold.code, lane(&status, "main").dead), ("refused", 0));
    assert!(hold.reason.contains("in a row") && hold.reason.contains("MalformedXML"), "{hold:?}");
    assert!(hold.remedy.contains("dead accept"), "{hold:?}");
    assert!(case.gateway.log().contains("held: "), "{}", case.gateway.log());

    assert_eq!(case.json("dead accept main").await["accepted"], true);
    let status = case.until("all are dead", |s| lane(s, "main").dead == 60).await;
    assert_accounts(&status);
    case.hand_over("main", drafts("good", 0..50)).await;
    case.until("the others go on", |s| lane(s, "main").delivered == 50).await;
    assert_eq!(case.json("dead list --limit 100").await["letters"].as_array().unwrap().len(), 60);
}

async fn a_wrong_md5_is_tried_three_times_and_holds() {
    let mut case = Case::start(&[("main", "none")], &[keyed(Kind::WrongMd5, "odd")]).await;
    case.hand_over("main", drafts("odd", 0..1)).await;
    let status = case.until("the lane is held", |s| lane(s, "main").hold.is_some()).await;
    let hold = lane(&status, "main").hold.clone().unwrap();
    assert_eq!(hold.code, "unknown");
    assert!(hold.reason.contains("3 tries") && hold.reason.contains("MD5"), "{hold:?}");
    assert_eq!(case.broker.messages("main").len(), 3);
    // Another record shows that it is not the lane: the odd one waits alone.
    case.hand_over("main", drafts("good", 0..20)).await;
    let status = case.until("the others go on", |s| lane(s, "main").delivered == 20).await;
    assert_eq!((lane(&status, "main").waiting, lane(&status, "main").dead), (1, 0));
    case.broker.faults().clear();
    case.until_delivered().await;
    // Stored at each try: it came again with the same id and number.
    let copies = case.broker.messages("main").len() - 20;
    case.check(&["main"], copies - 1);
    assert!((4..=6).contains(&copies), "{copies}");
}

async fn a_refused_record_holds_its_order_key_alone() {
    let mut case = Case::start(&[("keyed", "key")], &[keyed(Kind::RefuseRecord, "bad")]).await;
    let of = |key: &str, drafts: Vec<Draft>| -> Vec<Draft> {
        drafts.into_iter().map(|draft| Draft { order_key: Some(key.to_owned()), ..draft }).collect()
    };
    case.hand_over("keyed", of("a", drafts("a", 0..10))).await;
    case.hand_over("keyed", of("a", drafts("bad", 0..1))).await;
    case.hand_over("keyed", of("a", drafts("after", 0..10))).await;
    case.hand_over("keyed", of("b", drafts("b", 0..50))).await;
    let status = case
        .until("the other key goes on", |status| {
            let keyed = lane(status, "keyed");
            keyed.delivered == 60 && keyed.held_keys == 1
        })
        .await;
    let keyed = lane(&status, "keyed");
    assert_eq!((keyed.waiting, keyed.dead, &keyed.hold), (11, 0, &None));
    assert!(keyed.last_error.as_ref().unwrap().contains("MalformedXML"), "{keyed:?}");
    case.broker.faults().clear();
    case.until_delivered().await;
    let arrived = case.check(&["keyed"], 0);
    let order = oracle::disorder(&case.ledger.snapshot(), &arrived, |a| a.order_key.as_deref());
    oracle::assert_none("order of the keys", &order);
}
