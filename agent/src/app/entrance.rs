//! The intake that the configuration describes.

use std::sync::Arc;

use super::fresh_id;
use super::report::Report;
use super::storage::{intake_bytes, ordering};
use crate::attendance::Register;
use crate::config::{Config, Lane, Transport};
use crate::intake::{self, Intake, LaneInfo, LaneTable, Queued, Rules};
use crate::open_files::OpenFiles;
use crate::queue::Queue;

/// The intake before `queue`, to the lanes in `table`.
pub(super) fn intake(
    config: &Config,
    queue: Queue,
    report: Arc<Report>,
    (table, register, files): (LaneTable, Register, OpenFiles),
) -> Intake {
    let rules = rules(config);
    let options =
        intake::Options { rules, register: Some(register), files, ..intake::Options::default() };
    let queued = Queued::new(queue, table, move || report.status());
    Intake::new(Arc::new(queued), options, fresh_id)
}

/// What of it may change.
pub(super) fn rules(config: &Config) -> Rules {
    let transport = config.upstream.as_ref().map(|upstream| upstream.transport);
    Rules {
        memory_bytes: intake_bytes(config),
        http_limits: config.transport == Transport::Http,
        delays: transport == Some(Transport::Http),
        routes: config.routes.clone(),
        clients: config.clients.clone(),
    }
}

/// The lanes that apps may use.
pub(super) fn lanes(config: &Config) -> Vec<LaneInfo> {
    let default = &config.default_lane().name;
    let lane = |lane: &Lane| LaneInfo {
        name: lane.name.clone(),
        topic: lane.topic.clone(),
        default: lane.name == *default,
        ordering: ordering(lane.order),
    };
    config.lanes.iter().map(lane).collect()
}

/// Those of `new`, and behind them those of `old` that are gone: while routes change, both may be
/// named.
pub(super) fn both(new: &[LaneInfo], old: &[LaneInfo]) -> Vec<LaneInfo> {
    let gone = old.iter().filter(|old| new.iter().all(|new| new.name != old.name));
    let gone = gone.map(|lane| LaneInfo { default: false, ..lane.clone() });
    new.iter().cloned().chain(gone).collect()
}
