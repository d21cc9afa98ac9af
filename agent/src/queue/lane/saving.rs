//! What is saved of a lane, and which of its segments go.

use std::io;
use std::path::PathBuf;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use super::{Lane, Saved};
use crate::queue::state::{LaneState, RANGES_MAX};
use crate::queue::store::SegmentId;
use crate::queue::untold::Untold;

impl Lane {
    /// Whether there is anything to save, or segments that could go.
    pub(in crate::queue) fn wants_saving(&self) -> bool {
        let saved = self.saved();
        saved.moved != self.moved.load(Relaxed)
            || (saved.before < saved.watermark
                && self.chain.removable_below(saved.watermark.min(self.kept_from.load(Relaxed))))
    }

    /// Saves the state, then removes segments that no saved state needs. Returns those that were
    /// put aside because they are damaged.
    pub(in crate::queue) fn save(&self) -> io::Result<Vec<PathBuf>> {
        let mut saved = self.saved();
        let moved = self.moved.load(Relaxed);
        let state = self.state();
        self.chain.store().save_state(&state.encode()?)?;
        let untold = Untold::restore(&state.untold);
        *saved = Saved { moved, watermark: state.watermark, before: saved.watermark, untold };
        self.saved_to.fetch_max(saved.before.min(saved.watermark), Relaxed);
        self.chain.remove_below(self.removable_to(&saved))
    }

    /// Removes what was kept for a resend and is released. Returns what was put aside.
    pub(in crate::queue) fn remove_released(&self) -> io::Result<Vec<PathBuf>> {
        let to = self.removable_to(&self.saved());
        match self.chain.removable_below(to) {
            true => self.chain.remove_below(to),
            false => Ok(Vec::new()),
        }
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

    /// Segments below `position` are no longer kept for a resend.
    pub(in crate::queue) fn release(&self, position: u64) {
        self.shelved_from.fetch_max(position, Relaxed);
    }

    /// Settled segments that are only there for a resend, with the position after their last.
    pub(in crate::queue) fn settled_segments(&self) -> Vec<(SegmentId, u64)> {
        let needed_from = self.needed_from(&self.saved());
        let released = self.shelved_from.load(Relaxed);
        let mut done = self.chain.below(needed_from);
        done.retain(|(_, end)| *end > released);
        done
    }

    /// No saved state needs what lies below.
    fn needed_from(&self, saved: &Saved) -> u64 {
        saved.before.min(saved.watermark).min(self.kept_from.load(Relaxed))
    }

    fn removable_to(&self, saved: &Saved) -> u64 {
        self.needed_from(saved).min(self.shelved_from.load(Relaxed))
    }
}
