//! What operators see and do.

use std::sync::Arc;

use spillway_protocol::record::LaneName;
use tokio_util::sync::CancellationToken;

use super::inquiry::Inquiry;
use super::report::Report;
use crate::clock::WallClock;
use crate::config::Config;
use crate::control::{Desk, Door, Tailing};
use crate::drain::DrainHandle;
use crate::queue::Queue;

/// Of an agent that runs until `stop`.
pub(super) fn running(
    config: &Config,
    queue: &Queue,
    report: &Arc<Report>,
    drain: &Arc<DrainHandle>,
    clock: Arc<dyn WallClock>,
    stop: &CancellationToken,
) -> Desk {
    let inquiry = Inquiry::running(config, queue.clone(), clock, report.clone(), drain.clone());
    let accepting = drain.clone();
    let accept = Arc::new(move |lane: &LaneName| accepting.accept(lane));
    let topics = config.all_lanes().map(|lane| (lane.name.clone(), lane.topic.to_string()));
    Desk::new(queue.clone(), accept, Arc::new(move |asked| inquiry.ask(asked)))
        .tailing(Tailing::new(stop.clone(), topics.collect()))
        .with_door(Door::of(config.listen.admin.as_ref()))
}
