//! The whole agent, recorded: `spillway run` with the recorder preloaded. Apps hand records over
//! through its socket and an embedded broker takes most of them, both beside it; what the apps were
//! told is noted in the agent's log. What the broker took is put there by its time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use spillway::broker::faults::{Kind, Rule};
use spillway::queue::{Keep, LaneOptions, Options, Ordering};
use spillway_protocol::local::client::{Client, Options as ClientOptions};
use spillway_protocol::local::status::Lane;
use spillway_protocol::record::{Draft, LaneName, Record};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::marks::{Mark, Marks};
use super::trial::Tools;
use super::work::{self, DATA, LANES};
use crate::broker::HttpBroker;
use crate::gateway::{Gateway, PATIENCE};

/// Between two looks at what the agent says.
const LOOK_EVERY: Duration = Duration::from_millis(40);
/// Records that an app hands over before it waits.
const WINDOW: u32 = 32;
const TOPICS: [&str; 3] = ["plain", "keyed", "strict"];

/// One life of the agent.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// It kills itself after so many events.
    Killed(u64),
    /// It is stopped after so long.
    Stopped(Duration),
}

/// Where an agent runs that is recorded, or one on what it left.
pub struct Site {
    gateway: Gateway,
    broker: HttpBroker,
}

impl Site {
    /// On the data folder below `root`.
    pub async fn new(root: &Path) -> Self {
        let (gateway, broker) = (Gateway::new(""), HttpBroker::start().await);
        gateway.write(&root.join(DATA), &gateway.socket(), &settings(&broker));
        Self { gateway, broker }
    }

    fn recorded(mut self, tools: &Tools, root: &Path, log: &Path, end: End) -> Self {
        let mut words = vec!["env".to_owned()];
        let mut set = |name: &str, value: &Path| words.push(format!("{name}={}", value.display()));
        set("LD_PRELOAD", &tools.recorder);
        set("RECORDER_ROOT", root);
        set("RECORDER_LOG", log);
        set("RECORDER_SYNC_US", Path::new("200"));
        if let End::Killed(events) = end {
            set("RECORDER_KILL_AT", Path::new(&events.to_string()));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.gateway = self.gateway.wrapped(&words);
        self
    }

    /// Starts the agent on what a power cut left and waits until nothing waits.
    pub async fn deliver(mut self) -> Delivered {
        self.gateway.start_ready().await;
        let idle = |lane: &Lane| lane.waiting == 0;
        let status = self.gateway.until("nothing waits", |s| s.lanes.iter().all(idle)).await;
        let letters = self.gateway.said("dead list --json --limit 1000").await;
        let letters: serde_json::Value = serde_json::from_str(&letters).unwrap();
        let id = |letter: &serde_json::Value| letter["id"].as_str().unwrap().to_owned();
        let dead = letters["letters"].as_array().unwrap().iter().map(id).collect();
        self.gateway.stop(PATIENCE).await;
        let arrivals = self.broker.arrivals(&TOPICS).into_iter();
        let arrived = arrivals.filter_map(|arrival| work::record_of(&arrival.body)).collect();
        Delivered { lanes: status.lanes, arrived, dead }
    }
}

/// What an agent made of a state.
#[derive(Debug)]
pub struct Delivered {
    /// What it says of its lanes.
    pub lanes: Vec<Lane>,
    /// Records that the broker has.
    pub arrived: BTreeSet<u64>,
    /// Ids of dead letters.
    pub dead: BTreeSet<String>,
}

fn settings(broker: &HttpBroker) -> String {
    let lane = |(name, ordering): (&str, Ordering)| {
        let order = match ordering {
            Ordering::None => "none",
            Ordering::Key => "key",
            Ordering::Lane => "lane",
        };
        let default = name == TOPICS[0];
        format!(
            "[[lane]]\nname = \"{name}\"\ntopic = \"{name}\"\norder = \"{order}\"\n\
             default = {default}\n"
        )
    };
    format!(
        "limits.memory = \"16 MiB\"\n[report]\ntopic = \"reports\"\nevery = \"1s\"\n\
         [audit]\nkeep = \"1 MiB\"\n{}[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\n\
         reconnect_spread = \"0s\"\n[backoff]\ninitial = \"20ms\"\nmax = \"100ms\"\n{}",
        broker.upstream(),
        LANES.map(lane).concat()
    )
}

/// How the queue in `folder` is opened that an agent of [`Site`] left.
pub fn options(folder: &Path, seed: u64) -> Options {
    let mut options = work::options(folder, seed);
    let host = std::fs::read(folder.join("identity")).ok();
    let host = host.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    let host = host.and_then(|identity| identity["host"].as_str().map(str::to_owned));
    let own = LaneName::parse("_agent").unwrap();
    options.lanes.push(LaneOptions { name: own, ordering: Ordering::None, ttl: None });
    options.gateway = "gw-test".to_owned();
    options.host = host.unwrap_or_default();
    options.keep = Some(Keep { bytes: 1 << 20, time_ms: u64::MAX });
    options
}

/// Records lives of the agent, and says what was noted beside them: what the broker took, with the
/// time in µs.
pub async fn record(
    tools: &Tools,
    (root, log): (&Path, &Path),
    seed: u64,
    lives: &[End],
) -> Vec<(u64, Mark)> {
    let mut site = Site::new(root).await;
    refuse_some(&site.broker);
    let marks = Arc::new(Marks::beside(log));
    for (nth, end) in (1..).zip(lives) {
        site = site.recorded(tools, root, log, *end);
        site.gateway.start();
        let apps = Apps::start(&site.gateway.socket(), &marks, seed, nth);
        watch(&mut site.gateway, &marks, *end).await;
        apps.stop().await;
    }
    let taken = site.broker.arrivals(&TOPICS).into_iter().filter_map(|arrival| {
        let number = (arrival.lane.clone(), arrival.stream.clone(), arrival.seq);
        let record = work::record_of(&arrival.body)?;
        Some((arrival.at_ms * 1000, Mark::Ending { record, number }))
    });
    taken.collect()
}

fn refuse_some(broker: &HttpBroker) {
    let rule = |kind, probability| Rule { probability, ..Rule::always(kind) };
    broker.faults().set_rules([
        rule(Kind::RefuseRecord, 0.03),
        rule(Kind::ServerError, 0.03),
        rule(Kind::LostReply, 0.02),
    ]);
}

/// Notes what the agent says until it ends.
async fn watch(gateway: &mut Gateway, marks: &Marks, end: End) {
    let began = std::time::Instant::now();
    let mut stopping = false;
    while !gateway.has_ended() {
        if let Some(status) = gateway.status().await {
            for lane in status.lanes.iter().filter(|lane| TOPICS.contains(&lane.name.as_str())) {
                marks.put(&Mark::Delivered { lane: lane.name.clone(), count: lane.delivered });
            }
        }
        match end {
            End::Stopped(after) if began.elapsed() >= after && !stopping => {
                stopping = true;
                gateway.terminate(gateway.pid());
            }
            _ => {}
        }
        assert!(began.elapsed() < PATIENCE, "the agent does not end");
        sleep(LOOK_EVERY).await;
    }
}

/// An app for each lane.
struct Apps {
    stop: Arc<AtomicBool>,
    all: Vec<JoinHandle<()>>,
}

impl Apps {
    fn start(socket: &Path, marks: &Arc<Marks>, seed: u64, life: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let app = |(nth, lane): (u64, &'static str)| {
            let app = App {
                lane,
                marks: marks.clone(),
                stop: stop.clone(),
                rng: StdRng::seed_from_u64(seed ^ (life << 8 | nth)),
                next: life << 40 | nth << 32,
            };
            tokio::spawn(app.run(socket.to_owned()))
        };
        let all = (0..).zip(TOPICS).map(app).collect();
        Self { stop, all }
    }

    async fn stop(self) {
        self.stop.store(true, Relaxed);
        for app in self.all {
            app.await.unwrap();
        }
    }
}

struct App {
    lane: &'static str,
    marks: Arc<Marks>,
    stop: Arc<AtomicBool>,
    rng: StdRng,
    next: u64,
}

impl App {
    async fn run(mut self, socket: PathBuf) {
        let options = ClientOptions {
            window: WINDOW,
            backoff_initial: Duration::from_millis(20),
            backoff_max: Duration::from_millis(100),
            ..ClientOptions::default()
        };
        let client = Client::lazy(socket, options);
        let mut answers = Vec::new();
        while !self.stop.load(Relaxed) {
            for _ in 0..self.rng.random_range(1..8) {
                let record = self.record();
                self.marks.put(&Mark::Handed { record, lane: self.lane.to_owned() });
                let submitted = client.submit(draft(&work::fresh(record)), Some(self.lane));
                // Where the agent is gone it waits for its return.
                let Ok(Ok(answer)) = timeout(Duration::from_secs(1), submitted).await else {
                    break;
                };
                let marks = self.marks.clone();
                answers.push(tokio::spawn(async move {
                    if let Ok(receipt) = answer.await {
                        let (lane, stream) = (receipt.lane.to_string(), receipt.stream.to_string());
                        marks.put(&Mark::Stored { record, number: (lane, stream, receipt.seq) });
                    }
                }));
            }
            sleep(Duration::from_millis(self.rng.random_range(0..80))).await;
        }
        drop(client);
        // What is not answered by now waits for an agent.
        answers.iter().for_each(JoinHandle::abort);
    }

    /// The next one that gets an id of its app: without one it would be another when it is repeated.
    fn record(&mut self) -> u64 {
        self.next += 1;
        while !work::has_id(self.next) {
            self.next += 1;
        }
        self.next
    }
}

fn draft(record: &Record) -> Draft {
    Draft {
        id: Some(record.id.to_string()),
        order_key: record.order_key.as_ref().map(|key| key.as_str().to_owned()),
        body: record.body.clone(),
        ..Draft::default()
    }
}
