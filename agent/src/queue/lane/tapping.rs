//! A watcher of a lane: what came and what left since it last looked.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use spillway_protocol::message::Stamp;
use spillway_protocol::message::StreamId;
use spillway_protocol::record::{LaneName, Record};

use super::Lane;
use crate::queue::tap::{Missed, Parting, Ring};

/// Watches a lane until it is dropped.
pub struct Tapping {
    lane: Arc<Lane>,
    ring: Arc<Ring>,
    /// What was accepted before this position was told.
    told: u64,
}

/// What happened in a lane since the last look.
#[derive(Debug, Default)]
pub struct Happened {
    /// First position that was accepted, and the one after the last.
    pub accepted: (u64, u64),
    /// What stopped waiting, oldest first. What came since the look before is in `accepted`.
    pub partings: VecDeque<Parting>,
    /// What there was no room for.
    pub missed: Missed,
}

impl Lane {
    /// Watches from now on.
    pub(in crate::queue) fn tapping(self: &Arc<Self>) -> Tapping {
        let told = self.chain.end();
        Tapping { lane: self.clone(), ring: self.tap.open(), told }
    }
}

impl Tapping {
    /// The lane's name.
    pub fn lane(&self) -> &LaneName {
        &self.lane.name
    }

    /// The same lane, opened anew: what came since the last look at `former` came since then.
    pub fn after(mut self, former: &Self) -> Self {
        self.told = former.told.min(self.told);
        self
    }

    /// What happened since the last call. Cheap.
    pub fn take(&mut self) -> Happened {
        // In this order: what has left was accepted before.
        let (partings, missed) = self.ring.take();
        let end = self.lane.chain.end();
        let accepted = (self.told, end.max(self.told));
        self.told = accepted.1;
        Happened { accepted, partings, missed }
    }

    /// The record at `position`, while its segment is there. Reads the disk.
    ///
    /// # Errors
    /// The disk's, or that its key is missing.
    pub fn record(&self, position: u64) -> io::Result<Option<(Stamp, Record)>> {
        let stored = self.lane.stored_at(position)?;
        Ok(stored.map(|(stamp, stored)| (stamp, stored.record)))
    }

    /// The gateway's wall clock.
    pub fn now_ms(&self) -> u64 {
        self.lane.now_ms()
    }

    /// Stream and numbers of the positions `from..to`, as runs of first and last number.
    pub fn numbers(&self, from: u64, to: u64) -> Vec<(StreamId, u64, u64)> {
        self.lane.numbering.spans(from, to)
    }
}

impl Drop for Tapping {
    fn drop(&mut self) {
        self.lane.tap.close(&self.ring);
    }
}
