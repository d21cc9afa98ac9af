//! What the intake sees of the rest: the queue and the report.

use std::sync::Arc;

use futures::FutureExt;
use spillway_protocol::local::status::Status;
use spillway_protocol::message::StreamId;
use spillway_protocol::record::{LaneName, Record, RecordId};

use super::ordering;
use super::report::Report;
use crate::config::Config;
use crate::intake::{self, LaneInfo, Storing};
use crate::queue::{Place, Queue};

/// See the module.
pub(super) struct Intaking {
    queue: Queue,
    lanes: Arc<[LaneInfo]>,
    report: Arc<Report>,
}

impl Intaking {
    pub(super) fn new(config: &Config, queue: Queue, report: Arc<Report>) -> Self {
        let default = &config.default_lane().name;
        let info = |lane: &crate::config::Lane| LaneInfo {
            name: lane.name.clone(),
            default: lane.name == *default,
            ordering: ordering(lane.order),
        };
        Self { queue, lanes: config.lanes.iter().map(info).collect(), report }
    }
}

impl intake::Intaking for Intaking {
    fn submit(&self, lane: &LaneName, record: Record) -> Storing {
        self.queue.submit(lane, record).boxed()
    }

    fn lanes(&self) -> Arc<[LaneInfo]> {
        self.lanes.clone()
    }

    fn stream(&self) -> StreamId {
        self.queue.stream()
    }

    fn find_id(&self, id: &RecordId) -> Place {
        self.queue.find_id(id)
    }

    fn find_seq(&self, lane: &LaneName, stream: StreamId, seq: u64) -> Place {
        self.queue.find_seq(lane, stream, seq)
    }

    fn status(&self) -> Status {
        self.report.status()
    }
}
