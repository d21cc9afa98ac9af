//! The status page in a real browser: what it says through an outage, a hold, dead letters and a
//! kill of the agent; that nothing in it comes from elsewhere or tells what a record holds; and how
//! it looks on a phone and on a desk, light and dark. Pictures lie in target/pictures.
//!
//! Needs Debian's chromium, chromium-driver and zbar-tools.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use spillway::admin::Letters;
use spillway::broker::faults::{Kind, Rule};
use spillway_protocol::local::status::Status;
use spillway_protocol::record::Draft;
use spillway_tests::admin::Admin;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::chromium::{Chromium, DESK, NARROW, PHONE, TABLET, picture};
use spillway_tests::gateway::{Gateway, PATIENCE, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::told::{self, Listening, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

const LANES: &str = "[[lane]]\nname = \"main\"\ntopic = \"ward\"\ndefault = true\n\
                     [[lane]]\nname = \"gone\"\ntopic = \"gone\"\n";
const TOKEN: &str = "0123456789abcdef/+%#";
/// In every body, key and id that the tests hand over, and nowhere else.
const SECRET: &str = "patient";
/// What a browser says of a server that was killed.
const OUTAGE: [&str; 3] =
    ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET"];

fn settings(admin: Admin, broker: &HttpBroker) -> String {
    let (admin, upstream) = (admin.settings(), broker.upstream());
    format!(
        "{admin}{upstream}[drain]\nadaptive = false\nreconnect_spread = \"0s\"\n\
         [backoff]\ninitial = \"100ms\"\nmax = \"500ms\"\n{LANES}"
    )
}

fn origin(admin: Admin) -> String {
    format!("http://127.0.0.1:{}", admin.port())
}

/// Records with a key each; ids, keys and bodies have [`SECRET`] in them.
fn records(name: &str, count: u64) -> Vec<Draft> {
    let keyed = |draft: Draft| Draft { key: draft.id.clone(), ..draft };
    drafts(&format!("{name}-{SECRET}"), 0..count).into_iter().map(keyed).collect()
}

/// The whole page fits into windows of all widths, light and dark.
#[track_caller]
fn assert_fits(browser: &Chromium, name: &str) {
    browser.until_true("return document.querySelector('#plot .out').getAttribute('d').length > 0");
    for (size, window) in [("narrow", NARROW), ("phone", PHONE), ("tablet", TABLET), ("desk", DESK)]
    {
        for (scheme, dark) in [("light", false), ("dark", true)] {
            browser.look(window, dark);
            let fits = "const plot = document.getElementById('plot');
                        const gone = plot.clientWidth - plot.firstChild.viewBox.baseVal.width;
                        return Math.abs(gone - 18) < 2";
            // The plot is drawn anew for the width.
            browser.until_true(fits);
            assert_eq!(browser.overflow(), 0, "{name} {size}");
            browser.picture(&picture(&format!("{name}-{size}-{scheme}")));
        }
    }
}

/// States that take long to come about, or never should.
fn looks() -> Vec<(&'static str, Status, Vec<Letters>)> {
    let hold = json!({"code": "topic_missing", "reason": "404 TopicNotExist: The topic name you provided does not exist.", "remedy": "Create the topic ward-critical at the broker", "since_s": 720});
    let full = json!({"bytes": 4_000_000, "used": 3_999_000, "full": "its quota of 4.0 MiB is used up; raise quota, or let it drain"});
    let letters = |count| {
        vec![
            Letters { lane: "critical".into(), code: "MESSAGE_PROPERTIES_TOO_LARGE".into(), count },
            Letters { lane: "critical".into(), code: "MalformedXML".into(), count: 3 },
        ]
    };
    let refused = "connect to mq.example:443: connection refused";
    let most = (1_u64 << 53) - 201;
    let huge = json!({"accepted": most, "delivered": 9, "dead": 123_456_789, "disk_bytes": most, "oldest_age_s": 400_000_000});
    let named = |n| format!("a-lane-with-a-long-name-{n}-of-a-plant-in-the-north-eastern-valley");
    let twenty: Vec<_> = (0..20).map(|n| told::lane(&named(n), n * 1_234, &json!({}))).collect();
    let bulk = told::lane("bulk", 0, &json!({}));
    vec![
        (
            "idle",
            told::status(
                &told::link("online", ""),
                &[told::lane("critical", 0, &json!({})), bulk.clone()],
            ),
            vec![],
        ),
        (
            "offline",
            told::status(
                &told::link("offline", refused),
                &[told::lane("critical", 12_345, &json!({"last_error": refused})), bulk.clone()],
            ),
            vec![],
        ),
        (
            "held",
            told::status(
                &told::link("online", ""),
                &[
                    told::lane("critical", 120, &json!({"hold": hold, "dead": 10})),
                    told::lane("bulk", 5, &json!({"limit": full, "dropped": 7})),
                ],
            ),
            letters(7),
        ),
        (
            "huge",
            told::status(&told::link("offline", refused), &[told::lane("critical", most, &huge)]),
            letters(123_456_786),
        ),
        ("twenty", told::status(&told::link("ramping", "the rate grows"), &twenty), vec![]),
        (
            "empty",
            told::status(
                &told::link("unconfigured", "there is no [upstream]"),
                &[told::lane("default", 0, &json!({}))],
            ),
            vec![],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_there_is_to_show_it_fits_on_a_phone() {
    let (_, first, letters) = looks().remove(0);
    let agent = Listening::start(State { letters, ..State::of(first) }, None).await;
    let browser = Chromium::start();
    browser.open(&agent.origin());
    for (name, status, letters) in looks() {
        let lane = status.lanes[0].name.clone();
        let waiting = status.lanes[0].waiting;
        agent.tell(State { letters, ..State::of(status) });
        browser.until("#lanes", name, |text| {
            text.contains(&lane) && text.replace(',', "").contains(&waiting.to_string())
        });
        assert_fits(&browser, name);
    }
    assert_eq!(browser.complaints(), [""; 0]);
    agent.stop().await;
}

/// What the stream says within a few looks.
async fn streamed(admin: Admin, head: &str) -> String {
    let mut stream = admin.connect().await.unwrap();
    let request = format!("GET /events HTTP/1.1\r\nhost: 127.0.0.1\r\n{head}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut text, mut piece) = (String::new(), [0; 4096]);
    while text.matches("event: state").count() < 2 {
        let read = timeout(PATIENCE, stream.read(&mut piece)).await.expect("it goes on").unwrap();
        assert!(read > 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_tells_an_outage_a_hold_dead_letters_and_that_the_agent_is_gone() {
    let mut broker = HttpBroker::start().await;
    let admin = Admin::new();
    let mut gateway = Gateway::new(&settings(admin, &broker));
    gateway.start_ready().await;
    let (ledger, browser) = (Ledger::default(), Chromium::start());
    browser.look(PHONE, false);
    browser.open(&origin(admin));
    browser.until_says("#contact-text", "Live");
    browser.until_says("#sentence", "No record waits; nothing is lost.");

    // Figures change while it is looked at.
    hand_over(&gateway.socket(), &ledger, "main", records("m", 25)).await;
    browser.until_says("#title-text", "Online since");
    until_delivered(&mut gateway, "main", 25).await;
    let plotted = "return document.querySelectorAll('#plot path.depth')[0]?.getAttribute('d')";
    assert!(!browser.run(plotted).as_str().unwrap().is_empty());

    // The link goes and comes back.
    broker.stop().await;
    hand_over(&gateway.socket(), &ledger, "main", records("o", 40)).await;
    browser.until_says("#title-text", "Offline since");
    browser.until_says("#sentence", "40 records wait, the oldest for");
    browser.until_says("#reason", "next attempt in");
    assert!(browser.text("#sentence").contains("nothing is lost"));
    browser.picture(&picture("story-offline"));
    broker.restart().await;
    browser.until_says("#title-text", "Online");
    browser.until_says("#sentence", "No record waits");

    // Holds and dead letters, each by its reason.
    let missing = Rule { topic: Some("gone".into()), ..Rule::always(Kind::TopicMissing) };
    let wrong = Rule { key_prefix: Some("bad".into()), ..Rule::always(Kind::RefuseRecord) };
    broker.faults().set_rules(&[missing, wrong]);
    hand_over(&gateway.socket(), &ledger, "gone", records("g", 7)).await;
    hand_over(&gateway.socket(), &ledger, "main", records("bad", 3)).await;
    let refused = |status: &Status| lane(status, "main").last_error.is_some();
    gateway.until("they are refused", refused).await;
    for draft in records("after", 50) {
        hand_over(&gateway.socket(), &ledger, "main", vec![draft]).await;
    }
    browser.until_says("#title-text", "Online, but lane gone is stopped");
    browser.until_says("#notes", "Lane gone held for");
    browser.until_says("#notes", "(topic_missing): ");
    let letters = |text: &str| text.contains("MalformedXML") && text.contains('3');
    browser.until("#letters", "dead letters by reason", letters);
    browser.until_says("#sentence", "3 in the dead letters");
    assert_fits(&browser, "story-held");

    // Nothing from elsewhere, nothing of a record, no complaint.
    let page = browser.run("return document.documentElement.outerHTML");
    let page = page.as_str().unwrap();
    assert!(page.contains("topic_missing") && !page.contains(SECRET), "{page}");
    let stream = streamed(admin, "").await;
    assert!(stream.contains("MalformedXML") && !stream.contains(SECRET), "{stream}");
    let requests = browser.requests();
    assert!(requests.len() >= 5, "{requests:?}");
    let foreign = |url: &&String| !url.starts_with(&format!("{}/", origin(admin)));
    assert_eq!(requests.iter().find(foreign), None);
    assert_eq!(browser.complaints(), [""; 0]);

    // The agent goes and comes back.
    gateway.kill();
    browser.until_says("#contact-text", "Connection to the agent lost since");
    browser.until_says("#title-text", "Not known since");
    browser.until_says("#sentence", "Last known: Online, but lane gone is stopped.");
    browser.picture(&picture("story-lost"));
    gateway.start_ready().await;
    browser.until_says("#contact-text", "Live");
    browser.until("#title-text", "it is known again", |text| !text.contains("Not known"));
    browser.until_says("#letters", "MalformedXML");
    for complaint in browser.complaints() {
        assert!(OUTAGE.iter().any(|known| complaint.contains(known)), "{complaint}");
    }
    gateway.stop(PATIENCE).await;
}

async fn until_delivered(gateway: &mut Gateway, name: &str, count: u64) {
    let what = format!("{count} are delivered");
    gateway.until(&what, |status| lane(status, name).delivered == count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_a_token_only_who_has_it_sees_anything() {
    let admin = Admin::new();
    let port = admin.port();
    let mut gateway = Gateway::new(&format!(
        "listen.admin.address = \"0.0.0.0:{port}\"\nlisten.admin.token = \"{TOKEN}\"\n\
         listen.admin.hosts = [\"localhost\"]\n{LANES}"
    ));
    gateway.start_ready().await;
    let urls: Value = serde_json::from_str(&gateway.said("admin url --json").await).unwrap();
    let urls = urls["urls"].as_array().unwrap();
    let own = urls.last().unwrap().as_str().unwrap();
    assert_eq!(own, format!("http://localhost:{port}/#token=0123456789abcdef%2F%2B%25%23"));

    let browser = Chromium::start();
    browser.open(own);
    browser.until_says("#contact-text", "Live");
    browser.until_says("#title-text", "nothing to send them to");
    assert_eq!(browser.run("return location.href"), format!("http://localhost:{port}/"));
    assert!(browser.requests().iter().all(|url| !url.contains("0123456789abcdef")));
    drop(browser);

    // Without it there is a form, and no fact.
    let browser = Chromium::start();
    browser.look(PHONE, false);
    browser.open(&format!("http://localhost:{port}/"));
    browser.until_says("#token", "A token is needed");
    browser.picture(&picture("story-token"));
    type_token(&browser, "wrong-0123456789");
    browser.until_says("#token", "This token is not the gateway’s");
    assert_eq!((browser.text("#gateway"), browser.text("#figures")), ("".into(), "".into()));
    assert_eq!(browser.overflow(), 0);
    type_token(&browser, TOKEN);
    browser.until_says("#contact-text", "Live");
    browser.until_says("#gateway", "gw-test");
    assert!(!gateway.log().contains("0123456789abcdef"));
}

/// What a camera reads in a terminal that shows this.
fn scanned(terminal: &str) -> String {
    let rows = terminal.lines().filter(|line| line.contains('\u{2588}'));
    let code: Vec<&str> = rows.collect();
    let browser = Chromium::start();
    browser.look((900, 900), true);
    browser.run(&format!(
        "const shown = document.createElement('pre');
         shown.textContent = {};
         shown.style = 'font: 16px/1 DejaVu Sans Mono, monospace; color: white; background: black';
         document.body.append(shown)",
        json!(code.join("\n"))
    ));
    let file = picture("code");
    browser.glance(&file);
    let read = Command::new("zbarimg").args(["-q", "--raw"]).arg(file).output();
    let read = read.expect("zbarimg: apt-get install zbar-tools");
    String::from_utf8(read.stdout).unwrap().trim().to_owned()
}

fn type_token(browser: &Chromium, token: &str) {
    browser.run(&format!(
        "document.getElementById('token-text').value = {token:?};
         document.getElementById('token').requestSubmit()"
    ));
}

#[tokio::test]
async fn the_url_is_printed_to_who_may_ask_the_agent_or_read_its_configuration() {
    let admin = Admin::new();
    let listen = format!("listen.admin.address = \"0.0.0.0:{}\"\n", admin.port());
    let token = "listen.admin.token = { env = \"STATUS_PAGE_TOKEN\" }\n";
    let mut gateway = Gateway::new(&format!("{listen}{token}{LANES}"))
        .wrapped(&["env", "STATUS_PAGE_TOKEN=0123456789abcdef"]);
    gateway.start_ready().await;
    // The agent knows a token that this command cannot find out.
    let said = gateway.said("admin url").await;
    assert!(said.contains("/#token=0123456789abcdef\n") && said.contains('\u{2588}'), "{said}");
    assert_eq!(scanned(&said), said.lines().next().unwrap());
    assert!(gateway.log().contains("operator: admin url"), "{}", gateway.log());
    gateway.stop(PATIENCE).await;
    let failed = gateway.command("admin url").await;
    assert_eq!(failed.status.code(), Some(78), "{failed:?}");

    gateway.configure(&format!("{listen}listen.admin.token = \"fedcba9876543210\"\n{LANES}"));
    let said = gateway.said("admin url").await;
    assert!(said.contains("/#token=fedcba9876543210\n"), "{said}");
    let failed = gateway.command("admin url --host 192.0.2.1").await;
    assert_eq!(failed.status.code(), Some(2), "{failed:?}");
    gateway.configure(LANES);
    let failed = gateway.command("admin url").await;
    let words = String::from_utf8(failed.stderr).unwrap();
    assert!(failed.status.code() == Some(78) && words.contains("[listen.admin]"), "{words}");
}

#[tokio::test]
async fn too_many_watchers_are_told_so_and_all_are_let_go_at_the_stop() {
    let admin = Admin::new();
    let mut gateway = Gateway::new(&format!("{}{LANES}", admin.settings()));
    gateway.start_ready().await;
    let page = admin.get("/").await.unwrap();
    assert!(page.status == 200 && page.head.contains("default-src 'none'"), "{}", page.head);
    assert!(page.head.contains("frame-ancestors 'none'") && !page.head.contains("unsafe"));
    let mut watchers = Vec::new();
    for _ in 0..8 {
        let mut stream = admin.connect().await.unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut begun = [0; 15];
        stream.read_exact(&mut begun).await.unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200 OK");
        watchers.push(stream);
    }
    let refused = admin.get("/events").await.unwrap();
    assert_eq!(refused.status, 503);
    assert!(String::from_utf8(refused.body).unwrap().contains("8 people watch already"));
    assert_eq!(admin.get("/healthz").await.unwrap().status, 200);
    // That one has gone is seen when it is written to.
    drop(watchers.pop());
    let deadline = Instant::now() + PATIENCE;
    while admin.ask("HEAD", "/events", "host: localhost\r\n").await.unwrap().status != 200 {
        assert!(Instant::now() < deadline, "its place stays taken");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(streamed(admin, "").await.contains("event: history\ndata: ["));
    gateway.terminate(gateway.pid());
    for mut stream in watchers {
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it ends").unwrap();
        assert!(rest.ends_with(b"0\r\n\r\n"), "cut off");
    }
    assert!(gateway.ended(PATIENCE).await.success());
}
