//! Delivered segments that are kept for a resend, within bytes and time over all lanes.
//!
//! A segment counts from when everything in it was settled. That time is kept as its file's time
//! of change, so it outlives the process; a crash in between leaves the time of its last record,
//! which is earlier. What was settled before the clock was set, or later than now by a clock that
//! was put back since, counts from when that was: the time between was not measured.
//!
//! Which of two is the older one is told by their places in a lane, and of two lanes by when this
//! run saw that they were settled. Only what was settled before it has nothing but its time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::api::Keep;
use super::lane::Lane;
use crate::clock::was_set;

/// See the module.
pub(super) struct Shelf {
    keep: Keep,
    /// By lane and first position.
    kept: BTreeMap<At, Kept>,
    /// How often it was tidied. What is found the first time was settled in an earlier run.
    turn: u64,
}

/// A lane and a first position there.
type At = (usize, u64);

#[derive(Debug, Clone, Copy)]
struct Kept {
    /// The position after its last.
    end: u64,
    bytes: u64,
    done_ms: u64,
    /// When it was found.
    turn: u64,
}

impl Shelf {
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep, kept: BTreeMap::new(), turn: 0 }
    }

    /// Takes in what was settled since, and gives up what is too much or too old.
    pub(super) fn tidy(&mut self, lanes: &[Arc<Lane>], now_ms: u64) {
        lanes.iter().for_each(|lane| self.take_in(lane, now_ms));
        self.turn += 1;
        while let Some((at, end)) = self.too_much(now_ms) {
            self.kept.remove(&at);
            lanes[at.0].release(end);
        }
    }

    /// The oldest segment if there is too much, or one that is too old; and its end.
    fn too_much(&self, now_ms: u64) -> Option<(At, u64)> {
        let full = self.kept.values().map(|kept| kept.bytes).sum::<u64>() > self.keep.bytes;
        let old = |kept: &Kept| now_ms.saturating_sub(kept.done_ms) > self.keep.time_ms;
        // A lane gives up its first: all before the end of another one would go with that.
        let mut lane = None;
        let firsts = self.kept.iter().filter(|(at, _)| lane.replace(at.0) != Some(at.0));
        let goes = firsts.filter(|(_, kept)| full || old(kept));
        let oldest = goes.min_by_key(|(at, kept)| (kept.turn, kept.done_ms, **at));
        oldest.map(|(at, kept)| (*at, kept.end))
    }

    fn take_in(&mut self, lane: &Lane, now_ms: u64) {
        let store = lane.chain.store();
        let settled = lane.settled_segments();
        let there = |first: u64| settled.binary_search_by_key(&first, |(id, _)| id.first).is_ok();
        self.kept.retain(|(index, first), _| *index != lane.index || there(*first));
        for (id, end) in settled {
            let kept = self.kept.entry((lane.index, id.first)).or_insert_with(|| {
                let before = store.settled_ms(id).filter(|_| self.turn == 0);
                let done_ms = before.unwrap_or_else(|| {
                    store.mark_settled(id, now_ms);
                    now_ms
                });
                Kept { end, bytes: store.segment_bytes(id), done_ms, turn: self.turn }
            });
            if was_set(now_ms) && (!was_set(kept.done_ms) || kept.done_ms > now_ms) {
                store.mark_settled(id, now_ms);
                kept.done_ms = now_ms;
            }
        }
    }
}
