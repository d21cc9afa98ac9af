//! The configuration changes while records come and go: nothing is lost, doubled or out of order, no
//! app notices; one on trial is kept or given up; lanes come, and go when they are empty.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::Value;
use spillway_protocol::local::status::LinkState;
use spillway_tests::app::{Crowd, Habit, drafts, hand_over};
use spillway_tests::arrival::Arrival;
use spillway_tests::broker::HttpBroker;
use spillway_tests::doorkeeper::Doorkeeper;
use spillway_tests::gateway::{Gateway, accounted, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::{full, http, oracle, port, random};
use tokio::time::sleep;

const SWIFT: &str = "[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
                     [backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n";
/// Lanes that are always there, each with a topic of its name, and one that comes and goes.
const LANES: [(&str, &str); 4] =
    [("plain", "none"), ("keyed", "key"), ("strict", "lane"), ("lines", "none")];
const ALL: [&str; 5] = ["plain", "keyed", "strict", "lines", "extra"];

/// A lane with the topic of its name.
fn lane_of(name: &str, more: &str) -> String {
    format!("[[lane]]\nname = \"{name}\"\ntopic = \"{name}\"\n{more}")
}

/// Another configuration for the same lanes; `extra` says whether the fifth is one.
fn varied(broker: &HttpBroker, rng: &mut StdRng, extra: bool) -> String {
    let lane = |rng: &mut StdRng, (name, order): (&str, &str)| {
        let mut more = format!("order = \"{order}\"\ndefault = {}\n", name == "plain");
        more += &format!("priority = {}\n", rng.random_range(0..3));
        more +=
            ["", "ttl = \"1d\"\n", "quota = \"64 MiB\"\n", "weight = 5\n", "compress = \"lz4\"\n"]
                [rng.random_range(0..5)];
        lane_of(name, &more)
    };
    let lanes: String = LANES.iter().map(|one| lane(rng, *one)).collect();
    let extra = if extra { lane_of("extra", "") } else { String::new() };
    let host = ["127.0.0.1", "localhost"][rng.random_range(0..2)];
    let mut upstream = HttpBroker::upstream_by(&format!("http://{host}:{}", broker.port()));
    if rng.random_range(0..4) == 0 {
        upstream = upstream.replace("test/secret+", "wrong");
    }
    let rate = ["\"auto\"", "200", "5000"][rng.random_range(0..3)];
    let swift = SWIFT.replace("adaptive", &format!("records_per_second = {rate}\nadaptive"));
    let more =
        ["", "[audit]\n", "limits.memory = \"24 MiB\"\n", "[budget]\nbytes_per_day = \"1 GiB\"\n"]
            [rng.random_range(0..4)];
    let more = if more.starts_with('[') { (String::new(), more) } else { (more.to_owned(), "") };
    format!("{}{upstream}{swift}{}{lanes}{extra}", more.0, more.1)
}

fn crowd(ledger: &Ledger, door: &Doorkeeper, gateway: &Gateway) -> (Crowd, Crowd) {
    let habit = Habit::brisk;
    let seed = random::seed();
    let mut through = Crowd::new(ledger, &door.socket(), seed);
    through.client(habit("a", "plain"));
    through.client(Habit { order_keys: 5, ..habit("c", "keyed") });
    through.client(Habit { pause_max: Duration::from_millis(20), ..habit("d", "strict") });
    let mut lines = Crowd::new(ledger, &gateway.socket(), seed);
    let pause_max = Duration::from_millis(60);
    lines.ndjson(Habit { window: 20, pause_max, ..habit("e", "lines") });
    (through, lines)
}

fn strict(arrival: &Arrival) -> Option<&str> {
    (arrival.lane == "strict").then_some("strict")
}

fn order_key(arrival: &Arrival) -> Option<&str> {
    arrival.order_key.as_deref().filter(|_| arrival.lane == "keyed")
}

fn check(ledger: &Ledger, arrived: &[Arrival]) {
    let sent = ledger.snapshot();
    oracle::assert_none("losses", &oracle::losses(&sent, arrived));
    oracle::assert_none("gaps", &oracle::gaps(arrived));
    oracle::assert_none("order of the lane", &oracle::disorder(&sent, arrived, strict));
    oracle::assert_none("order of the keys", &oracle::disorder(&sent, arrived, order_key));
    let repeats = oracle::repeats(arrived);
    assert!(repeats.is_empty(), "{} arrived twice, the first: {:?}", repeats.len(), repeats[0]);
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_disturbed_by_many_reloads_under_load() {
    let broker = HttpBroker::start().await;
    let mut rng = random::rng(random::seed(), 0);
    let mut gateway = Gateway::new(&varied(&broker, &mut rng, false));
    gateway.start_ready().await;
    let (ledger, door) = (Ledger::default(), Doorkeeper::before(&gateway.socket()));
    let (through, lines) = crowd(&ledger, &door, &gateway);
    let rounds = if full() { 300 } else { 40 };
    for round in 0..rounds {
        let extra = round % 4 < 2;
        gateway.configure(&varied(&broker, &mut rng, extra));
        let (code, said) = gateway.reload("").await;
        assert_eq!((code, &said["taken"]), (0, &Value::Bool(true)), "{said}\n{}", gateway.tail());
        if extra {
            let numbers = round * 10..round * 10 + 10;
            hand_over(&gateway.socket(), &ledger, "extra", drafts("x", numbers)).await;
        }
        sleep(Duration::from_millis(rng.random_range(0..120))).await;
    }
    through.stop().await;
    lines.stop().await;
    gateway.configure(
        &[
            &broker.upstream(),
            SWIFT,
            &LANES
                .map(|(name, order)| {
                    let more = format!("order = \"{order}\"\ndefault = {}\n", name == "plain");
                    lane_of(name, &more)
                })
                .concat(),
            &lane_of("extra", ""),
        ]
        .concat(),
    );
    assert_eq!(gateway.reload("").await.0, 0);
    let status = gateway.until_delivered(Duration::from_secs(120)).await;
    for lane in &status.lanes {
        assert_eq!(lane.accepted, accounted(lane), "{lane:?}");
        assert_eq!(lane.accepted, ledger.acknowledged(&lane.name), "{lane:?}");
    }
    assert_eq!(door.came(), 3, "an app's connection was closed");
    check(&ledger, &broker.arrivals(&ALL));
    let all: u64 = status.lanes.iter().map(|lane| lane.accepted).sum();
    println!("{all} records over {rounds} reloads");
    assert!(all > 20 * rounds, "only {all} records: nothing was tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_and_fragments_are_taken_and_what_cannot_change_is_named() {
    let mut gateway = Gateway::new(&lane_of("main", ""));
    gateway.start_ready().await;
    std::fs::create_dir_all(gateway.file("conf.d")).unwrap();
    std::fs::write(
        gateway.file("conf.d/more.toml"),
        lane_of("more", "").replace("topic", "default = false\ntopic"),
    )
    .unwrap();
    gateway.configure(&lane_of("main", "default = true\n"));
    let pid = gateway.pid().to_string();
    let kill = std::process::Command::new("kill").args(["-HUP", &pid]).status();
    assert!(kill.unwrap().success());
    let status = gateway.until("there are two lanes", |status| status.lanes.len() == 2).await;
    assert_eq!(status.configuration.state, "in force");
    gateway.write(
        &gateway.file("elsewhere"),
        &gateway.file("other.sock"),
        &lane_of("main", "default = true\n"),
    );
    let control = gateway.file("control.sock").display().to_string();
    let (code, said) = gateway.reload(&format!("--control {control}")).await;
    assert_eq!(code, 0, "{said}");
    let wanted = ["gateway.data_dir", "listen.socket"];
    assert_eq!(texts(&said["needs_restart"]), wanted, "{said}");
    let status = gateway.status().await.unwrap();
    assert_eq!(status.configuration.needs_restart, wanted);
    let state = &status.configuration.state;
    assert_eq!(state, "in force; needs a restart: gateway.data_dir, listen.socket");
    assert!(gateway.log().contains("needs a restart"), "{}", gateway.tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_on_trial_falls_back_is_kept_by_a_delivery_or_by_an_operator() {
    let broker = HttpBroker::start().await;
    let nowhere = HttpBroker::upstream_by(&format!("http://127.0.0.1:{}", port::free()));
    let (good, bad) = (
        [&broker.upstream(), SWIFT, &lane_of("main", "")].concat(),
        [&nowhere, SWIFT, &lane_of("main", ""), &lane_of("new", "default = true\n")].concat(),
    );
    let mut gateway = Gateway::new(&good);
    gateway.start_ready().await;
    let ledger = Ledger::default();
    // Falls back; what was taken meanwhile is sent, that of the new lane too.
    gateway.configure(&bad);
    let (code, said) = gateway.reload("--confirm 2s").await;
    assert_eq!((code, said["trial_left_s"].as_u64()), (0, Some(2)), "{said}");
    let status = gateway.status().await.unwrap();
    assert!(status.configuration.state.starts_with("on trial: "), "{:?}", status.configuration);
    hand_over(&gateway.socket(), &ledger, "new", drafts("n", 0..5)).await;
    hand_over(&gateway.socket(), &ledger, "main", drafts("m", 0..5)).await;
    let back = |state: &str| state.starts_with("not kept in time, the former is in force");
    gateway.until("the former is back", |status| back(&status.configuration.state)).await;
    gateway.until_delivered(Duration::from_secs(60)).await;
    gateway.until("the new lane is gone", |status| status.lanes.len() == 1).await;
    // Also after a start.
    gateway.stop(Duration::from_secs(20)).await;
    let status = gateway.start_ready().await;
    assert!(back(&status.configuration.state), "{:?}", status.configuration);
    assert_eq!(gateway.reload("--keep").await.0, 65, "nothing is on trial");
    // Kept by a delivery.
    gateway.configure(&[good.as_str(), &lane_of("second", "default = true\n")].concat());
    assert_eq!(gateway.reload("--confirm 10m").await.0, 0);
    hand_over(&gateway.socket(), &ledger, "second", drafts("s", 0..1)).await;
    gateway.until("it is kept", |status| status.configuration.state == "in force").await;
    // Kept by an operator, though nothing gets through, and over a start.
    gateway.configure(&bad);
    assert_eq!(gateway.reload("--confirm 10m").await.0, 0);
    gateway.stop(Duration::from_secs(20)).await;
    let status = gateway.start_ready().await;
    assert!(status.configuration.trial_left_s.is_some_and(|left| (1..=600).contains(&left)));
    assert_eq!(gateway.reload("--keep").await.0, 0);
    let status = gateway.status().await.unwrap();
    assert_eq!(status.configuration.state, "in force");
    assert!(gateway.log().contains("operator: reload"), "{}", gateway.tail());
    check(&ledger, &broker.arrivals(&["main", "new", "second"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_outlives_a_kill_and_a_former_that_cannot_come_back_is_tried_again() {
    let broker = HttpBroker::start().await;
    let nowhere = HttpBroker::upstream_by(&format!("http://127.0.0.1:{}", port::free()));
    let address = format!("127.0.0.1:{}", port::free());
    let admin = format!("[listen.admin]\naddress = \"{address}\"\n");
    let mut gateway = Gateway::new("");
    std::fs::write(gateway.file("secret"), "test/secret+").unwrap();
    let secret = format!("{{ file = {:?} }}", gateway.file("secret"));
    let rest = [SWIFT, &lane_of("main", "")].concat();
    let inline = [&broker.upstream(), rest.as_str(), &admin].concat();
    let good = inline.replace("\"test/secret+\"", &secret);
    assert_ne!(good, inline);
    let bad = [&nowhere, rest.as_str()].concat();
    gateway.configure(&good);
    gateway.start_ready().await;
    let ledger = Ledger::default();
    // Killed within its time it goes on, and is not taken for one that was kept.
    gateway.configure(&bad);
    assert_eq!(gateway.reload("--confirm 10m").await.0, 0);
    gateway.kill();
    let status = gateway.start_ready().await;
    assert!(status.configuration.trial_left_s.is_some(), "{:?}", status.configuration);
    // Somebody else has taken the former's address when the time is over.
    let taken = std::net::TcpListener::bind(&address).unwrap();
    assert_eq!(gateway.reload("--confirm 1s").await.0, 0);
    hand_over(&gateway.socket(), &ledger, "main", drafts("m", 0..5)).await;
    let stuck = |text: &str| text.starts_with("on trial: ") && text.contains("cannot come back");
    gateway.until("the former is missed", |status| stuck(&status.configuration.state)).await;
    drop(taken);
    let back = |text: &str| text.starts_with("not kept in time, the former is in force");
    gateway.until("the former is back", |status| back(&status.configuration.state)).await;
    gateway.until_delivered(Duration::from_secs(60)).await;
    // Killed while it could not come back, it comes with the next start.
    assert_eq!(gateway.reload("").await.0, 0);
    gateway.configure(&good);
    assert_eq!(gateway.reload("").await.0, 0);
    gateway.configure(&bad);
    assert_eq!(gateway.reload("--confirm 1s").await.0, 0);
    let taken = std::net::TcpListener::bind(&address).unwrap();
    gateway.until("the former is missed", |status| stuck(&status.configuration.state)).await;
    gateway.kill();
    drop(taken);
    let status = gateway.start_ready().await;
    assert!(back(&status.configuration.state), "{:?}", status.configuration);
    hand_over(&gateway.socket(), &ledger, "main", drafts("n", 0..5)).await;
    gateway.until_delivered(Duration::from_secs(60)).await;
    check(&ledger, &broker.arrivals(&["main"]));
    // A secret that stands in the file is not kept: what comes back without it says so.
    gateway.configure(&inline);
    assert_eq!(gateway.reload("").await.0, 0);
    gateway.configure(&bad);
    assert_eq!(gateway.reload("--confirm 3s").await.0, 0);
    gateway.kill();
    gateway.start_ready().await;
    let lacks = |text: &str| back(text) && text.contains("upstream.access_key_secret");
    gateway.until("it says what it lacks", |status| lacks(&status.configuration.state)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_gone_is_sent_as_it_was_and_takes_nothing_over_a_restart_too() {
    let mut broker = HttpBroker::start().await;
    let endpoint = broker.upstream();
    broker.stop().await;
    let keep = lane_of("keep", "default = true\n");
    let old = lane_of("old", "tag = \"Was\"\norder = \"key\"\n");
    let mut gateway = Gateway::new(&[&endpoint, SWIFT, &keep, &old].concat());
    gateway.start_ready().await;
    let ledger = Ledger::default();
    hand_over(&gateway.socket(), &ledger, "old", drafts("o", 0..20)).await;
    // It is renamed: a new lane, and a retired one.
    let new = lane_of("renamed", "tag = \"Is\"\n");
    gateway.configure(&[&endpoint, SWIFT, &keep, &new].concat());
    let (code, said) = gateway.reload("").await;
    assert_eq!((code, texts(&said["retired"])), (0, vec!["old"]), "{said}");
    hand_over(&gateway.socket(), &ledger, "renamed", drafts("r", 0..5)).await;
    for round in 0..3 {
        let status = gateway.status().await.unwrap();
        let (retired, live) = (lane(&status, "old"), lane(&status, "renamed"));
        assert!(retired.retired && !live.retired, "{status:#?}");
        assert_eq!((retired.waiting, live.waiting), (20, 5), "round {round}");
        let record = br#"{"body": "x", "lane": "old"}"#;
        let kind = "application/json";
        let refused = http::post(&gateway.socket(), "/v1/records", kind, record).await.unwrap();
        let error = &refused.json()["error"];
        assert_eq!(error["code"], "unknown_lane", "{error}");
        assert!(error["message"].as_str().unwrap().contains("keep, renamed"), "{error}");
        match round {
            0 => gateway.kill(),
            _ => gateway.stop(Duration::from_secs(20)).await,
        }
        gateway.start_ready().await;
    }
    assert!(gateway.said("status").await.contains("retired"));
    broker.restart().await;
    gateway.until_delivered(Duration::from_secs(60)).await;
    gateway.until("it is gone", |status| status.lanes.len() == 2).await;
    let arrived = broker.arrivals(&["keep", "old", "renamed"]);
    check(&ledger, &arrived);
    let tags = |name: &str| -> Vec<Option<String>> {
        let of_lane = arrived.iter().filter(|arrival| arrival.lane == name);
        of_lane.map(|arrival| arrival.tag.clone()).collect()
    };
    assert_eq!(tags("old"), vec![Some("Was".to_owned()); 20]);
    assert_eq!(tags("renamed"), vec![Some("Is".to_owned()); 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_put_right_is_used_at_once_and_the_link_does_not_begin_anew() {
    let broker = HttpBroker::start().await;
    let wrong = broker.upstream().replace("test/secret+", "wrong");
    let rest = [SWIFT, &lane_of("main", "")].concat();
    let mut gateway = Gateway::new(&[&wrong, rest.as_str()].concat());
    gateway.start_ready().await;
    let ledger = Ledger::default();
    hand_over(&gateway.socket(), &ledger, "main", drafts("m", 0..3)).await;
    gateway.until("the link is held", |status| status.link.state == LinkState::Held).await;
    gateway.configure(&[&broker.upstream(), rest.as_str()].concat());
    assert_eq!(gateway.reload("").await.0, 0);
    gateway.until_delivered(Duration::from_secs(60)).await;
    let up = gateway.until("it is online", |status| status.link.state == LinkState::Online).await;
    // A rate is no reason to begin anew.
    let slower = rest.replace("adaptive", "records_per_second = 50\nadaptive");
    gateway.configure(&[&broker.upstream(), slower.as_str()].concat());
    assert_eq!(gateway.reload("").await.0, 0);
    let status = gateway.status().await.unwrap();
    assert_eq!(status.link.state, LinkState::Online);
    assert!(status.link.since.abs_diff(up.link.since) <= 1000, "{:?} {:?}", status.link, up.link);
    check(&ledger, &broker.arrivals(&["main"]));
}
