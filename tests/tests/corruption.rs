//! Random damage to random files of a data folder: see [`spillway_tests::corruption`].
//!
//! A folder that fails is kept, as it was before it was opened.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rand::{Rng, RngExt};
use spillway::queue::Accounts;
use spillway_protocol::local::status::Status;
use spillway_tests::broker::HttpBroker;
use spillway_tests::corruption::harm::{Kind, harm};
use spillway_tests::corruption::made::{self, Made};
use spillway_tests::corruption::verdict::{Case, Found, START_MAX, Verdict};
use spillway_tests::gateway::Gateway;
use spillway_tests::{corruption, full, http, random};
use tokio::runtime::Handle;

/// Folders that are made, each damaged many times.
const FOLDERS: usize = 10;
/// Longest that a round may take.
const ROUND_MAX: Duration = Duration::from_secs(120);
const KINDS: [Kind; 8] = [
    Kind::Packs,
    Kind::Packs,
    Kind::Packs,
    Kind::State,
    Kind::State,
    Kind::Ids,
    Kind::Sled,
    Kind::Small,
];

/// What the agent keeps beside the queue is read by the agent only.
const KINDS_OF_AGENT: [Kind; 4] = [Kind::Small, Kind::Small, Kind::State, Kind::Packs];
/// Every so many rounds the folder is opened by the real binary.
const BINARY_EVERY: usize = 25;

fn rounds() -> usize {
    if full() { 1_000 } else { 100 }
}

const LANES: &str = "[[lane]]\nname = \"plain\"\ntopic = \"plain\"\ndefault = true\n\
                     [[lane]]\nname = \"keyed\"\ntopic = \"keyed\"\norder = \"key\"\n";

const PACE: &str = "[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\n\
                    reconnect_spread = \"0s\"\n[backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n";

fn settings(broker: &HttpBroker) -> String {
    let own =
        "[report]\ntopic = \"reports\"\nevery = \"1s\"\n[budget]\nbytes_per_day = \"1 GiB\"\n";
    // Some folders are sealed.
    let key: String = made::KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("gateway.former_keys = [{key:?}]\n");
    format!("{key}{}{PACE}{own}{LANES}", broker.upstream())
}

/// A gateway whose agent has been online, so that all of its small files are there.
async fn begun() -> Gateway {
    let broker = HttpBroker::start().await;
    let mut gateway = Gateway::new(&settings(&broker));
    gateway.start_ready().await;
    let told = |_: &Status| !broker.messages("reports").is_empty();
    gateway.until("its report has arrived", told).await;
    gateway.stop(START_MAX).await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_any_file_costs_only_what_it_touches() {
    let gateway = begun().await;
    let data = gateway.data_dir();
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || Trial::default().run(&data, &runtime)).await.unwrap();
}

/// What came of all rounds.
#[derive(Default)]
struct Trial {
    rounds: usize,
    /// Rounds that cost something, and how many records.
    lossy: usize,
    lost: usize,
    reused: usize,
    failed: Vec<String>,
}

impl Trial {
    fn run(mut self, begun: &Path, runtime: &Handle) {
        let (began, seed) = (Instant::now(), random::seed());
        for nth in 0..FOLDERS {
            let mut rng = random::rng(seed, nth as u64);
            let made = Made::new(begun, &mut rng);
            for _ in 0..rounds() / FOLDERS {
                let round = rng.next_u64();
                within(ROUND_MAX, || self.one(&made, round, runtime));
            }
        }
        let Self { rounds, lossy, lost, reused, failed } = self;
        println!(
            "{rounds} rounds in {:?}; {lossy} of them cost {lost} records; numbers given twice in {reused}",
            began.elapsed()
        );
        assert!(lossy > rounds / 10, "the damage is not worth the name");
        assert!(failed.is_empty(), "{} of {rounds} rounds fail: {failed:#?}", failed.len());
    }

    fn one(&mut self, made: &Made, round: u64, runtime: &Handle) {
        let mut rng = random::rng(round, 0);
        self.rounds += 1;
        let by_binary = self.rounds.is_multiple_of(BINARY_EVERY);
        let killed = rng.random();
        let folder = made.copy(killed);
        let data = folder.path().join("data");
        let kinds = if by_binary { &KINDS_OF_AGENT[..] } else { &KINDS };
        let case = Case::new(made, killed, harm(&data, kinds, &mut rng), &data);
        let kept = made::scratch_copy(&data);
        let verdict = match by_binary {
            true => runtime.block_on(judge(&case, &data)),
            false => case.judge(&data, &mut rng),
        };
        self.lossy += usize::from(verdict.lost > 0);
        self.lost += verdict.lost;
        self.reused += usize::from(verdict.reused);
        if !verdict.faults.is_empty() {
            let folder = kept.keep();
            let (harm, faults) = (&case.harm, &verdict.faults);
            self.failed.push(format!("{folder:?}, killed {killed}, {harm:?}: {faults:#?}"));
        }
    }
}

/// The real binary on a damaged folder, with a broker that takes everything.
async fn judge(case: &Case<'_>, data: &Path) -> Verdict {
    let broker = HttpBroker::start().await;
    let mut gateway = Gateway::new("");
    gateway.write(data, &gateway.socket(), &settings(&broker));
    gateway.start();
    let stream = gateway.until_within(START_MAX, "it answers", |_| true).await.stream;
    let mut verdict = Verdict::default();
    for lane in corruption::LANES {
        let new = format!("{{\"lane\":\"{lane}\",\"body\":\"new\"}}");
        let kind = "application/json";
        let answer = http::post(&gateway.socket(), "/v1/records", kind, new.as_bytes()).await;
        let seq = answer.unwrap().json()["seq"].as_u64().unwrap();
        case.note_new(lane, &stream, seq, &mut verdict);
    }
    let all = |status: &Status| status.lanes.iter().all(|lane| lane.waiting == 0);
    let status = gateway.until("nothing waits", all).await;
    let mut found = Found::default();
    let letters = gateway.said("dead list --json --limit 1000").await;
    let letters: serde_json::Value = serde_json::from_str(&letters).unwrap();
    let numbers = letters["letters"].as_array().unwrap().iter();
    found.dead = numbers.map(|letter| letter["number"].as_u64().unwrap()).collect();
    for arrival in broker.arrivals(&corruption::LANES).iter().filter(|a| a.body != "new") {
        let (lane, body) = (&arrival.lane, &arrival.body);
        match case.same(lane, &arrival.stream, arrival.seq, &arrival.id, body) {
            Ok(_) => found.waiting.push((lane.clone(), arrival.seq)),
            Err(fault) => verdict.faults.push(fault),
        }
    }
    for lane in &status.lanes {
        let accounts = Accounts {
            // Without the new one.
            accepted: lane.accepted - 1,
            delivered: lane.delivered - 1,
            waiting: lane.waiting,
            dead: lane.dead,
            expired: lane.expired,
            dropped: lane.dropped,
            damaged: lane.damaged,
        };
        found.accounts.insert(lane.name.clone(), accounts);
    }
    case.hold_against(&found, &mut verdict);
    gateway.stop(START_MAX).await;
    verdict
}

/// Runs `work`; ends the test if it takes too long.
fn within<T>(most: Duration, work: impl FnOnce() -> T) -> T {
    let (done, waits) = channel::<()>();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            if waits.recv_timeout(most) == Err(RecvTimeoutError::Timeout) {
                // A scope waits for its threads, and one of them hangs.
                eprintln!("a round did not end within {most:?}");
                std::process::exit(1);
            }
        });
        let result = work();
        drop(done);
        result
    })
}
