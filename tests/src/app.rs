//! Apps: each hands records over to the agent at its own pace, through the client or as NDJSON
//! over HTTP, and notes in the ledger what it was told.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use spillway_protocol::local::Refusal;
use spillway_protocol::local::client::{AppendError, Client, Options};
use spillway_protocol::record::Draft;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::http;
use crate::ledger::{Ledger, Sent};
use crate::random;

/// One in so many records cannot travel as text.
const BINARY_EVERY: u64 = 10;

/// How an app behaves.
#[derive(Debug, Clone)]
pub struct Habit {
    /// Its ids are `name-1`, `name-2` and so on.
    pub name: &'static str,
    /// Lane.
    pub lane: &'static str,
    /// How many order keys it spreads its records over; none: 0.
    pub order_keys: u64,
    /// Sizes of its bodies.
    pub body_bytes: Range<usize>,
    /// Longest pause between two records.
    pub pause_max: Duration,
    /// Most records without an answer.
    pub window: u32,
}

impl Habit {
    /// Small records without an order, without a long pause.
    pub fn brisk(name: &'static str, lane: &'static str) -> Self {
        let pause_max = Duration::from_millis(6);
        Self { name, lane, order_keys: 0, body_bytes: 20..3000, pause_max, window: 64 }
    }
}

/// A crowd of apps that run until told to stop.
pub struct Crowd {
    ledger: Ledger,
    seed: u64,
    socket: PathBuf,
    stop: watch::Sender<bool>,
    apps: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// Nobody yet.
    pub fn new(ledger: &Ledger, socket: &Path, seed: u64) -> Self {
        let stop = watch::Sender::new(false);
        Self { ledger: ledger.clone(), seed, socket: socket.to_owned(), stop, apps: vec![] }
    }

    /// An app with the client of the binary dialect, which repeats what was not answered.
    pub fn client(&mut self, habit: Habit) {
        let maker = self.maker(&habit);
        let (socket, stop) = (self.socket.clone(), self.stop.subscribe());
        self.apps.push(tokio::spawn(through_client(socket, habit, maker, stop)));
    }

    /// An app with NDJSON over HTTP, which gives up what was not answered: it may arrive.
    pub fn ndjson(&mut self, habit: Habit) {
        let maker = self.maker(&habit);
        let (socket, stop) = (self.socket.clone(), self.stop.subscribe());
        self.apps.push(tokio::spawn(over_http(socket, habit, maker, stop)));
    }

    /// Ends all apps, each with its last answer; the agent has to run.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for app in self.apps {
            app.await.unwrap();
        }
    }

    fn maker(&self, habit: &Habit) -> Maker {
        let rng = random::rng(self.seed, 1 + self.apps.len() as u64);
        Maker { habit: habit.clone(), ledger: self.ledger.clone(), rng, count: 0 }
    }
}

/// Makes records and notes them.
struct Maker {
    habit: Habit,
    ledger: Ledger,
    rng: StdRng,
    count: u64,
}

impl Maker {
    fn next(&mut self) -> Draft {
        self.count += 1;
        let habit = &self.habit;
        let id = format!("{}-{}", habit.name, self.count);
        let size = self.rng.random_range(habit.body_bytes.clone());
        let order_key = (habit.order_keys > 0)
            .then(|| format!("{}/{}", habit.name, self.rng.random_range(0..habit.order_keys)));
        let sent = Sent {
            key: self.count.is_multiple_of(3).then(|| format!("key-{}", self.count % 7)),
            tag: self.count.is_multiple_of(2).then(|| "Even".to_owned()),
            order_key,
            ..Sent::new(habit.lane, body(&id, size, self.count.is_multiple_of(BINARY_EVERY)))
        };
        let draft = Draft {
            id: Some(id.clone()),
            key: sent.key.clone(),
            tag: sent.tag.clone(),
            order_key: sent.order_key.clone(),
            topic: None,
            properties: BTreeMap::new(),
            body: sent.body.clone(),
        };
        self.ledger.send(&id, sent);
        draft
    }

    async fn pause(&mut self) {
        let most = self.habit.pause_max;
        sleep(most.mul_f64(self.rng.random())).await;
    }
}

/// Hands records over through the client and waits until all are acknowledged.
pub async fn hand_over(socket: &Path, ledger: &Ledger, lane: &str, drafts: Vec<Draft>) {
    let client = Client::connect(socket).await.unwrap();
    let mut answers = Vec::new();
    for draft in drafts {
        let id = draft.id.clone().expect("an id to note it by");
        let sent = Sent {
            key: draft.key.clone(),
            tag: draft.tag.clone(),
            order_key: draft.order_key.clone(),
            ..Sent::new(lane, draft.body.clone())
        };
        ledger.send(&id, sent);
        answers.push((id, client.submit(draft, Some(lane)).await.unwrap()));
    }
    for (id, answer) in answers {
        let receipt = answer.await.unwrap_or_else(|error| panic!("{id}: {error}"));
        ledger.acknowledge(&id, receipt.seq);
    }
}

/// Hands records `name-N` of `bytes` over, one after the other, until one is refused. Returns what
/// was said of that one.
pub async fn hand_over_until_refused(
    socket: &Path,
    ledger: &Ledger,
    (lane, name): (&str, &str),
    bytes: usize,
) -> Refusal {
    let client = Client::connect(socket).await.unwrap();
    for number in 0.. {
        let id = format!("{name}-{number}");
        let body = body(&id, bytes, false);
        ledger.send(&id, Sent::new(lane, body.clone()));
        let draft = Draft { id: Some(id.clone()), body, ..Draft::default() };
        match client.append(draft, Some(lane)).await {
            Ok(receipt) => ledger.acknowledge(&id, receipt.seq),
            Err(AppendError::Refused(refusal)) => return refusal,
            Err(error) => panic!("{id}: {error}"),
        }
    }
    unreachable!()
}

/// Records `name-FIRST` and so on, with bodies of their own.
pub fn drafts(name: &str, numbers: Range<u64>) -> Vec<Draft> {
    let draft = |nth| {
        let id = format!("{name}-{nth}");
        Draft { body: body(&id, 40, false), id: Some(id), ..Draft::default() }
    };
    numbers.map(draft).collect()
}

/// A body that only this id has: text with what XML has to escape, or bytes.
pub fn body(id: &str, size: usize, binary: bool) -> Bytes {
    let piece = format!("{id} <&> ]]> °\"\n");
    let mut body: Vec<u8> = piece.bytes().cycle().take(size.max(id.len())).collect();
    match binary {
        true => body.extend([0, 0xff]),
        // A character may have been cut.
        false => body = String::from_utf8_lossy(&body).into_owned().into_bytes(),
    }
    body.into()
}

async fn through_client(
    socket: PathBuf,
    habit: Habit,
    mut maker: Maker,
    stop: watch::Receiver<bool>,
) {
    let options = Options {
        window: habit.window,
        wait_when_busy: true,
        backoff_initial: Duration::from_millis(20),
        backoff_max: Duration::from_millis(100),
        seed: Some(maker.rng.random()),
        name: habit.name.to_owned(),
        ..Options::default()
    };
    let client = Client::lazy(socket, options);
    let mut answers = JoinSet::new();
    while !*stop.borrow() {
        let draft = maker.next();
        let id = draft.id.clone().unwrap();
        let pending = client.submit(draft, Some(habit.lane)).await.unwrap();
        let ledger = maker.ledger.clone();
        answers.spawn(async move {
            let receipt = pending.await.unwrap_or_else(|error| panic!("{id}: {error}"));
            ledger.acknowledge(&id, receipt.seq);
        });
        while let Some(answered) = answers.try_join_next() {
            answered.unwrap();
        }
        maker.pause().await;
    }
    while let Some(answered) = answers.join_next().await {
        answered.unwrap();
    }
}

async fn over_http(socket: PathBuf, habit: Habit, mut maker: Maker, stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let count = maker.rng.random_range(1..=habit.window);
        let drafts: Vec<Draft> = (0..count).map(|_| maker.next()).collect();
        let lines: Vec<String> = drafts.iter().map(|draft| line(draft, habit.lane)).collect();
        let body = lines.concat();
        // A dead agent answers nothing; the next lines find the living one.
        let kind = "application/x-ndjson";
        if let Ok(answer) = http::post(&socket, "/v1/records", kind, body.as_bytes()).await {
            note(&maker.ledger, &drafts, &answer.lines());
        }
        maker.pause().await;
    }
}

/// A record as a line of NDJSON.
pub fn line(draft: &Draft, lane: &str) -> String {
    let mut record = json!({"id": draft.id, "lane": lane, "key": draft.key, "tag": draft.tag,
        "order_key": draft.order_key});
    match std::str::from_utf8(&draft.body) {
        Ok(text) => record["body"] = json!(text),
        Err(_) => record["body_base64"] = json!(STANDARD.encode(&draft.body)),
    }
    format!("{record}\n")
}

/// Answers stand in the order of the lines.
fn note(ledger: &Ledger, drafts: &[Draft], answers: &[String]) {
    for (draft, answer) in drafts.iter().zip(answers) {
        let answer: Value = serde_json::from_str(answer).unwrap();
        let id = draft.id.as_deref().unwrap();
        if answer.get("error").is_none() {
            assert_eq!(answer["id"], id, "answers are out of order");
            ledger.acknowledge(id, answer["seq"].as_u64().unwrap());
        }
    }
}
