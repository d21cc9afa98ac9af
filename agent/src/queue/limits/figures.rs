//! How lanes stand to their bounds, for who asks.

use spillway_protocol::record::LaneName;

use super::short::Short;
use super::{LaneLimit, WhenFull};
use crate::queue::handle::Queue;
use crate::queue::lane::Lane;

impl Queue {
    /// How a lane stands to its bound. Reads the disk's metadata.
    pub fn limit(&self, lane: &LaneName) -> Option<LaneLimit> {
        let lane = self.lane(lane)?;
        let (gate, index) = (self.gate(), lane.index);
        let (used_bytes, _) = lane.used_bytes();
        // What is only kept for a resend goes before anything else has to.
        let kept_bytes = self.all_lanes().iter().map(|lane| lane.used_bytes().1).sum();
        let full = self.short(&lane).map(|short| short.of(&lane.name).to_string());
        Some(LaneLimit {
            used_bytes,
            cap_bytes: gate.cap_bytes(index),
            allowed_bytes: gate.allowed_bytes(index, used_bytes, kept_bytes),
            full,
        })
    }

    /// The most bytes of an encoded record that the lane could ever have: one that is larger is refused
    /// for good, and alone. May ask the file system.
    pub fn largest_entry(&self, lane: &LaneName) -> u64 {
        self.lane(lane).map_or(u64::MAX, |lane| self.gate().largest_entry(lane.index))
    }

    /// Why none of these lanes takes a record, if none does. Where the file system is what one of them
    /// was short of, the others are, too, unless they drop their oldest. Reads the disk's metadata.
    pub fn closed(&self, lanes: &[LaneName]) -> Option<String> {
        let lanes: Vec<_> = lanes.iter().filter_map(|name| self.lane(name)).collect();
        let stands: Vec<_> = lanes.iter().map(|lane| (lane, self.short(lane))).collect();
        let short = || stands.iter().filter_map(|(lane, short)| Some((lane, (*short)?)));
        let disk = short().find(|(_, short)| short.is_of_disk());
        let rejects = |lane: &Lane| self.gate().when_full(lane.index) == Some(WhenFull::Reject);
        let mut open = stands.iter().filter(|(_, short)| short.is_none());
        if open.any(|(lane, _)| disk.is_none() || !rejects(lane)) {
            return None;
        }
        disk.or_else(|| short().next()).map(|(lane, short)| short.of(&lane.name).to_string())
    }

    /// What the lane is short of now, after a record was refused.
    fn short(&self, lane: &Lane) -> Option<Short> {
        let (gate, index) = (self.gate(), lane.index);
        let want = gate.refused(index)?;
        gate.ask(index, lane.held_bytes(), want).err()
    }
}
