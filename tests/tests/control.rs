//! What the centre asks of a gateway: the real agent, the real `central-control`, the embedded
//! broker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use spillway::broker::Stored;
use spillway_protocol::control::{Answer, Page, PublicKey, Request, State};
use spillway_protocol::local::status::{LinkState, Status};
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::connect::ConnectProxy;
use spillway_tests::gateway::{Gateway, PATIENCE};
use spillway_tests::ledger::Ledger;
use spillway_tests::mariadb::MariaDb;
use spillway_tests::page::{CentralControl, Script, Scripted, sealer};
use tokio::time::{Instant, sleep};

const COUNT: u64 = 120;
const GATEWAY: &str = "gw-test";

/// A gateway that pulls from `url` every second, with records that are delivered.
struct Case {
    broker: HttpBroker,
    gateway: Gateway,
    stream: String,
}

impl Case {
    async fn start(url: &str, key: PublicKey) -> Self {
        Self::with(|broker| settings(broker, url, key)).await
    }

    async fn with(settings: impl Fn(&HttpBroker) -> String) -> Self {
        let broker = HttpBroker::start().await;
        let mut gateway = Gateway::new(&settings(&broker));
        let status = gateway.start_ready().await;
        let ledger = Ledger::default();
        hand_over(&gateway.socket(), &ledger, "main", drafts("r", 0..COUNT)).await;
        gateway.until_delivered(PATIENCE).await;
        Self { broker, gateway, stream: status.stream }
    }

    fn request(&self, id: &str, from: u64, to: u64) -> Request {
        let (lane, stream) = ("main".to_owned(), self.stream.clone());
        Request { id: id.to_owned(), lane, stream, from, to }
    }

    /// Numbers that came again. The drain of an agent that is killed may send some twice.
    fn resent(&self) -> BTreeSet<u64> {
        self.flagged("main", "resend").into_keys().collect()
    }

    /// How many copies the agent has made in all its lives: it forgets none by a kill.
    async fn copies(&self) -> u64 {
        let list = self.gateway.said("queue list --json").await;
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let lanes = list["lanes"].as_array().unwrap();
        let lane = lanes.iter().find(|lane| lane["name"] == "_resend").unwrap();
        lane["accepted"].as_u64().unwrap()
    }

    fn answers(&self) -> Vec<Answer> {
        let answer = |stored: &Stored| Answer::from_json(stored.body.as_bytes()).unwrap();
        self.flagged("report", "answer").values().map(answer).collect()
    }

    /// By number.
    fn flagged(&self, topic: &str, flag: &str) -> BTreeMap<u64, Stored> {
        let messages = self.broker.messages(topic);
        let flagged = messages.iter().filter(|stored| stored.property("sw_flags") == Some(flag));
        let seq = |stored: &Stored| stored.property("sw_seq").unwrap().parse().unwrap();
        flagged.map(|stored| (seq(stored), (**stored).clone())).collect()
    }

    /// Polls until it is so.
    async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !so(self) {
            assert!(
                Instant::now() < deadline,
                "in vain until {what}: {:?} {:?}\n{}",
                self.resent(),
                self.answers(),
                self.gateway.tail()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_link(&mut self, up: bool) {
        let is_up =
            |status: &Status| matches!(status.link.state, LinkState::Online | LinkState::Ramping);
        self.gateway.until("the link is as wanted", |status| is_up(status) == up).await;
    }

    /// A page for `gateway` by the key of `seed`.
    fn page(&self, gateway: &str, seed: u8, serial: u64, requests: &[Request]) -> Vec<u8> {
        let requests = requests.to_vec();
        sealer(seed).seal(&Page { gateway: gateway.to_owned(), serial, requests }).unwrap()
    }
}

fn settings(broker: &HttpBroker, url: &str, key: PublicKey) -> String {
    format!(
        "{}[drain]\nadaptive = false\nreconnect_spread = \"0s\"\n[backoff]\ninitial = \"50ms\"\n\
         max = \"200ms\"\n[audit]\n[report]\ntopic = \"report\"\nevery = \"1s\"\n[control]\n\
         url = \"{url}\"\nevery = \"1s\"\npublic_key = \"{key}\"\n[[lane]]\nname = \"main\"\n\
         topic = \"main\"\n",
        broker.upstream()
    )
}

fn good(body: Vec<u8>, etag: &str) -> Script {
    Script { status: 200, etag: Some(format!("\"{etag}\"")), body }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_whether_the_page_can_be_read() {
    let broker = HttpBroker::start().await;
    let (centre, other) = (CentralControl::start().await, CentralControl::start().await);
    let said = async |url: &str, key: PublicKey| {
        let gateway = Gateway::new(&settings(&broker, url, key));
        let output = gateway.command("check --connect").await;
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.contains("  control http://")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{text}"))
    };
    let good = said(&centre.url(), centre.key).await;
    assert!(good.starts_with("ok    control http://127.0.0.1:"), "{good}");
    assert!(good.ends_with("the page is signed by the centre; requests on it: 0"), "{good}");
    let forged = said(&centre.url(), other.key).await;
    assert!(forged.starts_with("note") && forged.contains("sign"), "{forged}");
    let nobody = format!("http://127.0.0.1:{}/x", spillway_tests::port::free());
    let nowhere = said(&nobody, centre.key).await;
    assert!(nowhere.contains("onnection refused"), "{nowhere}");
    let missing = Scripted::start(Script { status: 404, ..Script::default() }).await;
    let missing = said(&missing.url(), centre.key).await;
    assert!(missing.contains("the answer is 404"), "{missing}");
    let page = Page { gateway: "another".to_owned(), serial: 1, requests: Vec::new() };
    let whose = sealer(1).seal(&page).unwrap();
    let whose = Scripted::start(Script { status: 200, body: whose, ..Script::default() }).await;
    let whose = said(&whose.url(), sealer(1).public_key()).await;
    assert!(whose.starts_with("note") && whose.contains("another"), "{whose}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_done_once_also_after_a_kill_and_the_rest_is_answered() {
    let control = CentralControl::start().await;
    let mut case = Case::start(&control.url(), control.key).await;
    let first = case.request("first", 11, 60);
    control.ask(GATEWAY, std::slice::from_ref(&first));
    case.until("fifty came again", |case| case.resent().len() >= 50).await;
    assert_eq!(case.resent(), (11..=60).collect());

    let beyond = case.request("beyond", 119, 130);
    let foreign = Request { stream: "deadbeef".to_owned(), ..case.request("foreign", 1, 3) };
    control.ask(GATEWAY, &[first.clone(), beyond.clone(), foreign.clone()]);
    case.until("both are answered", |case| case.answers().len() >= 2).await;
    let told = |answer: &Answer| {
        let unsent = answer.unsent[0];
        (answer.request.clone(), answer.sent, unsent.from, unsent.to, unsent.state)
    };
    let told: Vec<_> = case.answers().iter().map(told).collect();
    let never = State::NeverExisted;
    let wanted =
        [("beyond".to_owned(), 2, 121, 130, never), ("foreign".to_owned(), 0, 1, 3, never)];
    assert_eq!(told, wanted);
    case.until("two more came again", |case| case.resent().len() >= 52).await;

    // The next life is asked the same and one more: only that is done.
    let noted = std::fs::read_to_string(case.gateway.data_dir().join("requests")).unwrap();
    assert!(noted.contains("\"first\""), "{noted}");
    case.gateway.kill();
    let last = case.request("last", 1, 1);
    control.ask(GATEWAY, &[first, beyond, foreign, last]);
    case.gateway.start_ready().await;
    case.until("the last came again", |case| case.resent().contains(&1)).await;
    assert_eq!((case.copies().await, case.resent().len(), case.answers().len()), (53, 53, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_kept_is_answered_as_expired() {
    let control = CentralControl::start().await;
    let mut case = Case::start(&control.url(), control.key).await;
    let shorter = settings(&case.broker, &control.url(), control.key)
        .replace("[audit]\n", "[audit]\nkeep = \"1 B\"\n");
    case.gateway.stop(PATIENCE).await;
    case.gateway.configure(&shorter);
    case.gateway.start_ready().await;
    // A file that is written to is kept; the next record begins another.
    let ledger = Ledger::default();
    hand_over(&case.gateway.socket(), &ledger, "main", drafts("s", 0..1)).await;
    case.gateway.until_delivered(PATIENCE).await;
    let nth = std::cell::Cell::new(0);
    let deadline = Instant::now() + PATIENCE;
    while !case.answers().iter().any(|answer| answer.unsent[0].state == State::Expired) {
        nth.set(nth.get() + 1);
        control.ask(GATEWAY, &[case.request(&format!("r-{}", nth.get()), 1, 10)]);
        assert!(Instant::now() < deadline, "{:?}\n{}", case.answers(), case.gateway.tail());
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_that_the_centre_did_not_sign_for_this_gateway() {
    let server = Scripted::start(Script { status: 500, ..Script::default() }).await;
    let mut case = Case::start(&server.url(), sealer(1).public_key()).await;
    server.until(|seen| seen.requests >= 2).await;
    let wanted = [case.request("r", 1, 5)];
    let large = [b"{\"payload\":\"".to_vec(), vec![b'x'; 70 << 10]].concat();
    let bad = [
        ("answer is 500", Script { status: 500, ..Script::default() }),
        ("signature", good(case.page(GATEWAY, 2, 9, &wanted), "a")),
        ("page of gateway \"gw-other\"", good(case.page("gw-other", 1, 9, &wanted), "b")),
        ("more than 65536 bytes", good(large, "c")),
        ("no signed page", good(b"<html>log in here</html>".to_vec(), "d")),
        ("answer is 302", Script { status: 302, ..Script::default() }),
        ("answer is 304", Script { status: 304, ..Script::default() }),
    ];
    for (words, script) in bad {
        let before = server.seen();
        server.answer(script);
        let seen = server.until(|seen| seen.requests >= before.requests + 2).await;
        assert_eq!(seen.unchanged, 0, "{words}: the tag of a bad page was kept");
        let logged = |case: &Case| {
            let log = case.gateway.log();
            log.lines().filter(|line| line.contains("centre") && line.contains(words)).count()
        };
        case.until(words, |case| logged(case) > 0).await;
        assert_eq!(logged(&case), 1, "{words}: {}", case.gateway.tail());
        let shown = |status: &Status| {
            let fault = status.control.as_ref().and_then(|control| control.fault.as_deref());
            fault.is_some_and(|fault| fault.contains(words))
        };
        case.gateway.until(words, shown).await;
    }
    assert_eq!((case.copies().await, case.answers().len()), (0, 0));

    // The same server, at last with the right page: it is done, and need not come again.
    server.answer(good(case.page(GATEWAY, 1, 9, &wanted), "e"));
    case.until("five came again", |case| case.resent().len() >= 5).await;
    server.until(|seen| seen.unchanged >= 3).await;
    let well = |status: &Status| {
        status.control.as_ref().is_some_and(|control| control.fault.is_none() && control.open == 0)
    };
    case.gateway.until("it is shown to be well", well).await;
    // An older one does nothing, also after a kill.
    let older = [case.request("older", 6, 9)];
    server.answer(good(case.page(GATEWAY, 1, 8, &older), "f"));
    case.until("the old page is refused", |case| case.gateway.log().contains("serial 8")).await;
    case.gateway.kill();
    let asked = server.seen().requests;
    case.gateway.start_ready().await;
    server.until(|seen| seen.requests >= asked + 2).await;
    assert_eq!((case.copies().await, case.resent()), (5, (1..=5).collect()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_pulled_while_the_link_is_down() {
    let server = Scripted::start(Script::default()).await;
    let mut case = Case::start(&server.url(), sealer(1).public_key()).await;
    server.answer(good(case.page(GATEWAY, 1, 1, &[]), "a"));
    server.until(|seen| seen.requests >= 2).await;
    case.broker.stop().await;
    // Reports go out every second, so that it is noticed.
    case.until_link(false).await;
    let before = server.seen().requests;
    // Five intervals; a pull may have been under way.
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        let seen = server.seen().requests;
        assert!(seen <= before + 1, "{seen} pulls after {before}\n{}", case.gateway.tail());
        sleep(Duration::from_millis(50)).await;
    }
    let down = server.seen().requests;
    case.broker.restart().await;
    server.until(|seen| seen.requests > down).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_centres_tables_miss_comes_again_without_anybodys_help() {
    let database = MariaDb::start();
    database.run(&central_store::schema::STATEMENTS).await;
    let control = CentralControl::of_tables(&database, "1ms").await;
    let case = Case::start(&control.url(), control.key).await;
    // All arrived but 7 and 100 to 102.
    let lane = format!(
        "INSERT INTO sw_lanes (id, gateway, stream, lane) VALUES (1, '{GATEWAY}', '{}', 'main')",
        case.stream
    );
    let seen = "INSERT INTO sw_seen (lane_id, day, first_seq, last_seq) VALUES \
                (1, '2026-11-21', 1, 6), (1, '2026-11-21', 8, 99), (1, '2026-11-21', 103, 120)";
    database.run(&[lane.as_str(), seen]).await;
    case.until("the four came again", |case| case.resent().len() >= 4).await;
    assert_eq!(case.resent(), BTreeSet::from([7, 100, 101, 102]));
}

/// Only the proxy knows the centre's name.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_pulled_through_the_proxy_unless_it_is_told_not_to() {
    const CENTRE: &str = "centre.invalid:80";
    let control = CentralControl::start().await;
    let proxy = ConnectProxy::start(&[(CENTRE, control.port())]).await;
    let case = |more: &str| {
        let lines = format!("proxy = \"{}\"\n[drain]\n", proxy.url());
        let more = format!("[control]\nplaintext = true\n{more}");
        let (url, key) = (format!("http://{CENTRE}/spillway/{{gateway}}.json"), control.key);
        Case::with(move |broker| {
            let settings = settings(broker, &url, key).replace("[drain]\n", &lines);
            settings.replace("[control]\n", &more)
        })
    };
    let mut direct = case("proxy = false\n").await;
    let failed = |status: &Status| {
        let control = status.control.as_ref();
        control
            .and_then(|control| control.fault.as_ref())
            .is_some_and(|fault| !fault.contains("proxy"))
    };
    direct.gateway.until("the name leads nowhere", failed).await;
    assert!(!proxy.was_asked_for(CENTRE));

    let through = case("").await;
    control.ask(GATEWAY, &[through.request("first", 11, 20)]);
    through.until("ten came again", |case| case.resent().len() >= 10).await;
    assert!(proxy.was_asked_for(CENTRE));
}
