//! The clients for Python, Node and Java: each passes its own tests against real agents, and their
//! samples lose and double nothing while the agent is killed, or the lane is full.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use spillway::broker::Stored;
use spillway_tests::arrival::Arrival;
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, lane};
use spillway_tests::language::{Built, Language, Sample};
use spillway_tests::oracle;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};

const PATIENCE: Duration = Duration::from_secs(180);
/// Readings for each sample in each round.
const ROUND: usize = 60;
const ROUNDS: usize = 4;
/// So many records in one request, of every second sample.
const BATCH: usize = 20;
const BEDS: usize = 5;
/// Answers that are lost.
const LOST: usize = 2;

fn settings(broker: &HttpBroker, lanes: &str) -> String {
    format!(
        "{}[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
         [backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n{lanes}",
        broker.upstream()
    )
}

/// A lane for each language, each with this line.
fn lanes(line: &str) -> String {
    let lane = |name| {
        let default = name == "node";
        format!("[[lane]]\nname = \"{name}\"\ntopic = \"{name}\"\ndefault = {default}\n{line}\n")
    };
    Language::ALL.map(Language::name).map(lane).concat()
}

/// An agent without a link, slow to this user and with a lane that is soon full.
async fn slow() -> Gateway {
    let uid = UnixStream::pair().unwrap().0.peer_cred().unwrap().uid();
    let mut gateway = Gateway::new(&format!(
        "[upstream]\nendpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"a\"\n\
         access_key_secret = \"b\"\n\
         [[client]]\nname = \"tests\"\nuid = {uid}\nrecords_per_second = 10\n\
         [[lane]]\nname = \"readings\"\ntopic = \"readings\"\ndefault = true\n\
         [[lane]]\nname = \"small\"\ntopic = \"small\"\nquota = \"1 MiB\"\n"
    ));
    gateway.start_ready().await;
    gateway
}

/// A client's own tests pass, and what they stored arrives as they gave it.
async fn passes(language: Language) {
    let broker = HttpBroker::start().await;
    let lanes = "[[lane]]\nname = \"readings\"\ntopic = \"readings\"\ndefault = true\n\
                 [[lane]]\nname = \"ordered\"\ntopic = \"ordered\"\norder = \"key\"\n\
                 [[lane]]\nname = \"whole\"\ntopic = \"whole\"\norder = \"lane\"\n";
    let mut gateway = Gateway::new(&settings(&broker, lanes));
    gateway.start_ready().await;
    let slow = slow().await;
    let said = language.built().await.test(&gateway.socket(), &slow.socket()).await;
    println!("{said}");
    gateway.until_delivered(PATIENCE).await;
    check_fields(&broker, language);
    let text = arrived(&broker, "readings", &format!("{}-text", language.name()));
    let text = Arrival::from(&*text).body;
    assert_eq!(text, "one \"line\"\n\tand \\ another, 36.6 °C 🌡\r\n".as_bytes());
}

/// The record that the tests of each client gave everything that there is.
fn check_fields(broker: &HttpBroker, language: Language) {
    let stored = arrived(broker, "own-topic", &format!("{}-fields", language.name()));
    let arrival = Arrival::from(&*stored);
    assert_eq!((arrival.key.as_str(), arrival.tag.as_deref()), ("bed-7", Some("Temp")));
    assert_eq!(arrival.lane, "ordered");
    assert!(arrival.order_key.is_some());
    assert!(arrival.body.starts_with(&[0, 0xff, b'3', b'6']), "{:?}", arrival.body);
    assert_eq!(stored.property("unit"), Some("°C"));
    assert_eq!(stored.property("Path"), Some("a\\b = c"));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(stored.property("traceparent"), Some(trace));
}

/// The message of a record.
fn arrived(broker: &HttpBroker, topic: &str, id: &str) -> Arc<Stored> {
    let mut all = broker.messages(topic).into_iter();
    let found = all.find(|message| Arrival::from(&**message).id == id);
    found.unwrap_or_else(|| panic!("{id} is not in {topic}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_passes_its_own_tests() {
    passes(Language::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_client_passes_its_own_tests() {
    passes(Language::Node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_java_client_passes_its_own_tests() {
    passes(Language::Java).await;
}

/// A sample, and what it was given.
struct App {
    lane: &'static str,
    mode: &'static str,
    sample: Sample,
    given: Vec<String>,
}

impl App {
    fn start(built: &Built, gateway: &Gateway, (mode, batch): (&'static str, usize)) -> Self {
        let lane = built.language.name();
        let sample = built.sample(&gateway.socket(), lane, batch);
        Self { lane, mode, sample, given: Vec::new() }
    }

    /// One more round of readings, each with a value of its own.
    fn feed(&mut self) {
        let from = self.given.len();
        let reading = |n: usize| format!("{}-bed-{} {}-{n}", self.mode, n % BEDS, self.mode);
        self.given.extend((from..from + ROUND).map(reading));
        self.sample.feed(&self.given[from..]);
    }

    async fn until_stored(&mut self) {
        self.sample.until_stored(self.given.len()).await;
    }

    /// Every value arrived as one record, the one that the sample was told of; in order by its bed.
    fn check(&self, arrived: &[Arrival]) {
        let mut of_value: BTreeMap<String, BTreeSet<(u64, &str)>> = BTreeMap::new();
        for arrival in arrived {
            let value = String::from_utf8(arrival.body.to_vec()).unwrap();
            of_value.entry(value).or_default().insert((arrival.seq, &arrival.id));
        }
        let mut told = Vec::new();
        for (reading, receipt) in self.given.iter().zip(&*self.sample.receipts.borrow()) {
            let value = reading.split(' ').nth(1).unwrap();
            let words: Vec<&str> = receipt.split(' ').collect();
            let seq: u64 = words[0].parse().unwrap();
            assert_eq!(words[2], value);
            let records = of_value.get(value).unwrap_or_else(|| panic!("{value} is lost"));
            assert_eq!(*records, BTreeSet::from([(seq, words[1])]), "{value}");
            told.push(seq);
        }
        for bed in 0..BEDS {
            assert!(told.iter().skip(bed).step_by(BEDS).is_sorted(), "bed {bed} of {}", self.lane);
        }
    }
}

async fn apps(gateway: &Gateway) -> Vec<(Built, App)> {
    let mut apps = Vec::new();
    for language in Language::ALL {
        for mode in [("one", 1), ("many", BATCH)] {
            let built = language.built().await;
            let app = App::start(&built, gateway, mode);
            apps.push((built, app));
        }
    }
    apps
}

/// Connections that died with an agent which is back are no reason to wait.
async fn restart_while_idle(gateway: &mut Gateway, apps: &mut [(Built, App)]) {
    for restart in [true, false] {
        for (_, app) in &mut *apps {
            app.feed();
        }
        for (_, app) in &mut *apps {
            app.until_stored().await;
            assert_eq!(*app.sample.waits.borrow(), [""; 0], "{} {}", app.lane, app.mode);
        }
        if restart {
            gateway.kill();
            gateway.start_ready().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_while_the_agent_is_killed() {
    let broker = HttpBroker::start().await;
    let mut gateway = Gateway::new(&settings(&broker, &lanes("order = \"key\"")));
    gateway.start_ready().await;
    let mut apps = apps(&gateway).await;
    restart_while_idle(&mut gateway, &mut apps).await;
    for round in 1..=ROUNDS {
        for (_, app) in &mut apps {
            app.feed();
        }
        // Somewhere within the round of this one.
        let (_, app) = &mut apps[round];
        let begun = app.given.len() - ROUND;
        app.sample.until_stored(begun + BATCH / 2).await;
        gateway.kill();
        gateway.start_ready().await;
        for (_, app) in &mut apps {
            app.until_stored().await;
        }
    }
    gateway.kill();
    for (_, app) in &mut apps {
        let before = app.sample.waits.borrow().len();
        app.feed();
        app.sample.until_waiting(|lines| lines.len() > before).await;
    }
    gateway.start_ready().await;
    for (_, app) in &mut apps {
        app.until_stored().await;
    }
    let status = gateway.until_delivered(PATIENCE).await;
    let arrived = broker.arrivals(&Language::ALL.map(Language::name));
    oracle::assert_none("missing numbers", &oracle::gaps(&arrived));
    for (_, app) in apps {
        assert_eq!(lane(&status, app.lane).accepted as usize, 2 * app.given.len());
        let own: Vec<Arrival> = arrived.iter().filter(|a| a.lane == app.lane).cloned().collect();
        app.check(&own);
        app.sample.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_lane_is_waited_for() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let mut gateway = Gateway::new(&settings(&broker, &lanes("quota = \"1 MiB\"")));
    gateway.start_ready().await;
    let (mut samples, mut given) = (Vec::new(), BTreeSet::new());
    for language in Language::ALL {
        let built = language.built().await;
        let sample = built.sample(&gateway.socket(), language.name(), 1);
        // A little more than fits.
        let value = |n: usize| format!("{}-{n}-{}", language.name(), "x".repeat(200_000));
        let values: Vec<String> = (0..6).map(value).collect();
        let readings: Vec<String> = values.iter().map(|value| format!("bed-7 {value}")).collect();
        sample.feed(&readings);
        given.extend(values);
        samples.push((built, sample));
    }
    for (_, sample) in &mut samples {
        sample.until_waiting(|lines| lines.iter().any(|line| line.contains("disk_full"))).await;
    }
    broker.restart().await;
    for (_, sample) in samples {
        sample.finish().await;
    }
    let status = gateway.until_delivered(PATIENCE).await;
    assert_eq!(status.lanes.iter().map(|lane| lane.accepted).sum::<u64>(), given.len() as u64);
    let arrived = broker.arrivals(&Language::ALL.map(Language::name));
    let body = |arrival: &Arrival| String::from_utf8(arrival.body.to_vec()).unwrap();
    assert_eq!(arrived.iter().map(body).collect::<BTreeSet<_>>(), given);
    oracle::assert_none("missing numbers", &oracle::gaps(&arrived));
}

/// Stands between an app and the agent, and keeps the first answers to itself.
async fn lose_answers(listener: UnixListener, agent: PathBuf) {
    for connection in 0.. {
        let (mut app, _) = listener.accept().await.unwrap();
        let mut agent = UnixStream::connect(&agent).await.unwrap();
        if connection < LOST {
            let (mut asked, mut asking) = app.split();
            let (mut answer, mut request) = agent.split();
            tokio::select! {
                _ = copy(&mut asked, &mut request) => panic!("the app did not wait"),
                first = answer.read_u8() => drop(first.unwrap()),
            }
            asking.shutdown().await.unwrap();
        } else {
            tokio::spawn(async move { copy_bidirectional(&mut app, &mut agent).await });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_doubles_nothing() {
    let broker = HttpBroker::start().await;
    let mut gateway = Gateway::new(&settings(&broker, &lanes("")));
    gateway.start_ready().await;
    for language in Language::ALL {
        let built = language.built().await;
        for (batch, path) in [(1, "one"), (2, "two")] {
            let path = gateway.file(&format!("{path}-{}", language.name()));
            let listener = UnixListener::bind(&path).unwrap();
            let between = tokio::spawn(lose_answers(listener, gateway.socket()));
            let mut sample = built.sample(&path, language.name(), batch);
            sample.feed(&["bed-7 36.6".to_owned(), "bed-8 36.7".to_owned()]);
            sample.until_stored(2).await;
            sample.until_waiting(|lines| lines.len() >= LOST).await;
            assert_eq!(sample.waits.borrow().len(), LOST);
            sample.finish().await;
            between.abort();
        }
    }
    let status = gateway.until_delivered(PATIENCE).await;
    for language in Language::ALL {
        assert_eq!(lane(&status, language.name()).accepted, 4, "{language:?}");
    }
}
