//! Looks into a queue and changes nothing: into an open one, or into the folder of one that is not.
//! There it needs no free space and no right to write, and takes what an agent would find at its next
//! start; what that would settle, such as damage, is only said.

mod segment;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use spillway_protocol::message::StreamId;
use spillway_protocol::record::LaneName;
use tokio::sync::watch;
use tokio::time::Instant;

use super::api::{
    DeadFilter, DeadLetter, Entry, LaneFigures, LaneOptions, OpenError, Options, Ordering,
};
use super::cipher::KeyId;
use super::dead::Dead;
use super::format::{self, Newer, Site, Standing};
use super::identity::{self, Lock};
use super::lane::{Lane, Shared};
pub use super::quarantine::Quarantined;
use super::recover::{self, bury_again};
use super::store::read_only::ReadOnly;
use super::store::{Store, slots};
use super::{ids, lived, quarantine};
use crate::clock::WallClock;
pub use segment::{Content, Segment, SegmentError};

/// What the dead letters' chain is called.
const LETTERS: &str = "dead letters";
/// A file that is being written is read again so often before it counts as damaged.
const TRIES: usize = 5;

/// Whether these bytes of a file are damaged.
type Judge = fn(&[u8]) -> bool;

/// Most of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Records.
    pub records: usize,
    /// Bytes of their bodies at which it ends.
    pub body_bytes: usize,
}

/// Waiting records.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The records, oldest first.
    pub entries: Vec<Entry>,
    /// Positions between them that wait and cannot be read, the second of each exclusive.
    pub lost: Vec<(u64, u64)>,
    /// Positions between them that wait and are sealed with a key that is not here.
    pub locked: Vec<Locked>,
    /// Where the next page begins, if there may be one.
    pub next: Option<u64>,
}

/// What was read to see whether it can be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Records that can be read, whether they wait or are only kept.
    pub records: u64,
    /// Positions that wait and cannot be read, the second of each exclusive.
    pub lost: Vec<(u64, u64)>,
    /// Records that are whole, and sealed with a key that is not here.
    pub locked: BTreeMap<KeyId, u64>,
    /// Where to go on: the time was over.
    pub next: Option<u64>,
}

/// Positions, the second exclusive, that are sealed with a key that is not here.
pub type Locked = ((u64, u64), KeyId);

/// Adds to `all` what follows it or stands by itself.
pub(super) fn lock_out(all: &mut Vec<Locked>, ((from, to), key): Locked) {
    match all.last_mut() {
        Some(((_, end), known)) if *end == from && *known == key => *end = to,
        _ => all.push(((from, to), key)),
    }
}

/// See the module.
#[derive(Clone)]
pub struct Inspection {
    lanes: Vec<Arc<Lane>>,
    dead: Arc<Dead>,
    quarantine: PathBuf,
    /// By lane, where no agent runs.
    unreadable: Vec<String>,
    /// How the folder stands, where no agent runs and that is known.
    standing: Option<Standing>,
    /// No agent starts meanwhile.
    _lock: Option<Arc<Lock>>,
}

impl Inspection {
    pub(super) fn of(lanes: Vec<Arc<Lane>>, dead: Arc<Dead>, quarantine: PathBuf) -> Self {
        Self { lanes, dead, quarantine, unreadable: Vec::new(), standing: None, _lock: None }
    }

    /// Of the data folder of `options`, on which no agent runs. Lanes that the options do not name
    /// come behind those that they do.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(options: &Options, clock: Arc<dyn WallClock>) -> Result<Self, OpenError> {
        let lock = identity::lock_to_look(&options.data_dir)?;
        let site = format::site(&options.data_dir);
        let opened = match Self::open_at(options, site.clone(), clock.clone()) {
            // As an agent would: of old segments only what is needed is read.
            Err(OpenError::Newer { path, format }) if site.newer.is_none() => {
                let newer = Newer { path, version: format };
                Self::open_at(options, Site::beside(&options.data_dir, newer), clock)
            }
            opened => opened,
        };
        Ok(Self { _lock: lock.map(Arc::new), ..opened? })
    }

    fn open_at(
        options: &Options,
        site: Site,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, OpenError> {
        let standing = format::standing(&options.data_dir, site.clone()).map_err(|source| {
            let remedy = "run this as a user who may read it";
            OpenError::Io { path: options.data_dir.clone(), source, remedy }
        })?;
        let data = &site.root;
        let stream = identity::stream_known(data).unwrap_or(StreamId(0));
        let remedy = "run this as a user who may read it, and see that the disk works";
        let within = &Options { data_dir: data.clone(), ..options.clone() };
        let failed = |source| recover::failed(within, source, remedy);
        fs::read_dir(&options.data_dir).map_err(failed)?;
        let options = within;
        let mut unreadable = Vec::new();
        let mut note = |name: &str, store: &ReadOnly| {
            unreadable.extend(store.unreadable().iter().map(|folder| format!("{name}: {folder}")));
        };
        let store = Arc::new(ReadOnly::new(&data.join("dead")));
        let rng = StdRng::seed_from_u64(options.seed);
        let dead = Dead::recover(store.clone(), options, clock.now_ms(), rng).map_err(failed)?;
        note(LETTERS, &store);
        let shared = Shared {
            gateway: options.gateway.clone(),
            stream,
            dead: Arc::new(dead),
            keys: options.packing.keys.clone(),
            clock,
            changed: watch::Sender::new(0),
            tell: options.tell,
            keeps: true,
        };
        let mut lanes = Vec::new();
        for (index, lane) in all_lanes(options).iter().enumerate() {
            let folder = data.join("lanes").join(lane.name.as_str());
            let store = Arc::new(ReadOnly::new(&folder));
            let lane = Lane::recover(lane, index, store.clone(), &shared).map_err(failed)?;
            note(lane.name.as_str(), &store);
            bury_again(&lane, &shared.dead).map_err(failed)?;
            lanes.push(Arc::new(lane));
        }
        let quarantine = quarantine::folder(data);
        let dead = shared.dead;
        Ok(Self { lanes, dead, quarantine, unreadable, standing, _lock: None })
    }

    /// The lanes.
    pub fn lanes(&self) -> Vec<LaneName> {
        self.lanes.iter().map(|lane| lane.name.clone()).collect()
    }

    /// A lane in numbers. Reads the disk's metadata.
    pub fn figures(&self, lane: &LaneName) -> Option<LaneFigures> {
        Some(self.lane(lane)?.figures())
    }

    /// Waiting records from `from` (a position) on. Reads the disk.
    ///
    /// # Errors
    /// The disk's. Damage is none.
    pub fn page(&self, lane: &LaneName, from: u64, room: Room) -> io::Result<Page> {
        self.lane(lane).map_or(Ok(Page::default()), |lane| lane.page(from, room))
    }

    /// Reads what is stored of a lane from `from` (a position) on, until the time is over.
    ///
    /// # Errors
    /// The disk's. Damage is none.
    pub fn check(&self, lane: &LaneName, from: u64, until: Instant) -> io::Result<Checked> {
        self.lane(lane).map_or(Ok(Checked::default()), |lane| lane.check(from, until))
    }

    /// The dead letters that match, oldest first. Reads the disk.
    ///
    /// # Errors
    /// The disk's. Damage is none.
    pub fn letters(&self, filter: &DeadFilter) -> io::Result<Vec<DeadLetter>> {
        self.dead.list(filter)
    }

    /// How many dead letters can be read, and the numbers of those that cannot.
    ///
    /// # Errors
    /// The disk's. Damage is none.
    pub fn check_letters(&self) -> io::Result<(u64, Vec<u64>)> {
        self.dead.check()
    }

    /// How many dead letters are sealed with a key that is not here, and which one.
    pub fn locked_letters(&self) -> Option<(u64, KeyId)> {
        self.dead.locked_by()
    }

    /// Saved states and tables of ids that are damaged, by lane, each of which has a substitute; and
    /// segments that an agent would put aside at its start, since nothing in them is whole.
    ///
    /// # Errors
    /// The disk's.
    pub fn damaged_files(&self) -> io::Result<Vec<String>> {
        let mut damaged = self.unreadable.clone();
        let lanes = self.lanes.iter().map(|lane| (lane.name.as_str(), lane.chain.store()));
        for (name, store) in lanes.chain([(LETTERS, self.dead.store())]) {
            let kinds = [
                ("state-", slots::is_damaged as Judge),
                ("ids-", ids::is_damaged),
                ("lived", lived::is_damaged),
            ];
            for (prefix, is_damaged) in kinds {
                for file in store.files(prefix)? {
                    if stays_damaged(store.as_ref(), &file, is_damaged)? {
                        damaged.push(format!("{name}: {file}"));
                    }
                }
            }
        }
        Ok(damaged)
    }

    /// How the folder stands, where no agent runs and that is known.
    pub fn standing(&self) -> Option<&Standing> {
        self.standing.as_ref()
    }

    /// What was put aside.
    pub fn quarantined(&self) -> Quarantined {
        quarantine::look(&self.quarantine)
    }

    fn lane(&self, name: &LaneName) -> Option<&Arc<Lane>> {
        self.lanes.iter().find(|lane| lane.name == *name)
    }
}

fn stays_damaged(store: &dyn Store, file: &str, is_damaged: Judge) -> io::Result<bool> {
    for _ in 0..TRIES {
        match store.load_file(file) {
            Ok(bytes) if !is_damaged(&bytes) => return Ok(false),
            Ok(_) => {}
            // It has gone, as tables do.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// The lanes of the options, and those that have a folder beside.
pub(super) fn all_lanes(options: &Options) -> Vec<LaneOptions> {
    let mut lanes = options.lanes.clone();
    let folders = fs::read_dir(options.data_dir.join("lanes")).into_iter().flatten().flatten();
    let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
    let mut others: Vec<LaneName> = names
        .filter_map(|name| LaneName::parse(name).ok())
        .filter(|name| lanes.iter().all(|lane| lane.name != *name))
        .collect();
    others.sort();
    lanes.extend(others.into_iter().map(|name| LaneOptions {
        name,
        ordering: Ordering::None,
        ttl: None,
    }));
    lanes
}
