//! A queue without threads, on memory or on sled, in a world in which things fail, and what is known
//! of it from outside.

mod ending;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use spillway_protocol::message::{Flags, StreamId};
use spillway_protocol::record::{Draft, LaneName, Record, RecordId};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::Action;
use super::ground::Ground;
use super::machine::{
    Disk, HandClock, KEPT_FREE_BYTES, LANES, TOTAL_BYTES, TTL_MS, lane_of, limits,
};
use crate::clock::WallClock;
use crate::logs::Repeated;
use crate::queue::chain::Sealed;
use crate::queue::dead::Leave;
use crate::queue::format::Level;
use crate::queue::identity::StreamOf;
use crate::queue::inbox::Group;
use crate::queue::lane::Lane;
use crate::queue::pulse::Pulse;
use crate::queue::recover::{Parts, recover};
use crate::queue::store::faulty::Faults;
use crate::queue::submission::{Answer, Submission, To, Waiting};
use crate::queue::{
    AppendError, DeadFilter, DeadLetter, Entry, Fate, LaneOptions, Lease, Options, Ordering,
    Packing, Place, Run, keeper,
};

/// What became of a number of a lane.
pub(super) type Fated = (usize, Fate, u64);

pub(super) struct World {
    ordering: Ordering,
    packing: Packing,
    pub(super) ground: Ground,
    pub(super) faults: Faults,
    /// None while it starts.
    parts: Option<Parts>,
    rng: StdRng,
    pub(super) now: Instant,
    clock: Arc<HandClock>,
    disk: Disk,
    /// Bytes of segments for which there is room.
    capacity: u64,
    /// The lane at work.
    turn: usize,
    /// Records for which there was no room.
    pub(super) refused: usize,
    /// When what was acknowledged was accepted, by lane and number.
    accepted: BTreeMap<(usize, u64), (String, u64)>,
    /// The oldest that waits never gets through.
    held: bool,
    next_id: u64,
    starts: u64,
    submitted: BTreeSet<String>,
    /// Acknowledged, and neither delivered nor purged yet.
    owed: BTreeSet<String>,
    /// What was given up, by number.
    given_up: BTreeSet<Fated>,
    /// The same, where an error leaves it open.
    perhaps: BTreeSet<Fated>,
    /// What the far side was told.
    told: BTreeSet<Fated>,
    /// Positions by id, to see order.
    delivered: BTreeMap<(usize, u64), u64>,
}

impl World {
    pub(super) fn new(ground: Ground, ordering: Ordering) -> Self {
        Self::packed(ground, ordering, Packing::default())
    }

    pub(super) fn packed(ground: Ground, ordering: Ordering, packing: Packing) -> Self {
        let mut world = Self {
            ordering,
            packing,
            ground,
            faults: Faults::default(),
            parts: None,
            rng: StdRng::seed_from_u64(7),
            now: Instant::now(),
            clock: Arc::default(),
            disk: Disk(Arc::new(TOTAL_BYTES.into())),
            capacity: TOTAL_BYTES / 2,
            turn: 0,
            refused: 0,
            accepted: BTreeMap::new(),
            held: false,
            next_id: 0,
            starts: 0,
            submitted: BTreeSet::new(),
            owed: BTreeSet::new(),
            given_up: BTreeSet::new(),
            perhaps: BTreeSet::new(),
            told: BTreeSet::new(),
            delivered: BTreeMap::new(),
        };
        world.restart();
        world
    }

    pub(super) fn run(&mut self, action: &Action) {
        match action {
            Action::Append(sizes) => self.append(sizes),
            Action::Drain(count, how) => self.drain(*count, *how),
            Action::Save => {
                self.save();
            }
            Action::Restart => self.restart(),
            Action::PowerCut => self.cut_power(),
            Action::Fail(operations, fault) => self.faults.set(*operations, *fault),
            Action::Replay => self.replay(),
            Action::Purge => self.purge(),
            Action::Drop(but, every) => self.drop(*but, *every),
            Action::Tell(heard) => self.tell(*heard),
            Action::Hold(held) => self.held = *held,
            Action::Expire(minutes) => self.expire(*minutes),
            Action::Turn(lane) => self.turn = *lane,
            Action::Room(bytes) => self.capacity = bytes.unwrap_or(TOTAL_BYTES / 2),
        }
        if self.faults.died() {
            self.cut_power();
        }
        self.check();
    }

    pub(super) fn parts(&self) -> &Parts {
        self.parts.as_ref().unwrap()
    }

    pub(super) fn lane(&self) -> Arc<Lane> {
        self.parts().lanes[self.turn].clone()
    }

    pub(super) fn seal(&mut self) -> Option<Sealed> {
        self.parts.as_mut().unwrap().committers[self.turn].tail.seal(true)
    }

    pub(super) fn append(&mut self, sizes: &[usize]) {
        let mut group = Vec::new();
        let mut answers = Vec::new();
        for size in sizes {
            let id = format!("r{}", self.next_id);
            self.next_id += 1;
            self.submitted.insert(id.clone());
            let (sender, receiver) = oneshot::channel();
            let record = record(&id, self.next_id % 5, *size);
            let answer = Answer::new(To::One(sender), Waiting::default());
            group.extend(Submission::new(record, Flags::NONE, answer, self.clock.as_ref()));
            answers.push((id, receiver));
        }
        self.commit(self.turn, group);
        for (id, mut answer) in answers {
            let answer = answer.try_recv().unwrap();
            self.refused += usize::from(matches!(answer, Err(AppendError::Full(_))));
            if let Ok(receipt) = answer {
                let known = (id.clone(), self.clock.now_ms());
                self.accepted.insert((self.turn, receipt.seq), known);
                self.owed.insert(id);
            }
        }
    }

    /// Where there is no room the second lane's oldest go.
    fn commit(&mut self, lane: usize, group: Group) {
        let free_bytes = self.capacity.saturating_sub(self.ground.bytes());
        self.disk.0.store(KEPT_FREE_BYTES + free_bytes, Relaxed);
        self.parts().gate.forget_look();
        let before = self.waiting();
        let failed = match self.parts.as_mut().unwrap().committers[lane].commit(group) {
            Ok(committed) => committed.acknowledge(),
            Err(failed) => Some(failed),
        };
        failed.into_iter().for_each(|failed| failed.refuse(Vec::new(), &mut Repeated::default()));
        let after = self.waiting();
        let gone: Vec<_> = before.difference(&after).copied().collect();
        let saved = gone.is_empty() || self.save();
        for (lane, seq) in gone {
            assert_eq!(LANES[lane], "b", "the other one refuses");
            if let Some((id, _)) = self.accepted.get(&(lane, seq)) {
                self.owed.remove(id);
            }
            let known = if saved { &mut self.given_up } else { &mut self.perhaps };
            known.insert((lane, Fate::Dropped, seq));
        }
    }

    /// What waits, by lane and number.
    fn waiting(&self) -> BTreeSet<(usize, u64)> {
        let of = |(nth, lane): (usize, &Arc<Lane>)| {
            let head = lane.head();
            let waits = (1..lane.chain.end()).filter(|seq| head.waits(*seq));
            waits.map(|seq| (nth, seq)).collect::<Vec<_>>()
        };
        self.parts().lanes.iter().enumerate().flat_map(of).collect()
    }

    fn drain(&mut self, count: usize, how: u8) {
        self.now += Duration::from_secs(1);
        let lane = self.lane();
        let run = Run { records: 1 + usize::from(how % 7), bytes: 60_000 };
        // Some are leased ahead of those before them.
        let ahead = self.ordering == Ordering::None && how.is_multiple_of(3);
        let from = if ahead { lane.chain.end().saturating_sub(u64::from(how % 8)) } else { 0 };
        let Ok(leases) = lane.lease(from, count, 1 << 20, run, self.now) else {
            return;
        };
        let mut given_back = BTreeSet::new();
        let oldest = lane.head().next_waiting(0);
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
            if self.held && lease.position == oldest {
                given_back.insert(key);
                lease.defer(Some(self.now + Duration::from_millis(1500)), true);
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
                        self.given_up.insert((self.turn, Fate::Dead, seq));
                    } else {
                        given_back.insert(key);
                        self.perhaps.insert((self.turn, Fate::Dead, seq));
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
        let before = self.delivered.insert((self.turn, key), lease.position);
        assert!(before.is_none_or(|before| before < lease.position), "key {key} out of order");
    }

    fn cut_power(&mut self) {
        self.faults.clear();
        self.parts = None;
        self.ground.cut_power(&mut self.rng);
        self.restart();
    }

    /// A start may fail, or die, once.
    fn restart(&mut self) {
        self.delivered.clear();
        // On a disk the one before would still write.
        self.parts = None;
        while self.parts.is_none() {
            self.starts += 1;
            let armed = self.faults.armed();
            match self.take_up() {
                Ok(parts) => self.parts = Some(parts),
                Err(error) => assert!(armed && !self.faults.armed(), "{error}"),
            }
            if self.faults.died() {
                self.faults.clear();
                self.parts = None;
                self.ground.cut_power(&mut self.rng);
            }
        }
    }

    fn take_up(&self) -> io::Result<Parts> {
        let lane = |name| LaneOptions {
            name: LaneName::parse(name).unwrap(),
            ordering: self.ordering,
            ttl: Some(Duration::from_millis(TTL_MS)),
        };
        let options = Options {
            data_dir: self.ground.folder(),
            gateway: "gw".into(),
            host: "host".into(),
            lanes: LANES.map(lane).to_vec(),
            segment_bytes: 3_000,
            limits: limits(&self.disk),
            dead_keep_bytes: u64::MAX,
            waiting_bytes_max: 64 << 20,
            keep: None,
            tell: true,
            packing: self.packing.clone(),
            seed: self.starts,
        };
        let stores = self.ground.stores(&options, &self.faults);
        let stream = StreamOf { id: StreamId(1), fresh: false, level: Level::NEWEST };
        recover(stores, &options, stream, self.clock.clone(), watch::Sender::new(0))
    }

    pub(super) fn save(&self) -> bool {
        keeper::save(&self.parts().lanes, &self.parts().ids, &Pulse::default()).is_ok()
    }

    /// As [`crate::queue::Queue`] does it: listed, then saved.
    fn letters(&self) -> Option<Vec<DeadLetter>> {
        let letters = self.parts().dead.list(&DeadFilter::default()).ok();
        letters.filter(|_| self.save())
    }

    fn replay(&mut self) {
        let Some(letters) = self.letters() else { return };
        for letter in letters {
            let (sender, mut receiver) = oneshot::channel();
            let answer = Answer::new(To::One(sender), Waiting::default());
            let (record, clock) = (letter.record.clone(), self.clock.clone());
            let submission = Submission::new(record, Flags::REPLAY, answer, clock.as_ref());
            let lane = lane_of(&letter.stamp.lane);
            self.commit(lane, submission.into_iter().collect());
            if let Ok(receipt) = receiver.try_recv().unwrap() {
                let id = letter.record.id.to_string();
                self.accepted.insert((lane, receipt.seq), (id, self.clock.now_ms()));
                self.leave(&letter, Leave::Replayed);
            }
        }
    }

    fn purge(&mut self) {
        let Some(letters) = self.letters() else { return };
        for letter in letters {
            self.owed.remove(letter.record.id.as_str());
            self.leave(&letter, Leave::Purged);
        }
    }

    fn leave(&mut self, letter: &DeadLetter, leave: Leave) {
        let fate = if leave == Leave::Purged { Fate::Purged } else { Fate::Replayed };
        let removed = self.parts().dead.remove(&[letter.number], leave, 1).is_ok();
        let known = if removed { &mut self.given_up } else { &mut self.perhaps };
        known.insert((lane_of(&letter.stamp.lane), fate, letter.stamp.seq));
    }

    fn drop(&mut self, but: u64, every: Option<u32>) {
        let lane = self.lane();
        let waiting = || lane.peek(0, usize::MAX);
        let Ok(before) = waiting() else { return };
        let below = lane.chain.end().saturating_sub(but);
        let (dropped, fate) = match every {
            None => (lane.drop_oldest(below), Fate::Dropped),
            Some(every) => (lane.thin(below, every), Fate::Thinned(every)),
        };
        // Of what was read again nothing is known: another fault.
        let Ok(after) = waiting() else { return self.forget(&before, fate) };
        let after: BTreeSet<u64> = after.iter().map(|entry| entry.stamp.seq).collect();
        let saved = self.save();
        let gone: Vec<_> = before.iter().filter(|e| !after.contains(&e.stamp.seq)).collect();
        assert_eq!(gone.len() as u64, dropped);
        for entry in gone {
            let seq = entry.stamp.seq;
            assert!(every.is_none_or(|every| !seq.is_multiple_of(u64::from(every))));
            let (lane_name, stream) = (lane.name.clone(), StreamId(1));
            assert_eq!(lane.place(seq), Place::Dropped { lane: lane_name, stream, seq });
            self.owed.remove(entry.record.id.as_str());
            let known = if saved { &mut self.given_up } else { &mut self.perhaps };
            known.insert((self.turn, fate, seq));
        }
    }

    /// Time passes, and what is too old goes; should the disk fail, when it would be leased.
    fn expire(&mut self, minutes: u64) {
        self.clock.0.fetch_add(minutes * 60_000, Relaxed);
        (0..LANES.len()).for_each(|lane| self.expire_in(lane));
    }

    fn expire_in(&mut self, nth: usize) {
        let lane = self.parts().lanes[nth].clone();
        let waits = |seq: &u64| lane.head().waits(*seq);
        let before: Vec<u64> = (1..lane.chain.end()).filter(waits).collect();
        let expired = lane.expire().unwrap_or(0);
        let saved = self.save();
        let gone: BTreeSet<u64> = before.iter().copied().filter(|seq| !waits(seq)).collect();
        // What was thinned in between counts with them.
        assert!(gone.len() as u64 <= expired);
        for seq in before {
            let known = (nth, Fate::Expired, seq);
            // What was refused and is there all the same has no time here.
            let accepted = self.accepted.get(&(nth, seq));
            let age_ms = accepted.map(|(_, at_ms)| self.clock.now_ms() - at_ms);
            assert!(age_ms.is_none_or(|ms| ms >= TTL_MS) || !gone.contains(&seq), "too young");
            if age_ms.is_none_or(|age_ms| age_ms >= TTL_MS) {
                if let Some((id, _)) = accepted {
                    self.owed.remove(id);
                }
                self.perhaps.insert(known);
            }
            if gone.contains(&seq) {
                let (lane_name, stream) = (lane.name.clone(), StreamId(1));
                assert_eq!(lane.place(seq), Place::Expired { lane: lane_name, stream, seq });
                self.given_up.extend(saved.then_some(known));
            }
        }
    }

    fn forget(&mut self, entries: &[Entry], fate: Fate) {
        for entry in entries {
            self.owed.remove(entry.record.id.as_str());
            self.perhaps.insert((self.turn, fate, entry.stamp.seq));
        }
    }
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
