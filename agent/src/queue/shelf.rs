//! Delivered segments that are kept for a resend, within bytes and time over all lanes.
//!
//! A segment counts from when everything in it was settled. That time is kept as its file's time
//! of change, so it outlives the process; a crash in between leaves the time of its last record,
//! which is earlier. What was settled before the clock was set counts from when it was: the time
//! between was not measured.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::api::Keep;
use super::lane::Lane;
use crate::clock::was_set;

/// See the module.
pub(super) struct Shelf {
    keep: Keep,
    /// By lane and first position.
    kept: BTreeMap<(usize, u64), Kept>,
    /// What is found now was settled now, not in an earlier run.
    begun: bool,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    /// The position after its last.
    end: u64,
    bytes: u64,
    done_ms: u64,
}

impl Shelf {
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep, kept: BTreeMap::new(), begun: false }
    }

    /// Takes in what was settled since, and gives up what is too much or too old.
    pub(super) fn tidy(&mut self, lanes: &[Arc<Lane>], now_ms: u64) {
        lanes.iter().for_each(|lane| self.take_in(lane, now_ms));
        self.begun = true;
        let mut bytes: u64 = self.kept.values().map(|kept| kept.bytes).sum();
        while let Some((at, oldest)) = self.oldest() {
            let old = now_ms.saturating_sub(oldest.done_ms) > self.keep.time_ms;
            if bytes <= self.keep.bytes && !old {
                break;
            }
            bytes -= oldest.bytes;
            self.kept.remove(&at);
            lanes[at.0].release(oldest.end);
        }
    }

    fn oldest(&self) -> Option<((usize, u64), Kept)> {
        let oldest = self.kept.iter().min_by_key(|(at, kept)| (kept.done_ms, **at));
        oldest.map(|(at, kept)| (*at, *kept))
    }

    fn take_in(&mut self, lane: &Lane, now_ms: u64) {
        let store = lane.chain.store();
        for (id, end) in lane.settled_segments() {
            let kept = self.kept.entry((lane.index, id.first)).or_insert_with(|| {
                let before = store.settled_ms(id).filter(|_| !self.begun);
                let done_ms = before.unwrap_or_else(|| {
                    store.mark_settled(id, now_ms);
                    now_ms
                });
                Kept { end, bytes: store.segment_bytes(id), done_ms }
            });
            if was_set(now_ms) && !was_set(kept.done_ms) {
                store.mark_settled(id, now_ms);
                kept.done_ms = now_ms;
            }
        }
    }
}
