//! The queue that the configuration describes.

use std::path::PathBuf;
use std::sync::Arc;

use super::limits;
use crate::clock::WallClock;
use crate::config::{Config, EncryptionKey, Gateway, Order};
use crate::queue::inspect::Inspection;
use crate::queue::{
    Keep, Keys, LaneOptions, Newer, OpenError, Options, Ordering, Packing, Queue, Recovery,
};
use crate::{entropy, host};

/// The queue that the configuration describes.
pub fn open_queue(
    config: &Config,
    clock: &Arc<dyn WallClock>,
) -> Result<(Queue, Recovery), OpenError> {
    Queue::open(queue_options(config), clock.clone())
}

/// The same, only to raise the level of its folder: also where its records are to be sealed once
/// that is done.
pub fn open_queue_to_commit(
    config: &Config,
    clock: &Arc<dyn WallClock>,
) -> Result<(Queue, Recovery), OpenError> {
    let mut options = queue_options(config);
    options.packing.keys = options.packing.keys.to_read();
    Queue::open(options, clock.clone())
}

/// The same, to look into while no agent runs. Writes nothing.
pub fn inspect_queue(config: &Config, clock: &Arc<dyn WallClock>) -> Result<Inspection, OpenError> {
    Inspection::open(&queue_options(config), clock.clone())
}

/// All that [`queue_options`] go by, but what does not change.
pub(super) fn part(config: &Config) -> impl PartialEq + use<> {
    let lane = |lane: crate::config::Lane| {
        let kept = (lane.name, lane.order, lane.ttl, lane.lz4);
        (kept, (lane.quota_bytes, lane.weight, lane.priority, lane.when_full))
    };
    let lanes: Vec<_> = config.all_lanes().map(lane).collect();
    let gateway = &config.gateway;
    let keys = (gateway.encryption_key.clone(), gateway.former_keys.clone());
    let kept = (config.limits.clone(), config.dead.clone(), config.audit.clone());
    (lanes, keys, kept, config.report.is_some())
}

pub(super) fn queue_options(config: &Config) -> Options {
    let lane = |lane: &crate::config::Lane| LaneOptions {
        name: lane.name.clone(),
        ordering: ordering(lane.order),
        ttl: lane.ttl,
    };
    Options {
        data_dir: config.gateway.data_dir.clone(),
        gateway: config.gateway.id.clone(),
        host: host::fingerprint(),
        lanes: config.all_lanes().map(|own| lane(&own)).collect(),
        segment_bytes: segment_bytes(config),
        limits: limits::limits(config),
        dead_keep_bytes: config.dead.keep_bytes,
        waiting_bytes_max: intake_bytes(config),
        tell: config.report.is_some(),
        keep: config.audit.as_ref().map(|audit| Keep {
            bytes: audit.keep_bytes,
            time_ms: u64::try_from(audit.keep_for.as_millis()).unwrap_or(u64::MAX),
        }),
        packing: packing(config),
        seed: entropy::seed(),
    }
}

/// The small files lie where the queue does.
pub(super) fn in_folder(config: Config, data_dir: PathBuf) -> Config {
    let gateway = Gateway { data_dir, ..config.gateway };
    Config { gateway, ..config }
}

/// What is done to records before they are written. The agent's own are not compressed: they are few.
pub(super) fn packing(config: &Config) -> Packing {
    let lanes = config.lanes.iter().filter(|lane| lane.lz4);
    Packing { lz4: lanes.map(|lane| lane.name.clone()).collect(), keys: keys(&config.gateway) }
}

/// The keys that the configuration names.
pub fn keys(gateway: &Gateway) -> Keys {
    let former = gateway.former_keys.iter().map(EncryptionKey::bytes);
    Keys::new(gateway.encryption_key.as_ref().map(EncryptionKey::bytes), former)
}

pub(super) fn tell(queue: &Queue, recovery: &Recovery) {
    let standing = queue.standing();
    if let Some(Newer { path, version }) = standing.newer.as_ref().filter(|_| standing.aside) {
        let (file, folder) = (path.display(), standing.root.display());
        tracing::error!(%file, version, %folder, "a newer agent wrote the data folder: nothing there is touched or sent, records go to a folder beside; install the newer agent again, which takes them over");
    }
    let (waiting, stream) = (recovery.waiting, queue.stream());
    tracing::info!(waiting, %stream, fresh = recovery.fresh, "queue open");
    for (lane, waiting) in &recovery.orphans {
        tracing::warn!(
            lane,
            waiting,
            "records wait in a lane that is not configured; they stay until it is again"
        );
    }
}

/// A lane costs about a segment in memory: all of them together take a quarter of `memory`.
pub(super) fn segment_bytes(config: &Config) -> u64 {
    let share = config.limits.memory_bytes / 4 / config.all_lanes().count().max(1) as u64;
    share.clamp(1 << 20, 8 << 20)
}

/// What apps may make the agent hold: half of `memory`; the rest is for segments and for what is
/// on its way to the broker.
pub(super) fn intake_bytes(config: &Config) -> usize {
    usize::try_from(config.limits.memory_bytes / 2).unwrap_or(usize::MAX)
}

pub(super) fn ordering(order: Order) -> Ordering {
    match order {
        Order::None => Ordering::None,
        Order::Key => Ordering::Key,
        Order::Lane => Ordering::Lane,
    }
}
