//! The audit of `central-consumer` names exactly the numbers that never arrived, as old as they are,
//! and tombstones, reports, resends and operators close them.

use serde_json::Value;
use spillway_protocol::control::{Answer, State, Unsent};
use spillway_protocol::local::status::LinkState;
use spillway_protocol::message::Message;
use spillway_protocol::record::Draft;
use spillway_protocol::report::{Lane, Link, Report, Stream};
use spillway_protocol::tombstone::{Range, Reason, Tombstones};
use spillway_tests::broker::HttpBroker;
use spillway_tests::centre::{
    Consumer, Environment, command, environment, patients, said, until_count, with,
};
use spillway_tests::mariadb::MariaDb;
use spillway_tests::sample;

const TOPIC: &str = "ward";
const ROWS: &str = "SELECT COUNT(*) FROM patient_records";

/// Lost on the way, on purpose: 23 of 400.
fn is_lost(seq: u64) -> bool {
    matches!(seq, 1 | 17 | 100..=119 | 250)
}

struct Scene {
    broker: HttpBroker,
    database: MariaDb,
    environment: Environment,
}

impl Scene {
    /// Numbers that are missing of `gw-1`, as the audit names them, and whether it fails.
    async fn missing(&self, grace: &str) -> (Vec<(u64, u64)>, bool) {
        let words = ["audit", "--json", "--gateway", "gw-1", "--grace", grace];
        let output = command(&self.environment, &words).await;
        let lines = said(&output);
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        // Not the gateway's own.
        let ward: Vec<Value> = lines.collect();
        let whole = |line: &Value| line["day"] == "2023-11-14" && line["lane"] == "ward";
        assert!(ward.iter().all(whole), "{ward:?}");
        let gaps = ward.iter().flat_map(|line| line["missing"].as_array().unwrap().clone());
        let number = |gap: &Value, name: &str| gap[name].as_u64().unwrap();
        let gaps = gaps.map(|gap| (number(&gap, "from"), number(&gap, "to"))).collect();
        (gaps, !output.status.success())
    }

    /// The agent's own message, worked off.
    async fn tell(&self, seq: u64, flag: &str, body: Vec<u8>) {
        let draft = Draft { body: body.into(), ..Draft::default() };
        let message = with(sample::message(TOPIC, 10_000 + seq, draft), "sw_lane", "_agent");
        let message = with(with(message, "sw_flags", flag), "sw_seq", &seq.to_string());
        self.broker.publish(&[message]).await;
        let told = format!(
            "SELECT COUNT(*) FROM sw_seen JOIN sw_lanes ON sw_lanes.id = lane_id \
             WHERE lane = '_agent' AND first_seq <= {seq} AND last_seq >= {seq}"
        );
        until_count(&self.database, &told, 1).await;
    }
}

fn tombstones() -> Vec<u8> {
    let range = |from, to, reason| Range {
        lane: "ward".into(),
        stream: "00000007".into(),
        from,
        to,
        reason,
        count: to - from + 1,
        kept_every: None,
        first_ms: 1,
        last_ms: 2,
    };
    // Of these, only 100 to 119 did not arrive.
    let ranges = vec![range(90, 109, Reason::Dead), range(105, 110, Reason::Purged)];
    Tombstones { gateway: "gw-1".into(), ranges }.to_json().unwrap()
}

/// There are no records behind the 400th after all, and one asked for waits.
fn answer() -> Vec<u8> {
    let unsent = |from, to, state| Unsent { from, to, state };
    let answer = Answer {
        gateway: "gw-1".into(),
        request: "gap-1".into(),
        lane: "ward".into(),
        stream: "00000007".into(),
        sent: 0,
        unsent: vec![unsent(401, 403, State::NeverExisted), unsent(17, 17, State::Waiting)],
    };
    answer.to_json().unwrap()
}

/// So many were accepted, and so many of them wait.
fn report(accepted_seq: u64, waiting: u64) -> Vec<u8> {
    let lane = |name: &str, accepted_seq, waiting| Lane {
        name: name.into(),
        streams: vec![Stream { stream: "00000007".into(), accepted_seq }],
        accepted: accepted_seq,
        delivered: accepted_seq - waiting,
        waiting,
        dead: 0,
        expired: 0,
        dropped: 0,
        damaged: 0,
        oldest_age_s: None,
        hold: None,
    };
    let report = Report {
        gateway: "gw-1".into(),
        stream: "00000007".into(),
        version: "0".into(),
        started_ms: 1,
        at_ms: 2,
        clock_set: true,
        clock_offset_s: None,
        every_s: 900,
        link: Link { state: LinkState::Online, since_ms: 1 },
        lanes: vec![lane("ward", accepted_seq, waiting)],
        own: Some(lane("_agent", 1, 0)),
        disk: None,
    };
    report.to_json().unwrap()
}

async fn empty() -> Scene {
    let (broker, database) = (HttpBroker::start().await, MariaDb::start());
    let environment = environment(broker.environment(), &database, TOPIC, "GID_a");
    Scene { broker, database, environment }
}

async fn scene() -> (Scene, Vec<Message>) {
    let scene = empty().await;
    let (kept, lost): (Vec<_>, Vec<_>) =
        (1..).zip(patients(TOPIC, 400)).partition(|(seq, _): &(u64, Message)| !is_lost(*seq));
    let kept: Vec<Message> = kept.into_iter().map(|(_, message)| message).collect();
    scene.broker.publish(&kept).await;
    // Another gateway's, with ids of its own; none is missing.
    let other = patients("other", 300)
        .into_iter()
        .map(|message| Message { topic: kept[0].topic.clone(), ..with(message, "sw_gw", "gw-2") });
    let mut other: Vec<Message> = other.collect();
    // It is parked, so it is at the centre.
    other[9].body = "no JSON".into();
    scene.broker.publish(&other).await;
    let lost = lost.into_iter().map(|(_, message)| message).collect();
    (scene, lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_names_exactly_what_is_missing_until_it_is_explained_or_comes() {
    let (scene, lost) = scene().await;
    let consumer = Consumer::start(&scene.environment, &["--tries", "1"]);
    until_count(&scene.database, ROWS, 400 - 23 + 299).await;
    until_count(&scene.database, "SELECT COUNT(*) FROM parked_messages", 1).await;

    let all = vec![(1, 1), (17, 17), (100, 119), (250, 250)];
    assert_eq!(scene.missing("0s").await, (all, true));
    // They may still be on their way.
    assert_eq!(scene.missing("1h").await, (vec![], false));
    scene.tell(1, "tombstone", tombstones()).await;
    scene.tell(2, "report", report(405, 2)).await;
    let left = vec![(1, 1), (17, 17), (111, 119), (250, 250), (401, 403)];
    assert_eq!(scene.missing("0s").await, (left, true));
    scene.tell(3, "answer", answer()).await;
    let left = vec![(1, 1), (17, 17), (111, 119), (250, 250)];
    assert_eq!(scene.missing("0s").await, (left, true));
    // Two come after all.
    let again: Vec<Message> =
        lost[..2].iter().map(|message| with(message.clone(), "sw_flags", "resend")).collect();
    scene.broker.publish(&again).await;
    until_count(&scene.database, ROWS, 400 - 21 + 299).await;
    for (from, to) in [("111", "119"), ("250", "250")] {
        let place = ["explain", "--gateway", "gw-1", "--lane", "ward", "--stream", "00000007"];
        let rest = ["--from", from, "--to", to, "--note", "lost with the proxy"];
        let output = command(&scene.environment, &[&place[..], &rest].concat()).await;
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(scene.missing("0s").await, (vec![], false));

    let output = command(&scene.environment, &["audit", "--grace", "0s"]).await;
    let text = said(&output);
    let sum = "gw-1/ward/00000007 2023-11-14: accepted 405 = stored 379 + explained 24 \
               (dead 5, purged 6, other 13) + at the gateway 2 + on the way 0 + missing 0";
    assert!(text.contains(sum), "{text}");
    assert!(text.contains("gw-2/ward/00000007 2023-11-14: accepted 300 = stored 300"), "{text}");
    // A lane without gaps is one row.
    let rows = "SELECT COUNT(*) FROM sw_seen JOIN sw_lanes ON sw_lanes.id = lane_id \
                WHERE gateway = 'gw-2'";
    until_count(&scene.database, rows, 1).await;
    let output = command(&scene.environment, &["status"]).await;
    let text = said(&output);
    assert!(text.contains("running") && text.contains("parked by GID_a from ward: 1"), "{text}");
    assert!(text.contains("at the gateway 2") && text.contains("Not known here"), "{text}");
    consumer.stop().await;
}

/// A lane with `freshness` whose app fell silent: its newest number stays, its backlog drains.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_that_waits_is_not_missing_although_the_lane_makes_nothing_new() {
    let scene = empty().await;
    let consumer = Consumer::start(&scene.environment, &[]);
    let records = patients(TOPIC, 100);
    scene.broker.publish(&records[..10]).await;
    until_count(&scene.database, ROWS, 10).await;
    scene.tell(1, "report", report(100, 90)).await;
    scene.broker.publish(&records[90..]).await;
    until_count(&scene.database, ROWS, 20).await;
    scene.tell(2, "report", report(100, 80)).await;
    assert_eq!(scene.missing("0s").await, (vec![], false));
    // It is gone from the gateway, but may be on its way until the grace time is over.
    scene.tell(3, "report", report(100, 30)).await;
    assert_eq!(scene.missing("1h").await, (vec![], false));
    assert_eq!(scene.missing("0s").await, (vec![(11, 60)], true));
    consumer.stop().await;
}
