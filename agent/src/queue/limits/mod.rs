//! How much the queue may take up, and what happens at that bound.
//!
//! - `allot`: what of `[limits] disk` is each lane's. Pure.
//! - `gate`: whether a lane may store so many bytes more: its part, and what is kept free for others
//! - `short`: what is missing, in words
//! - `relief`: how room is made before a record is refused
//!
//! Only records that are to be stored ask. Saving states, settling, dead letters and the drain never
//! do, so a full queue always empties.

mod allot;
mod figures;
mod gate;
mod relief;
mod short;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use spillway_protocol::record::LaneName;

use crate::config::{Share, WhenFull};
pub(super) use gate::Gate;

/// What the queue may take up. The default bounds nothing.
#[derive(Debug, Clone)]
pub struct Limits {
    /// What the lanes' files may take up together.
    pub disk: Share,
    /// What is left free on the file system, in bytes and, in the same proportion, in inodes.
    pub keep_free: Share,
    /// Asks the file system; without it nothing is left free and a percentage bounds nothing.
    pub space: Option<Arc<dyn Space>>,
    /// By name; a lane that is not here has no bound of its own.
    pub lanes: BTreeMap<LaneName, LaneLimits>,
    /// Of these, lanes into which no app's record comes: where nothing waits at the opening they take
    /// no part of the disk from others.
    pub retired: BTreeSet<LaneName>,
    /// Beside their bytes.
    pub dead: DeadLimits,
}

impl Default for Limits {
    fn default() -> Self {
        let (disk, keep_free) = (Share::DISK, Share::KEEP_FREE);
        let (lanes, retired, dead) = Default::default();
        Self { disk, keep_free, space: None, lanes, retired, dead }
    }
}

impl Limits {
    /// The limits of `lane`, in which something waits or not.
    pub(super) fn of(&self, lane: &LaneName, waits: bool) -> Option<LaneLimits> {
        let claims = waits || !self.retired.contains(lane);
        self.lanes.get(lane).copied().filter(|_| claims)
    }
}

/// Limits of the dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeadLimits {
    /// Older ones are purged.
    pub keep_for: Option<Duration>,
    /// Their bytes are reached: records stay in their lanes, or the oldest letters are purged.
    pub when_full: WhenFull,
}

/// A lane's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLimits {
    /// Its part of the disk.
    pub claim: Claim,
    /// Lanes with a larger number give way first where the file system is what is short.
    pub priority: u32,
    /// What becomes of new records when it is full.
    pub when_full: WhenFull,
}

/// By which right a lane takes up disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// A part of what the quotas leave, by weight.
    Weight(u32),
    /// A bound of its own, in bytes, within what all may have; and its weight, for where the quotas
    /// are more than that.
    Quota(u64, u32),
    /// A small part beside all others, of the agent's own records. They may use half of what is kept
    /// free: what they tell are the accounts of others.
    Own,
}

/// A file system at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Its size.
    pub total_bytes: u64,
    /// What may still be used by others than root.
    pub free_bytes: u64,
    /// The most files there can be; 0 where there is no such bound.
    pub total_inodes: u64,
    /// How many more there can be.
    pub free_inodes: u64,
}

/// Asks the file system that the queue lies on.
pub trait Space: Debug + Send + Sync {
    /// How it stands now; `None` if it cannot be asked.
    fn look(&self) -> Option<Room>;
}

/// How a lane stands to its bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneLimit {
    /// Bytes of its files, but for those that are only kept for a resend.
    pub used_bytes: u64,
    /// The most that these may be; `None` without a bound.
    pub cap_bytes: Option<u64>,
    /// The same, or less where the file system has less.
    pub allowed_bytes: Option<u64>,
    /// Why a record would be refused now, after one was.
    pub full: Option<String>,
}
