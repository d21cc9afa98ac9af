//! The machine: its clock, its file system, and the lanes' bounds on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use spillway_protocol::record::LaneName;

use crate::clock::{Uptime, WallClock};
use crate::config::{Share, WhenFull};
use crate::queue::{Claim, LaneLimits, Limits, Room, Space};

/// Age at which records are given up.
pub(super) const TTL_MS: u64 = 3_600_000;

/// Names of the lanes: the first has a quota and refuses, the second gives way and drops its oldest.
pub(super) const LANES: [&str; 2] = ["a", "b"];
/// The first lane's quota.
const QUOTA_BYTES: u64 = 400_000;
/// The file system, and what is left free of it.
pub(super) const TOTAL_BYTES: u64 = 1 << 30;
pub(super) const KEPT_FREE_BYTES: u64 = 1 << 20;

/// A file system that has as much free as is said.
#[derive(Debug, Clone)]
pub(super) struct Disk(pub(super) Arc<AtomicU64>);

impl Space for Disk {
    fn look(&self) -> Option<Room> {
        let free_bytes = self.0.load(Relaxed);
        Some(Room { total_bytes: TOTAL_BYTES, free_bytes, ..Room::default() })
    }
}

/// A clock that is set by hand, of a machine that stays on.
#[derive(Default)]
pub(super) struct HandClock(pub(super) AtomicU64);

impl WallClock for HandClock {
    fn now_ms(&self) -> u64 {
        1_800_000_000_000 + self.0.load(Relaxed)
    }

    fn uptime(&self) -> Uptime {
        Uptime { boot: Some(1), ms: TTL_MS + self.0.load(Relaxed) }
    }
}

/// The bounds of all lanes on `disk`.
pub(super) fn limits(disk: &Disk) -> Limits {
    let limits = |claim, priority, when_full| LaneLimits { claim, priority, when_full };
    let of = [
        limits(Claim::Quota(QUOTA_BYTES, 1), 0, WhenFull::Reject),
        limits(Claim::Weight(1), 1, WhenFull::DropOldest),
    ];
    let names = LANES.map(|name| LaneName::parse(name).unwrap());
    Limits {
        keep_free: Share::Bytes(KEPT_FREE_BYTES),
        space: Some(Arc::new(disk.clone())),
        lanes: names.into_iter().zip(of).collect(),
        ..Limits::default()
    }
}

/// Which lane has this name.
pub(super) fn lane_of(name: &LaneName) -> usize {
    LANES.iter().position(|known| name.as_str() == *known).unwrap()
}
