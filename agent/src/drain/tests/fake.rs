//! A queue in memory that keeps the real one's ordering rules, and an upstream that follows a
//! script. Both write down what happened and fail on what must never happen.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use spillway_protocol::bundle;
use spillway_protocol::message::{Flags, Message, Stamp, StreamId};
use spillway_protocol::record::{Draft, LaneName, Record, RecordId, Topic};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::config::Order;
use crate::drain::source::{Parcel, Source};
use crate::pace::Standing;
use crate::queue::{Front, Run, SettleError};
use crate::upstream::{Finding, Outcome, Upstream};

#[derive(Debug)]
struct Entry {
    record: Record,
    leased: bool,
    not_before: Option<Instant>,
    attempts: u32,
    gone: bool,
    made_at: Instant,
}

#[derive(Debug)]
struct FakeLane {
    name: LaneName,
    order: Order,
    entries: Vec<Entry>,
    first: usize,
}

impl FakeLane {
    /// Positions that the lane's order lets go first, due or not.
    fn heads(&self) -> impl Iterator<Item = usize> {
        let mut keys = HashSet::new();
        let waiting = (self.first..self.entries.len()).filter(|at| !self.entries[*at].gone);
        waiting.filter(move |at| {
            let entry = &self.entries[*at];
            let key = match self.order {
                Order::None => return !entry.leased,
                Order::Key => entry.record.order_key.as_ref().map(|key| key.as_str()),
                Order::Lane => None,
            };
            keys.insert(key) && !entry.leased
        })
    }
}

impl FakeLane {
    /// Positions that may be leased now: of one order a run of those that follow each other.
    fn leasable(&self, run: Run) -> Vec<usize> {
        let now = Instant::now();
        let mut runs: BTreeMap<Option<&str>, (usize, usize)> = BTreeMap::new();
        let mut leasable = Vec::new();
        for at in self.first..self.entries.len() {
            let entry = &self.entries[at];
            let due = entry.not_before.is_none_or(|due| due <= now);
            let key = match self.order {
                _ if entry.gone => continue,
                Order::None => {
                    leasable.extend((due && !entry.leased).then_some(at));
                    continue;
                }
                Order::Key => entry.record.order_key.as_ref().map(|key| key.as_str()),
                Order::Lane => None,
            };
            let size = entry.record.size_bytes();
            // Nothing of an order follows one that does not go.
            let next = match runs.get(&key) {
                None if due && !entry.leased => (1, size),
                Some((count, bytes)) if *count < run.records && bytes + size <= run.bytes => {
                    assert!(!entry.leased, "it was leased before the one it follows");
                    (count + 1, bytes + size)
                }
                _ => (usize::MAX, 0),
            };
            leasable.extend((next.0 != usize::MAX).then_some(at));
            runs.insert(key, next);
        }
        leasable
    }
}

#[derive(Debug, Default)]
struct Inner {
    lanes: Vec<FakeLane>,
    delivered: Vec<(usize, usize)>,
    dead: Vec<(usize, usize, String)>,
    dead_full: bool,
    dead_disk: bool,
    unreadable: bool,
    /// How long a lease takes.
    lease_time: Duration,
    broken: bool,
    /// Leases asked for, by lane.
    leases: BTreeMap<usize, usize>,
}

/// The queue. Records are named `<lane>-<position>`.
#[derive(Clone, Debug)]
pub(super) struct FakeQueue {
    inner: Arc<Mutex<Inner>>,
    changed: watch::Sender<u64>,
}

/// A record to be.
#[derive(Debug, Clone, Default)]
pub(super) struct Spec {
    pub(super) order_key: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) bytes: usize,
    pub(super) tag: Option<String>,
}

impl FakeQueue {
    pub(super) fn new(lanes: &[(&str, Order)]) -> Self {
        let lanes = lanes.iter().map(|(name, order)| FakeLane {
            name: LaneName::parse(*name).unwrap(),
            order: *order,
            entries: Vec::new(),
            first: 0,
        });
        let inner = Inner { lanes: lanes.collect(), ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)), changed: watch::channel(0).0 }
    }

    pub(super) fn submit(&self, lane: usize, spec: Spec) {
        let mut inner = self.lock();
        let at = inner.lanes[lane].entries.len();
        let draft = Draft {
            id: Some(format!("{lane}-{at}")),
            order_key: spec.order_key,
            topic: spec.topic,
            tag: spec.tag,
            body: Bytes::from(vec![b'x'; spec.bytes.max(1)]),
            ..Draft::default()
        };
        inner.lanes[lane].entries.push(Entry {
            record: draft.parse(|| RecordId::parse("none").unwrap()).unwrap(),
            leased: false,
            not_before: None,
            attempts: 0,
            gone: false,
            made_at: Instant::now(),
        });
        drop(inner);
        self.changed.send_modify(|n| *n += 1);
    }

    pub(super) fn fill(&self, lane: usize, count: usize) {
        (0..count).for_each(|_| self.submit(lane, Spec::default()));
    }

    /// Gives up the lane's waiting records, but for those that are leased.
    pub(super) fn drop_waiting(&self, lane: usize) {
        let mut inner = self.lock();
        let entries = inner.lanes[lane].entries.iter_mut().filter(|entry| !entry.leased);
        entries.for_each(|entry| entry.gone = true);
        drop(inner);
        self.changed.send_modify(|n| *n += 1);
    }

    pub(super) fn set_dead_disk(&self, fails: bool) {
        self.lock().dead_disk = fails;
    }

    pub(super) fn set_dead_full(&self, full: bool) {
        self.lock().dead_full = full;
    }

    /// Leases bring nothing, though there is something.
    pub(super) fn set_unreadable(&self, unreadable: bool) {
        self.lock().unreadable = unreadable;
    }

    /// Leases take so long from now on.
    pub(super) fn set_lease_time(&self, time: Duration) {
        self.lock().lease_time = time;
    }

    /// The next lease panics.
    pub(super) fn set_broken(&self) {
        self.lock().broken = true;
    }

    pub(super) fn leases(&self, lane: usize) -> usize {
        self.lock().leases.get(&lane).copied().unwrap_or(0)
    }

    pub(super) fn delivered(&self) -> Vec<(usize, usize)> {
        self.lock().delivered.clone()
    }

    pub(super) fn dead(&self) -> Vec<(usize, usize, String)> {
        self.lock().dead.clone()
    }

    pub(super) fn waiting(&self) -> usize {
        let inner = self.lock();
        let entries = inner.lanes.iter().flat_map(|lane| &lane.entries);
        entries.filter(|entry| !entry.gone).count()
    }

    pub(super) fn leased(&self) -> usize {
        let inner = self.lock();
        let entries = inner.lanes.iter().flat_map(|lane| &lane.entries);
        entries.filter(|entry| entry.leased).count()
    }

    pub(super) fn most_attempts(&self) -> u32 {
        let inner = self.lock();
        let entries = inner.lanes.iter().flat_map(|lane| &lane.entries);
        entries.map(|entry| entry.attempts).max().unwrap_or(0)
    }

    /// Answers nobody until what is returned is dropped.
    pub(super) fn hang(&self) -> impl Sized + '_ {
        self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn lane(inner: &mut Inner, name: &LaneName) -> usize {
        inner.lanes.iter().position(|lane| lane.name == *name).unwrap()
    }

    fn leased_from(
        &self,
        lane: &LaneName,
        from: u64,
        (count, bytes): (usize, usize),
        run: Run,
    ) -> BoxFuture<'static, Vec<FakeParcel>> {
        let mut inner = self.lock();
        let lane = Self::lane(&mut inner, lane);
        *inner.leases.entry(lane).or_default() += 1;
        let broken = inner.broken;
        drop(inner);
        assert!(!broken, "as arranged");
        let mut inner = self.lock();
        if inner.unreadable {
            return async { Vec::new() }.boxed();
        }
        let (mut chosen, mut used) = (Vec::new(), 0);
        let leasable = inner.lanes[lane].leasable(run).into_iter();
        for at in leasable.filter(|at| *at as u64 >= from) {
            let size = inner.lanes[lane].entries[at].record.size_bytes();
            if chosen.is_empty() || used + size <= bytes {
                used += size;
                chosen.push(at);
            }
            if chosen.len() == count {
                break;
            }
        }
        let entries = &mut inner.lanes[lane].entries;
        let lease = |at: usize| {
            entries[at].leased = true;
            FakeParcel::new(self.clone(), lane, at, entries[at].record.clone())
        };
        let parcels: Vec<_> = chosen.into_iter().map(lease).collect();
        let time = inner.lease_time;
        async move {
            if !time.is_zero() {
                sleep(time).await;
            }
            parcels
        }
        .boxed()
    }
}

impl Source for FakeQueue {
    type Parcel = FakeParcel;

    fn lease(
        &self,
        lane: &LaneName,
        count: usize,
        bytes: usize,
        run: Run,
    ) -> BoxFuture<'static, Vec<FakeParcel>> {
        self.leased_from(lane, 0, (count, bytes), run)
    }

    fn lease_from(
        &self,
        lane: &LaneName,
        from: u64,
        count: usize,
        bytes: usize,
    ) -> BoxFuture<'static, Vec<FakeParcel>> {
        self.leased_from(lane, from, (count, bytes), Run::ONE)
    }

    fn front(&self, lane: &LaneName, from: u64) -> Front {
        let mut inner = self.lock();
        let lane = Self::lane(&mut inner, lane);
        let lane = &inner.lanes[lane];
        let first = lane.leasable(Run::ONE).into_iter().map(|at| at as u64).find(|at| *at >= from);
        Front { end: lane.entries.len() as u64, first, stretches: 0 }
    }

    fn next_due(&self, lane: &LaneName) -> Option<Instant> {
        let mut inner = self.lock();
        let lane = Self::lane(&mut inner, lane);
        let unreadable = inner.unreadable;
        let lane = &inner.lanes[lane];
        if unreadable && lane.heads().next().is_some() {
            return Some(Instant::now());
        }
        lane.heads().filter_map(|at| lane.entries[at].not_before).min()
    }

    fn hasten(&self, lane: &LaneName) {
        let mut inner = self.lock();
        let lane = Self::lane(&mut inner, lane);
        inner.lanes[lane].entries.iter_mut().for_each(|entry| entry.not_before = None);
    }

    fn mark(&self, lane: &LaneName) -> [u64; 3] {
        let mut inner = self.lock();
        let lane = Self::lane(&mut inner, lane);
        let dead = inner.dead.iter().filter(|(of, ..)| *of == lane).count();
        let entries = &inner.lanes[lane].entries;
        let waiting = entries.iter().filter(|entry| !entry.gone).count();
        [entries.len() as u64, waiting as u64, dead as u64]
    }

    fn waits(&self, lane: &LaneName, position: u64) -> bool {
        let mut inner = self.lock();
        let lane = Self::lane(&mut inner, lane);
        let entry = usize::try_from(position).ok().and_then(|at| inner.lanes[lane].entries.get(at));
        entry.is_some_and(|entry| !entry.gone)
    }

    fn standing(&self, lane: &LaneName) -> Standing {
        let [accepted, waiting, _] = self.mark(lane);
        let mut inner = self.lock();
        let lane = Self::lane(&mut inner, lane);
        let oldest = inner.lanes[lane].entries.iter().find(|entry| !entry.gone);
        let oldest_age = oldest.map_or(Duration::ZERO, |entry| entry.made_at.elapsed());
        Standing { accepted, waiting, oldest_age }
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// A lease.
#[derive(Debug)]
pub(super) struct FakeParcel {
    queue: FakeQueue,
    lane: usize,
    at: usize,
    record: Record,
    stamp: Stamp,
}

impl FakeParcel {
    fn new(queue: FakeQueue, lane: usize, at: usize, record: Record) -> Self {
        let stamp = Stamp {
            gateway: "gw".to_owned(),
            lane: LaneName::parse("lane").unwrap(),
            stream: StreamId(1),
            seq: at as u64 + 1,
            accepted_ms: 0,
            clock_set: true,
            flags: Flags::NONE,
        };
        Self { queue, lane, at, record, stamp }
    }

    fn settle(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.queue.lock();
        assert!(inner.lanes[self.lane].entries[self.at].leased);
        change(&mut inner);
        let lane = &mut inner.lanes[self.lane];
        lane.entries[self.at].leased = false;
        while lane.entries.get(lane.first).is_some_and(|entry| entry.gone) {
            lane.first += 1;
        }
        drop(inner);
        self.queue.changed.send_modify(|n| *n += 1);
    }
}

impl Drop for FakeParcel {
    fn drop(&mut self) {
        let mut inner = self.queue.lock();
        inner.lanes[self.lane].entries[self.at].leased = false;
    }
}

impl Parcel for FakeParcel {
    fn position(&self) -> u64 {
        self.at as u64
    }

    fn record(&self) -> &Record {
        &self.record
    }

    fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    fn ack(self) {
        self.settle(|inner| {
            inner.lanes[self.lane].entries[self.at].gone = true;
            inner.delivered.push((self.lane, self.at));
        });
    }

    fn defer(self, not_before: Option<Instant>, charged: bool) {
        self.settle(|inner| {
            let entry = &mut inner.lanes[self.lane].entries[self.at];
            entry.not_before = not_before;
            entry.attempts += u32::from(charged);
        });
    }

    fn dead_letter(
        self,
        code: String,
        _reason: String,
    ) -> BoxFuture<'static, Result<(), SettleError>> {
        let (full, disk) = {
            let inner = self.queue.lock();
            (inner.dead_full, inner.dead_disk)
        };
        self.settle(|inner| {
            if !full && !disk {
                inner.lanes[self.lane].entries[self.at].gone = true;
                inner.dead.push((self.lane, self.at, code));
            }
        });
        let result = match (full, disk) {
            (true, _) => Err(SettleError::DeadFull(1)),
            (_, true) => Err(SettleError::Disk("I/O error".to_owned())),
            _ => Ok(()),
        };
        async move { result }.boxed()
    }
}

/// What a script says to one message at one time since the start.
pub(super) type Script = Box<dyn FnMut(&Message, Duration) -> (Duration, Outcome) + Send>;

/// Something that was seen at the far end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) at: Duration,
    pub(super) id: String,
    pub(super) order_key: Option<String>,
    /// Ids of all records in it.
    pub(super) ids: Vec<String>,
}

/// The far end.
pub(super) struct FakeUpstream {
    start: Instant,
    script: Mutex<Script>,
    /// When, and whether the far end can be reached.
    reachable: Box<dyn Fn(Duration) -> bool + Send + Sync>,
    pub(super) seen: Mutex<Vec<Seen>>,
    in_flight: Mutex<Vec<String>>,
    pub(super) most_in_flight: Mutex<usize>,
    pub(super) flowing: Mutex<Vec<bool>>,
    probes: AtomicUsize,
    closed: AtomicUsize,
    /// Sizes of batches.
    pub(super) batches: Mutex<Vec<usize>>,
}

impl FakeUpstream {
    pub(super) fn new(
        script: impl FnMut(&Message, Duration) -> (Duration, Outcome) + Send + 'static,
    ) -> Arc<Self> {
        Self::reachable(|_| true, script)
    }

    pub(super) fn reachable(
        reachable: impl Fn(Duration) -> bool + Send + Sync + 'static,
        script: impl FnMut(&Message, Duration) -> (Duration, Outcome) + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            script: Mutex::new(Box::new(script)),
            reachable: Box::new(reachable),
            seen: Mutex::default(),
            in_flight: Mutex::default(),
            most_in_flight: Mutex::default(),
            flowing: Mutex::default(),
            batches: Mutex::default(),
            probes: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
        })
    }

    /// Probes without a record.
    pub(super) fn probes(&self) -> usize {
        self.probes.load(Relaxed)
    }

    /// How often its connections were closed.
    pub(super) fn closed(&self) -> usize {
        self.closed.load(Relaxed)
    }

    pub(super) fn start_elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn sends_between(&self, from_s: f64, to_s: f64) -> usize {
        let range = Duration::from_secs_f64(from_s)..Duration::from_secs_f64(to_s);
        self.seen().iter().filter(|seen| range.contains(&seen.at)).count()
    }

    fn enter(&self, message: &Message) -> (Duration, Outcome) {
        let at = self.start.elapsed();
        let key = message.order_key.clone();
        let mut in_flight = self.in_flight.lock().unwrap();
        let order = format!("{}/{:?}", lane_of(message), key);
        assert!(key.is_none() || !in_flight.contains(&order), "two of {order} in flight");
        in_flight.push(order);
        let mut most = self.most_in_flight.lock().unwrap();
        *most = in_flight.len().max(*most);
        let (id, ids) = (message.id.to_string(), ids_of(message));
        self.seen.lock().unwrap().push(Seen { at, id, order_key: key, ids });
        (self.script.lock().unwrap())(message, at)
    }

    fn leave(&self, message: &Message) {
        let order = format!("{}/{:?}", lane_of(message), message.order_key);
        let mut in_flight = self.in_flight.lock().unwrap();
        let index = in_flight.iter().position(|other| *other == order).unwrap();
        in_flight.remove(index);
    }
}

/// The ids of the records in a message.
pub(super) fn ids_of(message: &Message) -> Vec<String> {
    let is_bundle = message.properties.contains(&("sw_flags".to_owned(), "bundle".to_owned()));
    match is_bundle {
        true => bundle::unpack(&message.body).unwrap().into_iter().map(|part| part.id).collect(),
        false => vec![message.id.to_string()],
    }
}

/// The lane's number in the message's id.
pub(super) fn lane_of(message: &Message) -> usize {
    message.id.as_str().split('-').next().unwrap().parse().unwrap()
}

/// The record's number in the message's id.
pub(super) fn place_of(message: &Message) -> usize {
    message.id.as_str().split('-').nth(1).unwrap().parse().unwrap()
}

impl Upstream for FakeUpstream {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        async move {
            let (latency, outcome) = self.enter(message);
            sleep(latency).await;
            self.leave(message);
            outcome
        }
        .boxed()
    }

    fn send_batch<'a>(&'a self, messages: &'a [Message]) -> BoxFuture<'a, Outcome> {
        async move {
            self.batches.lock().unwrap().push(messages.len());
            let answers: Vec<_> = messages.iter().map(|message| self.enter(message)).collect();
            sleep(answers[0].0).await;
            messages.iter().for_each(|message| self.leave(message));
            let failed = |outcome: &Outcome| !matches!(outcome, Outcome::Delivered { .. });
            let outcomes: Vec<Outcome> = answers.into_iter().map(|(_, outcome)| outcome).collect();
            outcomes.iter().find(|outcome| failed(outcome)).unwrap_or(&outcomes[0]).clone()
        }
        .boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        self.probes.fetch_add(1, Relaxed);
        let reachable = (self.reachable)(self.start.elapsed());
        async move {
            sleep(Duration::from_millis(20)).await;
            if reachable { Ok(()) } else { Err("no route".to_owned()) }
        }
        .boxed()
    }

    fn inspect<'a>(&'a self, _topic: &'a Topic, _ordered: bool) -> BoxFuture<'a, Vec<Finding>> {
        async { Vec::new() }.boxed()
    }

    fn clock_offset_s(&self) -> Option<i64> {
        None
    }

    fn close(&self) {
        self.closed.fetch_add(1, Relaxed);
    }

    fn flowing(&self, flowing: bool) {
        self.flowing.lock().unwrap().push(flowing);
    }
}
