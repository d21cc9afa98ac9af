//! Questions after single records, as operators ask them.

use std::ops::ControlFlow;

use spillway_protocol::message::StreamId;
use spillway_protocol::record::{LaneName, RecordId};

use super::api::{Entry, Whereabouts};
use super::handle::Queue;

impl Queue {
    /// The lane and the place of the record with this app-given id. May read the disk.
    pub fn locate(&self, id: &RecordId) -> Option<(LaneName, u64)> {
        self.id_position(id).map(|(lane, position)| (lane.name.clone(), position))
    }

    /// The place of the record with this number.
    pub fn position(&self, lane: &LaneName, stream: StreamId, seq: u64) -> Option<u64> {
        let lane = self.lane(lane)?;
        lane.numbering().position(stream, seq).filter(|position| *position < lane.chain.end())
    }

    /// What became of the record at a place of a lane. `None` where there never was one, or where
    /// the disk fails. May read the disk.
    pub fn whereabouts(&self, lane: &LaneName, position: u64) -> Option<Whereabouts> {
        let lane = self.lane(lane).filter(|lane| (1..lane.chain.end()).contains(&position))?;
        self.logged("the queue could not be read", lane.whereabouts(position))
    }

    /// Shows `visit` the records that wait in a lane, oldest first, until it breaks off. Reads the
    /// disk; false where that failed.
    pub fn walk_waiting(
        &self,
        lane: &LaneName,
        mut visit: impl FnMut(&Entry) -> ControlFlow<()>,
    ) -> bool {
        self.walk(lane, true, &mut visit)
    }

    /// The same of records that are settled and still stored.
    pub fn walk_settled(
        &self,
        lane: &LaneName,
        mut visit: impl FnMut(&Entry) -> ControlFlow<()>,
    ) -> bool {
        self.walk(lane, false, &mut visit)
    }

    fn walk(
        &self,
        lane: &LaneName,
        waiting: bool,
        visit: &mut dyn FnMut(&Entry) -> ControlFlow<()>,
    ) -> bool {
        let walked = self.lane(lane).map(|lane| lane.walk(waiting, visit));
        walked.is_none_or(|walked| self.logged("the queue could not be read", walked).is_some())
    }
}
