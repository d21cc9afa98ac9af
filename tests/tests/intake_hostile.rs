//! Malformed, oversized, slow and half-closed clients on both dialects, against the real queue:
//! each gets a typed error or a clean close, the others are served, and what lies in the queue
//! afterwards is what was acknowledged, no more and no less.

// What helps a test may panic as the test does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spillway::clock::SystemClock;
use spillway::intake::{Intake, LaneInfo, LaneTable, Options, Queued, serve, socket};
use spillway::queue::{self, LaneOptions, Ordering, Queue};
use spillway_protocol::local::client::Client;
use spillway_protocol::record::{Draft, LaneName, RecordId, Topic};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

/// Rounds in which every hostile client comes once.
const ROUNDS: usize = 20;
/// Records of the honest client on each dialect.
const HONEST: usize = 200;

fn lane() -> LaneName {
    LaneName::parse("main").unwrap()
}

fn open(data_dir: &Path) -> Queue {
    let options = queue::Options {
        data_dir: data_dir.to_owned(),
        gateway: "gw".into(),
        host: "host".into(),
        lanes: vec![LaneOptions { name: lane(), ordering: Ordering::None, ttl: None }],
        segment_bytes: 4 << 20,
        limits: Default::default(),
        dead_keep_bytes: 1 << 20,
        waiting_bytes_max: 64 << 20,
        tell: false,
        keep: None,
        packing: Default::default(),
        seed: 7,
    };
    Queue::open(options, Arc::new(SystemClock)).unwrap().0
}

/// Id to body of everything that waits.
fn waiting(queue: &Queue) -> BTreeMap<String, Vec<u8>> {
    let entries = queue.peek(&lane(), 0, usize::MAX).into_iter();
    entries.map(|entry| (entry.record.id.to_string(), entry.record.body.to_vec())).collect()
}

fn post(kind: &str, body: &[u8], length: usize) -> Vec<u8> {
    let head = format!(
        "POST /v1/records HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Writes `bytes`, and reads what comes until the agent closes or answers.
async fn exchange(path: &Path, bytes: &[u8], half_close: bool) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).await.unwrap();
    // The agent may refuse and close before everything is written.
    let _ = stream.write_all(bytes).await;
    if half_close {
        let _ = stream.shutdown().await;
    }
    let mut seen = Vec::new();
    let reading = async {
        while !seen.ends_with(b"}\n") && stream.read_buf(&mut seen).await.unwrap_or(0) > 0 {}
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.expect("an answer or a close");
    seen
}

/// What no honest client would send, and how the answer begins; empty for any, or none.
fn hostilities() -> Vec<(Vec<u8>, &'static str)> {
    let json = "application/json";
    let plain = "application/octet-stream";
    let four_gib = [b"\0SPW".as_slice(), &[0, 0, 0, 4, 0, 1, 1, 0], &[0xff; 64]].concat();
    let unclosed = b"{\"body\":";
    vec![
        (b"\x16\x03\x01 hello".to_vec(), "HTTP/1.1 400"),
        (b"\0nonsense in frames".to_vec(), ""),
        (four_gib, ""),
        (b"POST /v1/records HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz".to_vec(), ""),
        (post(json, unclosed, unclosed.len()), "HTTP/1.1 400"),
        (post(json, b"{\"body\":5}", 10), "HTTP/1.1 400"),
        (post(json, b"{\"body_base64\":\"%\"}", 19), "HTTP/1.1 400"),
        (post(plain, &vec![0; 5 << 20], 5 << 20), "HTTP/1.1 413"),
        (post("text/plain", b"x", 1), "HTTP/1.1 415"),
    ]
}

async fn hostile(path: &Path) {
    for (bytes, expected) in hostilities() {
        let seen = exchange(path, &bytes, true).await;
        let text = String::from_utf8_lossy(&seen);
        assert!(text.starts_with(expected), "{expected}: {text}");
        if !expected.is_empty() {
            assert!(text.contains("{\"error\":{\"code\":\""), "{text}");
        }
    }
    // Breaks off within a body, within a head, within a frame.
    for bytes in [&post("application/json", b"{\"body\":\"lost", 40)[..], b"POST /v1", b"\0SPW\0\0"]
    {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(bytes).await.unwrap();
    }
}

/// One record after the other over both dialects; returns id to body of what was acknowledged.
async fn honest(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let client = Client::connect(path).await.unwrap();
    let mut acknowledged = BTreeMap::new();
    for n in 0..HONEST {
        let (id, body) = (format!("frame-{n}"), format!("body {n}"));
        let draft = Draft { id: Some(id.clone()), body: body.clone().into(), ..Draft::default() };
        client.append(draft, None).await.unwrap();
        acknowledged.insert(id, body.into_bytes());
        let (id, body) = (format!("http-{n}"), format!("body {n}"));
        let json = format!("{{\"id\":\"{id}\",\"body\":\"{body}\"}}");
        let request = post("application/json", json.as_bytes(), json.len());
        let answer = exchange(path, &request, n % 2 == 0).await;
        assert!(answer.starts_with(b"HTTP/1.1 201"), "{}", String::from_utf8_lossy(&answer));
        acknowledged.insert(id, body.into_bytes());
    }
    acknowledged
}

/// Writes many lines, some bad, before it reads one answer.
async fn writes_before_it_reads(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let line = |n: usize| match n % 10 {
        9 => "{bad\n".to_owned(),
        _ => format!("{{\"id\":\"line-{n}\",\"body\":\"line {n}\"}}\n"),
    };
    let count = 20_000;
    let body: String = (0..count).map(line).collect();
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(&post("application/x-ndjson", body.as_bytes(), body.len())).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let answers: Vec<&str> = text.split('{').filter(|part| part.starts_with("\"id\"")).collect();
    assert_eq!(answers.len(), count / 10 * 9);
    assert_eq!(text.matches("malformed").count(), count / 10);
    let stored = (0..count).filter(|n| n % 10 != 9);
    stored.map(|n| (format!("line-{n}"), format!("line {n}").into_bytes())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_clients_disturb_nobody_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let queue = open(&dir.path().join("data"));
    let (listener, _file) = socket::bind(&path, 0o600).await.unwrap();
    let topic = Topic::parse("t").unwrap();
    let lanes = [LaneInfo { name: lane(), topic, default: true, ordering: Ordering::None }];
    let queued = Queued::new(queue.clone(), LaneTable::new(lanes.to_vec()), || {
        unreachable!("nobody asks for the status")
    });
    let intake = Intake::new(Arc::new(queued), Options::default(), || {
        RecordId::parse(uuid::Uuid::now_v7().to_string()).unwrap()
    });
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, intake.clone(), stop.clone()));

    let attacks = async {
        for _ in 0..ROUNDS {
            hostile(&path).await;
        }
    };
    let (mut acknowledged, lines, ()) =
        tokio::join!(honest(&path), writes_before_it_reads(&path), attacks);
    acknowledged.extend(lines);

    stop.cancel();
    served.await.unwrap();
    assert_eq!(intake.budget().used_bytes(), 0);
    drop(intake);
    tokio::task::spawn_blocking(move || {
        queue.close();
        drop(queue);
        let queue = open(&dir.path().join("data"));
        assert_eq!(waiting(&queue), acknowledged);
        let accounts = queue.figures(&lane()).unwrap().accounts;
        assert_eq!(accounts.accepted, acknowledged.len() as u64);
        queue.close();
    })
    .await
    .unwrap();
}
