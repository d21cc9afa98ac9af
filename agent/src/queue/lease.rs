//! A record handed to the drain.

use std::sync::Arc;

use spillway_protocol::message::Stamp;
use spillway_protocol::record::{LaneName, Record};
use tokio::time::Instant;

use super::api::SettleError;
use super::entry::{Letter, Stored};
use super::head::End;
use super::lane::Lane;

/// A record handed to the drain. Exactly one of [`ack`](Lease::ack), [`defer`](Lease::defer) and
/// [`dead_letter`](Lease::dead_letter) ends it; dropping it is a free defer.
pub struct Lease {
    /// Place in the lane, growing; not what is sent (that is `stamp.seq`).
    pub position: u64,
    /// The record.
    pub record: Record,
    /// What the agent knows of it.
    pub stamp: Stamp,
    /// Charged attempts so far, in this process.
    pub attempts: u32,
    lane: Arc<Lane>,
    ended: bool,
}

impl Lease {
    pub(super) fn new(
        lane: Arc<Lane>,
        position: u64,
        record: Record,
        stamp: Stamp,
        attempts: u32,
    ) -> Self {
        Self { position, record, stamp, attempts, lane, ended: false }
    }

    /// The lane it came from.
    pub fn lane(&self) -> &LaneName {
        &self.lane.name
    }

    /// RocketMQ has it.
    pub fn ack(mut self) {
        self.ended = true;
        self.lane.settle(self.position, End::Delivered);
    }

    /// Back into the queue, not before `not_before`; `charged` counts an attempt. In an ordered
    /// lane those behind it (of its key) wait with it; in an unordered one the next lease is
    /// another record.
    pub fn defer(mut self, not_before: Option<Instant>, charged: bool) {
        self.ended = true;
        self.lane.defer(self.position, not_before, charged);
    }

    /// To the dead letters, synced there before it is settled here. Touches the disk: call where
    /// blocking is allowed. On an error the record stays in the queue (a free defer).
    pub fn dead_letter(mut self, code: &str, reason: &str) -> Result<(), SettleError> {
        let letter = Letter {
            lane: self.lane.name.clone(),
            position: self.position,
            stream: self.stamp.stream.0,
            seq: self.stamp.seq,
            died_ms: self.lane.now_ms(),
            attempts: self.attempts,
            code: code.to_owned(),
            reason: reason.to_owned(),
            stored: Stored {
                accepted_ms: self.stamp.accepted_ms,
                clock_set: self.stamp.clock_set,
                flags: self.stamp.flags.bits(),
                record: self.record.clone(),
            },
        };
        self.lane.bury(&letter)?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.ended {
            self.lane.defer(self.position, None, false);
        }
    }
}
