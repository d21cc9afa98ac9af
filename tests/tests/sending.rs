//! `spillway send` and `status` against the real intake over a real queue.

use std::process::{Output, Stdio};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use spillway::clock::SystemClock;
use spillway::intake::{self, Intake, Intaking, LaneInfo, Storing};
use spillway::queue::{Entry, LaneOptions, Options, Ordering, Place, Queue};
use spillway_protocol::local::status::{Configuration, Lane, Link, LinkState, Pace, Rates, Status};
use spillway_protocol::message::StreamId;
use spillway_protocol::record::{LaneName, MessageKey, Record, RecordId, Topic};
use spillway_tests::gateway::binary;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

fn lane(name: &str) -> LaneName {
    LaneName::parse(name).unwrap()
}

/// What stands behind the intake.
struct Behind(Queue);

impl Intaking for Behind {
    fn submit(&self, lane: &LaneName, record: Record) -> Storing {
        self.0.submit(lane, record).boxed()
    }

    fn lanes(&self) -> Arc<[LaneInfo]> {
        let info = |name: LaneName| LaneInfo {
            topic: Topic::parse(name.as_str()).unwrap(),
            default: name == lane("critical"),
            name,
            ordering: Ordering::None,
        };
        self.0.lanes().into_iter().map(info).collect()
    }

    fn stream(&self) -> StreamId {
        self.0.stream()
    }

    fn find_id(&self, id: &RecordId) -> Place {
        self.0.find_id(id)
    }

    fn find_seq(&self, lane: &LaneName, stream: StreamId, seq: u64) -> Place {
        self.0.find_seq(lane, stream, seq)
    }

    fn largest_entry(&self, lane: &LaneName) -> u64 {
        self.0.largest_entry(lane)
    }

    fn key_of(&self, lane: &LaneName, stream: StreamId, seq: u64) -> Option<MessageKey> {
        self.0.key_of(lane, stream, seq)
    }

    fn settled(&self, _: &LaneName, _: StreamId, _: u64) -> BoxFuture<'static, bool> {
        // Nothing is sent from this queue.
        pending().boxed()
    }

    fn status(&self) -> Status {
        let figures = self.0.figures(&lane("critical")).unwrap();
        Status {
            gateway: "gw".into(),
            stream: self.0.stream().to_string(),
            version: "0".into(),
            pid: std::process::id(),
            uptime_s: 1,
            configuration: Configuration {
                file: "f".into(),
                state: "in force".into(),
                ..Configuration::default()
            },
            link: Link {
                state: LinkState::Unconfigured,
                since_s: 1,
                since: 1,
                reason: "there is no [upstream]".into(),
                next_attempt_in_s: None,
            },
            lanes: vec![Lane {
                retired: false,
                name: "critical".into(),
                accepted: figures.accounts.accepted,
                delivered: 0,
                waiting: figures.accounts.waiting,
                dead: 0,
                expired: 0,
                dropped: 0,
                damaged: 0,
                oldest_age_s: Some(1),
                live_bytes: figures.live_bytes,
                disk_bytes: figures.disk_bytes,
                hold: None,
                held_keys: 0,
                last_error: None,
                hint: None,
                freshness: None,
                degraded: None,
                limit: None,
            }],
            own: None,
            control: None,
            quarantine: Default::default(),
            format: Default::default(),
            rates: Rates::default(),
            pace: Pace::default(),
            open_files: Default::default(),
            drained_in_s: None,
            first_send_in_s: None,
            access_keys: None,
            clock_offset_s: None,
            budget: None,
        }
    }
}

struct Agent {
    folder: TempDir,
    queue: Queue,
    stop: CancellationToken,
}

impl Agent {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            data_dir: folder.path().join("data"),
            gateway: "gw".into(),
            host: "host".into(),
            lanes: ["critical", "bulk"]
                .map(|name| LaneOptions { name: lane(name), ordering: Ordering::None, ttl: None })
                .into(),
            segment_bytes: 4 << 20,
            limits: Default::default(),
            dead_keep_bytes: 64 << 20,
            waiting_bytes_max: 64 << 20,
            tell: false,
            keep: None,
            packing: Default::default(),
            seed: 1,
        };
        let (queue, _) = Queue::open(options, Arc::new(SystemClock)).unwrap();
        let (listener, file) =
            intake::socket::bind(&folder.path().join("s.sock"), 0o660).await.unwrap();
        let draw = || RecordId::parse(uuid::Uuid::now_v7().to_string()).unwrap();
        let intake = Intake::new(Arc::new(Behind(queue.clone())), Default::default(), draw);
        let stop = CancellationToken::new();
        tokio::spawn({
            let stop = stop.clone();
            async move {
                intake::serve(listener, intake, stop).await;
                drop(file);
            }
        });
        Self { folder, queue, stop }
    }

    async fn spillway(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = tokio::process::Command::new(binary());
        command.args(args).arg("--socket").arg(self.folder.path().join("s.sock"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that refuses early does not read it all.
        drop(stdin.write_all(input).await);
        drop(stdin);
        child.wait_with_output().await.unwrap()
    }

    async fn exit(&self, args: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
        let output = self.spillway(args, input).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn waiting(&self, name: &str) -> Vec<Entry> {
        self.queue.peek(&lane(name), 0, 10_000)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_record_arrives_as_it_was_written() {
    let agent = Agent::start().await;
    let args = [
        "send",
        "--lane",
        "bulk",
        "--topic",
        "t2",
        "--tag",
        "g",
        "--id",
        "r-1",
        "--key",
        "k",
        "--order-key",
        "bed 1",
        "--property",
        "unit=C",
        "-",
    ];
    let (code, said, _) = agent.exit(&args, "a \u{1FA7A}\n".as_bytes()).await;
    assert_eq!((code, said.as_str()), (Some(0), "stored: lane bulk, seq 1, id r-1\n"));
    let record = &agent.waiting("bulk")[0].record;
    assert_eq!(&record.body[..], "a \u{1FA7A}\n".as_bytes());
    assert_eq!(record.topic.as_ref().unwrap().as_str(), "t2");
    assert_eq!(record.tag.as_ref().unwrap().as_str(), "g");
    assert_eq!((record.message_key(), record.order_key.as_ref().unwrap().as_str()), ("k", "bed 1"));
    assert_eq!(record.properties.get("unit"), Some("C"));

    let (code, said, _) = agent.exit(&args, "a \u{1FA7A}\n".as_bytes()).await;
    assert_eq!((code, said.as_str()), (Some(0), "already stored: lane bulk, seq 1, id r-1\n"));
    let (code, _, error) = agent.exit(&args, b"other").await;
    assert_eq!(code, Some(65), "{error}");

    let file = agent.folder.path().join("body.bin");
    std::fs::write(&file, [0, 159, 255]).unwrap();
    let (code, said, _) = agent.exit(&["send", "--json", file.to_str().unwrap()], b"").await;
    assert_eq!(code, Some(0));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&said).unwrap()["lane"], "critical");
    assert_eq!(&agent.waiting("critical")[0].record.body[..], [0, 159, 255]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_their_exit_codes_and_store_nothing() {
    let agent = Agent::start().await;
    for (args, input, code, needle) in [
        (&["send", "--lane", "ward"][..], &b"x"[..], 65, "unknown_lane: lane"),
        (&["send", "--property", "at=12:00"], b"x", 65, "properties.at"),
        (&["send"], b"", 65, "body is empty"),
        (&["send", "/nowhere"], b"", 2, "/nowhere: cannot be read: No such file"),
        (&["send", "--property", "x"], b"", 2, "write NAME=VALUE"),
    ] {
        let (found, out, error) = agent.exit(args, input).await;
        assert_eq!((found, out.as_str()), (Some(code), ""), "{args:?}: {error}");
        assert!(error.contains(needle), "{args:?}: {error}");
    }
    let large = vec![b'x'; (4 << 20) + 1];
    assert_eq!(agent.exit(&["send"], &large).await.0, Some(65));
    assert_eq!(agent.waiting("critical").len(), 0);
    assert_eq!(agent.exit(&["send"], &large[1..]).await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_stored_in_order_and_each_refusal_is_named() {
    let agent = Agent::start().await;
    let all: String = (0..5_000).map(|i| format!("line {i}\n")).collect();
    let (code, said, _) = agent.exit(&["send", "--lines"], all.as_bytes()).await;
    assert_eq!((code, said.as_str()), (Some(0), "5000 stored, 0 refused\n"));
    let bodies: Vec<String> = agent
        .waiting("critical")
        .iter()
        .map(|entry| format!("{}\n", String::from_utf8_lossy(&entry.record.body)))
        .collect();
    assert_eq!(bodies.concat(), all);

    let (code, said, error) = agent.exit(&["send", "--lines", "--lane", "ward"], b"a\n\nb").await;
    assert_eq!((code, said.as_str()), (Some(65), "0 stored, 2 refused\n"));
    assert!(error.starts_with("line 1: unknown_lane: ") && error.contains("\nline 3: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_shown_as_a_table_as_json_and_to_nagios() {
    let agent = Agent::start().await;
    agent.exit(&["send"], b"x").await;
    let (code, said, _) = agent.exit(&["status"], b"").await;
    assert_eq!(code, Some(0));
    assert!(said.contains("link          unconfigured for 1s: there is no [upstream]\n"), "{said}");
    let (_, said, _) = agent.exit(&["status", "--json"], b"").await;
    let status: Status = serde_json::from_str(&said).unwrap();
    assert_eq!((status.lanes[0].accepted, status.lanes[0].waiting), (1, 1));
    let (code, said, _) = agent.exit(&["status", "--check"], b"").await;
    assert_eq!(code, Some(1));
    assert!(said.starts_with("SPILLWAY WARNING - link unconfigured"), "{said}");
    let (code, said, _) = agent.exit(&["status", "--check", "--json"], b"").await;
    assert_eq!(code, Some(1));
    let status: Status = serde_json::from_str(&said).unwrap();
    assert_eq!(status.lanes[0].accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_queue_is_75_and_no_agent_69() {
    let agent = Agent::start().await;
    agent.queue.close();
    let (code, _, error) = agent.exit(&["send"], b"x").await;
    assert_eq!(code, Some(75), "{error}");
    let (code, said, error) = agent.exit(&["send", "--lines"], b"a\nb\n").await;
    assert_eq!((code, said.as_str()), (Some(75), "0 stored, 2 refused\n"), "{error}");
    assert!(error.contains("behind line 2 again"), "{error}");
    let (folder, many) = (tempfile::tempdir().unwrap(), "x\n".repeat(600));
    let file = folder.path().join("many");
    std::fs::write(&file, format!("{many}\n\nlast")).unwrap();
    let (code, said, _) = agent.exit(&["send", "--lines", file.to_str().unwrap()], b"").await;
    let expected = "0 stored, 512 refused, 89 not attempted\n";
    assert_eq!((code, said.as_str()), (Some(75), expected));
    agent.stop.cancel();
    let gone = tempfile::tempdir().unwrap();
    let nowhere = gone.path().join("s.sock");
    let output = tokio::process::Command::new(binary())
        .args(["status", "--socket", nowhere.to_str().unwrap()])
        .output();
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(69));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.ends_with("start the agent, or name its socket with --socket PATH\n"), "{error}");
}
