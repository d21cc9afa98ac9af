//! The intake of the agent's own records.

use std::time::Duration;

use spillway_protocol::message::{Flags, StreamId};
use spillway_protocol::record::{IdOrigin, LaneName, Properties, Record, RecordId, Tag, Topic};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::RETRY;
use crate::queue::{AppendError, Entry, GivenUp, Level, Place, Queue, Receipt};

/// Newest reports are looked for among so many records.
const LOOK_BACK: usize = 1000;

/// Puts records into the agent's own lane. Cheap to clone.
#[derive(Clone)]
pub struct Post {
    queue: Queue,
    lane: LaneName,
    gateway: String,
    fresh_id: fn() -> RecordId,
}

/// What is to be sent.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    /// With an id of its own it is stored once, however often it is sent; without, it gets a new one.
    pub(super) id: Option<RecordId>,
    pub(super) topic: Topic,
    pub(super) tag: Option<Tag>,
    pub(super) flags: Flags,
    pub(super) body: Vec<u8>,
}

/// Stream and number of a record in the lane.
pub(super) type Number = (StreamId, u64);

impl Post {
    /// Into `lane` of `queue`, which apps cannot name; `fresh_id` draws UUIDs.
    pub fn new(queue: Queue, lane: LaneName, gateway: String, fresh_id: fn() -> RecordId) -> Self {
        Self { queue, lane, gateway, fresh_id }
    }

    /// 32 hex digits that are nobody else's.
    pub(super) fn fresh_channel(&self) -> String {
        (self.fresh_id)().as_str().replace('-', "")
    }

    /// What the data folder is written at.
    pub(super) fn level(&self) -> Level {
        self.queue.level()
    }

    /// This gateway's id.
    pub(super) fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Resolves once the record is on disk.
    pub(super) async fn send(&self, letter: Letter) -> Result<Number, AppendError> {
        let (id, id_origin) = match letter.id {
            Some(id) => (id, IdOrigin::App),
            None => ((self.fresh_id)(), IdOrigin::Agent),
        };
        let record = Record {
            id,
            id_origin,
            key: None,
            topic: Some(letter.topic),
            tag: letter.tag,
            order_key: None,
            properties: Properties::default(),
            body: letter.body.into(),
        };
        let ticket = self.queue.submit_flagged(&self.lane, record, letter.flags);
        let Receipt { stream, seq, .. } = ticket.await?;
        Ok((stream, seq))
    }

    /// The same, again and again until the disk takes it; `None` once told to stop. The first try
    /// is made in any case.
    pub(super) async fn send_surely(
        &self,
        letter: &Letter,
        stop: &CancellationToken,
    ) -> Option<Number> {
        loop {
            match self.send(letter.clone()).await {
                Ok(number) => return Some(number),
                Err(error) => tracing::warn!(%error, "an own record could not be stored"),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = sleep(RETRY) => {}
            }
        }
    }

    /// Whether the record waits.
    pub(super) fn waits(&self, (stream, seq): Number) -> bool {
        matches!(self.queue.find_seq(&self.lane, stream, seq), Place::Waiting { .. })
    }

    /// Waits until the records have left, but not for long.
    pub(super) async fn left_within(&self, numbers: &[Number], limit: Duration) -> bool {
        let mut changed = self.queue.changed();
        let left = async {
            while numbers.iter().any(|number| self.waits(*number)) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(limit, left).await.is_ok()
    }

    /// The newest waiting record with `flags`, of an earlier run. Reads the disk.
    pub(super) fn waiting(&self, flags: Flags) -> Option<Number> {
        let entries = self.queue.peek(&self.lane, 0, LOOK_BACK);
        let number = |entry: &Entry| (entry.stamp.stream, entry.stamp.seq);
        entries.iter().rev().find(|entry| entry.stamp.flags.has(flags)).map(number)
    }

    /// See [`Queue::untold`].
    pub(super) fn untold(&self) -> Vec<GivenUp> {
        self.queue.untold()
    }

    /// See [`Queue::told`].
    pub(super) fn told(&self, told: &[GivenUp]) {
        self.queue.told(told);
    }
}
