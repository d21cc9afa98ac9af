//! What the recorded program does: apps, drains and an operator on one queue, opened and closed
//! several times.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{scope, sleep};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use spillway::clock::SystemClock;
use spillway::queue::{
    DeadFilter, DeadLetter, KEY_BYTES, Keys, LaneOptions, Lease, Options, Ordering, Packing, Queue,
    Ticket,
};
use spillway_protocol::message::Stamp;
use spillway_protocol::record::{Draft, LaneName, Record, RecordId};
use tokio::time::Instant;

use super::marks::{Mark, Marks, Number};

/// The queue's folder below the recorded one.
pub const DATA: &str = "data";
/// Lanes and their order.
pub const LANES: [(&str, Ordering); 3] =
    [("plain", Ordering::None), ("keyed", Ordering::Key), ("strict", Ordering::Lane)];
/// Records that an app hands over before it waits for an answer.
const WINDOW: usize = 24;
const DRAINS: u64 = 2;

/// The queue in `folder`. Small segments, so that there are many; their size is the seed's.
pub fn options(folder: &Path, seed: u64) -> Options {
    let lane = |(name, ordering)| LaneOptions {
        name: LaneName::parse(name).unwrap(),
        ordering,
        ttl: None,
    };
    Options {
        data_dir: folder.to_owned(),
        gateway: "gw-cut".to_owned(),
        host: "host".to_owned(),
        lanes: LANES.map(lane).to_vec(),
        segment_bytes: (64 << 10) << (seed % 3),
        limits: Default::default(),
        dead_keep_bytes: 64 << 20,
        waiting_bytes_max: 64 << 20,
        tell: true,
        keep: None,
        packing: packing(seed),
        seed,
    }
}

/// Every second seed's records are compressed and sealed. All of them can read those.
fn packing(seed: u64) -> Packing {
    let (key, sealed) = ([7; KEY_BYTES], seed.is_multiple_of(2));
    let names = LANES.iter().map(|(name, _)| LaneName::parse(*name).unwrap());
    Packing {
        lz4: names.filter(|_| sealed).collect(),
        keys: Keys::new(Some(&key).filter(|_| sealed), [&key]),
    }
}

/// Whether a record's app gives it an id.
pub fn has_id(record: u64) -> bool {
    !record.is_multiple_of(3)
}

/// The id that a record's app gives it.
pub fn id(record: u64) -> String {
    format!("r-{record:x}")
}

/// Which record has this body.
pub fn record_of(body: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(body.get(..8)?.try_into().ok()?))
}

/// The record of this number, as its app hands it over.
pub fn fresh(record: u64) -> Record {
    self::record(record, &RecordId::parse(format!("made-{record:x}")).unwrap())
}

/// The same with the id that the agent gave it, if its app gave none.
pub fn record(record: u64, id: &RecordId) -> Record {
    let mut rng = StdRng::seed_from_u64(record);
    let bytes = match rng.random_range(0..100) {
        0 => rng.random_range(60_000..200_000),
        1..12 => rng.random_range(2_000..30_000),
        _ => rng.random_range(20..1_500),
    };
    let mut body = vec![0; bytes];
    rng.fill(&mut body[..]);
    body[..8].copy_from_slice(&record.to_le_bytes());
    let draft = Draft {
        id: has_id(record).then(|| self::id(record)),
        order_key: Some((record % 5).to_string()),
        body: body.into(),
        ..Draft::default()
    };
    draft.parse(|| id.clone()).unwrap()
}

/// A life of the program: it opens the queue so many times, and works on it until each app has
/// handed over so many records.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Life {
    pub number: u64,
    pub seed: u64,
    pub opens: u64,
    pub records: u64,
}

/// Lives it in the recorded folder `root`.
///
/// # Panics
/// If the queue does not open.
pub fn live(root: &Path, life: Life) {
    let marks = Marks::open(root);
    for open in 0..life.opens {
        let seed = life.seed.wrapping_mul(31).wrapping_add(open);
        let options = options(&root.join(DATA), seed);
        let (queue, _) = Queue::open(options, Arc::new(SystemClock)).unwrap();
        let first = (life.number * 64 + open) << 40;
        work(&queue, &marks, seed, first, life.records);
        let waiting = queue.lanes().into_iter().flat_map(|lane| queue.peek(&lane, 0, usize::MAX));
        let dead = queue.dead_list(&DeadFilter::default()).into_iter().map(|letter| letter.record);
        let present = waiting.map(|entry| entry.record).chain(dead);
        let present = present.filter_map(|record| record_of(&record.body)).collect();
        marks.put(&Mark::Present(present));
        for lane in queue.lanes() {
            let accounts = queue.accounts(&lane).unwrap();
            assert_eq!(accounts.damaged, 0, "{lane}: nothing damages it");
        }
        queue.close();
        marks.put(&Mark::Closed);
    }
}

fn work(queue: &Queue, marks: &Marks, seed: u64, first: u64, records: u64) {
    let done = &AtomicBool::new(false);
    let worker =
        |nth: u64| Worker { queue, marks, done, rng: StdRng::seed_from_u64(seed ^ (nth << 48)) };
    scope(|threads| {
        let apps = (0..4).map(|app| {
            let (lane, mut worker) = (LANES[app % LANES.len()].0, worker(app as u64));
            let first = first + ((app as u64) << 32);
            threads.spawn(move || worker.hand_over(lane, first..first + records))
        });
        let apps: Vec<_> = apps.collect();
        for drain in 0..DRAINS {
            let mut worker = worker(10 + drain);
            threads.spawn(move || worker.drain());
        }
        let mut operator = worker(20);
        threads.spawn(move || operator.operate());
        apps.into_iter().for_each(|app| app.join().unwrap());
        done.store(true, Relaxed);
    });
}

/// The number that a stamp says.
pub fn number(stamp: &Stamp) -> Number {
    (stamp.lane.to_string(), stamp.stream.to_string(), stamp.seq)
}

struct Worker<'a> {
    queue: &'a Queue,
    marks: &'a Marks,
    done: &'a AtomicBool,
    rng: StdRng,
}

impl Worker<'_> {
    fn hand_over(&mut self, lane: &str, records: std::ops::Range<u64>) {
        let lane = LaneName::parse(lane).unwrap();
        let mut window: VecDeque<(u64, Ticket)> = VecDeque::new();
        for record in records {
            self.marks.put(&Mark::Handed { record, lane: lane.to_string() });
            window.push_back((record, self.queue.submit(&lane, fresh(record))));
            let room = self.rng.random_range(0..WINDOW);
            while window.len() > room {
                let (record, ticket) = window.pop_front().unwrap();
                self.hear(record, ticket);
            }
            if self.rng.random_range(0..30) == 0 && window.is_empty() && has_id(record) {
                self.repeat(&lane, record);
            }
            self.pause(2_000);
        }
        window.into_iter().for_each(|(record, ticket)| self.hear(record, ticket));
    }

    fn hear(&self, record: u64, ticket: Ticket) {
        let receipt = match ticket.wait() {
            Ok(receipt) => receipt,
            Err(_) => return self.marks.put(&Mark::Refused { record }),
        };
        assert!(!receipt.duplicate, "{record:x} is new");
        let number = (receipt.lane.to_string(), receipt.stream.to_string(), receipt.seq);
        self.marks.put(&Mark::Stored { record, number });
    }

    fn repeat(&self, lane: &LaneName, record: u64) {
        self.marks.put(&Mark::Handed { record, lane: lane.to_string() });
        match self.queue.submit(lane, fresh(record)).wait() {
            Ok(again) if again.duplicate => {}
            // It was refused the first time.
            Ok(again) => {
                let number = (again.lane.to_string(), again.stream.to_string(), again.seq);
                self.marks.put(&Mark::Stored { record, number });
            }
            Err(_) => self.marks.put(&Mark::Refused { record }),
        }
    }

    fn drain(&mut self) {
        while !self.done.load(Relaxed) {
            let lane = LANES[self.rng.random_range(0..LANES.len())].0;
            let count = self.rng.random_range(1..20);
            for lease in self.queue.lease(&LaneName::parse(lane).unwrap(), count, 1 << 20) {
                self.end(lease);
            }
            self.pause(5_000);
        }
    }

    fn end(&mut self, lease: Lease) {
        match self.rng.random_range(0..100) {
            0..70 => {
                self.ending(&lease.record, &lease.stamp);
                lease.ack();
            }
            70..82 => {
                let ms = self.rng.random_range(0..40);
                lease.defer(Some(Instant::now() + Duration::from_millis(ms)), true);
            }
            82..90 => {
                let record = record_of(&lease.record.body).unwrap();
                if lease.dead_letter("code", "reason").is_ok() {
                    self.marks.put(&Mark::Buried { record });
                }
            }
            _ => drop(lease),
        }
    }

    fn ending(&self, record: &Record, stamp: &Stamp) {
        let record = record_of(&record.body).unwrap();
        self.marks.put(&Mark::Ending { record, number: number(stamp) });
    }

    fn operate(&mut self) {
        while !self.done.load(Relaxed) {
            self.pause(60_000);
            match self.rng.random_range(0..6) {
                0 | 1 => self.letters(Self::replay),
                2 => self.letters(Self::purge),
                3 => self.give_up(false),
                4 => self.give_up(true),
                _ => self.queue.told(&self.queue.untold()),
            }
        }
    }

    fn letters(&mut self, work: fn(&Self, &DeadFilter, &DeadLetter)) {
        let limit = Some(self.rng.random_range(1..4));
        for letter in self.queue.dead_list(&DeadFilter { limit, ..DeadFilter::default() }) {
            let one = DeadFilter { number: Some(letter.number), ..DeadFilter::default() };
            work(self, &one, &letter);
        }
    }

    fn replay(&self, one: &DeadFilter, letter: &DeadLetter) {
        let record = record_of(&letter.record.body).unwrap();
        self.marks.put(&Mark::Replaying { record, number: number(&letter.stamp) });
        // An error is a disk that fails: it may have been done or not.
        let _ = self.queue.dead_replay(one, || false);
    }

    fn purge(&self, one: &DeadFilter, letter: &DeadLetter) {
        self.ending(&letter.record, &letter.stamp);
        if self.queue.dead_purge(one).is_err() {
            return;
        }
        let record = record_of(&letter.record.body).unwrap();
        self.marks.put(&Mark::Purged { record });
    }

    /// Drops or thins what is old.
    fn give_up(&mut self, thin: bool) {
        let lane = LaneName::parse(LANES[0].0).unwrap();
        let count = self.rng.random_range(1..40);
        let entries = self.queue.peek(&lane, 0, count);
        let Some(below) = entries.last().map(|entry| entry.position + 1) else { return };
        entries.iter().for_each(|entry| self.ending(&entry.record, &entry.stamp));
        match thin {
            true => self.queue.thin(&lane, below, 3),
            false => self.queue.drop_oldest(&lane, below),
        };
    }

    fn pause(&mut self, most_us: u64) {
        sleep(Duration::from_micros(self.rng.random_range(0..most_us)));
    }
}
