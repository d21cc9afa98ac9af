//! Who is online, on a real RocketMQ 5.5.0: agents' presence events and reports, read by
//! presence-consumer into a real Redis and a real MariaDB, and by a classic Java consumer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::seq::SliceRandom;
use serde_json::Value;
use spillway::clock::SystemClock;
use spillway::config::Transport;
use spillway::upstream::grpc::GrpcUpstream;
use spillway_protocol::message::Message;
use spillway_protocol::presence::{Event, EventType};
use spillway_protocol::record::Draft;
use spillway_tests::gateway::{Gateway, PATIENCE, built};
use spillway_tests::mariadb::{DATABASE, MariaDb, USER};
use spillway_tests::redis::Redis;
use spillway_tests::relay::Relay;
use spillway_tests::rocketmq::{JavaPresence, Options, RocketMq};
use spillway_tests::{random, sample};
use tokio::process::{Child, Command};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

const STATUS: &str = "gateway-status";
const REPORTS: &str = "gateway-report";
const AGENT: &str = "GID_g@@@gw-test";
const EVERY: Duration = Duration::from_secs(4);
const POLL: Duration = Duration::from_millis(100);
const DEVICES: u64 = 12;

/// A consumer of ours, and where it keeps its table.
struct Consumer {
    store: String,
    name: &'static str,
    child: Option<Child>,
}

impl Consumer {
    /// Makes its groups and starts it.
    fn start(mq: &mut RocketMq, name: &'static str, store: String, log: &std::path::Path) -> Self {
        for (what, topic) in [("status", STATUS), ("report", REPORTS)] {
            mq.create_group(&format!("GID_{name}_{what}"), topic, false);
        }
        let mut consumer = Self { store, name, child: None };
        let log = File::create(log.join(format!("{name}.log"))).unwrap();
        let child = consumer
            .command("run")
            .env("ROCKETMQ_ENDPOINT", format!("grpc://127.0.0.1:{}", mq.grpc_port()))
            .envs([("PRESENCE_TOPIC", STATUS), ("REPORT_TOPIC", REPORTS)])
            .env("PRESENCE_GROUP_ID", format!("GID_{name}_status"))
            .env("REPORT_GROUP_ID", format!("GID_{name}_report"))
            .stderr(log)
            .spawn();
        consumer.child = Some(child.unwrap());
        consumer
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(built("presence-consumer"));
        command.args(words.split(' ')).env("PRESENCE_STORE", &self.store);
        command.env_remove("RUST_LOG").stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn online(&self) -> Output {
        self.command("online --json").output().await.unwrap()
    }

    /// Waits until it has made its table.
    async fn ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.online().await;
            if output.status.success() {
                return;
            }
            assert!(Instant::now() < deadline, "{}: {output:?}", self.name);
            sleep(POLL).await;
        }
    }

    /// Ids that are online, and those that have fallen silent.
    async fn answer(&self) -> (Vec<String>, Vec<String>) {
        let output = self.online().await;
        assert!(output.status.success(), "{}: {output:?}", self.name);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let ids = |list: &str| {
            let clients = answer[list].as_array().unwrap().iter();
            clients.map(|client| client["id"].as_str().unwrap().to_owned()).collect()
        };
        (ids("online"), ids("silent"))
    }

    /// SIGTERM; it has to end well.
    async fn stop(mut self) {
        let mut child = self.child.take().unwrap();
        let pid = child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it does not stop");
        assert!(ended.unwrap().success());
    }
}

struct Case {
    mq: RocketMq,
    relay: Relay,
    gateway: Gateway,
    java: JavaPresence,
    redis: Redis,
    database: MariaDb,
    ours: Vec<Consumer>,
}

impl Case {
    async fn start() -> Self {
        let mut mq = block_in_place(|| RocketMq::start(Options::default()));
        let relay = Relay::start(mq.grpc_port()).await;
        let gateway = Gateway::new(&settings(relay.port()));
        let (redis, database) = block_in_place(|| (Redis::start(), MariaDb::start()));
        let sql =
            format!("mysql://{USER}:test%2Fsecret%2B@127.0.0.1:{}/{DATABASE}", database.port());
        let (java, ours): (_, Vec<Consumer>) = block_in_place(|| {
            mq.create_topic(STATUS, "NORMAL");
            mq.create_topic(REPORTS, "NORMAL");
            let java = mq.java_presence("GID_java", STATUS);
            let stores = [("redis", redis.url()), ("sql", sql)];
            let start = |(name, store)| Consumer::start(&mut mq, name, store, &gateway.file(""));
            (java, stores.map(start).into_iter().collect())
        });
        for consumer in &ours {
            consumer.ready().await;
        }
        Self { mq, relay, gateway, java, redis, database, ours }
    }

    /// What is in the topic: its events, and how many messages a consumer gets.
    fn published(&mut self) -> (Vec<Event>, usize) {
        let stored = block_in_place(|| self.mq.read_all(STATUS));
        let events = stored.iter().map(|stored| Event::from_json(&stored.body).unwrap());
        let events: Vec<_> =
            events.filter(|event| event.event_type != EventType::Disconnect).collect();
        let count = events.len();
        (events, count)
    }

    async fn publish(&self, events: &[Event]) {
        let upstream = sample::upstream(Transport::Grpc, self.mq.grpc_port(), None, None);
        let upstream =
            GrpcUpstream::new(&upstream, "gw-1@1".into(), Arc::new(SystemClock)).unwrap();
        let messages: Vec<Message> = events.iter().zip(1..).map(|(e, n)| message(e, n)).collect();
        sample::publish(&upstream, &messages).await;
    }

    /// Waits until all three have read the whole topic, and answers who is online by the Java
    /// consumer; ours have to say the same.
    async fn agreed(&mut self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (events, count) = self.published();
            let (seen, online) = block_in_place(|| self.java.online());
            let mut answers = Vec::new();
            for consumer in &self.ours {
                answers.push(consumer.answer().await.0);
            }
            let whole = self.in_redis().await == distinct(&events)
                && self.in_database().await == channels(&events)
                && seen == count;
            if whole && answers.iter().all(|answer| *answer == online) {
                assert_eq!(online, expected(&events), "the Java consumer is wrong");
                return online;
            }
            assert!(
                Instant::now() < deadline,
                "Java: {seen} of {count}, {online:?}; ours: {answers:?}\n{}",
                self.logs()
            );
            sleep(POLL).await;
        }
    }

    async fn in_redis(&self) -> usize {
        let mut connection = self.redis.connect().await;
        redis::cmd("ZCARD").arg("presence:events").query_async(&mut connection).await.unwrap()
    }

    /// Each channel with what is known of it, as in [`channels`].
    async fn in_database(&self) -> BTreeMap<(String, String), (bool, bool)> {
        let query = "select client_id, channel_id, connected_ms is not null, cleaned \
                     from presence_channels";
        let rows: Vec<(String, String, bool, bool)> = self.database.rows(query).await;
        rows.into_iter().map(|(id, channel, c, t)| ((id, channel), (c, t))).collect()
    }

    fn logs(&self) -> String {
        let log = |name| std::fs::read_to_string(self.gateway.file(name)).unwrap();
        format!("redis: {}\nsql: {}", log("redis.log"), log("sql.log"))
    }

    /// Waits until all say that the agent is online.
    async fn until_online(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.agreed().await.iter().any(|id| id == AGENT) {
            assert!(Instant::now() < deadline, "the agent is not online\n{}", self.logs());
        }
    }
}

fn settings(port: u16) -> String {
    format!(
        "[upstream]\ntransport = \"grpc\"\nendpoint = \"127.0.0.1:{port}\"\n\
         [drain]\nreconnect_spread = \"0s\"\n[backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n\
         [[lane]]\nname = \"main\"\ntopic = \"main\"\n\
         [report]\ntopic = \"{REPORTS}\"\nevery = \"{}s\"\n\
         [presence]\ntopic = \"{STATUS}\"\nclient_group = \"GID_g\"\n",
        EVERY.as_secs()
    )
}

fn message(event: &Event, seq: u64) -> Message {
    let body = event.to_json().unwrap().into();
    let tag = Some(event.event_type.as_str().to_owned());
    sample::message(STATUS, seq, Draft { body, tag, ..Draft::default() })
}

/// A device's events: some channels are live, some gone, of some only the end is known.
fn devices(rng: &mut impl RngExt) -> Vec<Event> {
    let mut events = Vec::new();
    for device in 0..DEVICES {
        for channel in 0..rng.random_range(1..4u64) {
            let kinds: &[EventType] = match rng.random_range(0..5) {
                0 | 1 => &[EventType::Connect],
                2 | 3 => &[EventType::Connect, EventType::TcpClean],
                _ => &[EventType::TcpClean],
            };
            events.extend(kinds.iter().map(|kind| Event {
                event_type: *kind,
                client_id: format!("GID_d@@@device-{device:02}"),
                channel_id: format!("{device}-{channel}"),
                client_ip: "10.0.0.7:4711".to_owned(),
                time: rng.random_range(1..2_000_000_000_000),
            }));
        }
    }
    events
}

/// By channel, whether its beginning and its end are known.
fn channels(events: &[Event]) -> BTreeMap<(String, String), (bool, bool)> {
    let mut channels: BTreeMap<_, (bool, bool)> = BTreeMap::new();
    for event in events {
        let key = (event.client_id.clone(), event.channel_id.clone());
        let known = channels.entry(key).or_default();
        known.0 |= event.event_type == EventType::Connect;
        known.1 |= event.event_type == EventType::TcpClean;
    }
    channels
}

fn expected(events: &[Event]) -> Vec<String> {
    let live = channels(events).into_iter().filter(|(_, known)| *known == (true, false));
    live.map(|((client, _), _)| client).collect::<BTreeSet<_>>().into_iter().collect()
}

fn distinct(events: &[Event]) -> usize {
    events.iter().map(|event| event.to_json().unwrap()).collect::<BTreeSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_come_to_the_same_list_and_who_is_cut_off_and_dies_is_offline_in_three_intervals() {
    let mut case = Case::start().await;
    let mut rng = random::rng(random::seed(), 0);
    case.gateway.start_ready().await;
    case.until_online().await;

    // Several channels of the agent's own, then devices, and everything once more in another order.
    case.gateway.kill();
    case.gateway.start_ready().await;
    case.until_online().await;
    let mut events = devices(&mut rng);
    events.extend(case.published().0);
    events.extend_from_within(..);
    events.shuffle(&mut rng);
    case.publish(&events).await;
    let online = case.agreed().await;
    assert!(online.iter().any(|id| id == AGENT), "{online:?}");
    assert!((2..DEVICES as usize + 1).contains(&online.len()), "{online:?}");

    // Nothing of its end can be told, by nobody.
    case.relay.cut();
    let cut = Instant::now();
    case.gateway.kill();
    for consumer in &case.ours {
        while !consumer.answer().await.1.iter().any(|id| id == AGENT) {
            assert!(cut.elapsed() < 3 * EVERY + Duration::from_secs(30), "{}", case.logs());
            sleep(POLL).await;
        }
    }
    let (_, by_events) = block_in_place(|| case.java.online());
    assert!(by_events.iter().any(|id| id == AGENT), "events alone cannot know: {by_events:?}");

    // Back again: the old end is told, and the new channel counts.
    case.relay.mend();
    case.gateway.start_ready().await;
    case.until_online().await;
    case.gateway.stop(PATIENCE).await;
    let deadline = Instant::now() + PATIENCE;
    while case.agreed().await.iter().any(|id| id == AGENT) {
        assert!(Instant::now() < deadline, "it said goodbye\n{}", case.logs());
    }
    for consumer in case.ours {
        consumer.stop().await;
    }
}
