//! The queue behind the intake.

use std::sync::{Arc, PoisonError, RwLock};

use futures::future::BoxFuture;
use spillway_protocol::local::status::Status;
use spillway_protocol::message::StreamId;
use spillway_protocol::record::{LaneName, MessageKey, Record, RecordId};

use super::{Intaking, LaneInfo, Storing};
use crate::queue::{Answers, Place, Queue, Tag};

/// The lanes that apps may use. Clones are the same.
#[derive(Debug, Clone)]
pub struct LaneTable(Arc<RwLock<Arc<[LaneInfo]>>>);

impl LaneTable {
    /// These.
    pub fn new(lanes: Vec<LaneInfo>) -> Self {
        Self(Arc::new(RwLock::new(lanes.into())))
    }

    /// Others, from the next request on.
    pub fn set(&self, lanes: Vec<LaneInfo>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = lanes.into();
    }

    /// As they are now.
    pub fn get(&self) -> Arc<[LaneInfo]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// [`Intaking`] by a [`Queue`], and by whoever knows the agent's state.
pub struct Queued {
    queue: Queue,
    lanes: LaneTable,
    status: Box<dyn Fn() -> Status + Send + Sync>,
}

impl Queued {
    /// `lanes`: those of the configuration, all of which the queue has. `status` may block.
    pub fn new(
        queue: Queue,
        lanes: LaneTable,
        status: impl Fn() -> Status + Send + Sync + 'static,
    ) -> Self {
        Self { queue, lanes, status: Box::new(status) }
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
        self.lanes.get()
    }

    fn stream(&self) -> StreamId {
        self.queue.stream()
    }

    fn largest_entry(&self, lane: &LaneName) -> u64 {
        self.queue.largest_entry(lane)
    }

    fn find_id(&self, id: &RecordId) -> Place {
        self.queue.find_id(id)
    }

    fn find_seq(&self, lane: &LaneName, stream: StreamId, seq: u64) -> Place {
        self.queue.find_seq(lane, stream, seq)
    }

    fn key_of(&self, lane: &LaneName, stream: StreamId, seq: u64) -> Option<MessageKey> {
        self.queue.key_of(lane, stream, seq)
    }

    fn settled(&self, lane: &LaneName, stream: StreamId, seq: u64) -> BoxFuture<'static, bool> {
        let (queue, lane) = (self.queue.clone(), lane.clone());
        Box::pin(async move {
            let mut changes = queue.changes();
            while let Some(settling) = queue.settling(&lane, stream, seq) {
                tokio::select! {
                    biased;
                    delivered = settling => return delivered,
                    // It goes on waiting in the lane as that was opened again.
                    changed = changes.changed() => if changed.is_err() { break },
                }
            }
            false
        })
    }

    fn status(&self) -> Status {
        (self.status)()
    }
}
