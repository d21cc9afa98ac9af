//! Any sequence of appends, leases, outcomes, failures, power cuts and restarts, held against a
//! model: what was acknowledged is never lost, nothing is invented, keys keep their order, the
//! accounts add up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use spillway_protocol::message::{Flags, StreamId};
use spillway_protocol::record::{Draft, LaneName, Record, RecordId};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::clock::WallClock;
use crate::logs::Repeated;
use crate::queue::dead::Leave;
use crate::queue::identity::StreamOf;
use crate::queue::inbox::Group;
use crate::queue::recover::{Parts, Stores, recover};
use crate::queue::store::Store;
use crate::queue::store::memory::MemoryStore;
use crate::queue::submission::{Answer, Submission, Waiting};
use crate::queue::{DeadFilter, Fate, LaneOptions, Lease, Options, Ordering, Place, Run, keeper};

#[derive(Debug, Clone)]
enum Action {
    /// A group: sizes of the bodies.
    Append(Vec<usize>),
    /// Lease so many and deliver, defer, bury or drop them in turn.
    Drain(usize, u8),
    Save,
    Restart,
    PowerCut,
    /// The operation after so many fails, before or after its effect.
    Fail(u64, bool),
    Replay,
    Purge,
    /// All but so many are dropped, or thinned to one in so many.
    Drop(u64, Option<u32>),
    /// What was given up is told, and perhaps the queue hears that it is.
    Tell(bool),
}

fn action() -> impl Strategy<Value = Action> {
    let size = prop_oneof![8 => 1usize..400, 1 => 50_000usize..130_000];
    prop_oneof![
        6 => prop::collection::vec(size, 1..12).prop_map(Action::Append),
        6 => (1usize..30, any::<u8>()).prop_map(|(count, how)| Action::Drain(count, how)),
        2 => Just(Action::Save),
        1 => Just(Action::Restart),
        2 => Just(Action::PowerCut),
        2 => (0u64..8, any::<bool>()).prop_map(|(n, done)| Action::Fail(n, done)),
        1 => Just(Action::Replay),
        1 => Just(Action::Purge),
        1 => (0u64..9, prop::option::of(2u32..5)).prop_map(|(n, every)| Action::Drop(n, every)),
        2 => any::<bool>().prop_map(Action::Tell),
    ]
}

struct FixedClock;

impl WallClock for FixedClock {
    fn now_ms(&self) -> u64 {
        1_800_000_000_000
    }
}

struct World {
    ordering: Ordering,
    lane_store: MemoryStore,
    dead_store: MemoryStore,
    parts: Parts,
    rng: StdRng,
    now: Instant,
    next_id: u64,
    submitted: BTreeSet<String>,
    /// Acknowledged, and neither delivered nor purged yet.
    owed: BTreeSet<String>,
    /// What was given up, by number.
    given_up: BTreeSet<(Fate, u64)>,
    /// What the far side was told.
    told: BTreeSet<(Fate, u64)>,
    /// Positions by id, to see order.
    delivered: BTreeMap<u64, u64>,
}

impl World {
    fn new(ordering: Ordering) -> Self {
        let (lane_store, dead_store) = (MemoryStore::default(), MemoryStore::default());
        let parts = take_up(ordering, &lane_store, &dead_store, 1);
        Self {
            ordering,
            lane_store,
            dead_store,
            parts,
            rng: StdRng::seed_from_u64(7),
            now: Instant::now(),
            next_id: 0,
            submitted: BTreeSet::new(),
            owed: BTreeSet::new(),
            given_up: BTreeSet::new(),
            told: BTreeSet::new(),
            delivered: BTreeMap::new(),
        }
    }

    fn run(&mut self, action: Action) {
        match action {
            Action::Append(sizes) => self.append(&sizes),
            Action::Drain(count, how) => self.drain(count, how),
            Action::Save => {
                self.save();
            }
            Action::Restart => self.restart(),
            Action::PowerCut => {
                self.lane_store = self.lane_store.after_power_cut(&mut self.rng);
                self.dead_store = self.dead_store.after_power_cut(&mut self.rng);
                self.restart();
            }
            Action::Fail(operations, done) => self.lane_store.fail_after(operations, done),
            Action::Replay => self.replay(),
            Action::Purge => self.purge(),
            Action::Drop(but, every) => self.drop(but, every),
            Action::Tell(heard) => self.tell(heard),
        }
        self.check();
    }

    fn append(&mut self, sizes: &[usize]) {
        let mut group = Vec::new();
        let mut answers = Vec::new();
        for size in sizes {
            let id = format!("r{}", self.next_id);
            self.next_id += 1;
            self.submitted.insert(id.clone());
            let (sender, receiver) = oneshot::channel();
            let record = record(&id, self.next_id % 5, *size);
            let answer = Answer::new(sender, Waiting::default());
            group.extend(Submission::new(record, Flags::NONE, answer, &FixedClock));
            answers.push((id, receiver));
        }
        self.commit(group);
        for (id, mut answer) in answers {
            if answer.try_recv().unwrap().is_ok() {
                self.owed.insert(id);
            }
        }
    }

    fn commit(&mut self, group: Group) {
        match self.parts.committers[0].commit(group) {
            Ok(committed) => committed.acknowledge(),
            Err(failed) => failed.refuse(Vec::new(), &mut Repeated::default()),
        }
    }

    fn drain(&mut self, count: usize, how: u8) {
        self.now += Duration::from_secs(1);
        let lane = self.parts.lanes[0].clone();
        let run = Run { records: 1 + usize::from(how % 7), bytes: 60_000 };
        // Some are leased ahead of those before them.
        let ahead = self.ordering == Ordering::None && how.is_multiple_of(3);
        let from = if ahead { lane.chain.end().saturating_sub(u64::from(how % 8)) } else { 0 };
        let Ok(leases) = lane.lease(from, count, 1 << 20, run, self.now) else {
            return;
        };
        let mut given_back = BTreeSet::new();
        for (nth, lease) in leases.into_iter().enumerate() {
            let id = lease.record.id.to_string();
            assert!(self.submitted.contains(&id), "{id} was invented");
            let key = lease.record.order_key.clone().map(String::from);
            let key = key.filter(|_| self.ordering == Ordering::Key);
            if self.ordering != Ordering::None && given_back.contains(&key) {
                // What follows one that goes back goes back as well.
                drop(lease);
                continue;
            }
            match (how.rotate_left(nth as u32)) % 5 {
                0 | 1 => {
                    self.see_order(&lease);
                    self.owed.remove(&id);
                    lease.ack();
                }
                2 => {
                    given_back.insert(key);
                    lease.defer(Some(self.now + Duration::from_millis(1500)), true);
                }
                3 => {
                    let seq = lease.stamp.seq;
                    if lease.dead_letter("code", "reason").is_ok() {
                        self.given_up.insert((Fate::Dead, seq));
                    } else {
                        given_back.insert(key);
                    }
                }
                _ => drop((given_back.insert(key), lease)),
            }
        }
    }

    /// Within a run, records of one key are delivered in the order of their positions.
    fn see_order(&mut self, lease: &Lease) {
        if self.ordering == Ordering::None {
            return;
        }
        let key: u64 = lease.record.order_key.as_ref().unwrap().as_str().parse().unwrap();
        let before = self.delivered.insert(key, lease.position);
        assert!(before.is_none_or(|before| before < lease.position), "key {key} out of order");
    }

    fn restart(&mut self) {
        self.delivered.clear();
        let seed = self.next_id + 100;
        self.parts = take_up(self.ordering, &self.lane_store, &self.dead_store, seed);
    }

    fn save(&self) -> bool {
        keeper::save(&self.parts.lanes, &self.parts.ids).is_ok()
    }

    fn replay(&mut self) {
        if !self.save() {
            return;
        }
        let Ok(letters) = self.parts.dead.list(&DeadFilter::default()) else {
            return;
        };
        for letter in letters {
            let (sender, mut receiver) = oneshot::channel();
            let answer = Answer::new(sender, Waiting::default());
            let submission = Submission::new(letter.record, Flags::REPLAY, answer, &FixedClock);
            self.commit(submission.into_iter().collect());
            if receiver.try_recv().unwrap().is_ok() {
                let removed = self.parts.dead.remove(&[letter.number], Leave::Replayed, 1);
                assert!(removed.is_ok(), "only the lane's disk fails here");
                self.given_up.insert((Fate::Replayed, letter.stamp.seq));
            }
        }
    }

    fn purge(&mut self) {
        if !self.save() {
            return;
        }
        let Ok(letters) = self.parts.dead.list(&DeadFilter::default()) else {
            return;
        };
        for letter in letters {
            if self.parts.dead.remove(&[letter.number], Leave::Purged, 1).is_ok() {
                self.owed.remove(letter.record.id.as_str());
                self.given_up.insert((Fate::Purged, letter.stamp.seq));
            }
        }
    }

    fn drop(&mut self, but: u64, every: Option<u32>) {
        self.lane_store.fail_after(u64::MAX, false);
        let lane = self.parts.lanes[0].clone();
        let waiting = || lane.peek(0, usize::MAX).unwrap().into_iter();
        let before: Vec<_> = waiting().map(|e| (e.record.id.to_string(), e.stamp.seq)).collect();
        let below = lane.chain.end().saturating_sub(but);
        let (dropped, fate) = match every {
            None => (lane.drop_oldest(below), Fate::Dropped),
            Some(every) => (lane.thin(below, every), Fate::Thinned(every)),
        };
        assert!(self.save());
        let after: BTreeSet<u64> = waiting().map(|entry| entry.stamp.seq).collect();
        let gone = before.iter().filter(|(_, seq)| !after.contains(seq));
        assert_eq!(gone.clone().count() as u64, dropped);
        for (id, seq) in gone {
            assert!(every.is_none_or(|every| !seq.is_multiple_of(u64::from(every))));
            assert_eq!(
                lane.place(*seq),
                Place::Dropped { lane: lane.name.clone(), stream: StreamId(1), seq: *seq }
            );
            self.owed.remove(id);
            self.given_up.insert((fate, *seq));
        }
    }

    fn tell(&mut self, heard: bool) {
        let lane = &self.parts.lanes[0];
        let told = [lane.untold(), self.parts.dead.untold()];
        for range in told.iter().flatten() {
            assert_eq!((range.lane.as_str(), range.stream), ("a", StreamId(1)));
            let numbers = (range.from..=range.to).filter(|seq| match range.fate {
                Fate::Thinned(every) => !seq.is_multiple_of(u64::from(every)),
                // What is dropped where it was thinned before is told as one range.
                Fate::Dropped => self.given_up.contains(&(Fate::Dropped, *seq)),
                _ => true,
            });
            let count = numbers.clone().count() as u64;
            assert!(range.fate == Fate::Dropped || count == range.count());
            self.told.extend(numbers.map(|seq| (range.fate, seq)));
        }
        assert!(self.told.is_subset(&self.given_up), "{:?} {:?}", self.told, self.given_up);
        if heard {
            told[0].iter().for_each(|range| lane.told(&range.grave()));
            let letters = told[1].iter().map(|range| (&range.lane, range.grave()));
            self.parts.dead.told(letters).unwrap();
        }
    }

    fn check(&self) {
        let accounts = self.parts.lanes[0].accounts();
        assert!(accounts.balanced(), "{accounts:?}");
        assert_eq!(accounts.damaged, 0, "{accounts:?}");
        assert!(accounts.waiting + accounts.dead >= self.owed.len() as u64, "{accounts:?}");
    }

    /// Delivers everything that is left: then nothing is owed any more.
    fn finish(mut self) {
        self.lane_store.fail_after(u64::MAX, false);
        self.replay();
        for _ in 0..100_000 {
            self.now += Duration::from_secs(2);
            let leases = self.parts.lanes[0]
                .clone()
                .lease(0, 100, 1 << 20, Run { records: 9, bytes: 9_000 }, self.now)
                .unwrap();
            if leases.is_empty() && self.parts.lanes[0].accounts().waiting == 0 {
                break;
            }
            for lease in leases {
                self.see_order(&lease);
                self.owed.remove(lease.record.id.as_str());
                lease.ack();
            }
        }
        assert_eq!(self.owed, BTreeSet::new(), "acknowledged and lost");
        let accounts = self.parts.lanes[0].accounts();
        assert!(accounts.balanced() && accounts.waiting == 0, "{accounts:?}");
        assert!(self.save());
        self.tell(true);
        assert_eq!(self.told, self.given_up, "what was given up was told");
        self.tell(true);
        assert!(self.parts.lanes[0].untold().is_empty() && self.parts.dead.untold().is_empty());
    }
}

fn take_up(ordering: Ordering, lane: &MemoryStore, dead: &MemoryStore, seed: u64) -> Parts {
    lane.fail_after(u64::MAX, false);
    let name = LaneName::parse("a").unwrap();
    let options = Options {
        data_dir: "/".into(),
        gateway: "gw".into(),
        host: "host".into(),
        lanes: vec![LaneOptions { name, ordering }],
        segment_bytes: 3_000,
        dead_keep_bytes: u64::MAX,
        waiting_bytes_max: 64 << 20,
        keep: None,
        tell: true,
        seed,
    };
    let stores = Stores { lanes: vec![Arc::new(lane.clone())], dead: Arc::new(dead.clone()) };
    let stream = StreamOf { id: StreamId(1), fresh: false };
    recover(stores, &options, stream, Arc::new(FixedClock), watch::Sender::new(0)).unwrap()
}

fn record(id: &str, key: u64, size: usize) -> Record {
    let draft = Draft {
        id: Some(id.into()),
        order_key: Some(key.to_string()),
        body: vec![b'x'; size].into(),
        ..Draft::default()
    };
    draft.parse(|| RecordId::parse("unused").unwrap()).unwrap()
}

/// A committer that has sealed a segment comes to its ids a little later, and the keeper may save
/// in between.
#[test]
fn a_segment_that_is_settled_stays_until_its_ids_are_written() {
    let mut world = World::new(Ordering::None);
    world.append(&[100, 100]);
    let lane = world.parts.lanes[0].clone();
    let leases = lane.lease(0, 10, usize::MAX, Run::ONE, world.now).unwrap();
    leases.into_iter().for_each(Lease::ack);
    assert!(world.parts.committers[0].tail.seal(true).is_some());
    (0..3).for_each(|_| assert!(world.save()));
    assert_eq!(world.lane_store.segments().unwrap().len(), 1);
}

proptest! {
    #[test]
    fn nothing_acknowledged_is_lost_whatever_happens(
        actions in prop::collection::vec(action(), 1..60),
        ordering in prop::sample::select(vec![Ordering::None, Ordering::Key, Ordering::Lane]),
    ) {
        let mut world = World::new(ordering);
        for action in actions {
            world.run(action);
        }
        world.finish();
    }
}
