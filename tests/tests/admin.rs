//! `[listen.admin]` of the real agent: what a scraper reads through an outage, what health and
//! readiness say, and who is not answered.

use std::collections::BTreeMap;
use std::time::Duration;

use spillway_protocol::local::status::{LinkState, Status};
use spillway_tests::admin::{Admin, series};
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, PATIENCE};
use spillway_tests::http;
use spillway_tests::ledger::Ledger;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

const LANES: &str = "[[lane]]\nname = \"main\"\ntopic = \"ward\"\ndefault = true\n\
                     [[lane]]\nname = \"moves\"\ntopic = \"moves\"\norder = \"key\"\n";
const TOKEN: &str = "0123456789abcdef";
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
/// Most connections that the listener serves at a time.
const CONNECTIONS_MAX: usize = 32;

type Series = BTreeMap<String, f64>;

fn settings(admin: Admin, broker: &HttpBroker, spread: &str) -> String {
    let (admin, upstream) = (admin.settings(), broker.upstream());
    format!(
        "{admin}{upstream}[drain]\nreconnect_spread = \"{spread}\"\n\
         [backoff]\ninitial = \"100ms\"\nmax = \"500ms\"\n{LANES}"
    )
}

/// A lane's records by where they are.
fn records(series: &Series, lane: &str, which: &str) -> f64 {
    series[&format!("spillway_records_{which}{{lane=\"{lane}\"}}")]
}

#[track_caller]
fn assert_accounts(series: &Series, lane: &str, [accepted, delivered, waiting]: [f64; 3]) {
    let of = |which| records(series, lane, which);
    assert_eq!((of("accepted_total"), of("delivered_total")), (accepted, delivered), "{lane}");
    assert_eq!(of("waiting"), waiting, "{lane}");
    let given_up = of("dead") + of("expired_total") + of("dropped_total") + of("damaged_total");
    assert_eq!(accepted, delivered + waiting + given_up, "{lane}");
}

fn offline(status: &Status) -> bool {
    status.link.state == LinkState::Offline && status.link.next_attempt_in_s.is_some()
}

#[tokio::test]
async fn a_scrape_tells_what_waits_counts_down_to_the_first_send_and_adds_up() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let admin = Admin::new();
    let mut gateway = Gateway::new(&settings(admin, &broker, "30m"));
    let status = gateway.start_ready().await;
    let before = admin.scrape().await;
    assert_accounts(&before, "main", [0.0; 3]);
    let info = format!("gateway=\"gw-test\",stream=\"{}\"", status.stream);
    assert_eq!(before[&format!("spillway_gateway_info{{{info}}}")], 1.0);
    assert_eq!(before[&format!("spillway_build_info{{version=\"{}\"}}", status.version)], 1.0);

    let ledger = Ledger::default();
    hand_over(&gateway.socket(), &ledger, "main", drafts("m", 0..7)).await;
    hand_over(&gateway.socket(), &ledger, "moves", drafts("k", 0..3)).await;
    gateway.until("it is offline", offline).await;
    assert_waiting(&admin.scrape().await);
    // A start that is not the first waits for this gateway's slot in the window.
    gateway.stop(STOPPED_WITHIN).await;
    gateway.start();
    let counts = |status: &Status| status.first_send_in_s.is_some();
    let earlier = gateway.until("it counts down", counts).await.first_send_in_s.unwrap();
    let scrape = admin.scrape().await;
    let later = gateway.status().await.unwrap().first_send_in_s.unwrap();
    let due = scrape["spillway_first_send_seconds"];
    assert!((later as f64..=earlier as f64).contains(&due), "{due} is not {later} to {earlier}");
    assert_waiting(&scrape);

    gateway.stop(STOPPED_WITHIN).await;
    gateway.configure(&settings(admin, &broker, "0s"));
    broker.restart().await;
    gateway.start();
    gateway.until_delivered(PATIENCE).await;
    let after = admin.scrape().await;
    assert_accounts(&after, "main", [7.0, 7.0, 0.0]);
    assert_accounts(&after, "moves", [3.0, 3.0, 0.0]);
    assert!(!after.contains_key("spillway_first_send_seconds"), "{after:#?}");
    assert!(after["spillway_wire_today_bytes{lane=\"main\"}"] > 0.0);
    assert!(!after.contains_key("spillway_lane_oldest_age_seconds{lane=\"main\"}"));
}

/// Seven and three records wait, and the link is in one state, which is not `online`.
#[track_caller]
fn assert_waiting(scrape: &Series) {
    assert_accounts(scrape, "main", [7.0, 0.0, 7.0]);
    assert_accounts(scrape, "moves", [3.0, 0.0, 3.0]);
    assert!(scrape["spillway_lane_live_bytes{lane=\"main\"}"] > 0.0);
    assert!(scrape.contains_key("spillway_lane_oldest_age_seconds{lane=\"main\"}"));
    let link = |(series, value): (&String, &f64)| {
        series.starts_with("spillway_link_state{").then_some(*value)
    };
    assert_eq!(scrape.iter().filter_map(link).sum::<f64>(), 1.0, "{scrape:#?}");
    assert_eq!(scrape["spillway_link_state{state=\"online\"}"], 0.0);
}

#[tokio::test]
async fn it_is_not_ready_while_its_lane_is_full_and_healthy_all_the_while() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let admin = Admin::new();
    let bound = "[[lane]]\nname = \"main\"\ntopic = \"ward\"\nquota = \"1 MiB\"\n";
    let mut gateway = Gateway::new(&settings(admin, &broker, "0s").replace(LANES, bound));
    gateway.start_ready().await;
    let body = vec![b'x'; 100_000];
    for number in 0.. {
        let kind = "application/octet-stream";
        let answer = http::post(&gateway.socket(), "/v1/records", kind, &body).await.unwrap();
        if answer.status == 507 {
            break;
        }
        assert!(answer.status == 201 && number < 20, "{answer:?}");
        assert_eq!(admin.get("/readyz").await.unwrap().status, 200);
    }
    let answer = admin.get("/readyz").await.unwrap();
    let why = String::from_utf8(answer.body).unwrap();
    let full = "no records are taken in: lane main is full: its files have ";
    assert!(answer.status == 503 && why.starts_with(full), "{why}");
    assert_eq!(admin.get("/healthz").await.unwrap().status, 200);
    broker.restart().await;
    gateway.until("nothing waits", |status| status.lanes[0].waiting == 0).await;
    let deadline = Instant::now() + PATIENCE;
    while admin.get("/readyz").await.unwrap().status != 200 {
        assert!(Instant::now() < deadline, "it stays closed");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn it_is_healthy_and_ready_without_a_link_and_not_ready_while_it_stops() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let admin = Admin::new();
    let mut gateway = Gateway::new(&settings(admin, &broker, "0s"));
    gateway.start_ready().await;
    hand_over(&gateway.socket(), &Ledger::default(), "main", drafts("m", 0..1)).await;
    gateway.until("it is offline", offline).await;
    for path in ["/healthz", "/readyz"] {
        let answer = admin.get(path).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"ok\n"[..]), "{path}");
    }

    // A record that is still coming holds up the stop.
    let mut app = UnixStream::connect(gateway.socket()).await.unwrap();
    let head = "POST /v1/records HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\n\
                content-length: 4\r\nexpect: 100-continue\r\n\r\n";
    app.write_all(head.as_bytes()).await.unwrap();
    let mut invited = [0; 12];
    app.read_exact(&mut invited).await.unwrap();
    assert_eq!(&invited, b"HTTP/1.1 100");
    gateway.terminate(gateway.pid());
    let deadline = Instant::now() + PATIENCE;
    let answer = loop {
        let answer = admin.get("/readyz").await.expect("it answers until it is gone");
        if answer.status != 200 || Instant::now() > deadline {
            break answer;
        }
        sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(
        (answer.status, &answer.body[..]),
        (503, &b"no records are taken in: the agent is stopping\n"[..])
    );
    assert_eq!(admin.get("/healthz").await.unwrap().status, 200);
    app.write_all(b"last").await.unwrap();
    assert!(gateway.ended(STOPPED_WITHIN).await.success());
    assert!(admin.get("/readyz").await.is_err());
    assert_eq!(gateway.start_ready().await.lanes[0].waiting, 2);
}

#[tokio::test]
async fn only_those_who_look_from_here_by_its_own_name_are_answered() {
    let admin = Admin::new();
    let mut gateway = Gateway::new(&format!("{}{LANES}", admin.settings()));
    gateway.start_ready().await;
    let own = format!("host: 127.0.0.1:{}\r\n", admin.port());
    for (method, path, head, status) in [
        ("GET", "/metrics", own.clone(), 200),
        ("HEAD", "/metrics", own.clone(), 200),
        ("GET", "/metrics", "host: localhost\r\n".into(), 200),
        ("GET", "/metrics", format!("{own}origin: http://127.0.0.1:{}\r\n", admin.port()), 200),
        ("POST", "/metrics", format!("{own}content-length: 0\r\n"), 405),
        ("DELETE", "/", own.clone(), 405),
        ("OPTIONS", "/metrics", own.clone(), 405),
        ("GET", "/metrics", "host: rebound.example\r\n".into(), 403),
        ("GET", "/metrics", String::new(), 403),
        ("GET", "/metrics", format!("{own}origin: http://evil.example\r\n"), 403),
        ("GET", "/metrics", format!("{own}origin: null\r\n"), 403),
        ("GET", "/other", own.clone(), 404),
        ("GET", "/events", format!("{own}origin: http://evil.example\r\n"), 403),
        ("GET", "/", "host: rebound.example\r\n".into(), 403),
        ("GET", "/v1/status", own.clone(), 404),
    ] {
        let answer = admin.ask(method, path, &head).await.unwrap();
        assert_eq!(answer.status, status, "{method} {path} {head}");
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(text.is_empty(), method == "HEAD", "{method} {path} {head}: {text}");
        assert_eq!(text.contains("spillway_"), status == 200 && method == "GET", "{text}");
        assert!(answer.head.contains("x-content-type-options: nosniff"), "{}", answer.head);
    }
    let nothing = admin.get("/other").await.unwrap();
    assert!(String::from_utf8(nothing.body).unwrap().contains("/metrics, /healthz and /readyz"));
    let page = admin.get("/").await.unwrap();
    assert!(page.status == 200 && page.head.contains("content-type: text/html"), "{}", page.head);
    let refused = admin.ask("PUT", "/metrics", &own).await.unwrap();
    assert!(refused.head.contains("allow: GET, HEAD"), "{}", refused.head);
    let said = admin.get("/metrics").await.unwrap().head;
    assert!(said.contains("content-type: text/plain; version=0.0.4"), "{said}");
}

#[tokio::test]
async fn with_a_token_other_machines_may_look_and_nobody_without_it() {
    let admin = Admin::new();
    let mut gateway = Gateway::new(&format!(
        "listen.admin.address = \"0.0.0.0:{}\"\nlisten.admin.token = \"{TOKEN}\"\n\
         listen.admin.hosts = [\"gw.plant.example\"]\n{LANES}",
        admin.port()
    ));
    gateway.start_ready().await;
    for path in ["/events", "/metrics", "/healthz", "/readyz", "/other"] {
        let answer = admin.get(path).await.unwrap();
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.head.contains("www-authenticate: Bearer"), "{}", answer.head);
    }
    // The page itself holds nothing of this gateway.
    let page = String::from_utf8(admin.get("/").await.unwrap().body).unwrap();
    assert!(page.contains("<title>Spillway</title>") && !page.contains("gw-test"), "{page}");
    let with = async |host: &str, token: &str| {
        let head = format!("host: {host}\r\nauthorization: Bearer {token}\r\n");
        admin.ask("GET", "/metrics", &head).await.unwrap()
    };
    assert_eq!(with("gw.plant.example:9465", "another-0123456789").await.status, 401);
    assert_eq!(with("rebound.example", TOKEN).await.status, 403);
    for host in ["127.0.0.1", "gw.plant.example:9465", "10.1.2.3:9465"] {
        assert!(series(&with(host, TOKEN).await).contains_key("spillway_uptime_seconds"));
    }
    assert!(!gateway.log().contains(TOKEN));
}

#[tokio::test]
async fn the_number_of_series_is_bounded_by_the_lanes() {
    let admin = Admin::new();
    let mut gateway = Gateway::new(&format!("{}{LANES}", admin.settings()));
    gateway.start_ready().await;
    let names = |series: Series| series.into_keys().collect::<Vec<_>>();
    let before = names(admin.scrape().await);
    for nth in 0..200 {
        let head = format!("host: h{nth}.example\r\norigin: http://o{nth}.example\r\n");
        let method = ["GET", "POST"][nth % 2];
        assert!(admin.ask(method, &format!("/p{nth}"), &head).await.unwrap().status >= 400);
        let record = format!("{{\"body\": \"x\", \"lane\": \"no-{nth}\"}}");
        let (socket, kind) = (gateway.socket(), "application/json");
        let refused = http::post(&socket, "/v1/records", kind, record.as_bytes()).await;
        assert_eq!(refused.unwrap().status, 400);
    }
    assert_eq!(names(admin.scrape().await), before);
    let lanes = before.iter().filter(|series| series.contains("lane=\"main\"")).count();
    assert!(lanes > 5 && before.len() < 120, "{lanes} of {}", before.len());
}

#[tokio::test]
async fn who_comes_when_too_many_are_there_is_told_so() {
    let admin = Admin::new();
    let mut gateway = Gateway::new(&format!("{}{LANES}", admin.settings()));
    gateway.start_ready().await;
    let mut there = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        there.push(admin.connect().await.unwrap());
    }
    let answer = admin.get("/healthz").await.unwrap();
    assert_eq!(answer.status, 503);
    assert!(String::from_utf8(answer.body).unwrap().contains("too many connections"));
    drop(there);
    let deadline = Instant::now() + PATIENCE;
    while admin.get("/healthz").await.unwrap().status != 200 {
        assert!(Instant::now() < deadline, "closed connections still count");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_the_agent_does_not_start_without_it() {
    let admin = Admin::new();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", admin.port())).unwrap();
    let mut gateway = Gateway::new(&format!("{}{LANES}", admin.settings()));
    gateway.start();
    assert_eq!(gateway.ended(PATIENCE).await.code(), Some(75));
    let log = gateway.log();
    assert!(log.contains("[listen.admin]: cannot listen on 127.0.0.1:"), "{log}");
    assert!(log.contains("choose another port"), "{log}");
    assert!(!gateway.socket().exists());
}
