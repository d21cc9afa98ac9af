//! What the agent sends of its own, against the embedded broker: reports, tombstones, presence,
//! through outages and kills.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use rand::RngExt;
use spillway::broker::faults::{Kind, Rule};
use spillway_protocol::local::status::{LinkState, Status};
use spillway_protocol::presence::{Event, EventType};
use spillway_protocol::report::Report;
use spillway_protocol::tombstone::{Reason, Tombstones};
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::arrival::Arrival;
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, PATIENCE, accounted, lane, now_ms};
use spillway_tests::ledger::Ledger;
use spillway_tests::{full, http, oracle, random};
use tokio::time::{Instant, sleep};

const REPORTS: &str = "gateway-report";
const STATUS: &str = "gateway-status";
/// A refused record's next turn comes within one and a half minutes.
const ROUND: Duration = Duration::from_secs(150);
const STOPS_WITHIN: Duration = Duration::from_secs(30);

const REPORT: &str = "[report]\ntopic = \"gateway-report\"\nevery = \"1s\"\n";
const PRESENCE: &str = "[presence]\ntopic = \"gateway-status\"\nclient_group = \"GID_g\"\n";

/// A gateway with one lane, and its broker.
struct Case {
    broker: HttpBroker,
    gateway: Gateway,
    ledger: Ledger,
}

impl Case {
    async fn start(sections: &str) -> Self {
        let broker = HttpBroker::start().await;
        let mut gateway = Gateway::new(&settings(&broker, sections));
        gateway.start_ready().await;
        Self { broker, gateway, ledger: Ledger::default() }
    }

    async fn hand_over(&self, name: &str, numbers: std::ops::Range<u64>) {
        hand_over(&self.gateway.socket(), &self.ledger, "main", drafts(name, numbers)).await;
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        self.gateway.until(what, wanted).await
    }

    async fn until_link(&mut self, up: bool) {
        let is_up =
            |status: &Status| matches!(status.link.state, LinkState::Online | LinkState::Ramping);
        self.until("the link is as wanted", |status| is_up(status) == up).await;
    }

    /// Polls the broker until `found` finds what it wants.
    async fn at_broker<T>(&self, what: &str, found: impl Fn(&HttpBroker) -> Option<T>) -> T {
        self.settled_at_broker(what, |broker| found(broker).ok_or("it is not there")).await
    }

    /// The same where it can say what is wrong.
    async fn settled_at_broker<T, E: Debug>(
        &self,
        what: &str,
        found: impl Fn(&HttpBroker) -> Result<T, E>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let faults = match found(&self.broker) {
                Ok(found) => return found,
                Err(faults) => faults,
            };
            let late = Instant::now() > deadline;
            assert!(!late, "in vain until {what}: {faults:?}\n{}", self.gateway.tail());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many of its own records the agent has waiting.
    async fn own_waiting(&self) -> u64 {
        let list = self.gateway.said("queue list --json").await;
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let own = &list["lanes"].as_array().unwrap()[1];
        assert_eq!(own["name"], "_agent");
        own["waiting"].as_u64().unwrap()
    }
}

fn settings(broker: &HttpBroker, sections: &str) -> String {
    format!(
        "{}[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
         [backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n[[lane]]\nname = \"main\"\n\
         topic = \"main\"\n{sections}",
        broker.upstream()
    )
}

/// All reports, in the order in which they came.
fn reports(broker: &HttpBroker) -> Vec<Report> {
    let messages = broker.messages(REPORTS);
    let reports = messages.iter().filter(|stored| stored.property("sw_flags") == Some("report"));
    reports.map(|stored| Report::from_json(stored.body.as_bytes()).unwrap()).collect()
}

/// The newest number of lane `main` that a report names.
fn newest(report: &Report) -> u64 {
    report.lanes[0].streams.last().unwrap().accepted_seq
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_come_and_none_waits_through_an_outage_but_one() {
    let mut case = Case::start(REPORT).await;
    case.hand_over("r", 0..50).await;
    let wanted = |broker: &HttpBroker| {
        reports(broker).into_iter().find(|r| newest(r) == 50 && r.lanes[0].delivered == 50)
    };
    let report = case.at_broker("a report tells of all", wanted).await;
    let status = case.gateway.status().await.unwrap();
    assert_eq!((&report.gateway, &report.stream), (&status.gateway, &status.stream));
    assert_eq!((report.every_s, report.clock_set), (1, true));
    assert_eq!(report.own.unwrap().name, "_agent");
    assert!(report.started_ms <= report.at_ms && report.at_ms <= now_ms());
    let disk = report.disk.unwrap();
    assert!(disk.total_bytes > disk.free_bytes && disk.free_bytes > 0 && disk.queue_bytes > 0);

    case.broker.stop().await;
    let cut_ms = now_ms();
    case.hand_over("s", 0..20).await;
    case.until_link(false).await;
    // Five intervals.
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        assert!(case.own_waiting().await <= 1);
    }
    let back_ms = now_ms();
    case.broker.restart().await;
    let wanted = |broker: &HttpBroker| reports(broker).into_iter().find(|r| newest(r) == 70);
    let first = case.at_broker("a report after the outage", wanted).await;
    assert!(first.at_ms >= cut_ms);
    let within = |report: &Report| (cut_ms..back_ms).contains(&report.at_ms);
    assert!(reports(&case.broker).iter().filter(|report| within(report)).count() <= 1);
    let began: BTreeSet<u64> =
        reports(&case.broker).iter().map(|report| report.started_ms).collect();
    assert_eq!(began.len(), 1, "one process began once: {began:?}");

    let status = case.gateway.until_delivered(PATIENCE).await;
    assert_eq!(status.lanes.len(), 1, "the agent's own lane is no user's: {status:?}");
    assert_eq!((lane(&status, "main").accepted, accounted(lane(&status, "main"))), (70, 70));
    case.gateway.stop(STOPS_WITHIN).await;
    let arrived = case.broker.arrivals(&["main", REPORTS]);
    oracle::assert_none("gaps", &oracle::gaps(&arrived));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_app_and_no_configuration_can_name_the_agents_lane() {
    let case = Case::start(REPORT).await;
    let body = r#"{"body": "x", "lane": "_agent"}"#;
    let socket = case.gateway.socket();
    let answer = http::post(&socket, "/v1/records", "application/json", body.as_bytes()).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 400);
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("main") && !message.contains("main, _agent"), "{message}");
    let asked = http::get(&socket, "/v1/records?lane=_agent&seq=1").await.unwrap();
    assert_eq!(asked.status, 400);
}

impl Case {
    /// Waits until nothing waits. That others pass shows that a refusal is the record's own fault;
    /// those that left before the refusal came say nothing of it, so some more follow.
    async fn settle(&mut self, from: u64) -> Status {
        let settled = |status: &Status| lane(status, "main").waiting == 0;
        let deadline = Instant::now() + ROUND;
        for first in (from..).step_by(20) {
            self.hand_over("last", first..first + 20).await;
            let patience = Instant::now() + Duration::from_secs(10);
            while Instant::now() < patience {
                if let Some(status) = self.gateway.status().await.filter(settled) {
                    return status;
                }
                sleep(Duration::from_millis(100)).await;
            }
            assert!(Instant::now() < deadline, "in vain: {:#?}", self.gateway.status().await);
        }
        unreachable!("numbers do not end")
    }
}

/// What the far side knows of lane `main`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    arrived: BTreeSet<u64>,
    told: BTreeMap<u64, BTreeSet<Reason>>,
}

fn known(broker: &HttpBroker) -> Known {
    let mut known = Known::default();
    known.arrived.extend(broker.arrivals(&["main"]).iter().map(|arrival| arrival.seq));
    for stored in broker.messages(REPORTS) {
        if stored.property("sw_flags") != Some("tombstone") {
            continue;
        }
        assert_eq!(stored.property("sw_lane"), Some("_agent"));
        for range in Tombstones::from_json(stored.body.as_bytes()).unwrap().ranges {
            assert_eq!((range.lane.as_str(), range.count), ("main", range.to - range.from + 1));
            for seq in range.from..=range.to {
                known.told.entry(seq).or_default().insert(range.reason);
            }
        }
    }
    known
}

impl Known {
    /// Numbers whose standing reason this is.
    fn standing(&self, reason: Reason) -> BTreeSet<u64> {
        let stands = |reasons: &BTreeSet<Reason>| {
            reasons.iter().copied().max_by_key(|reason| reason.rank()) == Some(reason)
        };
        self.told.iter().filter(|(_, r)| stands(r)).map(|(seq, _)| *seq).collect()
    }

    /// Numbers up to the newest that neither arrived nor are told, or both, or that nobody gave.
    fn faults(&self, newest: u64) -> Vec<(u64, String)> {
        let last = self.told.keys().chain(&self.arrived).copied().max().unwrap_or(0).max(newest);
        let fault = |seq: u64| {
            let (arrived, told) = (self.arrived.contains(&seq), self.told.get(&seq));
            let good = seq <= newest && (arrived != told.is_some());
            (!good).then(|| (seq, format!("arrived: {arrived}, told: {told:?}")))
        };
        (1..=last).filter_map(fault).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_told_exactly_whatever_kills_the_agent() {
    let mut case = Case::start(REPORT).await;
    let refuse = || Rule { key_prefix: Some("bad".to_owned()), ..Rule::always(Kind::RefuseRecord) };
    case.broker.faults().set_rules(&[refuse()]);
    let mut rng = random::rng(random::seed(), 0);
    for life in 0..if full() { 100 } else { 15 } {
        if life > 0 {
            case.gateway.start_ready().await;
        }
        case.hand_over("good", life * 10..(life + 1) * 10).await;
        case.hand_over("bad", life * 5..life * 5 + rng.random_range(1..5)).await;
        case.hand_over("more", life * 10..(life + 1) * 10).await;
        match rng.random_range(0..4) {
            0 => drop(case.gateway.command("dead purge --all").await),
            1 => drop(case.gateway.command("dead replay --limit 2").await),
            _ => {}
        }
        sleep(Duration::from_millis(rng.random_range(0..1500))).await;
        case.gateway.kill();
    }
    case.gateway.start_ready().await;
    case.hand_over("bad", 900..906).await;
    case.settle(1000).await;
    case.gateway.said("dead purge --limit 2").await;
    case.broker.faults().clear();
    case.gateway.said("dead replay --limit 2").await;
    let status = case.settle(2000).await;
    let main = lane(&status, "main");
    assert_eq!(main.accepted, accounted(main), "{main:?}");

    // The newest report shows that no tail is missing.
    let accepted = |broker: &HttpBroker| {
        let report = reports(broker).pop()?;
        (report.lanes[0].waiting == 0 && report.lanes[0].delivered == main.delivered)
            .then(|| newest(&report))
    };
    let newest = case.at_broker("a report tells the newest number", accepted).await;
    let list = case.gateway.said("dead list --limit 1000 --json").await;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let letters = list["letters"].as_array().unwrap();
    let dead: BTreeSet<u64> = letters.iter().map(|l| l["seq"].as_u64().unwrap()).collect();
    let whole = |broker: &HttpBroker| {
        let known = known(broker);
        let (faults, told_dead) = (known.faults(newest), known.standing(Reason::Dead));
        // What became of the last ones is told within seconds.
        if faults.is_empty() && told_dead == dead { Ok(known) } else { Err((faults, told_dead)) }
    };
    let known = case.settled_at_broker("every number is explained", whole).await;
    assert_eq!(known.standing(Reason::Purged).len() as u64, main.dropped, "{known:?}");
    assert!(known.standing(Reason::Replayed).len() >= 2, "{known:?}");
    assert!(known.standing(Reason::Damaged).is_empty(), "{known:?}");
    let replayed = case.broker.messages("main");
    assert!(replayed.iter().any(|stored| stored.property("sw_flags") == Some("replay")));
}

/// All status events, in the order in which they came.
fn events(broker: &HttpBroker) -> Vec<Event> {
    let messages = broker.messages(STATUS);
    let event = |stored: &spillway::broker::Stored| {
        let event = Event::from_json(stored.body.as_bytes()).unwrap();
        assert_eq!(stored.tag.as_deref(), Some(event.event_type.as_str()));
        assert_eq!(event.client_id, "GID_g@@@gw-test");
        assert_eq!(event.client_ip, "127.0.0.1");
        event
    };
    messages.iter().map(|stored| event(stored)).collect()
}

/// Channels in the order in which they were opened, each with what happened to it.
fn channels(broker: &HttpBroker) -> Vec<(String, BTreeMap<EventType, u64>)> {
    let mut channels: BTreeMap<String, BTreeMap<EventType, u64>> = BTreeMap::new();
    for event in events(broker) {
        let times = channels.entry(event.channel_id).or_default();
        let again = times.insert(event.event_type, event.time);
        assert!(again.is_none_or(|time| time == event.time));
    }
    let mut channels: Vec<_> = channels.into_iter().collect();
    channels.sort_by_key(|(_, times)| times.get(&EventType::Connect).copied());
    channels
}

impl Case {
    /// Waits until so many channels were opened; all but the last are gone.
    async fn until_channels(&self, count: usize) -> Vec<(String, BTreeMap<EventType, u64>)> {
        let settled = |broker: &HttpBroker| {
            let channels = channels(broker);
            let gone = |(_, times): &(String, BTreeMap<EventType, u64>)| {
                times.contains_key(&EventType::TcpClean)
            };
            let closed = channels.iter().filter(|channel| gone(channel)).count();
            (channels.len() == count && closed == count - 1).then_some(channels)
        };
        self.at_broker("the channels are as wanted", settled).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_tells_of_outages_kills_and_goodbyes() {
    use EventType::{Connect, Disconnect, TcpClean};
    let mut case = Case::start(PRESENCE).await;
    let first = case.until_channels(1).await;
    assert_eq!(first[0].1.keys().collect::<Vec<_>>(), [&Connect]);

    // An outage that a record finds.
    let down_ms = now_ms();
    case.broker.stop().await;
    case.hand_over("r", 0..1).await;
    case.until_link(false).await;
    // The end of the channel has its time once it waits in the queue.
    while case.own_waiting().await == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    let back_ms = now_ms();
    case.broker.restart().await;
    let two = case.until_channels(2).await;
    assert!((down_ms..=back_ms).contains(&two[0].1[&TcpClean]), "{two:?} {down_ms} {back_ms}");
    assert!(two[1].1[&Connect] >= back_ms);

    // A kill: the next life reports the end, with a time at which it lived.
    case.gateway.kill();
    let killed_ms = now_ms();
    case.gateway.start_ready().await;
    let three = case.until_channels(3).await;
    assert!((two[1].1[&Connect]..=killed_ms).contains(&three[1].1[&TcpClean]), "{three:?}");
    assert!(!three[1].1.contains_key(&Disconnect));

    // A goodbye with the link up leaves before the agent ends.
    case.gateway.stop(STOPS_WITHIN).await;
    let parted = channels(&case.broker);
    assert_eq!(parted[2].1.keys().collect::<Vec<_>>(), [&Connect, &Disconnect, &TcpClean]);

    // A goodbye that the link does not take any more goes after the next start.
    case.gateway.start_ready().await;
    case.until_channels(4).await;
    case.broker.stop().await;
    case.gateway.stop(STOPS_WITHIN).await;
    case.broker.restart().await;
    assert_eq!(channels(&case.broker)[3].1.len(), 1);
    case.gateway.start_ready().await;
    let five = case.until_channels(5).await;
    assert_eq!(five[3].1.keys().collect::<Vec<_>>(), [&Connect, &Disconnect, &TcpClean]);
    case.gateway.stop(STOPS_WITHIN).await;
    let arrived: Vec<Arrival> = case.broker.arrivals(&["main", STATUS]);
    oracle::assert_none("gaps", &oracle::gaps(&arrived));
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_leave_no_channel_that_never_ends() {
    let mut case = Case::start(PRESENCE).await;
    let mut rng = random::rng(random::seed(), 0);
    for life in 0..if full() { 100 } else { 15 } {
        if life > 0 {
            case.gateway.start();
        }
        sleep(Duration::from_millis(rng.random_range(0..400))).await;
        case.gateway.kill();
    }
    case.gateway.start_ready().await;
    case.at_broker("one channel is live", |broker| {
        let live = |(_, times): &&(String, BTreeMap<EventType, u64>)| {
            times.contains_key(&EventType::Connect) && !times.contains_key(&EventType::TcpClean)
        };
        (channels(broker).iter().filter(live).count() == 1).then_some(())
    })
    .await;
    case.gateway.stop(STOPS_WITHIN).await;
    let ended = |(_, times): &(String, _)| BTreeMap::contains_key(times, &EventType::TcpClean);
    assert!(channels(&case.broker).iter().all(ended), "{:?}", channels(&case.broker));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_report_topic_is_seen_and_holds_nothing_else() {
    let mut case = Case::start(&format!("{REPORT}{PRESENCE}")).await;
    let missing = Rule { topic: Some(REPORTS.to_owned()), ..Rule::always(Kind::TopicMissing) };
    case.broker.faults().set_rules(&[missing]);
    let held = |status: &Status| status.own.as_ref().is_some_and(|own| own.hold.is_some());
    let status = case.until("the own lane is held", held).await;
    assert_eq!(status.own.unwrap().hold.unwrap().code, "topic_missing");
    case.hand_over("r", 0..50).await;
    let status = case.gateway.until_delivered(PATIENCE).await;
    assert_eq!(lane(&status, "main").hold, None);
    let nagios = case.gateway.command("status --check").await;
    assert_eq!(nagios.status.code(), Some(2), "{nagios:?}");
    case.gateway.stop(STOPS_WITHIN).await;
    let events = channels(&case.broker);
    assert_eq!(events[0].1.len(), 3, "presence went on: {events:?}");
    case.broker.faults().clear();
    case.gateway.start_ready().await;
    let back = |broker: &HttpBroker| reports(broker).into_iter().find(|r| newest(r) == 50);
    case.at_broker("reports come again", back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_records_of_a_section_that_is_gone_are_sent_all_the_same() {
    let mut case = Case::start(PRESENCE).await;
    case.until_channels(1).await;
    case.broker.stop().await;
    case.gateway.stop(STOPS_WITHIN).await;
    case.gateway.configure(&settings(&case.broker, ""));
    case.broker.restart().await;
    case.gateway.start_ready().await;
    // Its lane is retired: what waits there is sent as it was to be sent.
    let gone = |broker: &HttpBroker| (channels(broker)[0].1.len() == 3).then_some(());
    case.at_broker("the goodbye has arrived", gone).await;
}
