//! The queue as the rest of the agent holds it.

mod arrival;
mod stall;

use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use spillway_protocol::message::{Flags, Stamp, StreamId};
use spillway_protocol::record::{LaneName, Record, RecordId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::api::{
    Accounts, DeadFilter, DeadLetter, Entry, Front, GivenUp, LaneFigures, OpenError, Options,
    Ordering, Place, Recovery, Run, SettleError, Ticket,
};
use super::dead::{Dead, Leave};
use super::doubt;
use super::format::{self, Folder, Newer, Site, gate};
use super::identity;
use super::ids::Ids;
use super::inbox::Inbox;
use super::inspect::Inspection;
use super::keeper;
use super::lane::{Lane, Settling, Tapping};
use super::lease::Lease;
use super::limits::Gate;
use super::pulse::{Pulse, Rounds};
use super::quarantine;
use super::recover::{self, Parts};
use super::store::disk::make_folder;
use super::threads::Threads;
use crate::allocator;
use crate::clock::WallClock;
use crate::logs::Repeated;

/// Letters that are replayed before their leaving is saved.
const REPLAY_BATCH: usize = 64;

/// The queue. Cheap to clone; [`Queue::close`] ends it for all.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

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
    folder: Folder,
    /// Held for its lock.
    lock: Arc<identity::Lock>,
}

/// Who holds no queue any more sends nothing: its threads end.
impl Drop for Inner {
    fn drop(&mut self) {
        self.inboxes.iter().for_each(|inbox| inbox.close());
    }
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
        let site = format::site(&options.data_dir);
        match Self::open_at(&options, site.clone(), lock.clone(), clock.clone()) {
            Err(OpenError::Newer { path, format }) if site.newer.is_none() => {
                let newer = Newer { path, version: format };
                // Another stream than the one that the first try may have drawn.
                let options = Options { seed: options.seed.wrapping_add(1), ..options };
                Self::open_at(&options, Site::beside(&options.data_dir, newer), lock, clock)
            }
            opened => opened,
        }
    }

    /// The same, at a site in the locked folder.
    pub(super) fn open_at(
        options: &Options,
        site: Site,
        lock: Arc<identity::Lock>,
        clock: Arc<dyn WallClock>,
    ) -> Result<(Self, Recovery), OpenError> {
        let options = &Options { data_dir: site.root.clone(), ..options.clone() };
        let fail = |source, remedy| recover::failed(options, source, remedy);
        make_folder(&site.root).map_err(|e| fail(e, "let the agent's user write its parent"))?;
        let mut rng = StdRng::seed_from_u64(options.seed);
        let stream = identity::stream(&options.data_dir, &options.host, &mut rng)?;
        let options = &gate::allowed(options, stream.level)?;
        let readable = "see that the agent's user may read it and that the disk works";
        let stream = doubt::resolve(options, stream, &mut rng).map_err(|e| fail(e, readable))?;
        let stores = recover::stores(options, &lock.anchor)?;
        let changed = watch::Sender::new(0);
        let parts = recover::recover(stores, options, stream, clock.clone(), changed.clone());
        let Parts { lanes, committers, dead, ids, gate, mut recovery } =
            parts.map_err(|e| fail(e, readable))?;
        let quarantine = quarantine::folder(&options.data_dir);
        recovery.orphans = recover::orphans(options, &lock.anchor);
        let kept = (lanes.clone(), ids.clone(), dead.clone(), options.keep, clock.clone());
        let keep = move |stop: &_, pulse: &_| {
            keeper::run(&kept.0, &kept.1, &kept.2, kept.3, kept.4.as_ref(), (stop, pulse));
        };
        let threads = Threads::start(committers, keep);
        let (threads, inboxes) = threads.map_err(|e| fail(e, "raise the limit on threads"))?;
        let threads = Mutex::new(Some(threads));
        let inner = Inner {
            lanes,
            inboxes,
            dead,
            ids,
            gate,
            stream: stream.id,
            changed,
            clock,
            faults: Mutex::default(),
            waiting_bytes: Arc::default(),
            waiting_bytes_max: options.waiting_bytes_max,
            quarantine,
            threads,
            folder: Folder::new(site, stream.level),
            lock,
        };
        Ok((Self(Arc::new(inner)), recovery))
    }

    /// Lanes in the order of the options.
    pub fn lanes(&self) -> Vec<LaneName> {
        self.0.lanes.iter().map(|lane| lane.name.clone()).collect()
    }

    /// The stream that new records get.
    pub fn stream(&self) -> StreamId {
        self.0.stream
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
        self.leased(lane, 0, (count, bytes), run)
    }

    /// The same as [`Queue::lease`], only from the position `from` on, of a lane without order.
    pub fn lease_from(&self, lane: &LaneName, from: u64, count: usize, bytes: usize) -> Vec<Lease> {
        let lane = self.lane(lane).filter(|lane| lane.head().ordering() == Ordering::None);
        lane.map(|lane| self.leased(lane, from, (count, bytes), Run::ONE)).unwrap_or_default()
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
        self.0.changed.subscribe()
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
        let (lanes, dead, quarantine) = (&self.0.lanes, &self.0.dead, &self.0.quarantine);
        Inspection::of(lanes.clone(), dead.clone(), quarantine.clone())
    }

    /// How many dead letters of `lane` there are for which code, the most frequent first; see
    /// [`DeadLetter::code`].
    pub fn dead_reasons(&self, lane: &LaneName) -> Vec<(String, u64)> {
        self.0.dead.reasons(lane)
    }

    /// Bytes of the dead letters' files.
    pub fn dead_disk_bytes(&self) -> u64 {
        self.0.dead.disk_bytes()
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

    pub(super) fn id_position(&self, id: &RecordId) -> Option<(&Arc<Lane>, u64)> {
        let found = self.logged("the ids could not be read", self.0.ids.locate(id)).flatten();
        found.map(|(lane, position)| (&self.0.lanes[lane], position))
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
        self.logged("the dead letters could not be read", self.0.dead.list(filter))
            .unwrap_or_default()
    }

    /// Appends what matches to its lane again (flag `replay`) and then takes it out of the dead
    /// letters. Blocks. Returns how many; letters of lanes that are gone stay where they are.
    pub fn dead_replay(&self, filter: &DeadFilter) -> Result<u64, SettleError> {
        let mut replayed = 0;
        let mut letters = self.dead_list(filter);
        self.save()?;
        letters.retain(|letter| self.lane(&letter.stamp.lane).is_some());
        for batch in letters.chunks(REPLAY_BATCH) {
            let again = |letter: &DeadLetter| {
                let (lane, flags) = (&letter.stamp.lane, letter.stamp.flags.with(Flags::REPLAY));
                (letter.number, self.submit_flagged(lane, letter.record.clone(), flags))
            };
            let tickets: Vec<_> = batch.iter().map(again).collect();
            let stored = |(number, ticket): (u64, Ticket)| ticket.wait().is_ok().then_some(number);
            let numbers: Vec<u64> = tickets.into_iter().filter_map(stored).collect();
            self.leave(&numbers, Leave::Replayed)?;
            replayed += numbers.len() as u64;
            if numbers.len() < batch.len() {
                break;
            }
        }
        Ok(replayed)
    }

    /// Gives up what matches for good: dead - n, dropped + n.
    pub fn dead_purge(&self, filter: &DeadFilter) -> Result<u64, SettleError> {
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
        let removed = self.0.dead.remove(numbers, leave, self.0.clock.now_ms());
        let aside = removed.map_err(|e| SettleError::Disk(e.to_string()))?;
        self.0.changed.send_modify(|count| *count += 1);
        for folder in aside {
            tracing::warn!(folder = %folder.display(), "a damaged segment of dead letters was put aside");
        }
        Ok(())
    }

    /// What was given up, durably, and [`Queue::told`] has not named yet. It is named again after
    /// a crash that came too soon. May wait for the disk.
    pub fn untold(&self) -> Vec<GivenUp> {
        let lanes = self.0.lanes.iter().flat_map(|lane| lane.untold());
        lanes.chain(self.0.dead.untold()).collect()
    }

    /// The far side will hear of these numbers: they lie in a lane, or have arrived. May block.
    pub fn told(&self, told: &[GivenUp]) {
        for range in told.iter().filter(|range| range.fate.is_of_a_lane()) {
            self.lane(&range.lane).into_iter().for_each(|lane| lane.told(&range.grave()));
        }
        let all = told.iter().map(|range| (&range.lane, range.grave()));
        self.logged("what is told could not be noted; it is told again", self.0.dead.told(all));
    }

    /// The newest number of each stream of a lane, oldest stream first; 0 where it has none yet.
    pub fn newest_numbers(&self, lane: &LaneName) -> Vec<(StreamId, u64)> {
        let newest = |lane: &Arc<Lane>| lane.numbering().newest_numbers(lane.chain.end());
        self.lane(lane).map(newest).unwrap_or_default()
    }

    /// The lanes must have noted which records are dead before letters leave: it is called once
    /// the letters are listed.
    pub(super) fn save(&self) -> Result<(), SettleError> {
        keeper::save(&self.0.lanes, &self.0.ids, &Pulse::default())
            .map_err(|e| SettleError::Disk(e.to_string()))
    }

    /// Refuses further records, commits what was submitted, saves the state. Blocks.
    pub fn close(&self) {
        let Some(threads) = self.threads().take() else {
            return;
        };
        self.0.inboxes.iter().for_each(|inbox| inbox.close());
        threads.join();
        self.0.dead.close();
        // Twice: segments that are done go once both slots of the state know it.
        for _ in 0..2 {
            if let Err(error) = self.save() {
                tracing::warn!(%error, "the state could not be saved; some records may be sent again");
            }
        }
        allocator::trim();
    }

    /// How far its threads have come; nothing once it is closed. Cheap, and waits for no disk.
    pub fn turns(&self) -> Vec<Rounds> {
        self.threads().as_ref().map(Threads::turns).unwrap_or_default()
    }

    /// Logs an error, at most once a minute each.
    pub(super) fn logged<T>(&self, what: &str, result: std::io::Result<T>) -> Option<T> {
        let note = |error: &std::io::Error| {
            self.0.folder.note(error);
            let mut faults = self.0.faults.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(times_before) = faults.note(what, Instant::now()) {
                tracing::warn!(%error, times_before, "{what}");
            }
        };
        result.inspect_err(note).ok()
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.0.folder
    }

    pub(super) fn lock(&self) -> &Arc<identity::Lock> {
        &self.0.lock
    }

    pub(super) fn clock(&self) -> &Arc<dyn WallClock> {
        &self.0.clock
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    pub(super) fn all_lanes(&self) -> &[Arc<Lane>] {
        &self.0.lanes
    }

    pub(super) fn dead(&self) -> &Dead {
        &self.0.dead
    }

    pub(super) fn lane(&self, name: &LaneName) -> Option<&Arc<Lane>> {
        self.0.lanes.iter().find(|lane| lane.name == *name)
    }

    fn threads(&self) -> MutexGuard<'_, Option<Threads>> {
        self.0.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
