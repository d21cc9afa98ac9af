//! What is saved of a lane, and which of its segments go.

use std::io;
use std::path::PathBuf;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use super::{Lane, Saved};
use crate::queue::ranges::Settled;
use crate::queue::state::{LaneState, RANGES_MAX};
use crate::queue::store::SegmentId;
use crate::queue::untold::Untold;

/// Segments with the position after their last, by position.
pub(super) type Done = Vec<(SegmentId, u64)>;

impl Saved {
    /// Nothing was saved in this run.
    pub(super) fn new(untold: Untold) -> Self {
        let none = Settled::below(0);
        Self { moved: 0, settled: none.clone(), before: none, again: false, untold }
    }
}

impl Lane {
    /// Whether there is anything to save, or segments that could go.
    pub(in crate::queue) fn wants_saving(&self) -> bool {
        let saved = self.saved();
        let watermark = saved.settled.watermark();
        saved.moved != self.moved.load(Relaxed)
            || saved.again
            || (saved.before.watermark() < watermark
                && self.chain.removable_below(watermark.min(self.kept_from.load(Relaxed))))
    }

    /// Saves the state, then removes segments that no saved state needs, so many at most: the next
    /// call goes on. Returns those that were put aside because they are damaged.
    pub(in crate::queue) fn save(&self, removals_max: usize) -> io::Result<Vec<PathBuf>> {
        let mut saved = self.saved();
        let moved = self.moved.load(Relaxed);
        let state = self.state();
        self.chain.store().save_state(&state.encode()?)?;
        let settled = Settled::restore(state.watermark, &state.above);
        saved.before = std::mem::replace(&mut saved.settled, settled);
        (saved.moved, saved.untold) = (moved, Untold::restore(&state.untold));
        self.saved_to.fetch_max(saved.before.watermark().min(state.watermark), Relaxed);
        let (done, again) = self.done_ahead(&saved);
        saved.again = again;
        *self.done_list() = done;
        let removed = self.remove(&saved, removals_max);
        saved.again |= removed.as_ref().map_or(true, |(_, more)| *more);
        removed.map(|(aside, _)| aside)
    }

    /// Removes what was kept for a resend and is released, so many segments at most. Returns what
    /// was put aside.
    pub(in crate::queue) fn remove_released(&self, max: usize) -> io::Result<Vec<PathBuf>> {
        self.remove(&self.saved(), max).map(|(aside, _)| aside)
    }

    /// Returns what was put aside, and whether there is more than `max`.
    fn remove(&self, saved: &Saved, max: usize) -> io::Result<(Vec<PathBuf>, bool)> {
        let (to, released) = (self.removable_to(saved), self.shelved_from.load(Relaxed));
        let mut aside = match self.chain.removable_below(to) {
            true => self.chain.remove_below(to, max)?,
            false => Vec::new(),
        };
        // Until they are gone they count as what they are.
        let done = self.done_list().clone();
        // From then on each state has to know that they are settled.
        let goes =
            |&(id, end): &(SegmentId, u64)| end <= released && self.head().pin(id.first, end);
        let now = done.len().min(max);
        let (going, mut kept): (Done, Done) = done.iter().take(now).partition(|done| goes(done));
        for (id, end) in going {
            aside.extend(self.chain.remove_settled(id, end)?);
        }
        kept.extend(&done[now..]);
        *self.done_list() = kept;
        Ok((aside, now < done.len() || self.chain.removable_below(to)))
    }

    /// Closed segments above the watermark that both states know to be settled, and whether there are
    /// more that only the newer one knows.
    fn done_ahead(&self, saved: &Saved) -> (Done, bool) {
        let kept_from = self.kept_from.load(Relaxed);
        let (mut done, mut again) = (Vec::new(), false);
        for (from, to) in saved.settled.above(usize::MAX) {
            for (id, end) in self.chain.within(from, to.min(kept_from)) {
                match saved.before.count_in(id.first, end) == end - id.first {
                    true => done.push((id, end)),
                    false => again = true,
                }
            }
        }
        (done, again)
    }

    fn state(&self) -> LaneState {
        let head = self.head();
        let kept = head.kept(RANGES_MAX);
        LaneState {
            end: self.chain.end(),
            watermark: head.settled().watermark(),
            above: kept.above,
            baseline: head.baseline(),
            streams: self.numbering.saved(),
            settled: kept.tally,
            lost: head.lost(),
            untold: head.untold.graves(),
            thinned: head.thinned(),
            expired: head.expired(),
        }
    }

    pub(super) fn saved(&self) -> MutexGuard<'_, Saved> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn done_list(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Segments below `position` are no longer kept for a resend.
    pub(in crate::queue) fn release(&self, position: u64) {
        self.shelved_from.fetch_max(position, Relaxed);
    }

    /// Settled segments that are only there for a resend, with the position after their last.
    pub(in crate::queue) fn settled_segments(&self) -> Vec<(SegmentId, u64)> {
        let needed_from = self.needed_from(&self.saved());
        let released = self.shelved_from.load(Relaxed);
        let mut done = self.chain.below(needed_from);
        done.extend(self.done_list().iter().filter(|(id, _)| id.first >= needed_from));
        done.retain(|(_, end)| *end > released);
        done
    }

    /// No saved state needs what lies below.
    fn needed_from(&self, saved: &Saved) -> u64 {
        let saved_to = saved.before.watermark().min(saved.settled.watermark());
        saved_to.min(self.kept_from.load(Relaxed))
    }

    fn removable_to(&self, saved: &Saved) -> u64 {
        self.needed_from(saved).min(self.shelved_from.load(Relaxed))
    }
}
