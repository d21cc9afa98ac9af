//! What the lane takes up of the disk.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use super::Lane;
use crate::queue::store::SegmentId;

/// Bytes of what is held, as long as nothing has changed.
#[derive(Default)]
pub(super) struct Held(Mutex<Option<Known>>);

struct Known {
    needed_from: u64,
    done: usize,
    closed_bytes: u64,
    held_bytes: u64,
}

impl Lane {
    /// Closed segments that are not only kept for a resend: first position, the position after the
    /// last, bytes of the files.
    pub(in crate::queue) fn held(&self) -> Vec<(u64, u64, u64)> {
        let needed_from = self.held_from();
        let mut closed = self.chain.closed_sizes();
        let done = self.done_list();
        let is_done = |first: u64| done.binary_search_by_key(&first, |(id, _)| id.first).is_ok();
        closed.retain(|(first, end, _)| *end > needed_from && !is_done(*first));
        closed
    }

    /// Closed segments that are only kept for a resend, with the position after their last.
    pub(in crate::queue) fn kept(&self) -> Vec<(SegmentId, u64)> {
        let released = self.shelved_from.load(Relaxed);
        let held_from = self.held_from();
        let mut kept = self.chain.below(held_from);
        kept.extend(self.done_list().iter().filter(|(id, _)| id.first >= held_from));
        kept.retain(|(_, end)| *end > released);
        kept
    }

    /// Bytes of those that are held. Cheap while no segment comes or goes.
    pub(in crate::queue) fn held_bytes(&self) -> u64 {
        let (needed_from, closed_bytes) = (self.held_from(), self.chain.closed_bytes());
        let mut held = self.held.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.done_list().len();
        let now = (needed_from, done, closed_bytes);
        let same = |k: &&Known| (k.needed_from, k.done, k.closed_bytes) == now;
        if let Some(known) = held.as_ref().filter(same) {
            return known.held_bytes;
        }
        let held_bytes = self.held().into_iter().map(|(_, _, bytes)| bytes).sum();
        *held = Some(Known { needed_from, done, closed_bytes, held_bytes });
        held_bytes
    }

    /// Bytes of these and of the open one, and of what is only kept.
    pub(in crate::queue) fn used_bytes(&self) -> (u64, u64) {
        let (held, closed) = (self.held_bytes(), self.chain.closed_bytes());
        let open = self.chain.disk_bytes().saturating_sub(closed);
        (held + open, closed.saturating_sub(held))
    }

    /// No saved state needs what lies below. Does not wait for a save under way.
    fn held_from(&self) -> u64 {
        self.saved_to.load(Relaxed).min(self.kept_from.load(Relaxed))
    }
}
