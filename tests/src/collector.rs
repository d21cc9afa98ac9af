//! A handler that remembers what it was given and answers as it is told, and a consumer that runs
//! with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use spillway_protocol::consumer::{
    Consumer, Delivery, Feed, Handler, Options, Receipt, Status, Verdict,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long something may take that is to happen at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the handler does with a delivery; the number says how often it has seen this message,
/// this time included.
type Decide = dyn Fn(&Delivery, u32) -> Verdict + Send + Sync;

/// What a handler was given, in the order of its verdicts.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Every delivery with its verdict.
    pub handled: Vec<(Delivery, Verdict)>,
    /// Every delivery that was parked, with the reason.
    pub parked: Vec<(Delivery, String)>,
    times: BTreeMap<String, u32>,
    /// By id, how many deliveries had been handled when it was first parked.
    parked_after: BTreeMap<String, usize>,
}

impl Seen {
    /// Ids of deliveries that were done, in their order.
    pub fn done(&self) -> Vec<&str> {
        let done = self.handled.iter().filter(|(_, verdict)| *verdict == Verdict::Done);
        done.map(|(delivery, _)| delivery.id()).collect()
    }

    /// The same, each once.
    pub fn done_once(&self) -> BTreeSet<&str> {
        self.done().into_iter().collect()
    }

    /// All deliveries of one id.
    pub fn of(&self, id: &str) -> Vec<&Delivery> {
        self.handled.iter().map(|(delivery, _)| delivery).filter(|d| d.id() == id).collect()
    }
}

/// See the module. Clones share what was seen.
#[derive(Clone)]
pub struct Collector {
    decide: Arc<Decide>,
    pause: Duration,
    seen: Arc<Mutex<Seen>>,
    changes: watch::Sender<()>,
}

impl Collector {
    /// Answers as `decide` says.
    pub fn new(decide: impl Fn(&Delivery, u32) -> Verdict + Send + Sync + 'static) -> Self {
        Self {
            decide: Arc::new(decide),
            pause: Duration::ZERO,
            seen: Arc::default(),
            changes: watch::Sender::default(),
        }
    }

    /// Takes everything.
    pub fn taking_all() -> Self {
        Self::new(|_, _| Verdict::Done)
    }

    /// Has each batch take so long.
    #[must_use]
    pub fn taking(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until what was seen satisfies `enough`.
    pub async fn until(&self, what: &str, enough: impl Fn(&Seen) -> bool) {
        let mut changes = self.changes.subscribe();
        let wait = changes.wait_for(|()| enough(&self.seen.lock().unwrap()));
        let waited = timeout(PATIENCE, wait).await.is_ok();
        assert!(waited, "not within {PATIENCE:?}: {what}; {} handled", self.seen().handled.len());
    }

    /// Waits until `count` different ids are done.
    pub async fn until_done(&self, count: usize) {
        self.until(&format!("{count} are done"), |seen| seen.done_once().len() >= count).await;
    }

    fn judge(&self, delivery: &Delivery) -> Verdict {
        let mut seen = self.seen.lock().unwrap();
        let times = seen.times.entry(delivery.id().to_owned()).or_default();
        *times += 1;
        let verdict = (self.decide)(delivery, *times);
        seen.handled.push((delivery.clone(), verdict.clone()));
        verdict
    }
}

impl Handler for Collector {
    async fn handle(&self, batch: &[Delivery]) -> Vec<Verdict> {
        tokio::time::sleep(self.pause).await;
        let verdicts = batch.iter().map(|delivery| self.judge(delivery)).collect();
        self.changes.send_replace(());
        verdicts
    }

    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), String> {
        let seen = &mut *self.seen.lock().unwrap();
        seen.parked_after.entry(delivery.id().to_owned()).or_insert(seen.handled.len());
        seen.parked.push((delivery.clone(), reason.to_owned()));
        self.changes.send_replace(());
        Ok(())
    }
}

/// A consumer at work.
pub struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Status>,
    /// Its counts.
    pub status: watch::Receiver<Status>,
}

impl Running {
    /// Starts one.
    pub fn start(feed: Arc<dyn Feed>, handler: impl Handler, options: Options) -> Self {
        let consumer = Consumer::new(feed, handler, options);
        let status = consumer.status();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(consumer.run(async move {
            let _ = stopped.await;
        }));
        Self { stop, task, status }
    }

    /// Waits until its counts satisfy `enough`.
    pub async fn until(&mut self, what: &str, enough: impl Fn(&Status) -> bool) {
        let waited = timeout(PATIENCE, self.status.wait_for(|status| enough(status))).await;
        let reached = waited.is_ok_and(|status| status.is_ok());
        assert!(reached, "not within {PATIENCE:?}: {what}; {:?}", self.status.borrow());
    }

    /// Stops it as an operator does.
    pub async fn stop(self) -> Status {
        let _ = self.stop.send(());
        timeout(PATIENCE, self.task).await.expect("it does not stop").unwrap()
    }

    /// Ends it as a kill does: nothing more is done, said or acknowledged.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Options for tests: short waits, and a jitter that can be repeated.
pub fn options(seed: u64) -> Options {
    Options {
        wait: Duration::from_secs(1),
        retry_initial: Duration::from_millis(50),
        retry_max: Duration::from_millis(200),
        away_initial: Duration::from_millis(50),
        away_max: Duration::from_millis(200),
        grace: Duration::from_secs(10),
        seed: Some(seed),
        ..Options::default()
    }
}

/// Whether the deliveries of each order key were done in the order of their numbers; repeats of
/// what was done or parked are none of its business.
pub fn in_order(seen: &Seen) -> Result<(), String> {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for (nth, (delivery, verdict)) in seen.handled.iter().enumerate() {
        let (Some(key), Some(origin)) = (delivery.order_key.as_deref(), &delivery.origin) else {
            return Err(format!("{} has no order key or no origin", delivery.id()));
        };
        let parked = seen.parked_after.get(delivery.id()).is_some_and(|after| nth >= *after);
        if parked || done.contains(delivery.id()) {
            continue;
        }
        let before = last.get(key).copied().unwrap_or(0);
        if origin.seq <= before {
            return Err(format!("{key}: {} was touched after {before} was done", origin.seq));
        }
        if *verdict == Verdict::Done {
            last.insert(key, origin.seq);
            done.insert(delivery.id());
        }
    }
    Ok(())
}

/// Everything that a feed hands out until nothing comes for `wait`, without the runtime.
pub async fn drain(feed: &dyn Feed, wait: Duration) -> Vec<Delivery> {
    let mut all = Vec::new();
    loop {
        let received = feed.receive(16, wait).await.unwrap();
        if received.is_empty() {
            return all;
        }
        let receipts: Vec<Receipt> = received.iter().map(|d| d.receipt.clone()).collect();
        assert_eq!(feed.ack(&receipts).await.unwrap(), []);
        all.extend(received);
    }
}
