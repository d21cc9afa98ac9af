//! The queue as the rest of the agent holds it.

mod arrival;
mod change;
mod opening;
mod replay;
mod stall;

use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spillway_protocol::message::{Stamp, StreamId};
use spillway_protocol::record::{LaneName, MessageKey, Record, RecordId};
use tokio::sync::watch;
use tokio::time::Instant;

pub use change::ChangeError;
pub use replay::{LeaveError, Replayed};

use super::api::{
    Accounts, DeadFilter, DeadLetter, Entry, Front, GivenUp, LaneFigures, OpenError, Options,
    Ordering, Place, Recovery, Run, SettleError,
};
use super::dead::{Dead, Leave};
use super::format::{Folder, Site};
use super::identity;
use super::ids::Ids;
use super::inbox::Inbox;
use super::inspect::Inspection;
use super::lane::{Lane, Settling, Tapping};
use super::lease::Lease;
use super::limits::Gate;
use super::pulse::Rounds;
use super::threads::Threads;
use crate::allocator;
use crate::clock::WallClock;
use crate::logs::Repeated;
use change::Slot;
use opening::Means;

/// The queue. Cheap to clone; [`Queue::change`] changes it and [`Queue::close`] ends it for all.
#[derive(Clone)]
pub struct Queue(Arc<Slot>);

/// The queue as it was last opened.
struct Inner {
    lanes: Vec<Arc<Lane>>,
    /// Of each lane.
    inboxes: Vec<Arc<Inbox>>,
    dead: Arc<Dead>,
    ids: Arc<Ids>,
    gate: Arc<Gate>,
    stream: StreamId,
    changed: watch::Sender<u64>,
    clock: Arc<dyn WallClock>,
    /// Bytes of records that wait for the disk, and the most there may be.
    waiting_bytes: Arc<AtomicUsize>,
    waiting_bytes_max: usize,
    /// Faults that were logged lately.
    faults: Mutex<Repeated>,
    /// Where damaged segments are put aside.
    quarantine: PathBuf,
    /// `None` once closed.
    threads: Mutex<Option<Threads>>,
    folder: Arc<Folder>,
    /// Held for its lock.
    lock: Arc<identity::Lock>,
}

impl Queue {
    /// Opens `options.data_dir` on sled: locks it, recovers, and starts a committer per lane.
    ///
    /// # Errors
    /// See [`OpenError`]. Damaged records are none: they are counted when they are reached.
    pub fn open(
        options: Options,
        clock: Arc<dyn WallClock>,
    ) -> Result<(Self, Recovery), OpenError> {
        let lock = Arc::new(identity::lock(&options.data_dir)?);
        let (inner, recovery) = Inner::open(&options, &Means::new(lock, clock))?;
        Ok((Self::of(inner), recovery))
    }

    /// The same, at a site in the locked folder.
    pub(super) fn open_at(
        options: &Options,
        site: Site,
        lock: Arc<identity::Lock>,
        clock: Arc<dyn WallClock>,
    ) -> Result<(Self, Recovery), OpenError> {
        let (inner, recovery) = Inner::open_at(options, site, &Means::new(lock, clock))?;
        Ok((Self::of(inner), recovery))
    }

    /// Lanes in the order of the options.
    pub fn lanes(&self) -> Vec<LaneName> {
        self.now().lanes.iter().map(|lane| lane.name.clone()).collect()
    }

    /// The stream that new records get.
    pub fn stream(&self) -> StreamId {
        self.now().stream
    }

    /// Up to `count` records that may be sent now, oldest first, of at most `bytes` in all (but
    /// always one). May read the disk (milliseconds): call where blocking is allowed.
    pub fn lease(&self, lane: &LaneName, count: usize, bytes: usize) -> Vec<Lease> {
        self.lease_runs(lane, count, bytes, Run::ONE)
    }

    /// The same, and where there is order, of each order key up to `run` that follow each other:
    /// they are to be sent in one message, or given back from the first on that does not go.
    pub fn lease_runs(&self, lane: &LaneName, count: usize, bytes: usize, run: Run) -> Vec<Lease> {
        let Some(lane) = self.lane(lane) else {
            return Vec::new();
        };
        self.leased(&lane, 0, (count, bytes), run)
    }

    /// The same as [`Queue::lease`], only from the position `from` on, of a lane without order.
    pub fn lease_from(&self, lane: &LaneName, from: u64, count: usize, bytes: usize) -> Vec<Lease> {
        let lane = self.lane(lane).filter(|lane| lane.head().ordering() == Ordering::None);
        lane.map(|lane| self.leased(&lane, from, (count, bytes), Run::ONE)).unwrap_or_default()
    }

    fn leased(
        &self,
        lane: &Arc<Lane>,
        from: u64,
        (count, bytes): (usize, usize),
        run: Run,
    ) -> Vec<Lease> {
        if lane.rests_until().is_some() {
            return Vec::new();
        }
        let leased = lane.lease(from, count, bytes, run, Instant::now());
        if leased.is_err() {
            lane.rest();
        }
        self.logged("the queue could not be read; it is tried again", leased).unwrap_or_default()
    }

    /// What could be leased from the position `from` on. Cheap.
    pub fn front(&self, lane: &LaneName, from: u64) -> Front {
        let Some(lane) = self.lane(lane) else { return Front::default() };
        let end = lane.chain.end();
        let (first, stretches) = lane.head().front(Instant::now(), from, end);
        Front { end, first, stretches }
    }

    /// Of a lane's waiting records, those before the position `from`, and how long the oldest of
    /// the others has waited. May read the disk.
    pub fn split(&self, lane: &LaneName, from: u64) -> (u64, Option<Duration>) {
        self.lane(lane).map(|lane| lane.split(from)).unwrap_or_default()
    }

    /// When [`Queue::lease`] is worth another call: now, or when the earliest deferred record is
    /// due. `None`: not before something changes.
    pub fn next_due(&self, lane: &LaneName) -> Option<Instant> {
        let lane = self.lane(lane)?;
        let rests_until = lane.rests_until();
        rests_until.or_else(|| lane.head().next_due(Instant::now(), lane.chain.end()))
    }

    /// What was put back for later may be leased now.
    pub fn hasten(&self, lane: &LaneName) {
        self.lane(lane).into_iter().for_each(|lane| lane.hasten());
    }

    /// Changes whenever a record was accepted, settled or put back.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.now().changed.subscribe()
    }

    /// Watches what comes into a lane and leaves it, from now on; [`Queue::changed`] says when to look.
    pub fn tapping(&self, lane: &LaneName) -> Option<Tapping> {
        Some(self.lane(lane)?.tapping())
    }

    /// A lane's accounts. Cheap.
    pub fn accounts(&self, lane: &LaneName) -> Option<Accounts> {
        Some(self.lane(lane)?.accounts())
    }

    /// How long the lane's oldest waiting record has waited, whatever the clock on the wall was set
    /// to meanwhile: time that nobody measured counts as none. `None` where nothing waits. May read
    /// the disk.
    pub fn oldest_age(&self, lane: &LaneName) -> Option<Duration> {
        self.lane(lane)?.oldest_age()
    }

    /// A lane in numbers. Reads the disk's metadata.
    pub fn figures(&self, lane: &LaneName) -> Option<LaneFigures> {
        Some(self.lane(lane)?.figures())
    }

    /// The queue to look into.
    pub fn inspection(&self) -> Inspection {
        let inner = self.now();
        let (lanes, dead, quarantine) = (&inner.lanes, &inner.dead, &inner.quarantine);
        Inspection::of(lanes.clone(), dead.clone(), quarantine.clone())
    }

    /// How many dead letters of `lane` there are for which code, the most frequent first; see
    /// [`DeadLetter::code`].
    pub fn dead_reasons(&self, lane: &LaneName) -> Vec<(String, u64)> {
        self.now().dead.reasons(lane)
    }

    /// Bytes of the dead letters' files.
    pub fn dead_disk_bytes(&self) -> u64 {
        self.now().dead.disk_bytes()
    }

    /// Waiting records from `from` (a position) on. Reads the disk.
    pub fn peek(&self, lane: &LaneName, from: u64, limit: usize) -> Vec<Entry> {
        let Some(lane) = self.lane(lane) else {
            return Vec::new();
        };
        self.logged("the queue could not be read", lane.peek(from, limit)).unwrap_or_default()
    }

    /// Where the record with this app-given id is.
    pub fn find_id(&self, id: &RecordId) -> Place {
        let found = self.id_position(id);
        found.map_or(Place::Unknown, |(lane, position)| lane.place(position))
    }

    pub(super) fn id_position(&self, id: &RecordId) -> Option<(Arc<Lane>, u64)> {
        let inner = self.now();
        let found = self.logged("the ids could not be read", inner.ids.locate(id)).flatten();
        found.map(|(lane, position)| (inner.lanes[lane].clone(), position))
    }

    /// Where the record with this number is.
    pub fn find_seq(&self, lane: &LaneName, stream: StreamId, seq: u64) -> Place {
        let Some(lane) = self.lane(lane) else {
            return Place::Unknown;
        };
        let position = self.position(&lane.name, stream, seq);
        position.map_or(Place::Unknown, |position| lane.place(position))
    }

    /// Ends once the record with this number does not wait any more, and says whether it was
    /// delivered; `None` if it is not known.
    pub fn settling(&self, lane: &LaneName, stream: StreamId, seq: u64) -> Option<Settling> {
        let lane = self.lane(lane)?;
        let position = self.position(&lane.name, stream, seq)?;
        Some(lane.clone().settling(position))
    }

    /// KEYS of the record with this number, while it is stored. Reads the disk.
    pub fn key_of(&self, lane: &LaneName, stream: StreamId, seq: u64) -> Option<MessageKey> {
        let lane = self.lane(lane)?;
        let position = self.position(&lane.name, stream, seq)?;
        let stored = self.logged("a record could not be read", lane.stored_at(position))??;
        let record = stored.1.record;
        Some(record.key.unwrap_or_else(|| (&record.id).into()))
    }

    /// A delivered record, while it is kept.
    pub(super) fn kept(
        &self,
        lane: &LaneName,
        stream: StreamId,
        seq: u64,
    ) -> std::io::Result<Option<(Stamp, Record)>> {
        let Some(lane) = self.lane(lane) else { return Ok(None) };
        let Some(position) = lane.numbering().position(stream, seq) else { return Ok(None) };
        Ok(lane.stored_at(position)?.map(|(stamp, stored)| (stamp, stored.record)))
    }

    /// The dead letters that match, oldest first. Reads the disk.
    pub fn dead_list(&self, filter: &DeadFilter) -> Vec<DeadLetter> {
        self.logged("the dead letters could not be read", self.now().dead.list(filter))
            .unwrap_or_default()
    }

    /// Gives up what matches for good: dead - n, dropped + n.
    ///
    /// # Errors
    /// The disk's; or others are taking letters out.
    pub fn dead_purge(&self, filter: &DeadFilter) -> Result<u64, LeaveError> {
        let _alone = self.leaving()?;
        let _steady = self.steady();
        let letters = self.dead_list(filter);
        self.save()?;
        let numbers: Vec<u64> = letters.iter().map(|letter| letter.number).collect();
        self.leave(&numbers, Leave::Purged)?;
        for letter in &letters {
            if let Some(lane) = self.lane(&letter.stamp.lane)
                && let Some(position) =
                    lane.numbering().position(letter.stamp.stream, letter.stamp.seq)
            {
                lane.note_purged(position);
            }
        }
        Ok(numbers.len() as u64)
    }

    fn leave(&self, numbers: &[u64], leave: Leave) -> Result<(), SettleError> {
        let removed = self.now().dead.remove(numbers, leave, self.now().clock.now_ms());
        let aside = removed.map_err(|e| SettleError::Disk(e.to_string()))?;
        self.now().changed.send_modify(|count| *count += 1);
        for folder in aside {
            tracing::warn!(folder = %folder.display(), "a damaged segment of dead letters was put aside");
        }
        Ok(())
    }

    /// What was given up, durably, and [`Queue::told`] has not named yet. It is named again after
    /// a crash that came too soon. May wait for the disk.
    pub fn untold(&self) -> Vec<GivenUp> {
        let inner = self.now();
        let lanes = inner.lanes.iter().flat_map(|lane| lane.untold());
        lanes.chain(inner.dead.untold()).collect()
    }

    /// The far side will hear of these numbers: they lie in a lane, or have arrived. May block.
    pub fn told(&self, told: &[GivenUp]) {
        let _steady = self.steady();
        for range in told.iter().filter(|range| range.fate.is_of_a_lane()) {
            self.lane(&range.lane).into_iter().for_each(|lane| lane.told(&range.grave()));
        }
        let all = told.iter().map(|range| (&range.lane, range.grave()));
        self.logged("what is told could not be noted; it is told again", self.now().dead.told(all));
    }

    /// The newest number of each stream of a lane, oldest stream first; 0 where it has none yet.
    pub fn newest_numbers(&self, lane: &LaneName) -> Vec<(StreamId, u64)> {
        let newest = |lane: Arc<Lane>| lane.numbering().newest_numbers(lane.chain.end());
        self.lane(lane).map(newest).unwrap_or_default()
    }

    /// The lanes must have noted which records are dead before letters leave: it is called once
    /// the letters are listed.
    pub(super) fn save(&self) -> Result<(), SettleError> {
        self.now().save().map_err(|e| SettleError::Disk(e.to_string()))
    }

    /// Refuses further records, commits what was submitted, saves the state. Blocks.
    pub fn close(&self) {
        self.now().close();
        allocator::trim();
    }

    /// How far its threads have come; nothing once it is closed. Cheap, and waits for no disk.
    pub fn turns(&self) -> Vec<Rounds> {
        self.now().threads().as_ref().map(Threads::turns).unwrap_or_default()
    }

    /// Logs an error, at most once a minute each.
    pub(super) fn logged<T>(&self, what: &str, result: std::io::Result<T>) -> Option<T> {
        let note = |error: &std::io::Error| {
            let inner = self.now();
            inner.folder.note(error);
            let mut faults = inner.faults.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(times_before) = faults.note(what, Instant::now()) {
                tracing::warn!(%error, times_before, "{what}");
            }
        };
        result.inspect_err(note).ok()
    }

    pub(super) fn lock(&self) -> Arc<identity::Lock> {
        self.now().lock.clone()
    }

    pub(super) fn clock(&self) -> Arc<dyn WallClock> {
        self.now().clock.clone()
    }

    pub(super) fn gate(&self) -> Arc<Gate> {
        self.now().gate.clone()
    }

    pub(super) fn all_lanes(&self) -> Vec<Arc<Lane>> {
        self.now().lanes.clone()
    }

    pub(super) fn dead(&self) -> Arc<Dead> {
        self.now().dead.clone()
    }

    pub(super) fn folder(&self) -> Arc<Folder> {
        self.now().folder.clone()
    }

    pub(super) fn lane(&self, name: &LaneName) -> Option<Arc<Lane>> {
        self.now().lanes.iter().find(|lane| lane.name == *name).cloned()
    }
}
