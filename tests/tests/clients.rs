//! `[[client]]`: real processes of several users at the socket of a real agent, and what the
//! centre sees of them. Needs root, which may be anybody.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use spillway_protocol::presence::{Event, EventType};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, PATIENCE, built, lane, now_ms};
use spillway_tests::redis::Redis;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

const STRANGER: u32 = 64990;
const HIS: u32 = 64991;
const BUSY: u32 = 64992;
const STATUS: &str = "gateway-status";
const REPORTS: &str = "gateway-report";
const GATEWAY: &str = "GID_g@@@gw-test";
const CLIENT: &str = "GID_g@@@gw-test:his";
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const POLL: Duration = Duration::from_millis(50);
/// As sysexits has it.
const NOT_PERMITTED: i32 = 77;

/// A gateway whose socket every user reaches.
fn gateway(settings: &str) -> Gateway {
    let own = UnixStream::pair().unwrap().0.peer_cred().unwrap().uid();
    assert_eq!(own, 0, "this test starts processes of other users: run it as root");
    let gateway = Gateway::new(&format!(
        "listen.mode = \"0666\"\n{settings}\
         [[client]]\nname = \"his\"\nuid = {HIS}\nlanes = [\"critical\"]\n\
         presence = {}\n",
        settings.contains("[presence]")
    ));
    std::fs::set_permissions(gateway.file(""), Permissions::from_mode(0o711)).unwrap();
    gateway
}

fn lanes() -> &'static str {
    "[[lane]]\nname = \"main\"\ntopic = \"main\"\ndefault = true\n\
     [[lane]]\nname = \"critical\"\ntopic = \"critical\"\n"
}

/// curl as another user.
fn curl(uid: u32, socket: &Path) -> Command {
    let mut command = Command::new("curl");
    command.uid(uid).gid(uid).current_dir("/").kill_on_drop(true);
    command.args(["-sS", "--max-time", "60", "--unix-socket"]).arg(socket);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Status, head and body of what a user's request is answered.
async fn asked(
    gateway: &Gateway,
    uid: u32,
    path: &str,
    data: Option<(&str, &str)>,
) -> (u16, String, String) {
    let mut command = curl(uid, &gateway.socket());
    command.arg("-i").arg(format!("http://agent{path}"));
    if let Some((kind, data)) = data {
        command.args(["-H", &format!("content-type: {kind}"), "--data-binary", data]);
    }
    let output = command.output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

/// The same for one record; its status and its error's message.
async fn stored(gateway: &Gateway, uid: u32, json: &str) -> (u16, String) {
    let (status, _, body) = asked(gateway, uid, "/v1/records", Some((JSON, json))).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    (status, body["error"]["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn users_of_the_machine_have_what_is_theirs_and_strangers_nothing() {
    let mut gateway = gateway(lanes());
    gateway.start_ready().await;
    let (status, told) = stored(&gateway, STRANGER, r#"{"body":"x"}"#).await;
    assert_eq!(status, 403);
    assert!(
        told.contains(&format!("uid {STRANGER} ")) && told.contains("add [[client]]"),
        "{told}"
    );
    assert_eq!(asked(&gateway, STRANGER, "/v1/status", None).await.0, 403);

    let own = r#"{"body":"x","lane":"critical","id":"a"}"#;
    assert_eq!(stored(&gateway, HIS, own).await.0, 201);
    let (status, told) = stored(&gateway, HIS, r#"{"body":"x","lane":"main"}"#).await;
    assert_eq!(
        (status, told.as_str()),
        (403, "main is not yours (client his); yours are: critical")
    );
    let (status, told) = stored(&gateway, HIS, r#"{"body":"x"}"#).await;
    assert!(status == 403 && told.ends_with("name one of yours: critical"), "{told}");
    let (_, _, lines) = asked(
        &gateway,
        HIS,
        "/v1/records",
        Some((LINES, "{\"body\":\"1\",\"lane\":\"main\"}\n{\"body\":\"2\",\"lane\":\"critical\"}")),
    )
    .await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["error"]["code"], &lines[1]["seq"]), (&"not_allowed".into(), &2.into()));
    assert_eq!(asked(&gateway, HIS, "/v1/records/a", None).await.0, 200);
    assert_eq!(asked(&gateway, HIS, "/v1/records?lane=main&seq=1", None).await.0, 403);

    // Root looks, and is no client.
    let status = gateway.status().await.unwrap();
    assert_eq!((lane(&status, "main").accepted, lane(&status, "critical").accepted), (0, 2));
    gateway.said("status").await;
    let refused = gateway.command("send --lane main /dev/null").await;
    assert_eq!(refused.status.code(), Some(NOT_PERMITTED), "{refused:?}");
    assert!(String::from_utf8(refused.stderr).unwrap().contains("uid = 0"));
}

#[tokio::test]
async fn what_is_over_a_clients_rate_is_429_and_stored_when_it_comes_again() {
    let busy = format!("[[client]]\nname = \"busy\"\nuid = {BUSY}\nrecords_per_second = 2\n");
    let mut gateway = gateway(&format!("{}{busy}", lanes()));
    gateway.start_ready().await;
    // So many in one request are over the rate on the slowest machine.
    let twenty = "{\"body\":\"b\"}\n".repeat(20);
    let (_, _, told) = asked(&gateway, BUSY, "/v1/records", Some((LINES, &twenty))).await;
    let refused = told.matches("over_rate").count() as u64;
    assert!((1..=18).contains(&refused), "{told}");
    for n in 0..6 {
        let json = format!(r#"{{"body":"{n}"}}"#);
        loop {
            let (status, head, body) =
                asked(&gateway, BUSY, "/v1/records", Some((JSON, &json))).await;
            if status == 201 {
                break;
            }
            assert_eq!(status, 429, "{body}");
            assert!(head.contains("retry-after: 1"), "{head}");
            assert!(body.contains("over_rate") && body.contains("2 records a second"), "{body}");
            sleep(POLL).await;
        }
        // Others are not held up.
        assert_eq!(stored(&gateway, HIS, r#"{"body":"x","lane":"critical"}"#).await.0, 201);
    }
    let status = gateway.status().await.unwrap();
    let accepted = (lane(&status, "main").accepted, lane(&status, "critical").accepted);
    assert_eq!(accepted, (20 - refused + 6, 6));
}

/// Sends one record of a request, says when it is stored, and ends the request when it is told to.
const APP: &str = r#"
import socket, sys
agent = socket.socket(socket.AF_UNIX)
agent.connect(sys.argv[1])
line = b'{"body":"x","lane":"critical"}\n'
agent.sendall(b"POST /v1/records HTTP/1.1\r\nhost: agent\r\ncontent-type: application/x-ndjson\r\n"
              b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(line), line))
def read(wanted):
    seen = b""
    while wanted not in seen:
        part = agent.recv(65536)
        if not part:
            sys.exit("the agent closed the connection: %r" % seen)
        seen += part
read(b'"seq"')
print("stored", flush=True)
sys.stdin.readline()
agent.sendall(b"0\r\n\r\n")
read(b"0\r\n\r\n")
"#;

/// An app that keeps a request open.
struct App {
    child: Child,
    told: ChildStdin,
}

impl App {
    /// Connects and hands over a record.
    async fn start(gateway: &Gateway) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", APP]).arg(gateway.socket());
        command.uid(HIS).gid(HIS).current_dir("/").kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let told = child.stdin.take().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = tokio::time::timeout(PATIENCE, said.next_line()).await;
        assert_eq!(said.expect("no answer").unwrap().as_deref(), Some("stored"));
        Self { child, told }
    }

    /// Ends its request and closes its connection.
    async fn finish(mut self) {
        drop(self.told);
        assert!(self.child.wait().await.unwrap().success());
    }

    /// SIGKILL.
    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// The centre: a broker, and presence-consumer with its table in Redis.
struct Centre {
    broker: HttpBroker,
    redis: Redis,
    _consumer: Child,
}

impl Centre {
    async fn start() -> Self {
        let (broker, redis) = (HttpBroker::start().await, block_in_place(Redis::start));
        let consumer = consumer(&redis, &["run"])
            .envs(broker.environment())
            .envs([("PRESENCE_TOPIC", STATUS), ("PRESENCE_GROUP_ID", "GID_status")])
            .envs([("REPORT_TOPIC", REPORTS), ("REPORT_GROUP_ID", "GID_report")])
            .stderr(Stdio::null())
            .spawn();
        Self { broker, redis, _consumer: consumer.unwrap() }
    }

    /// Waits until these are online, and these silent.
    async fn until(&self, what: &str, online: &[&str], silent: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = consumer(&self.redis, &["online", "--json"]).output().await.unwrap();
            let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let ids = |list: &str| -> Vec<&str> {
                let clients = found[list].as_array().into_iter().flatten();
                clients.map(|client| client["id"].as_str().unwrap()).collect()
            };
            if output.status.success() && ids("online") == online && ids("silent") == silent {
                return;
            }
            let events = self.events(EventType::Connect).len();
            assert!(Instant::now() < deadline, "in vain until {what}: {output:?}, {events} begun");
            sleep(POLL).await;
        }
    }

    /// The client's own events of a kind, in the order in which they arrived.
    fn events(&self, kind: EventType) -> Vec<Event> {
        let events = self.broker.messages(STATUS);
        let events = events.iter().map(|stored| Event::from_json(stored.body.as_bytes()).unwrap());
        events.filter(|event| event.event_type == kind && event.client_id == CLIENT).collect()
    }
}

fn consumer(redis: &Redis, arguments: &[&str]) -> Command {
    let mut command = Command::new(built("presence-consumer"));
    command.args(arguments).env("PRESENCE_STORE", redis.url()).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A kill may have an event sent again.
fn channels(events: &[Event]) -> BTreeSet<&str> {
    events.iter().map(|event| event.channel_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_centre_sees_who_is_connected_who_left_and_who_was_cut_off() {
    use EventType::{Connect, Disconnect, TcpClean};
    let centre = Centre::start().await;
    let mut gateway = gateway(&format!(
        "{}[drain]\nreconnect_spread = \"0s\"\n[backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n\
         [report]\ntopic = \"{REPORTS}\"\nevery = \"3s\"\n\
         [presence]\ntopic = \"{STATUS}\"\nclient_group = \"GID_g\"\nlinger = \"200ms\"\n{}",
        centre.broker.upstream(),
        lanes(),
    ));
    gateway.start_ready().await;
    centre.until("the gateway is there", &[GATEWAY], &[]).await;

    let app = App::start(&gateway).await;
    centre.until("its client is there", &[GATEWAY, CLIENT], &[]).await;
    app.finish().await;
    centre.until("the client has left", &[GATEWAY], &[]).await;
    // Its goodbye and its end are told side by side.
    while centre.events(Disconnect).is_empty() {
        sleep(POLL).await;
    }
    assert_eq!(centre.events(Disconnect).len(), 1, "it said goodbye");

    let app = App::start(&gateway).await;
    centre.until("it is there again", &[GATEWAY, CLIENT], &[]).await;
    app.kill().await;
    centre.until("the client was killed", &[GATEWAY], &[]).await;
    assert_eq!((centre.events(Disconnect).len(), centre.events(TcpClean).len()), (1, 2));

    // The agent dies: nobody tells, until the lease of both has run out.
    let _app = App::start(&gateway).await;
    centre.until("it is there once more", &[GATEWAY, CLIENT], &[]).await;
    gateway.kill();
    let killed_ms = now_ms();
    centre.until("both are silent", &[], &[GATEWAY, CLIENT]).await;
    assert_eq!(centre.events(TcpClean).len(), 2);
    gateway.start_ready().await;
    centre.until("only the gateway is back", &[GATEWAY], &[]).await;
    let (begun, ended) = (centre.events(Connect), centre.events(TcpClean));
    assert_eq!(channels(&begun), channels(&ended));
    let (last, end) = (begun.last().unwrap(), ended.last().unwrap());
    assert!((last.time..=killed_ms).contains(&end.time), "{last:?} {end:?}, killed {killed_ms}");
    gateway.stop(PATIENCE).await;
}
