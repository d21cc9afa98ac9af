//! Room is made before a record is refused: by its own lane where the lane is full, and where the
//! file system is, first by what is only kept for a resend, then by lanes that may drop, those of
//! the lowest priority first. Whole segments go, and nothing where that would not suffice.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io;

use super::gate::{SEGMENT_INODES, Want};
use super::short::Short;
use crate::queue::api::AppendError;
use crate::queue::chain::Tail;
use crate::queue::commit::Committer;
use crate::queue::keeper;
use crate::queue::lane::Lane;

/// A closed segment that could go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pile {
    lane: usize,
    /// Something waits in it; else it is only kept.
    waits: bool,
    /// The position after its last.
    end: u64,
    bytes: u64,
}

/// The first of `piles` that are enough; nothing if all of them are not.
fn enough(piles: &[Pile], bytes: u64, inodes: u64) -> &[Pile] {
    let (mut freed_bytes, mut freed_inodes) = (0_u64, 0_u64);
    for (nth, pile) in piles.iter().enumerate() {
        freed_bytes = freed_bytes.saturating_add(pile.bytes);
        // Its table of ids may stay, and there are segments without some of the files.
        freed_inodes += SEGMENT_INODES / 2;
        if freed_bytes >= bytes && freed_inodes >= inodes {
            return &piles[..=nth];
        }
    }
    &[]
}

impl Committer {
    /// Such records are refused.
    pub(in crate::queue) fn note_refusal(&self, beside: u64, more: u64) {
        self.gate.refuse(self.lane.index, self.want(beside, more));
    }

    /// What `more` bytes of entries would take, beside some that are stored with them.
    fn want(&self, beside: u64, more: u64) -> Want {
        let open_bytes = self.tail.open_bytes(beside);
        let bytes = self.tail.open_bytes(beside + more) - open_bytes;
        Want { bytes, begins: self.tail.open_first().is_none(), open_bytes }
    }

    /// Why an entry of so many bytes is never stored.
    pub(in crate::queue) fn never(&self, bytes: u64) -> AppendError {
        let short = self.gate.never(self.lane.index, Tail::alone(bytes));
        AppendError::TooLarge(short.of(&self.lane.name).to_string())
    }

    /// Whether entries of so many bytes may be stored as things are. Cheap.
    pub(in crate::queue) fn has_room(&self, bytes: u64) -> bool {
        let closed_bytes = self.lane.chain.closed_bytes();
        let asked = self.gate.ask(self.lane.index, closed_bytes, self.want(0, bytes));
        asked.or_else(|_| self.ask(0, bytes)).is_ok()
    }

    /// The same for `more` bytes beside some that are stored with them; room is made if it has to
    /// and can be.
    pub(in crate::queue) fn make_room(&mut self, beside: u64, more: u64) -> io::Result<()> {
        let Err(mut short) = self.ask(beside, more) else { return Ok(()) };
        for make in [Self::clear_settled, Self::drop_own, Self::relieve] {
            if make(self, short) {
                match self.ask(beside, more) {
                    Ok(()) => return Ok(()),
                    Err(other) => short = other,
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::StorageFull, short.of(&self.lane.name).to_string()))
    }

    fn ask(&self, beside: u64, more: u64) -> Result<(), Short> {
        self.gate.ask(self.lane.index, self.lane.held_bytes(), self.want(beside, more))
    }

    /// The open segment is closed where nothing in it waits, and what has settled is removed: a large record
    /// may need nearly all that the lane may have.
    fn clear_settled(&mut self, short: Short) -> bool {
        if !matches!(short, Short::Lane { .. }) || short.never_fits() {
            return false;
        }
        let settled = self.lane.head().settled().watermark() >= self.tail.next();
        if !settled || self.tail.open_first().is_none() {
            return false;
        }
        self.rotate(true);
        // Twice, as in `drop_in`.
        (0..2).all(|_| keeper::save_lane(&self.lane, &self.ids, usize::MAX).is_ok())
    }

    /// The lane's oldest make room in it, if that is its way and they suffice.
    fn drop_own(&mut self, short: Short) -> bool {
        let Short::Lane { used_bytes, cap_bytes, want_bytes, .. } = short else { return false };
        let own = self.lane.index;
        if short.never_fits() || self.gate.gives_way(own, own).is_none() {
            return false;
        }
        let over_bytes = (used_bytes + want_bytes).saturating_sub(cap_bytes);
        let mut piles = self.waiting_in(own);
        if enough(&piles, over_bytes, 0).is_empty() {
            self.rotate(true);
            piles = self.waiting_in(own);
        }
        let going = enough(&piles, over_bytes, 0);
        going.last().is_some_and(|last| self.drop_in(own, last.end))
    }

    /// Makes room on the file system.
    fn relieve(&mut self, short: Short) -> bool {
        let (bytes, inodes) = match short {
            Short::Lane { .. } => return false,
            Short::Bytes { missing_bytes, .. } => (missing_bytes, 0),
            Short::Inodes { missing_inodes, .. } => (0, missing_inodes),
        };
        let Some(before) = self.gate.may_make_room() else { return false };
        let piles = self.piles();
        let going = enough(&piles, bytes, inodes);
        let lanes: BTreeSet<(bool, usize)> = going.iter().map(|p| (p.waits, p.lane)).collect();
        let mut all = !going.is_empty();
        for (waits, lane) in lanes {
            let of_lane = going.iter().filter(|p| (p.waits, p.lane) == (waits, lane));
            let end = of_lane.map(|pile| pile.end).max().unwrap_or(0);
            self.lanes[lane].release(end);
            all &= match waits {
                true => self.drop_in(lane, end),
                false => self.remove_kept(lane),
            };
        }
        self.gate.made_room(going.iter().map(|pile| pile.bytes).sum(), Some(before));
        all
    }

    /// What could go, in the order in which it does.
    fn piles(&self) -> Vec<Pile> {
        let mut kept: Vec<(Option<u64>, Pile)> = Vec::new();
        for lane in &self.lanes {
            for (id, end) in lane.kept() {
                let (store, lane) = (lane.chain.store(), lane.index);
                let pile = Pile { lane, waits: false, end, bytes: store.segment_bytes(id) };
                kept.push((store.settled_ms(id), pile));
            }
        }
        kept.sort_by_key(|(settled_ms, pile)| (*settled_ms, pile.lane, pile.end));
        let gives = |lane: usize| self.gate.gives_way(lane, self.lane.index);
        let mut lanes: Vec<(u32, usize)> = (0..self.lanes.len())
            .filter_map(|lane| gives(lane).map(|priority| (priority, lane)))
            .collect();
        lanes.sort_by_key(|lane| Reverse(*lane));
        let waiting = lanes.into_iter().flat_map(|(_, lane)| self.waiting_in(lane));
        kept.into_iter().map(|(_, pile)| pile).chain(waiting).collect()
    }

    fn waiting_in(&self, lane: usize) -> Vec<Pile> {
        let held = self.lanes[lane].held().into_iter();
        held.map(|(_, end, bytes)| Pile { lane, waits: true, end, bytes }).collect()
    }

    /// Removes the files of what was released.
    fn remove_kept(&self, lane: usize) -> bool {
        let lane: &Lane = &self.lanes[lane];
        // Early in a run only one slot of the state knows that they are not needed.
        let saved = match lane.wants_saving() {
            true => (0..2).try_for_each(|_| keeper::save_lane(lane, &self.ids, usize::MAX)),
            false => Ok(()),
        };
        saved.and_then(|()| lane.remove_released(usize::MAX)).is_ok()
    }

    /// Drops what waits in the lane before `end`, durably, and the files of it.
    fn drop_in(&self, lane: usize, end: u64) -> bool {
        let lane: &Lane = &self.lanes[lane];
        let count = lane.drop_oldest(end);
        if count == 0 && !lane.wants_saving() {
            return true;
        }
        // Twice: segments go once both slots of the state know that nothing of them is needed.
        let saved = (0..2).try_for_each(|_| keeper::save_lane(lane, &self.ids, usize::MAX));
        if count > 0 {
            tracing::info!(lane = %lane.name, count, "the oldest records were dropped: there was no more room");
        }
        if let Err(error) = &saved {
            tracing::warn!(%error, lane = %lane.name, "what was dropped is not noted yet");
        }
        saved.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_few_go_as_are_enough_and_none_in_vain() {
        let pile = |end, bytes| Pile { lane: 0, waits: true, end, bytes };
        let piles = [pile(5, 100), pile(9, 50), pile(12, 100)];
        assert_eq!(enough(&piles, 1, 0), &piles[..1]);
        assert_eq!(enough(&piles, 100, 0), &piles[..1]);
        assert_eq!(enough(&piles, 101, 0), &piles[..2]);
        assert_eq!(enough(&piles, 250, 0), &piles[..]);
        assert_eq!(enough(&piles, 251, 0), &[]);
        assert_eq!(enough(&piles, 1, SEGMENT_INODES), &piles[..2]);
        assert_eq!(enough(&piles, 1, 2 * SEGMENT_INODES), &[]);
    }
}
