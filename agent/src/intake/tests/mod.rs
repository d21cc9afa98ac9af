//! Over real sockets, with a queue in memory.

mod binary;
mod clients;
mod front;
mod hostile;
mod http;
mod leaving;
mod level;
mod ndjson;
mod seats;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use spillway_protocol::record::RecordId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::clients::Peer;
use super::fake::Fake;
use super::listener::serve_peers;
use super::{Intake, Options, Rules, socket};

/// An intake that serves a socket in a folder of its own.
struct Rig {
    fake: Arc<Fake>,
    intake: Intake,
    path: PathBuf,
    stop: CancellationToken,
    served: JoinHandle<()>,
    /// Who connects from now on.
    uid: Arc<AtomicU32>,
    _file: socket::SocketFile,
    _dir: tempfile::TempDir,
}

/// The group of everybody who connects.
const GID: u32 = 70;

/// The usual options with these rules.
fn ruled(rules: Rules) -> Options {
    Options { rules, ..Options::default() }
}

impl Rig {
    async fn new(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (listener, file) = socket::bind(&path, 0o600).await.unwrap();
        let fake = Fake::new();
        let intake = Intake::new(Arc::clone(&fake) as _, options, || {
            RecordId::parse(uuid::Uuid::now_v7().to_string()).unwrap()
        });
        let stop = CancellationToken::new();
        let uid = Arc::new(AtomicU32::new(1000));
        let asked = uid.clone();
        let peer = move |_: &UnixStream| Ok(Peer { uid: asked.load(SeqCst), gid: GID });
        let served = tokio::spawn(serve_peers(listener, intake.clone(), stop.clone(), peer));
        Self { fake, intake, path, stop, served, uid, _file: file, _dir: dir }
    }

    async fn plain() -> Self {
        Self::new(Options::default()).await
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }

    /// Sends `request`, says that there is no more, and reads the one answer.
    async fn ask(&self, request: &[u8]) -> Reply {
        let mut stream = self.connect().await;
        // A refusal may come, and the connection go, before everything is written.
        let _ = stream.write_all(request).await;
        let _ = stream.shutdown().await;
        Reply::read(&mut stream).await
    }

    async fn post(&self, kind: &str, body: &[u8]) -> Reply {
        self.ask(&post(kind, body, "")).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await
    }

    /// Waits until clients make the agent hold no more than `bytes`.
    async fn settle(&self, bytes: usize) {
        let low = async {
            while self.intake.budget().used_bytes() > bytes {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let held = self.intake.budget();
        let settled = tokio::time::timeout(Duration::from_secs(10), low).await;
        assert!(settled.is_ok(), "{} bytes are still held", held.used_bytes());
    }
}

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const PLAIN: &str = "application/octet-stream";

/// A request with `headers` (each with its line end).
fn post(kind: &str, body: &[u8], headers: &str) -> Vec<u8> {
    let mut request = format!(
        "POST /v1/records HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\n{headers}\
         content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// One HTTP answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    /// Reads exactly one answer; status 0 if the connection ended before its head.
    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Self {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                break bytes.len();
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let mut body = bytes.split_off(end);
        let status = head.get(9..12).map_or(0, |s| s.parse().unwrap_or(0));
        let length = head
            .split("content-length: ")
            .nth(1)
            .map(|rest| rest.lines().next().unwrap().parse::<usize>().unwrap());
        let chunked = head.contains("transfer-encoding: chunked");
        while status > 0 && !is_whole(&body, length, chunked) {
            if stream.read_buf(&mut body).await.unwrap_or(0) == 0 {
                break;
            }
        }
        let body = if chunked { unchunk(&body) } else { body };
        Self { status, head, body: String::from_utf8(body).unwrap() }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        self.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Status, code and field of a refusal.
    fn refusal(&self) -> (u16, String, Option<String>) {
        let error = &self.json()["error"];
        assert!(!error["message"].as_str().unwrap().is_empty());
        let code = error["code"].as_str().unwrap().to_owned();
        (self.status, code, error["field"].as_str().map(str::to_owned))
    }
}

fn is_whole(body: &[u8], length: Option<usize>, chunked: bool) -> bool {
    match length {
        Some(length) => body.len() >= length,
        None => chunked && body.ends_with(b"0\r\n\r\n"),
    }
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = body.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&body[..at]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let Some(chunk) = body.get(at + 2..at + 2 + size) else {
            break;
        };
        out.extend_from_slice(chunk);
        body = body.get(at + 4 + size..).unwrap_or_default();
    }
    out
}

fn refusal(status: u16, code: &str, field: Option<&str>) -> (u16, String, Option<String>) {
    (status, code.to_owned(), field.map(str::to_owned))
}
