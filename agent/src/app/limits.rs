//! What the queue may take up, as the configuration has it, and the file system that is asked.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{Config, Lane};
use crate::host::{self, Disk};
use crate::queue::{Claim, DeadLimits, LaneLimits, Limits, Room, Space};

/// The file system of a folder.
#[derive(Debug)]
struct FileSystem(PathBuf);

impl Space for FileSystem {
    fn look(&self) -> Option<Room> {
        let Disk { total_bytes, free_bytes, total_inodes, free_inodes } = host::disk(&self.0)?;
        Some(Room { total_bytes, free_bytes, total_inodes, free_inodes })
    }
}

pub(super) fn limits(config: &Config) -> Limits {
    let retired = config.retired.iter().filter(|lane| !lane.name.as_str().starts_with('_'));
    let names = retired.clone().map(|lane| lane.name.clone()).collect();
    let users = config.lanes.iter().chain(retired);
    let users = users.map(|lane| (lane.name.clone(), of_user(lane)));
    // What is sent again has no bound here: whoever asks for it bounds it, and [audit].
    let own = config.own_lane().map(|lane| (lane.name.clone(), of_agent(&lane)));
    let lanes = users.chain(own).collect();
    Limits {
        disk: config.limits.disk,
        keep_free: config.limits.keep_free,
        space: Some(Arc::new(FileSystem(config.gateway.data_dir.clone()))),
        lanes,
        retired: names,
        dead: DeadLimits { keep_for: Some(config.dead.keep_for), when_full: config.dead.when_full },
    }
}

fn of_user(lane: &Lane) -> LaneLimits {
    let claim = match lane.quota_bytes {
        Some(bytes) => Claim::Quota(bytes, lane.weight),
        None => Claim::Weight(lane.weight),
    };
    LaneLimits { claim, priority: lane.priority, when_full: lane.when_full }
}

fn of_agent(lane: &Lane) -> LaneLimits {
    LaneLimits { claim: Claim::Own, priority: lane.priority, when_full: lane.when_full }
}
