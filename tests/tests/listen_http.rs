//! `[listen.http]` of the real agent: what apps without Unix sockets hand over there, who is not
//! served, and that nobody there takes the place of the others.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use spillway_tests::gateway::{Gateway, PATIENCE, lane};
use spillway_tests::http::{self, Answer};
use spillway_tests::port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

const TOKEN: &str = "0123456789abcdef-tcp";
const HIS: &str = "his-token-0123456789";
const BUSY: &str = "busy-token-0123456789";
const JSON: &str = "application/json";
/// Most connections that are served at a time.
const CONNECTIONS_MAX: usize = 128;
const LANES: &str = "[[lane]]\nname = \"main\"\ntopic = \"main\"\ndefault = true\n\
                     [[lane]]\nname = \"critical\"\ntopic = \"critical\"\n";

/// A running gateway with the listener on a free port.
struct Case {
    gateway: Gateway,
    port: u16,
}

impl Case {
    async fn start(token: &str, clients: &str) -> Self {
        let port = port::free();
        let mut gateway = Gateway::new(&format!(
            "listen.http.address = \"127.0.0.1:{port}\"\n{token}{LANES}{clients}"
        ));
        gateway.start_ready().await;
        Self { gateway, port }
    }

    async fn with_token() -> Self {
        Self::start(&format!("listen.http.token = \"{TOKEN}\"\n"), "").await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// The answer to a request whose head has these further lines, each with its line end.
    async fn ask(&self, request: &str, head: &str, body: &[u8]) -> io::Result<Answer> {
        let length = body.len();
        let head = format!(
            "{request} HTTP/1.1\r\n{head}content-type: {JSON}\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n"
        );
        http::exchange_on(self.connect().await, &[head.as_bytes(), body].concat()).await
    }

    /// The same as whoever has this token.
    async fn by(&self, token: &str, request: &str, body: &Value) -> Answer {
        let head = format!("host: 127.0.0.1:{}\r\nauthorization: Bearer {token}\r\n", self.port);
        self.ask(request, &head, body.to_string().as_bytes()).await.unwrap()
    }

    async fn curl(&self, words: &[&str]) -> (String, String) {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "60", "-w", "\n%{http_code}"]).args(words);
        curl.stdin(Stdio::null()).kill_on_drop(true);
        let output = curl.output().await.unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (body.to_owned(), status.to_owned())
    }

    async fn accepted(&self) -> u64 {
        self.gateway.status().await.unwrap().lanes.iter().map(|lane| lane.accepted).sum()
    }
}

#[tokio::test]
async fn every_call_of_the_socket_is_answered_there_as_well() {
    let case = Case::with_token().await;
    let url = format!("http://127.0.0.1:{}/v1", case.port);
    let token = format!("authorization: Bearer {TOKEN}");
    let kind = |kind: &str| format!("content-type: {kind}");
    let curl = async |words: &[&str]| {
        let all: Vec<&str> = ["-H", &token].into_iter().chain(words.iter().copied()).collect();
        case.curl(&all).await
    };
    let records = format!("{url}/records");
    let json = kind(JSON);
    let one = r#"{"body": "36.6", "id": "tcp-1", "lane": "critical"}"#;
    let (body, status) = curl(&["-H", &json, "-d", one, &records]).await;
    let receipt: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&*status, &receipt["lane"], &receipt["seq"]),
        ("201", &json!("critical"), &json!(1))
    );
    assert_eq!(curl(&["-H", &json, "-d", one, &records]).await.1, "200");
    let plain = kind("application/octet-stream");
    let (_, status) =
        curl(&["-H", &plain, "-H", "spillway-lane: main", "--data-binary", "x\u{1}y", &records])
            .await;
    assert_eq!(status, "201");
    let lines = kind("application/x-ndjson");
    let many = "{\"body\": \"a\"}\n{\"body\": \"b\", \"lane\": \"no\"}\n{\"body\": \"c\"}\n";
    let (body, status) = curl(&["-H", &lines, "--data-binary", many, &records]).await;
    assert_eq!((body.lines().count(), &*status), (3, "200"), "{body}");
    assert!(body.lines().nth(1).unwrap().contains("unknown_lane"), "{body}");
    let (body, _) = curl(&[&format!("{records}/tcp-1")]).await;
    assert!(body.contains("\"waiting\""), "{body}");
    let (body, _) = curl(&[&format!("{records}?lane=main&seq=1")]).await;
    assert!(body.contains("\"waiting\""), "{body}");
    let (body, _) = curl(&[&format!("{url}/status")]).await;
    let status: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status["gateway"].as_str(), case.accepted().await), (Some("gw-test"), 4));
    assert_eq!(curl(&["-X", "PUT", &records]).await.1, "405");
    assert!(!case.gateway.log().contains(TOKEN));
}

#[tokio::test]
async fn strangers_other_names_and_web_pages_are_refused_and_told_what_to_do() {
    let case = Case::with_token().await;
    let own = format!("host: 127.0.0.1:{}\r\n", case.port);
    let with = |token: &str| format!("authorization: Bearer {token}\r\n");
    let good = with(TOKEN);
    let wrong = with("0123456789abcdef-tcq");
    let record = json!({"body": "x"}).to_string();
    for (request, head, status, says) in [
        ("POST /v1/records", format!("{own}{good}"), 201, "\"seq\""),
        ("POST /v1/records", format!("host: localhost\r\n{good}"), 201, "\"seq\""),
        ("POST /v1/records", own.clone(), 401, "Authorization: Bearer TOKEN"),
        ("GET /v1/status", own.clone(), 401, "Authorization: Bearer TOKEN"),
        ("GET /nothing", own.clone(), 401, "no_token"),
        ("POST /v1/records", format!("{own}{wrong}"), 401, "nobody here has this token"),
        ("POST /v1/records", format!("{own}authorization: Basic {TOKEN}\r\n"), 401, "no_token"),
        ("POST /v1/records", format!("{own}{good}{wrong}"), 401, "no_token"),
        ("POST /v1/records", format!("host: rebound.example\r\n{good}"), 403, "localhost"),
        ("POST /v1/records", good.clone(), 403, "Host"),
        ("GET http://rebound.example/v1/status", format!("{own}{good}"), 403, "Host"),
        ("POST /v1/records", format!("{own}{good}origin: http://evil.example\r\n"), 403, "Origin"),
        ("POST /v1/records", format!("{own}{good}origin: null\r\n"), 403, "Origin"),
        ("OPTIONS /v1/records", format!("{own}origin: http://evil.example\r\n"), 403, "Origin"),
    ] {
        let answer = case.ask(request, &head, record.as_bytes()).await.unwrap();
        let text = String::from_utf8(answer.body.clone()).unwrap();
        assert_eq!(answer.status, status, "{request} {head}: {text}");
        assert!(text.contains(says), "{request} {head}: {text}");
        assert_eq!(
            answer.head.contains("www-authenticate: Bearer"),
            status == 401,
            "{}",
            answer.head
        );
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
        if status != 201 {
            assert!(answer.json()["error"]["code"].is_string(), "{text}");
        }
    }
    assert_eq!(case.accepted().await, 2);
    assert!(!case.gateway.log().contains(TOKEN));
}

#[tokio::test]
async fn a_stranger_is_answered_before_the_body_and_a_record_too_large_at_its_head() {
    let case = Case::with_token().await;
    for (token, length, status) in [("", 4 << 20, 401), (TOKEN, 1 << 30, 413)] {
        let mut stream = case.connect().await;
        let head = format!(
            "POST /v1/records HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-type: {JSON}\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut begun = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut begun)).await.unwrap().unwrap();
        assert_eq!(begun, *format!("HTTP/1.1 {status}").as_bytes());
    }
    assert_eq!(case.accepted().await, 0);
}

#[tokio::test]
async fn who_says_nothing_or_dribbles_is_closed_and_the_socket_is_served_meanwhile() {
    let case = Case::with_token().await;
    let mut there = Vec::new();
    for nth in 0..CONNECTIONS_MAX {
        let mut stream = case.connect().await;
        if nth.is_multiple_of(2) {
            stream.write_all(b"POST /v1/records HTTP/1.1\r\nhost: loc").await.unwrap();
        }
        there.push(stream);
    }
    let body = json!({"body": "x"});
    let refused = case.by(TOKEN, "POST /v1/records", &body).await;
    assert_eq!(refused.status, 503);
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("too many connections"));
    let socket = case.gateway.socket();
    let stored = http::post(&socket, "/v1/records", JSON, body.to_string().as_bytes()).await;
    assert_eq!(stored.unwrap().status, 201);
    // They go on byte by byte, and are closed all the same.
    let deadline = Instant::now() + PATIENCE;
    for mut stream in there {
        let mut byte = [0];
        while timeout(Duration::from_millis(50), stream.read(&mut byte)).await.is_err() {
            assert!(Instant::now() < deadline, "a stranger is still there");
            let _ = stream.write_all(b"a").await;
        }
    }
    while case.by(TOKEN, "POST /v1/records", &body).await.status != 201 {
        assert!(Instant::now() < deadline, "closed connections still count");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn clients_have_tokens_with_their_lanes_and_rates_and_strangers_none() {
    let clients = format!(
        "[[client]]\nname = \"his\"\ntoken = \"{HIS}\"\nlanes = [\"critical\"]\n\
         [[client]]\nname = \"busy\"\ntoken = {{ env = \"BUSY\" }}\nrecords_per_second = 1\n"
    );
    let clients = clients.replace("{ env = \"BUSY\" }", &format!("\"{BUSY}\""));
    let case = Case::start("", &clients).await;
    let post = "POST /v1/records";
    let to = |lane: &str| json!({"body": "x", "lane": lane});
    assert_eq!(case.by(HIS, post, &to("critical")).await.status, 201);
    let other = case.by(HIS, post, &to("main")).await;
    assert_eq!((other.status, other.json()["error"]["code"].as_str()), (403, Some("not_allowed")));
    assert!(other.json()["error"]["message"].as_str().unwrap().contains("critical"));
    let default = case.by(HIS, post, &json!({"body": "x"})).await;
    assert_eq!(default.status, 403);
    assert_eq!(case.by(HIS, "GET /v1/records?lane=main&seq=1", &json!(null)).await.status, 403);
    assert_eq!(case.by(TOKEN, post, &to("critical")).await.status, 401);

    let mut over = None;
    for _ in 0..50 {
        let answer = case.by(BUSY, post, &to("main")).await;
        if answer.status != 201 {
            over = Some(answer);
            break;
        }
    }
    let over = over.expect("fifty records at once are over one a second");
    assert_eq!((over.status, over.json()["error"]["code"].as_str()), (429, Some("over_rate")));
    assert!(over.head.contains("retry-after: 1"), "{}", over.head);
    let status = case.gateway.status().await.unwrap();
    assert_eq!(lane(&status, "critical").accepted, 1);
    // At the socket nobody is a client: this user, who runs the agent, may look and not store.
    let socket = case.gateway.socket();
    let stranger = http::post(&socket, "/v1/records", JSON, br#"{"body": "x"}"#).await.unwrap();
    assert_eq!(stranger.status, 403);
    assert!(![HIS, BUSY].iter().any(|token| case.gateway.log().contains(token)));
}

#[tokio::test]
async fn many_requests_on_one_connection_and_many_connections_side_by_side_are_stored() {
    let case = Case::with_token().await;
    let apps = (0..32).map(|app| {
        let port = case.port;
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            for nth in 0..25 {
                let body = json!({"body": "x", "id": format!("app-{app}-{nth}")}).to_string();
                let request = format!(
                    "POST /v1/records HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
                     content-type: {JSON}\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"}\n") {
                    assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
                }
                assert!(answer.starts_with(b"HTTP/1.1 201"), "{}", String::from_utf8_lossy(&answer));
            }
        })
    });
    for app in apps.collect::<Vec<_>>() {
        app.await.unwrap();
    }
    assert_eq!(case.accepted().await, 32 * 25);
}

/// The Python client's sample, whose tests are at the socket.
#[tokio::test]
async fn the_python_client_hands_over_by_address_and_token() {
    let case = Case::with_token().await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/python-client");
    let url = format!("http://127.0.0.1:{}", case.port);
    let run = async |token: &str| {
        let mut python = Command::new("python3");
        python.args(["sample.py", &url, "critical", "2"]).current_dir(folder);
        python.env("SPILLWAY_TOKEN", token).env("PYTHONDONTWRITEBYTECODE", "1");
        python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = python.kill_on_drop(true).spawn().unwrap();
        let readings = "bed-7 36.6\nbed-8 37.1\nbed-7 36.7\n";
        child.stdin.take().unwrap().write_all(readings.as_bytes()).await.unwrap();
        timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap()
    };
    let output = run(TOKEN).await;
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<&str> = printed.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(numbers, ["1", "2", "3"]);
    let refused = run("another-0123456789abc").await;
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("no_token"), "{said}");
    assert_eq!(case.accepted().await, 3);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_the_agent_does_not_start_without_it() {
    let port = port::free();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut gateway = Gateway::new(&format!(
        "listen.http.address = \"127.0.0.1:{port}\"\nlisten.http.token = \"{TOKEN}\"\n{LANES}"
    ));
    gateway.start();
    assert_eq!(gateway.ended(PATIENCE).await.code(), Some(75));
    let log = gateway.log();
    assert!(log.contains("[listen.http]: cannot listen on 127.0.0.1:"), "{log}");
    assert!(log.contains("choose another port"), "{log}");
}
