//! Against a scripted agent that cuts the connection wherever the script says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::local::Level;
use crate::local::frame::{HELLO_FORMAT, Hello, HelloReply, PREAMBLE, ToClient, VERSION};
use crate::message::StreamId;
use crate::record::{LaneName, MessageKey, RecordId};

/// What the agent has stored: id to number. Survives its connections, as a disk does.
type Stored = Arc<Mutex<HashMap<String, u64>>>;

/// How one connection goes.
#[derive(Clone, Copy, Default)]
struct Script {
    /// Closes after this many bytes were written.
    write_max: Option<usize>,
    /// Closes after this many bytes were read.
    read_max: Option<usize>,
    /// Answers everything twice.
    twice: bool,
    /// Refuses the first append of the connection with this code.
    refuse_first: Option<Code>,
    /// Says goodbye instead of hello.
    refuse_hello: Option<Code>,
}

fn answer(stored: &Stored, append: Append) -> ToClient {
    let mut stored = stored.lock().unwrap();
    let id = append.id.unwrap();
    let number = stored.len() as u64 + 1;
    let (seq, duplicate) = match stored.get(&id) {
        Some(&seq) => (seq, true),
        None => {
            stored.insert(id.clone(), number);
            (number, false)
        }
    };
    let receipt = Receipt {
        key: MessageKey::parse(id.as_str()).unwrap(),
        id: RecordId::parse(id).unwrap(),
        lane: LaneName::parse("l").unwrap(),
        stream: StreamId(1),
        seq,
        level: Level::Disk,
        duplicate,
    };
    ToClient::Answer { correlation: append.correlation, result: Ok(receipt.into()) }
}

/// One connection by its script; ends when the script or the client ends it.
async fn play(mut stream: UnixStream, script: Script, stored: Stored) -> Option<()> {
    let mut inbox = BytesMut::new();
    let (mut read, mut written) = (0, 0);
    let mut welcomed = false;
    let mut refuse = script.refuse_first;
    loop {
        let mut out = Vec::new();
        if !welcomed && inbox.len() > PREAMBLE.len() {
            let mut rest = inbox.split_off(PREAMBLE.len());
            if let Some(content) = frame::take(&mut rest).ok()? {
                let _: Hello = frame::read(HELLO_FORMAT, &content).ok()?;
                welcomed = true;
                frame::put(HELLO_FORMAT, &hello_reply(script), &mut out).ok()?;
                inbox = rest;
            } else {
                inbox.unsplit(rest);
            }
        }
        while welcomed && let Some(content) = frame::take(&mut inbox).ok()? {
            let ToAgent::Append(append) = frame::read(VERSION, &content).ok()?;
            let correlation = append.correlation;
            let reply = match refuse.take() {
                None => answer(&stored, append),
                Some(code) => {
                    ToClient::Answer { correlation, result: Err(Refusal::new(code, "scripted")) }
                }
            };
            for _ in 0..=usize::from(script.twice) {
                frame::put(VERSION, &reply, &mut out).ok()?;
            }
        }
        let room = script.write_max.map_or(out.len(), |max| (max - written).min(out.len()));
        stream.write_all(&out[..room]).await.ok()?;
        written += room;
        if script.write_max.is_some_and(|max| written >= max)
            || script.read_max.is_some_and(|max| read >= max)
        {
            return None;
        }
        let want = script.read_max.map_or(4096, |max| (max - read).min(4096));
        let mut chunk = vec![0; want];
        let n = stream.read(&mut chunk).await.ok()?;
        inbox.extend_from_slice(&chunk[..n]);
        read += n;
        (n > 0).then_some(())?;
    }
}

fn hello_reply(script: Script) -> HelloReply {
    match script.refuse_hello {
        Some(code) => HelloReply::Refused(Refusal::new(code, "scripted")),
        None => HelloReply::Welcome { version: VERSION, agent: "scripted".into() },
    }
}

/// An agent whose first connections go by `scripts` and the others well.
fn agent(dir: &tempfile::TempDir, scripts: Vec<Script>) -> (PathBuf, Stored) {
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let stored = Stored::default();
    let shared = Arc::clone(&stored);
    tokio::spawn(async move {
        let mut scripts = scripts.into_iter();
        while let Ok((stream, _)) = listener.accept().await {
            let script = scripts.next().unwrap_or_default();
            play(stream, script, Arc::clone(&shared)).await;
        }
    });
    (path, stored)
}

fn options() -> Options {
    Options {
        backoff_initial: Duration::from_millis(1),
        backoff_max: Duration::from_millis(4),
        seed: Some(1),
        ..Options::default()
    }
}

fn draft(id: Option<&str>) -> Draft {
    Draft { id: id.map(str::to_owned), body: "x".into(), ..Draft::default() }
}

/// Three records over an agent of these scripts: all answered, each stored once, in order.
async fn three_records(scripts: Vec<Script>) {
    let dir = tempfile::tempdir().unwrap();
    let (path, stored) = agent(&dir, scripts);
    let client = Client::lazy(&path, options());
    let mut pending = Vec::new();
    for id in [Some("a"), None, Some("c")] {
        pending.push(client.submit(draft(id), None).await.unwrap());
    }
    let mut numbers = Vec::new();
    for answer in pending {
        let receipt = answer.await.unwrap();
        assert!(stored.lock().unwrap().contains_key(receipt.id.as_str()));
        numbers.push(receipt.seq);
    }
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(stored.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_cut_after_any_byte_of_the_answers_loses_and_doubles_nothing() {
    for cut in 0..200 {
        let script = Script { write_max: Some(cut), ..Script::default() };
        three_records(vec![script, script]).await;
    }
}

#[tokio::test]
async fn a_cut_after_any_byte_of_the_requests_loses_and_doubles_nothing() {
    for cut in 0..150 {
        let script = Script { read_max: Some(cut), ..Script::default() };
        three_records(vec![script]).await;
    }
}

#[tokio::test]
async fn a_second_answer_is_ignored() {
    let script = Script { twice: true, ..Script::default() };
    three_records(vec![script; 3]).await;
}

#[tokio::test]
async fn a_busy_agents_refusal_is_surfaced_with_its_wait() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script { refuse_first: Some(Code::DiskFull), ..Script::default() };
    let (path, stored) = agent(&dir, vec![script]);
    let client = Client::connect_with(&path, options()).await.unwrap();
    let Err(AppendError::Refused(refusal)) = client.append(draft(Some("a")), None).await else {
        panic!("not refused");
    };
    assert_eq!(refusal.retry_after_s(), Some(30));
    assert!(stored.lock().unwrap().is_empty());
    assert!(client.append(draft(Some("a")), None).await.is_ok());
}

#[tokio::test]
async fn with_wait_when_busy_the_record_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script { refuse_first: Some(Code::Overloaded), ..Script::default() };
    let (path, _) = agent(&dir, vec![script]);
    let options = Options { wait_when_busy: true, ..options() };
    let client = Client::connect_with(&path, options).await.unwrap();
    let before = std::time::Instant::now();
    let receipt = client.append(draft(Some("a")), None).await.unwrap();
    assert_eq!((receipt.seq, receipt.duplicate), (1, false));
    assert!(before.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn an_incompatible_agent_is_a_typed_error_at_once_and_later() {
    let script = Script { refuse_hello: Some(Code::IncompatibleVersion), ..Script::default() };
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = agent(&dir, vec![script, script]);
    let error = Client::connect(&path).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
    let client = Client::lazy(&path, options());
    let error = client.append(draft(None), None).await.unwrap_err();
    assert!(matches!(error, AppendError::Incompatible(_) | AppendError::Gone), "{error}");
}

#[tokio::test]
async fn a_full_agent_is_tried_again() {
    let script = Script { refuse_hello: Some(Code::Overloaded), ..Script::default() };
    three_records(vec![script, script]).await;
}

#[tokio::test]
async fn a_lazy_client_may_be_there_before_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::lazy(dir.path().join("s"), options());
    let answer = client.submit(draft(Some("a")), None).await.unwrap();
    assert!(Client::connect(dir.path().join("s")).await.is_err());
    let (path, _) = agent(&dir, vec![]);
    assert_eq!(path, dir.path().join("s"));
    assert_eq!(answer.await.unwrap().seq, 1);
}

#[tokio::test]
async fn nobody_listening_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = Client::connect(dir.path().join("none")).await.unwrap_err();
    assert!(error.to_string().contains("is the agent running"), "{error}");
}

#[tokio::test]
async fn the_window_bounds_what_is_without_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { window: 2, ..options() };
    let client = Client::lazy(dir.path().join("none"), options);
    let _one = client.submit(draft(None), None).await.unwrap();
    let _two = client.submit(draft(None), None).await.unwrap();
    let third = tokio::time::timeout(Duration::from_millis(50), client.submit(draft(None), None));
    assert!(third.await.is_err());
}

#[tokio::test]
async fn a_record_beyond_a_frame_is_refused_before_it_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = agent(&dir, vec![]);
    let client = Client::connect(&path).await.unwrap();
    let large = Draft { body: vec![0; 5 << 20].into(), ..Draft::default() };
    let Err(AppendError::Refused(refusal)) = client.append(large, None).await else {
        panic!("not refused");
    };
    assert_eq!((refusal.code, refusal.field.as_deref()), (Code::TooLarge, Some("body")));
}
