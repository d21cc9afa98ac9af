//! The queue behind the intake.

use std::sync::Arc;

use futures::future::{BoxFuture, ready};
use spillway_protocol::local::status::Status;
use spillway_protocol::message::StreamId;
use spillway_protocol::record::{LaneName, Record, RecordId};

use super::{Intaking, LaneInfo, Storing};
use crate::queue::{Answers, Place, Queue, Tag};

/// [`Intaking`] by a [`Queue`], and by whoever knows the agent's state.
pub struct Queued {
    queue: Queue,
    lanes: Arc<[LaneInfo]>,
    status: Box<dyn Fn() -> Status + Send + Sync>,
}

impl Queued {
    /// `lanes`: those of the configuration, which the queue was opened with. `status` may block.
    pub fn new(
        queue: Queue,
        lanes: impl Into<Arc<[LaneInfo]>>,
        status: impl Fn() -> Status + Send + Sync + 'static,
    ) -> Self {
        Self { queue, lanes: lanes.into(), status: Box::new(status) }
    }
}

impl Intaking for Queued {
    fn submit(&self, lane: &LaneName, record: Record) -> Storing {
        Box::pin(self.queue.submit(lane, record))
    }

    fn submit_to(&self, lane: &LaneName, record: Record, answers: &Answers, tag: Tag) {
        self.queue.submit_to(lane, record, answers, tag);
    }

    fn lanes(&self) -> Arc<[LaneInfo]> {
        Arc::clone(&self.lanes)
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

    fn settled(&self, lane: &LaneName, stream: StreamId, seq: u64) -> BoxFuture<'static, bool> {
        match self.queue.settling(lane, stream, seq) {
            Some(settling) => Box::pin(settling),
            None => Box::pin(ready(false)),
        }
    }

    fn status(&self) -> Status {
        (self.status)()
    }
}
