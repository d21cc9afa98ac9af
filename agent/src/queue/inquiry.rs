//! Questions after single records, as operators ask them.

use std::io;
use std::ops::ControlFlow;

use spillway_protocol::message::StreamId;
use spillway_protocol::record::{LaneName, RecordId};
use tokio::time::Instant;

use super::api::{DeadLetter, Entry, Walked, Whereabouts};
use super::handle::Queue;
use super::lane::Lane;

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

    /// Shows `visit` the records that wait in a lane, oldest first, until it breaks off or the time
    /// is over. Reads the disk.
    pub fn walk_waiting(
        &self,
        lane: &LaneName,
        until: Instant,
        mut visit: impl FnMut(&Entry) -> ControlFlow<()>,
    ) -> Walked {
        self.walk(lane, |lane| lane.walk(true, until, &mut visit))
    }

    /// The same of records that are settled and still stored.
    pub fn walk_settled(
        &self,
        lane: &LaneName,
        until: Instant,
        mut visit: impl FnMut(&Entry) -> ControlFlow<()>,
    ) -> Walked {
        self.walk(lane, |lane| lane.walk(false, until, &mut visit))
    }

    fn walk(&self, lane: &LaneName, walk: impl FnOnce(&Lane) -> io::Result<Walked>) -> Walked {
        let Some(lane) = self.lane(lane) else { return Walked { looked: 0, whole: true } };
        self.logged("the queue could not be read", walk(&lane)).unwrap_or_default()
    }

    /// The same of all dead letters.
    pub fn walk_dead(
        &self,
        until: Instant,
        mut visit: impl FnMut(&DeadLetter) -> ControlFlow<()>,
    ) -> Walked {
        let walked = self.dead().walk(until, &mut visit);
        self.logged("the dead letters could not be read", walked).unwrap_or_default()
    }

    /// The dead letter of the record at a place of a lane. Reads the disk.
    pub fn dead_at(&self, lane: &LaneName, position: u64) -> Option<DeadLetter> {
        let letter = self.dead().at(lane, position);
        self.logged("the dead letters could not be read", letter).flatten()
    }
}
