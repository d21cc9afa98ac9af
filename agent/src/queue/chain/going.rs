//! Which segments go once nothing in them is needed.

use std::io;
use std::path::PathBuf;
use std::sync::PoisonError;

use super::Chain;
use crate::queue::store::SegmentId;

impl Chain {
    /// Removes the first segments, `max` at most, that lie wholly below `position`; damaged ones are
    /// put aside. What cannot be removed now stays and is tried again at the next call.
    pub(in crate::queue) fn remove_below(
        &self,
        position: u64,
        max: usize,
    ) -> io::Result<Vec<PathBuf>> {
        let done = self.below(position).into_iter().take(max);
        done.filter_map(|(id, _)| self.take_away(id).transpose()).collect()
    }

    /// Removes a closed segment of which all up to `end` is settled for good, though something before
    /// it is not. Returns where it was put aside, if it is damaged.
    pub(in crate::queue) fn remove_settled(
        &self,
        id: SegmentId,
        end: u64,
    ) -> io::Result<Option<PathBuf>> {
        // Before it is gone: who reads there finds no damage.
        self.note_absent(id.first, end);
        self.take_away(id)
    }

    /// Removes a segment, or puts it aside; one that is not there is removed already.
    fn take_away(&self, id: SegmentId) -> io::Result<Option<PathBuf>> {
        let found = self.read_segments().get(&id.first).filter(|s| s.id == id).map(|s| s.damaged);
        let Some(damaged) = found else { return Ok(None) };
        let aside = match damaged {
            true => Some(self.store.quarantine(id)?),
            false => {
                self.store.remove(id)?;
                None
            }
        };
        self.forget(id);
        self.note_absent(0, self.first());
        Ok(aside)
    }

    /// All of `from..to` is settled for good, and perhaps gone.
    pub(in crate::queue) fn note_absent(&self, from: u64, to: u64) {
        self.absent.write().unwrap_or_else(PoisonError::into_inner).insert(from, to);
    }

    /// Where what may be gone around `position` ends, if that may be.
    pub(super) fn absent_until(&self, position: u64) -> Option<u64> {
        let absent = self.absent.read().unwrap_or_else(PoisonError::into_inner);
        absent.stretch_at(position).map(|(_, end)| end)
    }

    /// Whether segments may be gone although something before them is still there.
    pub(in crate::queue) fn has_gaps(&self) -> bool {
        self.absent.read().unwrap_or_else(PoisonError::into_inner).stretches() > 0
    }

    /// Whether the segment that ended at `end`, and did not begin before `from`, is gone so.
    pub(in crate::queue) fn is_gone(&self, from: u64, end: u64) -> bool {
        let segments = self.read_segments();
        end > from
            && segments.range(from..end).next().is_none()
            && self.absent_until(end - 1).is_some()
    }

    /// The closed segments that lie wholly in `from..to`, with where the next one begins.
    pub(in crate::queue) fn within(&self, from: u64, to: u64) -> Vec<(SegmentId, u64)> {
        let segments = self.read_segments();
        // Under their lock: else one that was closed meanwhile would seem to end earlier.
        let end = self.end();
        let mut inside = segments.range(from..to.max(from)).peekable();
        let mut found = Vec::new();
        while let Some((_, segment)) = inside.next() {
            let next = inside.peek().map(|(first, _)| **first);
            let next = next.or_else(|| segments.range(to..).next().map(|(first, _)| *first));
            let limit = next.unwrap_or(end);
            if limit <= to && segment.live.is_none() {
                found.push((segment.id, limit));
            }
        }
        found
    }

    /// The segment that begins at `first` ends at `end`, though those that followed may be gone.
    pub(in crate::queue) fn note_end(&self, first: u64, end: u64) {
        self.read_segments().get(&first).iter().for_each(|segment| segment.ends_at(end));
    }

    /// It is not there any more.
    pub(super) fn forget(&self, id: SegmentId) {
        let mut segments = self.write_segments();
        let gone = segments.remove(&id.first);
        let before = segments.range(..id.first).next_back();
        before.iter().for_each(|(_, segment)| segment.ends_at(id.first));
        drop(segments);
        gone.iter().for_each(|segment| self.sizes.forget(segment));
        self.lock_cache().forget(id);
    }

    /// The segments that [`Chain::remove_below`] would take, with the position after their last.
    pub(in crate::queue) fn below(&self, position: u64) -> Vec<(SegmentId, u64)> {
        let end = self.end();
        let spans = self.spans();
        let segments = self.read_segments();
        let done = spans.into_iter().map_while(|(first, limit)| {
            let segment = segments.get(&first)?;
            let last = limit == end && segment.live.is_some();
            (limit <= position && !last).then_some((segment.id, limit))
        });
        done.collect()
    }

    /// Whether [`Chain::remove_below`] would find something.
    pub(in crate::queue) fn removable_below(&self, position: u64) -> bool {
        let end = self.end();
        let segments = self.read_segments();
        let limit = segments.keys().nth(1).copied().unwrap_or(end);
        segments
            .values()
            .next()
            .is_some_and(|s| limit <= position && !(limit == end && s.live.is_some()))
    }
}
