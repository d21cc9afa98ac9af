//! `spillway tail` against the real agent and the embedded broker: what it shows of a record's life,
//! what it keeps to itself, and that it ends as it should.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use serde_json::Value;
use spillway::broker::faults::{Kind, Rule};
use spillway_protocol::record::Draft;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, PATIENCE, binary, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::port;

const LANES: &str = "[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
                     [[lane]]\nname = \"ward\"\ntopic = \"readings\"\ndefault = true\n\
                     [[lane]]\nname = \"beds\"\ntopic = \"beds\"\n";

/// A running `spillway tail`; it watches once this is there.
struct Tail {
    child: Child,
    out: Option<Lines>,
    err: Lines,
}

/// What a process writes, line by line.
struct Lines(Receiver<String>);

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        // The reader is not ahead of the test by more than a line.
        let (sender, receiver) = sync_channel(0);
        std::thread::spawn(move || {
            let mut lines = BufReader::new(pipe).lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        Self(receiver)
    }

    /// The next one; nothing once it has ended.
    #[track_caller]
    fn next(&self) -> String {
        match self.0.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => String::new(),
            Err(RecvTimeoutError::Timeout) => panic!("it says nothing"),
        }
    }
}

impl Tail {
    fn start(gateway: &Gateway, words: &str) -> Self {
        let mut tail = Self::unread(gateway, words);
        tail.out = tail.child.stdout.take().map(Lines::of);
        tail
    }

    /// Nobody takes what it says yet.
    fn unread(gateway: &Gateway, words: &str) -> Self {
        let mut command = Command::new(binary());
        command.arg("tail").args(words.split_whitespace());
        command.arg("--config").arg(gateway.file("spillway.toml")).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let err = Lines::of(child.stderr.take().unwrap());
        assert_eq!(err.next(), "watching; ctrl-c ends it");
        Self { child, out: None, err }
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let line = self.out.as_ref().unwrap().next();
        assert!(!line.is_empty(), "it ended: {}", self.err.next());
        line
    }

    #[track_caller]
    fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    fn code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn store(gateway: &Gateway, lane: &str, drafts: Vec<Draft>) {
    hand_over(&gateway.socket(), &Ledger::default(), lane, drafts).await;
}

fn private(id: &str) -> Draft {
    Draft {
        id: Some(id.into()),
        key: Some("patient-7".into()),
        order_key: Some("bed-3".into()),
        properties: [("diagnosis".to_owned(), "gout".to_owned())].into(),
        body: b"private words".as_slice().into(),
        ..Draft::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_records_life_is_shown_and_its_content_only_where_it_was_asked_for() {
    let broker = HttpBroker::start().await;
    let refuse = Rule { key_prefix: Some("bad".into()), ..Rule::always(Kind::RefuseRecord) };
    broker.faults().set_rules([refuse]);
    let mut gateway = Gateway::new(&format!("{}{LANES}", broker.upstream()));
    gateway.start_ready().await;
    let (mut plain, mut json) = (Tail::start(&gateway, ""), Tail::start(&gateway, "--json --body"));

    store(&gateway, "ward", vec![private("r-1")]).await;
    let lines = [plain.line(), plain.line()];
    let stream = json.json();
    assert_eq!(stream["event"], "accepted");
    let number = format!("{}/1", stream["stream"].as_str().unwrap());
    for (line, event) in lines.iter().zip(["accepted ", "delivered"]) {
        let shown = format!("  ward  {number}  {event}  readings  13 B  r-1");
        assert!(line.ends_with(&shown) && line.len() == 24 + shown.len(), "{line}");
    }
    for content in ["private", "patient-7", "bed-3", "gout", "diagnosis"] {
        assert!(!lines.concat().contains(content), "{lines:?}");
    }
    let delivered = json.json();
    assert_eq!((&delivered["event"], &delivered["seq"]), (&"delivered".into(), &1.into()));
    for event in [&stream, &delivered] {
        assert_eq!(event["content"]["body"], "private words");
        assert_eq!(event["content"]["key"], "patient-7");
        assert_eq!(event["content"]["properties"]["diagnosis"], "gout");
    }

    let bad = Draft { key: Some("bad-1".into()), ..private("r-2") };
    store(&gateway, "ward", vec![bad]).await;
    // A record is to blame once others that left after its refusal got through.
    gateway.until("it is refused", |s| lane(s, "ward").last_error.is_some()).await;
    store(&gateway, "ward", drafts("more", 0..50)).await;
    let dead = loop {
        let line = plain.line();
        if line.contains("  dead  ") {
            break line;
        }
    };
    let (number, rest) = dead.split_once("  dead       readings  13 B  r-2  ").unwrap();
    assert!(number.ends_with("/2") && rest.starts_with("MalformedXML: "), "{dead}");

    gateway.said("dead purge --all").await;
    let dropped = loop {
        let line = plain.line();
        if line.contains("  dropped  ") {
            break line;
        }
    };
    assert!(dropped.contains(&format!("{}/2  dropped", stream["stream"].as_str().unwrap())));
    gateway.stop(Duration::from_secs(20)).await;
    assert_eq!((plain.code(), plain.err.next().as_str()), (Some(69), "the agent stops"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_lanes_and_events_that_were_asked_for() {
    let upstream = HttpBroker::upstream_by(&format!("http://127.0.0.1:{}", port::free()));
    let mut gateway = Gateway::new(&format!("{upstream}{LANES}"));
    gateway.start_ready().await;
    let mut beds = Tail::start(&gateway, "--lane beds --json");
    let mut dropped = Tail::start(&gateway, "--events dropped,expired --json");
    store(&gateway, "ward", drafts("w", 0..3)).await;
    store(&gateway, "beds", drafts("b", 0..2)).await;
    assert_eq!([beds.json(), beds.json()].map(|b| b["id"].clone()), ["b-0", "b-1"]);

    gateway.said("queue purge --lane ward 1-3").await;
    let purged = dropped.json();
    assert_eq!((&purged["event"], &purged["lane"]), (&"dropped".into(), &"ward".into()));
    assert_eq!((&purged["seq"], &purged["seq_to"]), (&1.into(), &3.into()));

    for (words, said) in [("--events sold", "sold"), ("--limit 0", "0")] {
        let output = gateway.command(&format!("tail {words}")).await;
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
    }
    let output = gateway.command("tail --lane nowhere").await;
    assert_eq!(output.status.code(), Some(65), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_well_by_a_signal_and_with_its_reader_and_not_without_an_agent() {
    let mut gateway = Gateway::new(LANES);
    gateway.start_ready().await;
    let mut told = Tail::start(&gateway, "");
    told.signal("-INT");
    assert_eq!((told.code(), told.err.next().as_str()), (Some(0), ""));

    // The reader goes while nothing happens.
    let mut left = Tail::unread(&gateway, "");
    drop(left.child.stdout.take());
    assert_eq!((left.code(), left.err.next().as_str()), (Some(0), ""));

    let mut cut = Tail::start(&gateway, "");
    gateway.kill();
    assert_eq!(cut.code(), Some(69));
    assert!(cut.err.next().contains("the agent ended the connection"));
    assert_eq!(gateway.command("tail").await.status.code(), Some(69));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_more_than_one_wants_is_counted_and_nothing_is_held_up() {
    let broker = HttpBroker::start().await;
    let mut gateway = Gateway::new(&format!("{}{LANES}", broker.upstream()));
    gateway.start_ready().await;
    let mut few = Tail::start(&gateway, "--limit 10 --json");
    // One that watches and never reads.
    let _stuck = Tail::unread(&gateway, "--limit 10000 --body --json");
    const RECORDS: u64 = 4_000;
    store(&gateway, "ward", drafts("r", 0..RECORDS)).await;
    let status = gateway.until_delivered(PATIENCE).await;
    assert_eq!(lane(&status, "ward").delivered, RECORDS);

    let (mut shown, mut skipped) = ([0, 0], [0, 0]);
    let events = ["accepted", "delivered"];
    while (0..2).any(|nth| shown[nth] + skipped[nth] < RECORDS) {
        let line = few.json();
        for (nth, event) in events.iter().enumerate() {
            shown[nth] += u64::from(line["event"] == *event);
            skipped[nth] += line["skipped"][*event].as_u64().unwrap_or(0);
        }
    }
    assert_eq!([shown[0] + skipped[0], shown[1] + skipped[1]], [RECORDS; 2]);
    assert!(skipped[0] > shown[0] && shown[0] > 0, "{shown:?} {skipped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_long_bodies_the_beginning_is_shown_and_the_size_is_told() {
    let mut gateway = Gateway::new(LANES);
    gateway.start_ready().await;
    let mut bodies = Tail::start(&gateway, "--limit 10000 --body --json");
    const RECORDS: u64 = 40;
    let long = |draft: Draft| Draft { body: vec![0xff; 200_000].into(), ..draft };
    store(&gateway, "ward", drafts("l", 0..RECORDS).into_iter().map(long).collect()).await;
    let (mut shown, mut skipped) = (0, 0);
    while shown + skipped < RECORDS {
        let line = bodies.json();
        skipped += line["skipped"]["accepted"].as_u64().unwrap_or(0);
        if line["event"] == "accepted" {
            shown += 1;
            assert_eq!(
                (&line["body_bytes"], &line["body_shown"]),
                (&200_000.into(), &65_536.into())
            );
            let base64 = line["content"]["body_base64"].as_str().unwrap();
            assert_eq!(base64.len(), 65_536_usize.div_ceil(3) * 4);
        }
    }
    assert_eq!(shown + skipped, RECORDS);
    assert!(shown > 0);

    let mut people = Tail::start(&gateway, "--body");
    let body = "ab€".repeat(20_000);
    let text = Draft { body: body.into_bytes().into(), ..private("t-1") };
    store(&gateway, "ward", vec![text]).await;
    while !people.line().starts_with("    body: ab€") {}
    assert_eq!(people.line(), "    … the body's first 64.0 KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_an_end_of_places_and_those_who_leave_make_room() {
    let mut gateway = Gateway::new(LANES);
    gateway.start_ready().await;
    let mut tails: Vec<Tail> = (0..8).map(|_| Tail::start(&gateway, "")).collect();
    let output = gateway.command("tail").await;
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    drop(tails.pop());
    // The agent notices by itself that one has gone, though nothing happens.
    loop {
        let mut child = Command::new(binary());
        child.arg("tail").arg("--config").arg(gateway.file("spillway.toml"));
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
        let _ = child.kill();
        child.wait().unwrap();
        if said.starts_with("watching") {
            break;
        }
        assert!(said.contains("others watch already"), "{said}");
    }
}
