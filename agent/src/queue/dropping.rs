//! Waiting records are given up at a limit, and what whoever decides that has to know.

use spillway_protocol::record::LaneName;

use super::api::PurgeError;
use super::handle::Queue;

impl Queue {
    /// Gives up the lane's waiting records before the position `below`, but for those that are
    /// leased; durable when this returns without an error in the log. Returns how many. Blocks.
    pub fn drop_oldest(&self, lane: &LaneName, below: u64) -> u64 {
        let _steady = self.steady();
        let dropped = self.lane(lane).map_or(0, |lane| lane.drop_oldest(below));
        self.save_drop(dropped)
    }

    /// Of the waiting records before the position `below`, keeps those whose number is a multiple
    /// of `every`, of a lane without order; what was thinned before is left as it is. Else like
    /// [`Queue::drop_oldest`].
    pub fn thin(&self, lane: &LaneName, below: u64, every: u32) -> u64 {
        let _steady = self.steady();
        let dropped = self.lane(lane).map_or(0, |lane| lane.thin(below, every));
        self.save_drop(dropped)
    }

    /// Gives up for good what waits in these ranges of positions, the second of each exclusive, but
    /// for what is leased; durable when this returns. Returns how many. With `dry_run` it only says
    /// how many it would be. Ranges may not overlap. Blocks.
    ///
    /// # Errors
    /// [`PurgeError::Unsaved`]: they are purged, but a crash would undo it.
    pub fn purge(
        &self,
        lane: &LaneName,
        ranges: &[(u64, u64)],
        dry_run: bool,
    ) -> Result<u64, PurgeError> {
        let _steady = self.steady();
        let purged = self.lane(lane).map_or(0, |lane| lane.purge(ranges, dry_run));
        if purged > 0 && !dry_run {
            self.save().map_err(|error| PurgeError::Unsaved(error.to_string()))?;
        }
        Ok(purged)
    }

    fn save_drop(&self, dropped: u64) -> u64 {
        if dropped > 0
            && let Err(error) = self.save()
        {
            tracing::warn!(%error, "what was dropped is not noted yet; it waits again after a crash");
        }
        dropped
    }

    /// Up to where in the range of positions `from..below` the lane's waiting records were
    /// accepted before `accepted_before_ms`, ms since 1970, by a clock that was set. Reads the
    /// disk; may stop early where there are many.
    pub fn first_younger(
        &self,
        lane: &LaneName,
        (from, below): (u64, u64),
        accepted_before_ms: u64,
    ) -> u64 {
        let Some(lane) = self.lane(lane) else { return from };
        let found = lane.first_younger((from, below), accepted_before_ms);
        self.logged("the queue could not be read", found).unwrap_or(from)
    }

    /// The position of the oldest waiting record, or the lane's end.
    pub fn oldest(&self, lane: &LaneName) -> u64 {
        self.lane(lane).map_or(0, |lane| lane.head().next_waiting(0).min(lane.chain.end()))
    }

    /// Whether the record at `position` of the lane still waits, or is leased.
    pub fn waits(&self, lane: &LaneName, position: u64) -> bool {
        self.lane(lane).is_some_and(|lane| lane.head().waits(position))
    }

    /// A lane's segments: first position, the position after the last, bytes; the last is open.
    pub fn segments(&self, lane: &LaneName) -> Vec<(u64, u64, u64)> {
        self.lane(lane).map(|lane| lane.chain.sizes()).unwrap_or_default()
    }
}
