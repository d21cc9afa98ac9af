//! The writers against a real queue, with a link that the test moves.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use futures::FutureExt;
use spillway_protocol::control::Answer;
use spillway_protocol::message::Flags;
use spillway_protocol::presence::{Event, EventType};
use spillway_protocol::record::{Draft, LaneName, RecordId, Topic};
use spillway_protocol::report;
use spillway_protocol::tombstone::{Reason, Tombstones};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::presence::Presence;
use super::report::Reporting;
use super::{Answers, Guests, Own, Post, telling};
use crate::attendance::Register;
use crate::clock::WallClock;
use crate::drain::Connection;
use crate::queue::{DeadFilter, Entry, LaneOptions, Lease, Options, Ordering, Queue};

const STATUS: &str = "status";

/// Counts its readings, so that times tell the order.
#[derive(Default)]
struct CountingClock(AtomicU64);

impl WallClock for CountingClock {
    fn now_ms(&self) -> u64 {
        1_800_000_000_000 + self.0.fetch_add(1, SeqCst)
    }
}

fn name(text: &str) -> LaneName {
    LaneName::parse(text).unwrap()
}

fn topic() -> Topic {
    Topic::parse(STATUS).unwrap()
}

fn fresh_id() -> RecordId {
    RecordId::from(uuid::Uuid::now_v7())
}

/// A queue with a lane of users and the agent's own, and a link.
struct Bench {
    folder: TempDir,
    queue: Queue,
    clock: Arc<CountingClock>,
    link: watch::Sender<Connection>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(CountingClock::default());
        let queue = open(folder.path(), clock.clone());
        Self { folder, queue, clock, link: watch::Sender::default() }
    }

    fn restart(self) -> Self {
        let Self { folder, queue, clock, .. } = self;
        queue.close();
        drop(queue);
        let queue = open(folder.path(), clock.clone());
        Self { folder, queue, clock, link: watch::Sender::default() }
    }

    fn post(&self) -> Post {
        Post::new(self.queue.clone(), name("_agent"), "gw-1".into(), fresh_id)
    }

    fn up(&self, session: u64) {
        self.link.send_replace(Connection { up: true, session });
    }

    fn down(&self, session: u64) {
        self.link.send_replace(Connection { up: false, session });
    }

    fn own(&self) -> Vec<Entry> {
        self.queue.peek(&name("_agent"), 0, 1000)
    }

    /// Waits until so many own records were ever written.
    async fn until_written(&self, count: u64) {
        let mut changed = self.queue.changed();
        while self.queue.accounts(&name("_agent")).unwrap().accepted < count {
            changed.changed().await.unwrap();
        }
    }

    fn deliver(&self) {
        self.queue.lease(&name("_agent"), 1000, usize::MAX).into_iter().for_each(Lease::ack);
    }

    fn presence(&self) -> Own {
        let presence = Presence::new(
            self.post(),
            (topic(), "GID_g"),
            self.folder.path(),
            Arc::new(|| async { "10.0.0.7".to_owned() }.boxed()),
            self.link.subscribe(),
            self.clock.clone(),
        );
        Own::start(None, Some(presence), None)
    }

    fn events(&self) -> Vec<Event> {
        let own = self.own();
        let event = |entry: &Entry| {
            let event = Event::from_json(&entry.record.body).unwrap();
            assert_eq!(entry.record.tag, Some(event.event_type.tag().unwrap()));
            assert_eq!(
                (entry.record.topic.clone(), entry.stamp.flags),
                (Some(topic()), Flags::NONE)
            );
            assert_eq!((event.client(), &*event.client_ip), (Some(("GID_g", "gw-1")), "10.0.0.7"));
            event
        };
        own.iter().map(event).collect()
    }
}

fn open(folder: &Path, clock: Arc<CountingClock>) -> Queue {
    let lane = |text| LaneOptions { name: name(text), ordering: Ordering::None, ttl: None };
    let options = Options {
        data_dir: folder.join("data"),
        gateway: "gw-1".into(),
        host: "host".into(),
        lanes: vec![lane("main"), lane("_agent")],
        segment_bytes: 1 << 20,
        limits: Default::default(),
        dead_keep_bytes: 1 << 20,
        waiting_bytes_max: 1 << 20,
        keep: None,
        tell: true,
        packing: Default::default(),
        seed: clock.0.load(SeqCst) + 1,
    };
    Queue::open(options, clock).unwrap().0
}

fn kinds(events: &[Event]) -> Vec<EventType> {
    events.iter().map(|event| event.event_type).collect()
}

/// Its tasks end at once, and nothing of them is left.
async fn cut_off(own: &Own) {
    own.tasks.iter().for_each(|task| task.abort());
    while !own.tasks.iter().all(|task| task.is_finished()) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_comes_and_goes_makes_one_channel_each_time() {
    use EventType::{Connect, TcpClean};
    let bench = Bench::new();
    let own = bench.presence();
    bench.up(1);
    bench.until_written(1).await;
    bench.down(1);
    bench.until_written(2).await;
    bench.up(2);
    bench.until_written(3).await;
    // Down and up again, so soon that nobody saw it down.
    bench.up(3);
    bench.until_written(5).await;
    let events = bench.events();
    assert_eq!(kinds(&events), [Connect, TcpClean, Connect, TcpClean, Connect]);
    let channels: Vec<&str> = events.iter().map(|event| event.channel_id.as_str()).collect();
    assert!(channels[0] == channels[1] && channels[2] == channels[3]);
    assert!(channels[0] != channels[2] && channels[2] != channels[4]);
    assert!(channels.iter().all(|channel| channel.len() == 32), "{channels:?}");
    assert!(events.is_sorted_by_key(|event| event.time));
    drop(own);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_is_both_events_and_the_next_life_has_nothing_to_report() {
    use EventType::{Connect, Disconnect, TcpClean};
    let bench = Bench::new();
    let own = bench.presence();
    bench.up(1);
    bench.until_written(1).await;
    bench.deliver();
    // The link does not take the goodbye: it stays, and stopping does not wait for ever.
    own.stop().await;
    assert_eq!(kinds(&bench.events()), [Disconnect, TcpClean]);
    let bench = bench.restart();
    bench.deliver();
    let own = bench.presence();
    bench.up(1);
    bench.until_written(4).await;
    assert_eq!(kinds(&bench.events()), [Connect]);
    own.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_that_was_cut_off_is_ended_by_the_next_with_the_time_it_was_last_alive() {
    use EventType::{Connect, TcpClean};
    let bench = Bench::new();
    let cut = bench.presence();
    bench.up(1);
    bench.until_written(1).await;
    let connected = bench.events().remove(0);
    cut_off(&cut).await;
    let bench = bench.restart();
    let own = bench.presence();
    bench.until_written(2).await;
    bench.up(1);
    bench.until_written(3).await;
    let events = bench.events();
    assert_eq!(kinds(&events), [Connect, TcpClean, Connect]);
    assert_eq!(events[1].channel_id, connected.channel_id);
    assert_eq!(events[1].time, connected.time, "nothing later is known");
    assert!(events[2].time > events[1].time && events[2].channel_id != connected.channel_id);
    own.stop().await;
}

fn report(at_ms: u64) -> report::Report {
    let vector = include_bytes!("../../../protocol/vectors/report.json");
    report::Report { at_ms, ..report::Report::from_json(vector).unwrap() }
}

impl Bench {
    fn reporting(&self) -> (Own, Arc<AtomicU64>) {
        let written = Arc::new(AtomicU64::new(0));
        let count = written.clone();
        let compose = Arc::new(move || report(count.fetch_add(1, SeqCst)));
        let when = (topic(), Duration::from_millis(20));
        let reporting = Reporting::new(self.post(), when, compose, self.link.subscribe(), 7);
        (Own::start(Some(reporting), None, None), written)
    }

    fn reports(&self) -> Vec<u64> {
        let own = self.own();
        let at = |entry: &Entry| {
            assert_eq!(entry.stamp.flags, Flags::REPORT);
            report::Report::from_json(&entry.record.body).unwrap().at_ms
        };
        own.iter().map(at).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_written_when_they_can_leave_and_never_wait_in_a_row() {
    let bench = Bench::new();
    let (own, written) = bench.reporting();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(written.load(SeqCst), 0, "the link is away");
    bench.up(1);
    bench.until_written(1).await;
    bench.down(1);
    // Ten intervals later, and the link is back, but the first one still waits.
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.up(2);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(bench.reports(), [0]);
    bench.deliver();
    bench.until_written(2).await;
    assert_eq!(bench.reports(), [1], "written after the outage");
    own.stop().await;
    // A waiting one of an earlier life counts.
    let bench = bench.restart();
    let (own, written) = bench.reporting();
    bench.up(1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((written.load(SeqCst), bench.reports()), (0, vec![1]));
    own.stop().await;
}

impl Bench {
    async fn store(&self, count: usize) {
        for _ in 0..count {
            let draft = Draft { body: "x".into(), ..Draft::default() };
            let record = draft.parse(fresh_id).unwrap();
            self.queue.submit(&name("main"), record).await.unwrap();
        }
    }

    fn kill(&self, nth: impl Fn(u64) -> bool) {
        for lease in self.queue.lease(&name("main"), 1000, usize::MAX) {
            if nth(lease.stamp.seq) {
                lease.dead_letter("code", "reason").unwrap();
            }
        }
    }

    /// What was told, from the agent's own lane, which is empty then.
    async fn told(&self) -> Vec<(Reason, u64, u64)> {
        telling::tell(&self.post(), &topic(), &CancellationToken::new()).await;
        let own = self.own();
        self.deliver();
        let bodies = own.iter().map(|entry| {
            assert_eq!(entry.stamp.flags, Flags::TOMBSTONE);
            Tombstones::from_json(&entry.record.body).unwrap()
        });
        let mut ranges: Vec<_> = bodies.flat_map(|told| told.ranges).collect();
        ranges.sort_by_key(|range| (range.reason, range.from));
        for range in &ranges {
            assert_eq!((&*range.lane, range.count), ("main", range.to - range.from + 1));
            assert!(range.first_ms >= 1_800_000_000_000 && range.last_ms >= range.first_ms);
            assert_eq!(range.stream, self.queue.stream().to_string());
        }
        ranges.into_iter().map(|range| (range.reason, range.from, range.to)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_told_once_it_is_durable_as_few_ranges() {
    let bench = Bench::new();
    bench.store(10).await;
    bench.kill(|seq| seq <= 3 || seq == 7);
    let bench = bench.restart();
    assert_eq!(bench.told().await, [(Reason::Dead, 1, 3), (Reason::Dead, 7, 7)]);
    assert_eq!(bench.told().await, []);
    let of = |limit| DeadFilter { limit: Some(limit), ..DeadFilter::default() };
    tokio::task::block_in_place(|| {
        assert_eq!(bench.queue.dead_purge(&of(2)).unwrap(), 2);
        assert_eq!(bench.queue.dead_replay(&of(1), || false).unwrap().count, 1);
    });
    assert_eq!(bench.told().await, [(Reason::Replayed, 3, 3), (Reason::Purged, 1, 2)]);
    // The replayed one has a new number, and is given up under that.
    bench.kill(|seq| seq == 11);
    let bench = bench.restart();
    assert_eq!(bench.told().await, [(Reason::Dead, 11, 11)]);
    assert_eq!(bench.queue.newest_numbers(&name("main")), [(bench.queue.stream(), 11)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_ranges_are_several_messages() {
    let bench = Bench::new();
    bench.store(1400).await;
    for _ in 0..2 {
        bench.kill(|seq| seq % 2 == 0);
    }
    let bench = bench.restart();
    telling::tell(&bench.post(), &topic(), &CancellationToken::new()).await;
    let sizes: Vec<usize> = bench.own().iter().map(|entry| entry.record.body.len()).collect();
    assert!(sizes.len() == 2 && sizes.iter().all(|size| *size < 128 << 10), "{sizes:?}");
    assert_eq!(bench.told().await.len(), 700);
}

impl Bench {
    /// Presence of `his` and `lab`, who are gone after `linger`.
    fn guests(&self, linger: Duration) -> (Own, Register) {
        let register = Register::default();
        let guests = Guests::new(
            self.post(),
            (topic(), "GID_g", linger),
            self.folder.path(),
            (&register, &["his".to_owned(), "lab".to_owned()]),
            self.link.subscribe(),
            self.clock.clone(),
        );
        (Own::start(None, None, Some(guests)), register)
    }

    /// Kind and client of each event.
    fn guest_events(&self) -> Vec<(EventType, String)> {
        let event = |entry: &Entry| {
            let event = Event::from_json(&entry.record.body).unwrap();
            assert_eq!((event.client_ip.as_str(), event.channel_id.len()), ("127.0.0.1", 32));
            let name = event.client_id.strip_prefix("GID_g@@@gw-1:").unwrap().to_owned();
            (event.event_type, name)
        };
        self.own().iter().map(event).collect()
    }
}

fn of(kind: EventType, name: &str) -> (EventType, String) {
    (kind, name.to_owned())
}

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_first_and_last_connection_are_told_with_the_link_down() {
    use EventType::{Connect, Disconnect, TcpClean};
    let bench = Bench::new();
    let (own, register) = bench.guests(SHORT);
    let (one, two) = (register.visit("his"), register.visit("his"));
    bench.until_written(1).await;
    drop(one);
    two.close();
    bench.until_written(3).await;
    drop(register.visit("lab"));
    bench.until_written(5).await;
    let expected = [
        of(Connect, "his"),
        of(Disconnect, "his"),
        of(TcpClean, "his"),
        of(Connect, "lab"),
        of(TcpClean, "lab"),
    ];
    assert_eq!(bench.guest_events(), expected);
    own.stop().await;
    assert_eq!(bench.own().len(), 5);
    assert!(!bench.folder.path().join("client-sessions").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_for_each_record_is_one_session() {
    let bench = Bench::new();
    let (own, register) = bench.guests(LONG);
    for _ in 0..100 {
        register.visit("his").close();
        tokio::task::yield_now().await;
    }
    bench.until_written(1).await;
    own.stop().await;
    use EventType::{Connect, Disconnect, TcpClean};
    let expected = [of(Connect, "his"), of(Disconnect, "his"), of(TcpClean, "his")];
    assert_eq!(bench.guest_events(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_own_end_cuts_its_clients_off() {
    use EventType::{Connect, TcpClean};
    let bench = Bench::new();
    let (own, register) = bench.guests(LONG);
    let _visit = register.visit("lab");
    bench.until_written(1).await;
    own.stop().await;
    assert_eq!(bench.guest_events(), [of(Connect, "lab"), of(TcpClean, "lab")]);
    let bench = bench.restart();
    let (own, _register) = bench.guests(LONG);
    own.stop().await;
    assert_eq!(bench.own().len(), 2, "the next life has nothing to report");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_life_that_was_cut_off_are_ended_by_the_next() {
    use EventType::{Connect, TcpClean};
    let bench = Bench::new();
    let (cut, register) = bench.guests(LONG);
    let (_his, _lab) = (register.visit("his"), register.visit("lab"));
    bench.until_written(2).await;
    cut_off(&cut).await;
    let bench = bench.restart();
    let (own, register) = bench.guests(LONG);
    bench.until_written(4).await;
    let _again = register.visit("his");
    bench.until_written(5).await;
    let expected = [
        of(Connect, "his"),
        of(Connect, "lab"),
        of(TcpClean, "his"),
        of(TcpClean, "lab"),
        of(Connect, "his"),
    ];
    assert_eq!(bench.guest_events(), expected);
    let events: Vec<Event> =
        bench.own().iter().map(|entry| Event::from_json(&entry.record.body).unwrap()).collect();
    assert_eq!(events[0].channel_id, events[2].channel_id);
    assert_eq!(events[1].channel_id, events[3].channel_id);
    assert_ne!(events[0].channel_id, events[4].channel_id);
    assert!(events[2].time >= events[0].time && events[4].time > events[2].time);
    own.stop().await;
}

#[tokio::test]
async fn an_answer_given_again_after_a_kill_is_stored_once() {
    let bench = Bench::new();
    let answer = |sent| Answer {
        gateway: "gw-1".into(),
        request: "r".into(),
        lane: "a".into(),
        stream: "0a0b0c0d".into(),
        sent,
        unsent: vec![],
    };
    let stop = CancellationToken::new();
    assert!(Answers::new(bench.post(), topic()).send(&answer(1), &stop).await);
    let bench = bench.restart();
    let answers = Answers::new(bench.post(), topic());
    assert!(answers.send(&answer(1), &stop).await);
    assert!(answers.send(&answer(2), &stop).await);
    assert_eq!(bench.own().len(), 2);
}
