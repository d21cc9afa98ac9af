//! A data folder as an agent leaves it, and what was put into it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use spillway::clock::SystemClock;
use spillway::queue::{
    DeadFilter, KEY_BYTES, Keep, Keys, LaneOptions, Lease, Limits, Options, Ordering, Packing,
    Queue, Receipt, Ticket,
};
use spillway_protocol::record::{Draft, LaneName, RecordId};
use tempfile::TempDir;

use super::LANES;
use crate::powercut::cut::scratch;

/// Times that the queue is opened.
const LIVES: u64 = 3;
/// The key under which the records of some folders are sealed.
pub const KEY: [u8; KEY_BYTES] = *b"0123456789ABCDEFGHIJKLMNOPQRSTUV";
/// Rounds of work in each.
const ROUNDS: u64 = 6;

/// How a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Not yet.
    Waiting,
    /// Delivered.
    Delivered,
    /// It is the dead letter of this number.
    Dead(u64),
    /// Purged, or dropped.
    Dropped,
}

/// A record that was acknowledged.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Known {
    pub id: RecordId,
    pub app_id: bool,
    pub body: Vec<u8>,
    pub ended: Ended,
}

/// A folder, twice: as a kill leaves it, and as a stop does.
pub struct Made {
    folder: TempDir,
    /// The stream of its records.
    pub stream: String,
    /// The host that it belongs to.
    pub host: String,
    keep: Option<Keep>,
    packing: Packing,
    /// Of each lane, by number from 1.
    pub records: BTreeMap<&'static str, Vec<Known>>,
}

/// How to open a folder of these lanes.
pub fn options(
    folder: &Path,
    host: &str,
    keep: Option<Keep>,
    packing: Packing,
    seed: u64,
) -> Options {
    let orders = [Ordering::None, Ordering::Key];
    let lane =
        |(name, ordering): (&str, _)| LaneOptions { name: self::lane(name), ordering, ttl: None };
    Options {
        data_dir: folder.to_owned(),
        gateway: "gw-test".to_owned(),
        host: host.to_owned(),
        lanes: LANES.into_iter().zip(orders).map(lane).collect(),
        segment_bytes: 64 << 10,
        limits: Limits::default(),
        dead_keep_bytes: 64 << 20,
        waiting_bytes_max: 64 << 20,
        tell: true,
        keep,
        packing,
        seed,
    }
}

/// What is done to records: nothing, or everything to those of the second lane.
fn packing(sealed: bool) -> Packing {
    let lz4 = LANES.into_iter().skip(1).filter(|_| sealed).map(lane).collect();
    Packing { lz4, keys: Keys::new(Some(&KEY).filter(|_| sealed), []) }
}

/// A lane's name.
pub fn lane(name: &str) -> LaneName {
    LaneName::parse(name).unwrap()
}

/// A record with this id, or one that the agent gives.
pub fn draft(id: Option<&str>, body: &[u8]) -> Draft {
    let body = body.to_vec();
    let order_key = Some(format!("key-{}", body.len() % 5));
    Draft { id: id.map(str::to_owned), order_key, body: body.into(), ..Draft::default() }
}

impl Made {
    /// On top of `begun`, a folder in which an agent has left its small files.
    ///
    /// # Panics
    /// If the queue refuses anything.
    pub fn new(begun: &Path, rng: &mut StdRng) -> Self {
        let folder = scratch();
        let data = folder.path().join("stopped");
        copy(begun, &data);
        let identity: serde_json::Value =
            serde_json::from_slice(&fs::read(data.join("identity")).unwrap()).unwrap();
        let said = |what: &str| identity[what].as_str().unwrap().to_owned();
        let keep = Keep { bytes: 1 << 40, time_ms: u64::MAX };
        let mut made = Self {
            folder,
            stream: said("stream"),
            host: said("host"),
            keep: Some(keep).filter(|_| rng.random()),
            packing: packing(rng.random()),
            records: LANES.map(|lane| (lane, Vec::new())).into(),
        };
        for life in 0..LIVES {
            let options = made.options(&data, rng.next_u64());
            let (queue, _) = Queue::open(options, Arc::new(SystemClock)).unwrap();
            (0..ROUNDS).for_each(|_| made.work(&queue, rng));
            if life == LIVES - 1 {
                snapshot(&data, &made.folder.path().join("killed"));
            }
            queue.close();
        }
        made
    }

    /// A copy of the folder as a kill or a stop left it.
    pub fn copy(&self, killed: bool) -> TempDir {
        scratch_copy(&self.folder.path().join(if killed { "killed" } else { "stopped" }))
    }

    /// Opens a copy.
    pub fn options(&self, data: &Path, seed: u64) -> Options {
        options(data, &self.host, self.keep, self.packing.clone(), seed)
    }

    /// The record with a number, if there is one.
    pub fn known(&self, lane: &str, seq: u64) -> Option<&Known> {
        self.records.get(lane)?.get(usize::try_from(seq).ok()?.checked_sub(1)?)
    }

    fn work(&mut self, queue: &Queue, rng: &mut StdRng) {
        for lane in LANES {
            self.hand_over(queue, lane, rng);
            let count = rng.random_range(1..40);
            for lease in queue.lease(&self::lane(lane), count, 1 << 20) {
                self.end(lease, rng);
            }
        }
        self.note_letters(queue);
        match rng.random_range(0..4) {
            0 => self.purge(queue),
            1 => self.drop_oldest(queue),
            _ => {}
        }
    }

    fn hand_over(&mut self, queue: &Queue, lane: &'static str, rng: &mut StdRng) {
        let tickets: Vec<_> = (0..rng.random_range(10..40))
            .map(|_| {
                let known = fresh(rng);
                let ticket = submit(queue, lane, &known);
                (known, ticket)
            })
            .collect();
        for (known, ticket) in tickets {
            let Receipt { seq, stream, .. } = ticket.wait().unwrap();
            let records = self.records.get_mut(lane).unwrap();
            records.push(known);
            assert_eq!((seq, stream.to_string()), (records.len() as u64, self.stream.clone()));
        }
    }

    fn end(&mut self, lease: Lease, rng: &mut StdRng) {
        let (lane, seq) = (lease.stamp.lane.to_string(), lease.stamp.seq);
        match rng.random_range(0..10) {
            0..6 => {
                self.set(&lane, seq, Ended::Delivered);
                lease.ack();
            }
            6..8 => lease.dead_letter("code", "a reason").unwrap(),
            8 => lease.defer(None, true),
            _ => drop(lease),
        }
    }

    fn note_letters(&mut self, queue: &Queue) {
        for letter in queue.dead_list(&DeadFilter::default()) {
            let lane = letter.stamp.lane.to_string();
            self.set(&lane, letter.stamp.seq, Ended::Dead(letter.number));
        }
    }

    fn purge(&mut self, queue: &Queue) {
        let two = DeadFilter { limit: Some(2), ..DeadFilter::default() };
        for letter in queue.dead_list(&two) {
            self.set(letter.stamp.lane.as_str(), letter.stamp.seq, Ended::Dropped);
        }
        queue.dead_purge(&two).unwrap();
    }

    fn drop_oldest(&mut self, queue: &Queue) {
        let lane = self::lane(LANES[0]);
        let Some(last) = queue.peek(&lane, 0, 5).last().map(|entry| entry.position) else { return };
        queue.drop_oldest(&lane, last + 1);
        for known in self.records.get_mut(LANES[0]).unwrap().iter_mut().take(last as usize) {
            if known.ended == Ended::Waiting {
                known.ended = Ended::Dropped;
            }
        }
    }

    fn set(&mut self, lane: &str, seq: u64, ended: Ended) {
        self.records.get_mut(lane).unwrap()[seq as usize - 1].ended = ended;
    }
}

/// Hands a record over.
pub fn submit(queue: &Queue, lane: &str, known: &Known) -> Ticket {
    let id = known.app_id.then(|| known.id.as_str());
    let record = draft(id, &known.body).parse(|| known.id.clone()).unwrap();
    queue.submit(&self::lane(lane), record)
}

/// A record that nobody has handed over yet.
pub fn fresh(rng: &mut StdRng) -> Known {
    let bytes = match rng.random_range(0..60) {
        0 => rng.random_range(60_000..130_000),
        1..6 => rng.random_range(2_000..20_000),
        _ => rng.random_range(1..1_000),
    };
    let mut body = vec![0; bytes];
    rng.fill(&mut body[..]);
    let id = RecordId::parse(format!("{:016x}", rng.next_u64())).unwrap();
    Known { id, app_id: rng.random_range(0..3) > 0, body, ended: Ended::Waiting }
}

/// Copies a folder.
///
/// # Panics
/// If it cannot be copied.
pub fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success(), "cp of {} to {}", from.display(), to.display());
}

/// A copy of a folder that goes unless it is kept.
pub fn scratch_copy(from: &Path) -> TempDir {
    let folder = scratch();
    copy(from, &folder.path().join("data"));
    folder
}

/// Copies the folder of a queue that is open and has nothing to do, at one moment between two saves of
/// its state.
fn snapshot(from: &Path, to: &Path) {
    loop {
        let before = times(from);
        // What is removed meanwhile makes it fail.
        let copied = Command::new("cp").arg("-a").args([from, to]).stderr(Stdio::null()).status();
        if copied.unwrap().success() && times(from) == before {
            return;
        }
        fs::remove_dir_all(to).unwrap();
    }
}

fn times(folder: &Path) -> Vec<(PathBuf, Option<SystemTime>)> {
    let changed = |path: PathBuf| {
        let at = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        (path, at)
    };
    files(folder).into_iter().map(changed).collect()
}

/// All files below a folder, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}
