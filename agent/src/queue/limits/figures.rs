//! How lanes stand to their bounds, for who asks.

use spillway_protocol::record::LaneName;

use super::LaneLimit;
use crate::queue::handle::Queue;

impl Queue {
    /// How a lane stands to its bound. Reads the disk's metadata.
    pub fn limit(&self, lane: &LaneName) -> Option<LaneLimit> {
        let lane = self.lane(lane)?;
        let (gate, index) = (self.gate(), lane.index);
        let (used_bytes, _) = lane.used_bytes();
        // What is only kept for a resend goes before anything else has to.
        let kept_bytes = self.all_lanes().iter().map(|lane| lane.used_bytes().1).sum();
        let wanted = gate.refused(index).map(|want| gate.ask(index, lane.held_bytes(), want));
        Some(LaneLimit {
            used_bytes,
            cap_bytes: gate.cap_bytes(index),
            allowed_bytes: gate.allowed_bytes(index, used_bytes, kept_bytes),
            full: wanted.and_then(Result::err).map(|short| short.of(&lane.name).to_string()),
        })
    }
}
