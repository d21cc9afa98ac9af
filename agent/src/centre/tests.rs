//! The worker against a real queue, whose drain is the test.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use spillway_protocol::control::{Answer, Request, SEED_BYTES, Sealer, State};
use spillway_protocol::message::Flags;
use spillway_protocol::record::{Draft, RecordId, Topic};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::own::Post;
use crate::queue::{Keep, LaneOptions, Lease, Options, Ordering};

const DAY_MS: u64 = 24 * 3600 * 1000;
/// Longer than the worker needs to see that there is room.
const SOON: Duration = Duration::from_secs(2);

/// A clock that the test moves.
struct HandClock(AtomicU64);

impl WallClock for HandClock {
    fn now_ms(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

fn name(text: &str) -> LaneName {
    LaneName::parse(text).unwrap()
}

fn fresh_id() -> RecordId {
    RecordId::from(uuid::Uuid::now_v7())
}

/// A queue with delivered records, and a worker on it.
struct Bench {
    folder: TempDir,
    queue: Queue,
    clock: Arc<HandClock>,
}

impl Bench {
    async fn new(records: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(HandClock(AtomicU64::new(20_000 * DAY_MS)));
        let queue = open(folder.path(), clock.clone());
        for nth in 0..records {
            let draft = Draft { body: format!("{nth}").into(), ..Draft::default() };
            let record = draft.parse(fresh_id).unwrap();
            queue.submit(&name("main"), record).await.unwrap();
        }
        let bench = Self { folder, queue, clock };
        assert_eq!(bench.deliver("main").len() as u64, records);
        bench
    }

    /// The numbers that lay in the lane.
    fn deliver(&self, lane: &str) -> Vec<u64> {
        let leases = self.queue.lease(&name(lane), 10_000, usize::MAX);
        let numbers = leases.iter().map(|lease| lease.stamp.seq).collect();
        leases.into_iter().for_each(Lease::ack);
        numbers
    }

    async fn worker(&self, per_day: u64) -> Worker {
        let topic = Topic::parse("report").unwrap();
        let post = Post::new(self.queue.clone(), name("_agent"), "gw".into(), fresh_id);
        let means = Means {
            gateway: "gw".into(),
            data_dir: self.folder.path().to_owned(),
            queue: self.queue.clone(),
            into: name("_resend"),
            answers: Some(Answers::new(post, topic)),
            connection: watch::Sender::default().subscribe(),
            board: Board::default(),
            clock: self.clock.clone(),
            seed: 1,
        };
        let mut worker = Worker::new(means, per_day, CancellationToken::new());
        worker.load().await;
        worker
    }

    fn page(&self, serial: u64, wanted: &[(&str, u64, u64)]) -> Page {
        let request = |(id, from, to): &(&str, u64, u64)| Request {
            id: (*id).to_owned(),
            lane: "main".into(),
            stream: self.queue.stream().to_string(),
            from: *from,
            to: *to,
        };
        let requests = wanted.iter().map(request).collect();
        Page { gateway: "gw".into(), serial, requests }
    }

    fn answers(&self) -> Vec<Answer> {
        let entries = self.queue.peek(&name("_agent"), 0, 1000);
        assert!(entries.iter().all(|entry| entry.stamp.flags == Flags::ANSWER));
        entries.iter().map(|entry| Answer::from_json(&entry.record.body).unwrap()).collect()
    }
}

fn open(folder: &Path, clock: Arc<HandClock>) -> Queue {
    let lane = |text| LaneOptions { name: name(text), ordering: Ordering::None, ttl: None };
    let options = Options {
        data_dir: folder.join("data"),
        gateway: "gw".into(),
        host: "host".into(),
        lanes: vec![lane("main"), lane("_agent"), lane("_resend")],
        segment_bytes: 1 << 20,
        limits: Default::default(),
        dead_keep_bytes: 1 << 20,
        waiting_bytes_max: 1 << 20,
        keep: Some(Keep { bytes: 1 << 30, time_ms: 7 * DAY_MS }),
        tell: true,
        packing: Default::default(),
        seed: 1,
    };
    Queue::open(options, clock).unwrap().0
}

/// Parts until there is nothing to do, or no room.
async fn work(worker: &mut Worker) {
    while timeout(SOON, worker.room()).await.is_ok() {
        worker.part().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_request_comes_in_parts_and_each_number_once() {
    let bench = Bench::new(600).await;
    let mut worker = bench.worker(10_000).await;
    worker.take(bench.page(1, &[("r", 1, 600)])).unwrap();
    let mut sent = Vec::new();
    while sent.len() < 600 {
        work(&mut worker).await;
        let part = bench.deliver("_resend");
        assert!((1..160).contains(&part.len()), "{} copies lay in the lane", part.len());
        sent.extend(part);
    }
    assert_eq!(sent, (1..=600).collect::<Vec<_>>());
    // The next life, and the same page again.
    let mut worker = bench.worker(10_000).await;
    worker.take(bench.page(1, &[("r", 1, 600)])).unwrap();
    work(&mut worker).await;
    assert_eq!((bench.deliver("_resend"), bench.answers()), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_has_its_bound_over_all_lives() {
    let bench = Bench::new(100).await;
    let page = bench.page(1, &[("r", 1, 60), ("s", 61, 100)]);
    for (day, numbers) in [(0, 1..=40), (1, 41..=80), (2, 81..=100)] {
        bench.clock.0.store((20_000 + day) * DAY_MS, SeqCst);
        let mut sent = Vec::new();
        for _ in 0..2 {
            let mut worker = bench.worker(40).await;
            worker.take(page.clone()).unwrap();
            work(&mut worker).await;
            sent.extend(bench.deliver("_resend"));
        }
        assert_eq!(sent, numbers.collect::<Vec<_>>(), "day {day}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_answered_once_for_each_request() {
    let bench = Bench::new(10).await;
    let mut page = bench.page(5, &[("all", 1, u64::MAX), ("none", 0, 3), ("x", 1, 2), ("y", 3, 4)]);
    page.requests[2].lane = "elsewhere".into();
    page.requests[3].stream = "no stream".into();
    for _ in 0..2 {
        let mut worker = bench.worker(1000).await;
        worker.take(page.clone()).unwrap();
        work(&mut worker).await;
    }
    assert_eq!(bench.deliver("_resend"), (1..=10).collect::<Vec<_>>());
    let told: Vec<_> = bench
        .answers()
        .into_iter()
        .map(|answer| {
            assert_eq!(answer.unsent.len(), 1);
            let unsent = answer.unsent[0];
            (answer.request, answer.sent, unsent.from, unsent.to, unsent.state)
        })
        .collect();
    let wanted = [
        ("all", 10, 11, u64::MAX, State::NeverExisted),
        ("none", 0, 0, 3, State::Invalid),
        ("x", 0, 1, 2, State::NeverExisted),
        ("y", 0, 3, 4, State::NeverExisted),
    ];
    assert_eq!(told, wanted.map(|(id, sent, from, to, why)| (id.to_owned(), sent, from, to, why)));
    // Also the next life does nothing for an older page.
    let mut worker = bench.worker(1000).await;
    assert!(worker.take(bench.page(4, &[("new", 1, 1)])).is_err());
}

#[test]
fn only_the_centres_page_for_this_gateway_counts() {
    let sealer = Sealer::from_seed(&[1; SEED_BYTES]).unwrap();
    let key = sealer.public_key();
    let sealed = |gateway: &str| {
        let page = Page { gateway: gateway.into(), serial: 1, requests: vec![] };
        sealer.seal(&page).unwrap()
    };
    assert!(judged(&key, "gw", &sealed("gw")).is_ok());
    assert!(matches!(judged(&key, "gw", &sealed("gw-2")), Err(PageError::Other(_))));
    let other = Sealer::from_seed(&[2; SEED_BYTES]).unwrap().public_key();
    assert!(matches!(judged(&other, "gw", &sealed("gw")), Err(PageError::Open(_))));
}
