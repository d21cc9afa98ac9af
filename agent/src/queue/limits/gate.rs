//! Whether a lane may store so many bytes more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use spillway_protocol::record::LaneName;
use tokio::time::Instant;

use super::allot::caps;
use super::short::Short;
use super::{Claim, LaneLimits, Limits, Room, Space};
use crate::config::{Share, WhenFull};
use crate::queue::chain::Tail;

/// The file system is asked no oftener, but before each new segment.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// So many files a segment may need, with the table of its ids.
pub(super) const SEGMENT_INODES: u64 = 8;
/// Most inodes that are left to others.
const INODES_MOST: u64 = 4096;
/// A lane is kept in about so many segments at least, so that its bound can be held by whole files.
const SEGMENTS: u64 = 8;
const SEGMENT_LEAST_BYTES: u64 = 64 * 1024;
/// A full lane takes records again once one part in so many of its bound is free. What the open
/// segment takes up is an estimate until it is closed: without this, one record would be taken now
/// and then between those that are refused.
const FREE_AGAIN: u64 = 16;

/// See the module.
pub(in crate::queue) struct Gate {
    disk: Share,
    keep_free: Share,
    space: Option<Arc<dyn Space>>,
    /// By lane, in the order of the queue's.
    lanes: Vec<Option<LaneLimits>>,
    /// Of these, those whose part goes to the others once they are empty.
    passing: Vec<bool>,
    seen: Mutex<Seen>,
    /// What each lane was refused last, and nothing was stored since.
    refused: Mutex<Vec<Option<Want>>>,
}

/// The last look at the file system.
#[derive(Default)]
struct Seen {
    at: Option<Instant>,
    room: Option<Room>,
    caps: Vec<u64>,
    /// The same without lanes that pass.
    lasting: Vec<u64>,
    /// Bytes stored since.
    taken_bytes: u64,
    /// Room was made, and the file system has not shown it yet: no more is made before.
    wait_until: Option<Instant>,
}

/// What a lane wants to store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::queue) struct Want {
    /// Bytes on disk.
    pub(in crate::queue) bytes: u64,
    /// A new segment has to begin.
    pub(in crate::queue) begins: bool,
    /// Bytes of the open segment, as its writer counts them.
    pub(in crate::queue) open_bytes: u64,
}

impl Gate {
    /// For these lanes, in the order of the queue's; in the second ones something waits.
    pub(in crate::queue) fn new(limits: &Limits, lanes: &[(LaneName, bool)]) -> Self {
        let passing = lanes.iter().map(|(name, _)| limits.retired.contains(name)).collect();
        let lanes: Vec<_> = lanes.iter().map(|(name, waits)| limits.of(name, *waits)).collect();
        Self {
            passing,
            disk: limits.disk,
            keep_free: limits.keep_free,
            space: limits.space.clone(),
            refused: Mutex::new(vec![None; lanes.len()]),
            lanes,
            seen: Mutex::default(),
        }
    }

    /// Whether the lane may store what it wants, when its closed files have `closed_bytes`.
    pub(in crate::queue) fn ask(
        &self,
        lane: usize,
        closed_bytes: u64,
        want: Want,
    ) -> Result<(), Short> {
        let seen = self.look(want.begins);
        let used_bytes = closed_bytes.saturating_add(want.open_bytes);
        if let Some(cap_bytes) = self.cap(&seen, lane)
            && used_bytes.saturating_add(want.bytes) > self.most(lane, used_bytes, cap_bytes)
        {
            let quota = matches!(self.claim(lane), Some(Claim::Quota(..)));
            let lane = Short::Lane { used_bytes, cap_bytes, want_bytes: want.bytes, quota };
            return Err(lane);
        }
        self.headroom(&seen, lane, want)
    }

    /// That a lane with nothing in it will have no room for so many bytes.
    pub(in crate::queue) fn never(&self, lane: usize, want_bytes: u64) -> Short {
        let cap_bytes = self.lasting_bytes(lane).unwrap_or(u64::MAX);
        let quota = matches!(self.claim(lane), Some(Claim::Quota(..)));
        Short::Lane { used_bytes: 0, cap_bytes, want_bytes, quota }
    }

    /// What of its bound the lane may use now; with nothing in it, all.
    fn most(&self, lane: usize, used_bytes: u64, cap_bytes: u64) -> u64 {
        match self.refused(lane).filter(|_| used_bytes > 0) {
            Some(_) => cap_bytes - cap_bytes / FREE_AGAIN,
            None => cap_bytes,
        }
    }

    /// Whether the file system has room for it beside what is left to others.
    fn headroom(&self, seen: &Seen, lane: usize, want: Want) -> Result<(), Short> {
        let Some(room) = seen.room else { return Ok(()) };
        let (keep_bytes, keep_inodes) = self.kept_free(room, lane);
        let free_bytes = room.free_bytes.saturating_sub(seen.taken_bytes);
        let missing_bytes = keep_bytes.saturating_add(want.bytes).saturating_sub(free_bytes);
        if missing_bytes > 0 {
            return Err(Short::Bytes { free_bytes, keep_bytes, missing_bytes });
        }
        let missing_inodes = (keep_inodes + SEGMENT_INODES).saturating_sub(room.free_inodes);
        if want.begins && room.total_inodes > 0 && missing_inodes > 0 {
            let free_inodes = room.free_inodes;
            return Err(Short::Inodes { free_inodes, keep_inodes, missing_inodes });
        }
        Ok(())
    }

    /// Bytes and inodes that the lane leaves to others.
    fn kept_free(&self, room: Room, lane: usize) -> (u64, u64) {
        let bytes = self.keep_free.of(room.total_bytes);
        let inodes = u128::from(room.total_inodes) * u128::from(bytes);
        let inodes = u64::try_from(inodes / u128::from(room.total_bytes.max(1)));
        let inodes = inodes.unwrap_or(INODES_MOST).min(INODES_MOST);
        match self.claim(lane) {
            Some(Claim::Own) => (bytes / 2, inodes / 2),
            _ => (bytes, inodes),
        }
    }

    /// So much was stored; and there was room for `all` that came with it.
    pub(in crate::queue) fn took(&self, lane: usize, bytes: u64, all: bool) {
        self.seen().taken_bytes += bytes;
        if all {
            self.note_refused(lane, None);
        }
    }

    /// Such a record was refused.
    pub(in crate::queue) fn refuse(&self, lane: usize, want: Want) {
        self.note_refused(lane, Some(want));
    }

    /// What was refused last, if nothing was stored since.
    pub(in crate::queue) fn refused(&self, lane: usize) -> Option<Want> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(lane).copied().flatten()
    }

    fn note_refused(&self, lane: usize, want: Option<Want>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.iter_mut().skip(lane).take(1).for_each(|noted| *noted = want);
    }

    /// The most that the lane's files may take up now.
    pub(in crate::queue) fn cap_bytes(&self, lane: usize) -> Option<u64> {
        self.cap(&self.look(false), lane)
    }

    /// The most bytes of an entry that the lane could ever have. One that is larger than that counts with
    /// all its bytes, however small it would be packed.
    pub(in crate::queue) fn largest_entry(&self, lane: usize) -> u64 {
        self.lasting_bytes(lane).map_or(u64::MAX, Tail::largest_entry)
    }

    /// The most that the lane's files may take up once lanes into which nothing comes any more are
    /// empty.
    fn lasting_bytes(&self, lane: usize) -> Option<u64> {
        let seen = self.look(false);
        let now = self.cap(&seen, lane)?;
        let nth = self.claims().take_while(|(index, _)| *index < lane);
        let nth = nth.filter(|(index, _)| self.lasts(*index)).count();
        let lasting = seen.lasting.get(nth).filter(|_| self.lasts(lane));
        Some(lasting.map_or(now, |lasting| now.max(*lasting)))
    }

    /// The same, or less where the file system has less; `kept_bytes` would be given up for it.
    pub(in crate::queue) fn allowed_bytes(
        &self,
        lane: usize,
        used_bytes: u64,
        kept_bytes: u64,
    ) -> Option<u64> {
        let seen = self.look(false);
        let beside = seen.room.map(|room| {
            let free_bytes = room.free_bytes.saturating_sub(seen.taken_bytes) + kept_bytes;
            used_bytes + free_bytes.saturating_sub(self.kept_free(room, lane).0)
        });
        self.cap(&seen, lane).into_iter().chain(beside).min()
    }

    /// The payload at which a segment of the lane is closed, where `most` is the most.
    pub(in crate::queue) fn segment_bytes(&self, lane: usize, most: u64) -> u64 {
        let cap = self.cap_bytes(lane);
        cap.map_or(most, |cap| (cap / SEGMENTS).max(SEGMENT_LEAST_BYTES).min(most))
    }

    /// Whether the lane may drop records of the lane `other` for one of its own, where the file
    /// system is what is short; and that one's priority.
    pub(super) fn gives_way(&self, other: usize, lane: usize) -> Option<u32> {
        let limits = |lane: usize| self.lanes.get(lane).copied().flatten();
        let given = limits(other).filter(|other| other.when_full == WhenFull::DropOldest)?;
        let before = limits(lane).map_or(u32::MAX, |lane| lane.priority);
        (other == lane || given.priority > before).then_some(given.priority)
    }

    /// Room was made: so many bytes of files are gone, and the file system had so much free.
    pub(super) fn made_room(&self, gone_bytes: u64, before: Option<Room>) {
        let after = self.look(true).room;
        let shown = after.zip(before).is_none_or(|(after, before)| {
            after.free_bytes >= before.free_bytes.saturating_add(gone_bytes / 2)
        });
        if !shown {
            self.seen().wait_until = Some(Instant::now() + Duration::from_secs(1));
        }
    }

    /// The file system, if more room may be made on it now: some free what was removed later.
    pub(super) fn may_make_room(&self) -> Option<Room> {
        let seen = self.look(true);
        let waits = seen.wait_until.is_some_and(|until| Instant::now() < until);
        seen.room.filter(|_| !waits)
    }

    /// The next question asks the file system.
    #[cfg(test)]
    pub(in crate::queue) fn forget_look(&self) {
        let mut seen = self.seen();
        (seen.at, seen.wait_until) = (None, None);
    }

    /// What becomes of new records of the lane when it is full.
    pub(super) fn when_full(&self, lane: usize) -> Option<WhenFull> {
        self.lanes.get(lane).copied().flatten().map(|limits| limits.when_full)
    }

    fn claim(&self, lane: usize) -> Option<Claim> {
        self.lanes.get(lane).copied().flatten().map(|limits| limits.claim)
    }

    /// By lane, of those that have one.
    fn claims(&self) -> impl Iterator<Item = (usize, Claim)> {
        let claims = self.lanes.iter().enumerate();
        claims.filter_map(|(lane, limits)| Some((lane, limits.as_ref()?.claim)))
    }

    fn lasts(&self, lane: usize) -> bool {
        self.passing.get(lane) != Some(&true)
    }

    /// A bound that is a percentage of a file system that cannot be asked is none.
    fn cap(&self, seen: &Seen, lane: usize) -> Option<u64> {
        self.claim(lane)?;
        let bounded = seen.room.is_some() || matches!(self.disk, Share::Bytes(_));
        let quota = matches!(self.claim(lane), Some(Claim::Quota(..)));
        let nth = self.lanes.iter().take(lane).flatten().count();
        seen.caps.get(nth).copied().filter(|_| bounded || quota)
    }

    /// What was last seen, asked anew where that is old, or has to be.
    fn look(&self, anew: bool) -> MutexGuard<'_, Seen> {
        let mut seen = self.seen();
        let now = Instant::now();
        let fresh = seen.at.is_some_and(|at| now.duration_since(at) < LOOK_EVERY);
        if anew || !fresh {
            seen.at = Some(now);
            seen.room = self.space.as_ref().and_then(|space| space.look());
            seen.taken_bytes = 0;
            let disk = match (self.disk, seen.room) {
                (Share::Percent(_), None) => u64::MAX,
                (share, room) => share.of(room.unwrap_or_default().total_bytes),
            };
            let all = |of: &dyn Fn(usize) -> bool| {
                let claims = self.claims().filter(|(lane, _)| of(*lane));
                caps(disk, &claims.map(|(_, claim)| claim).collect::<Vec<_>>())
            };
            (seen.caps, seen.lasting) = (all(&|_| true), all(&|lane| self.lasts(lane)));
        }
        seen
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
