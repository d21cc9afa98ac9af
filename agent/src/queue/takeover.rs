//! Takes over what was stored in a folder beside while a newer agent's could not be read.
//!
//! Its records go to the end of their lanes, in their order and as they were accepted, under new
//! numbers; the far side is told that the old ones will not come. Its dead letters come among
//! ours, and what it had given up and not told is told by us. What is taken over is durable here
//! before it is settled there: after a crash in between a record may be there twice, under one id.

use std::fs;
use std::io;
use std::mem::take;
use std::path::{Path, PathBuf};

use spillway_protocol::message::Stamp;
use spillway_protocol::record::{IdOrigin, LaneName, Record};

use super::api::{
    AppendError, DeadFilter, DeadLetter, Fate, GivenUp, LaneOptions, OpenError, Options, Ordering,
    Packing, Place, SettleError, Ticket,
};
use super::cipher::KeyId;
use super::entry::{Copied, Letter, Origin, Stored};
use super::format::{self, Feature, Level, Site};
use super::handle::Queue;
use super::inspect::all_lanes;
use super::lease::Lease;
use super::limits::Limits;
use super::quarantine;
use super::store::disk::sync;

/// Records that are taken over at once.
const BATCH: usize = 256;
/// Bytes of them at which a batch ends.
const BATCH_BYTES: usize = 4 << 20;
/// Begins the name of a folder that was taken over and is being removed.
const GONE: &str = "gone-";

/// A folder beside, opened to be taken over.
pub struct Takeover {
    into: Queue,
    beside: Queue,
    folder: PathBuf,
    waited: u64,
}

/// What keeps something in a folder beside. It is tried again at the next start.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// Its lane takes no more.
    #[error("lane {lane} does not take it: {source}")]
    Refused {
        /// The lane.
        lane: LaneName,
        /// Why.
        source: AppendError,
    },
    /// The configuration has no such lane.
    #[error("{waiting} records wait in lane {lane}, which is not configured; configure it")]
    NoLane {
        /// The lane.
        lane: LaneName,
        /// How many.
        waiting: u64,
    },
    /// They cannot be read at this moment.
    #[error(
        "{waiting} records of lane {lane} cannot be read; see that the disk works and their key is there"
    )]
    Unread {
        /// The lane.
        lane: LaneName,
        /// How many.
        waiting: u64,
    },
    /// Their key is not here.
    #[error(
        "{letters} dead letters are sealed with the key {key}; add it to [gateway] former_keys"
    )]
    Locked {
        /// How many.
        letters: u64,
        /// The key.
        key: KeyId,
    },
    /// Somebody said so.
    #[error("it was broken off, and goes on at the next start")]
    BrokenOff,
    /// The dead letters do not take any more.
    #[error(transparent)]
    Letters(#[from] SettleError),
    /// The disk's.
    #[error("{path}: {source}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Takeover {
    /// Opens the folders beside `into` whose records may come into it: those that are written at
    /// its level or an earlier one. `options` are those of `into`.
    pub fn open_all(into: &Queue, options: &Options) -> Vec<(PathBuf, Result<Self, OpenError>)> {
        let standing = into.standing();
        if standing.aside {
            return Vec::new();
        }
        clear(into.folder().data_dir());
        let fits = |folder: &PathBuf| {
            let level = format::level_of(folder).unwrap_or(Level::NEWEST);
            level <= standing.level
        };
        let (fitting, others): (Vec<_>, Vec<_>) = standing.beside.into_iter().partition(fits);
        for folder in others {
            let folder = folder.display();
            tracing::error!(%folder, "what waits there needs a newer format than the data folder has; commit it: spillway upgrade --commit");
        }
        let open = |folder: PathBuf| {
            let opened = Self::open(into, options, folder.clone());
            (folder, opened)
        };
        fitting.into_iter().map(open).collect()
    }

    fn open(into: &Queue, options: &Options, folder: PathBuf) -> Result<Self, OpenError> {
        let options = Options { data_dir: folder.clone(), ..options.clone() };
        let unordered = |lane: LaneOptions| LaneOptions { ordering: Ordering::None, ..lane };
        let lanes = all_lanes(&options).into_iter().map(unordered).collect();
        // Nothing is appended, and nothing that is settled has to stay.
        let keys = &options.packing.keys;
        let seals = format::level_of(&folder).is_some_and(|l| l.allows(Feature::Encryption));
        let keys = if seals { keys.clone() } else { keys.to_read() };
        let packing = Packing { keys, ..Packing::default() };
        let limits = Limits::default();
        let options = Options { lanes, limits, packing, keep: None, tell: true, ..options };
        let site = Site { root: folder.clone(), newer: None };
        let (beside, recovery) = Queue::open_at(&options, site, into.lock(), into.clock())?;
        Ok(Self { into: into.clone(), beside, folder, waited: recovery.waiting })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Records that waited in it when it was opened.
    pub fn waited(&self) -> u64 {
        self.waited
    }

    /// Takes over what waits in the lanes that `wanted` names, while `go_on` says so. Blocks.
    ///
    /// # Errors
    /// See [`TakeoverError`]. Other lanes than the one that it names were taken over.
    pub fn lanes(
        &self,
        wanted: impl Fn(&LaneName) -> bool,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), TakeoverError> {
        let lanes = self.beside.lanes().into_iter().filter(wanted);
        // Each is tried; the first error is told.
        lanes.map(|lane| self.lane(&lane, go_on)).fold(Ok(()), Result::and)
    }

    fn lane(&self, lane: &LaneName, go_on: &dyn Fn() -> bool) -> Result<(), TakeoverError> {
        loop {
            if !go_on() {
                return Err(TakeoverError::BrokenOff);
            }
            let waiting = self.beside.accounts(lane).map_or(0, |accounts| accounts.waiting);
            if waiting == 0 {
                return Ok(());
            }
            if self.into.lane(lane).is_none() {
                return Err(TakeoverError::NoLane { lane: lane.clone(), waiting });
            }
            let leases = self.beside.lease(lane, BATCH, BATCH_BYTES);
            if leases.is_empty() {
                return Err(TakeoverError::Unread { lane: lane.clone(), waiting });
            }
            self.batch(lane, leases)?;
        }
    }

    fn batch(&self, lane: &LaneName, leases: Vec<Lease>) -> Result<(), TakeoverError> {
        let (mut tickets, mut taken) = (Vec::new(), Vec::new());
        let mut result = Ok(());
        for lease in leases {
            // One that is brought again must not come behind those that follow it.
            let alone = self.may_be_reused(&lease, &tickets);
            tickets.push((self.submit(lane, &lease, None), lease));
            if alone {
                result = self.stored(lane, take(&mut tickets), &mut taken);
                if result.is_err() {
                    break;
                }
            }
        }
        let rest = self.stored(lane, tickets, &mut taken);
        self.tell_moved(lane, &taken)?;
        taken.into_iter().for_each(Lease::ack);
        let refused = |source| TakeoverError::Refused { lane: lane.clone(), source };
        result.and(rest).map_err(refused)
    }

    /// Whether the id of a record may be that of another, among those on their way too.
    fn may_be_reused(&self, lease: &Lease, on_their_way: &[(Ticket, Lease)]) -> bool {
        let record = &lease.record;
        let same = |(_, other): &(Ticket, Lease)| other.record.id == record.id;
        record.id_origin == IdOrigin::App
            && (on_their_way.iter().any(same) || self.into.find_id(&record.id) != Place::Unknown)
    }

    /// Waits for records on their way, and adds those that are stored to `taken`.
    fn stored(
        &self,
        lane: &LaneName,
        tickets: Vec<(Ticket, Lease)>,
        taken: &mut Vec<Lease>,
    ) -> Result<(), AppendError> {
        let mut result = Ok(());
        for (ticket, lease) in tickets {
            let stored = match ticket.wait() {
                // Its app gave the id twice, where the other use of it was not known.
                Err(AppendError::IdReused { .. }) => {
                    self.submit(lane, &lease, Some(IdOrigin::Agent)).wait()
                }
                stored => stored,
            };
            match stored {
                Ok(_) => taken.push(lease),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// A copy stays one, with the number of its record.
    fn submit(&self, lane: &LaneName, lease: &Lease, id_origin: Option<IdOrigin>) -> Ticket {
        let (stamp, mut record) = (&lease.stamp, lease.record.clone());
        record.id_origin = id_origin.unwrap_or(record.id_origin);
        let stored = stored(stamp, record);
        if stamp.lane == *lane {
            return self.into.submit_stored(lane, stored);
        }
        let origin = Origin { lane: stamp.lane.clone(), stream: stamp.stream.0, seq: stamp.seq };
        self.into.submit_copy(lane, Copied { origin, stored })
    }

    /// The far side does not wait for their numbers.
    fn tell_moved(&self, lane: &LaneName, taken: &[Lease]) -> Result<(), TakeoverError> {
        let at_ms = self.into.clock().now_ms();
        let moved = taken.iter().filter(|lease| lease.stamp.lane == *lane);
        let told = moved.map(|Lease { stamp, .. }| GivenUp {
            lane: lane.clone(),
            stream: stamp.stream,
            from: stamp.seq,
            to: stamp.seq,
            fate: Fate::Replayed,
            first_ms: at_ms,
            last_ms: at_ms,
        });
        let told: Vec<GivenUp> = told.collect();
        self.into.dead().bequeath(&told).map_err(|source| self.io(source))
    }

    /// Takes over the dead letters and what is to be told, and removes the folder if nothing is
    /// left in it. Blocks.
    ///
    /// # Errors
    /// See [`TakeoverError`]; the folder is still there.
    pub fn finish(&self) -> Result<(), TakeoverError> {
        for lane in self.beside.lanes() {
            let waiting = self.beside.accounts(&lane).map_or(0, |accounts| accounts.waiting);
            if waiting > 0 {
                return Err(TakeoverError::Unread { lane, waiting });
            }
        }
        let dead = self.beside.dead();
        if let Some((letters, key)) = dead.locked_by() {
            return Err(TakeoverError::Locked { letters, key });
        }
        // What is to be told is what is saved.
        self.beside.save()?;
        self.into.dead().bequeath(&self.beside.untold()).map_err(|source| self.io(source))?;
        let letters = dead.list(&DeadFilter::default()).map_err(|source| self.io(source))?;
        for letter in letters {
            self.into.dead().adopt(&adopted(letter))?;
        }
        self.beside.close();
        quarantine::take_over(&self.folder, self.into.folder().data_dir())
            .map_err(|source| self.io(source))?;
        self.remove().map_err(|source| self.io(source))
    }

    /// Half of it must not be found at the next start.
    fn remove(&self) -> io::Result<()> {
        let folder = self.into.folder();
        let data_dir = folder.data_dir();
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let gone = data_dir.join(format!("{GONE}{name}"));
        fs::rename(&self.folder, &gone)?;
        sync(data_dir)?;
        fs::remove_dir_all(gone)
    }

    fn io(&self, source: io::Error) -> TakeoverError {
        TakeoverError::Io { path: self.folder.clone(), source }
    }
}

/// What was taken over is noted.
impl Drop for Takeover {
    fn drop(&mut self) {
        self.beside.close();
    }
}

/// Removes what an earlier run had begun to remove.
fn clear(data_dir: &Path) {
    let entries = fs::read_dir(data_dir).into_iter().flatten().flatten();
    let gone = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(GONE));
    gone.for_each(|entry| drop(fs::remove_dir_all(entry.path())));
}

fn stored(stamp: &Stamp, record: Record) -> Stored<Record> {
    let (accepted_ms, clock_set) = (stamp.accepted_ms, stamp.clock_set);
    Stored { accepted_ms, clock_set, flags: stamp.flags.bits(), record }
}

/// A letter that stood in no lane of ours.
fn adopted(letter: DeadLetter) -> Letter {
    let DeadLetter { record, stamp, code, reason, died_ms, attempts, .. } = letter;
    Letter {
        lane: stamp.lane.clone(),
        position: u64::MAX - stamp.seq,
        stream: stamp.stream.0,
        seq: stamp.seq,
        died_ms,
        attempts,
        code,
        reason,
        stored: stored(&stamp, record),
    }
}
