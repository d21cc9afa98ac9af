//! The little the drain needs of the queue.

use futures::FutureExt;
use futures::future::BoxFuture;
use spillway_protocol::message::Stamp;
use spillway_protocol::record::{LaneName, Record};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::config::Lane;
use crate::pace::Standing;
use crate::queue::{Front, Lease, Queue, Run, SettleError};

/// Where records wait. Its ordering rules (see [`crate::queue::Ordering`]) are part of it: what
/// it leases may be sent at once, side by side.
pub trait Source: Send + Sync + 'static {
    /// A leased record.
    type Parcel: Parcel;

    /// Up to `count` records of at most `bytes` (but always one) that may be sent, oldest first; of
    /// one order, up to `run` that have to leave together, or go back from the first that does
    /// not.
    fn lease(
        &self,
        lane: &LaneName,
        count: usize,
        bytes: usize,
        run: Run,
    ) -> BoxFuture<'static, Vec<Self::Parcel>>;

    /// The same of a lane without order, only from the position `from` on.
    fn lease_from(
        &self,
        lane: &LaneName,
        from: u64,
        count: usize,
        bytes: usize,
    ) -> BoxFuture<'static, Vec<Self::Parcel>>;

    /// What could be leased from the position `from` on. Cheap.
    fn front(&self, lane: &LaneName, from: u64) -> Front;

    /// When the earliest deferred record is due, if there is nothing to lease before.
    fn next_due(&self, lane: &LaneName) -> Option<Instant>;

    /// What was deferred in the lane is due now.
    fn hasten(&self, lane: &LaneName);

    /// What tells whether records of the lane were accepted or settled: it then differs. Cheap.
    fn mark(&self, lane: &LaneName) -> [u64; 3];

    /// Whether the record at `position` still waits, or is leased. Cheap.
    fn waits(&self, lane: &LaneName, position: u64) -> bool;

    /// How the lane stands. May read the disk.
    fn standing(&self, lane: &LaneName) -> Standing;

    /// Changes whenever a record was accepted or settled.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// How all `lanes` together stand.
pub(super) fn standing_of_all<S: Source>(source: &S, lanes: &[Lane]) -> Standing {
    let standings = lanes.iter().map(|lane| source.standing(&lane.name));
    standings.fold(Standing::default(), |all, one| Standing {
        accepted: all.accepted + one.accepted,
        waiting: all.waiting + one.waiting,
        oldest_age: all.oldest_age.max(one.oldest_age),
    })
}

/// A leased record. Dropping it gives it back as it was.
pub trait Parcel: Send + 'static {
    /// Its place in the lane.
    fn position(&self) -> u64;

    /// The record.
    fn record(&self) -> &Record;

    /// What the agent knows of it.
    fn stamp(&self) -> &Stamp;

    /// RocketMQ has it.
    fn ack(self);

    /// Back into the queue, not before `not_before`; `charged` counts an attempt.
    fn defer(self, not_before: Option<Instant>, charged: bool);

    /// To the dead letters; on an error it is back in the queue.
    fn dead_letter(
        self,
        code: String,
        reason: String,
    ) -> BoxFuture<'static, Result<(), SettleError>>;
}

impl Source for Queue {
    type Parcel = Lease;

    fn lease(
        &self,
        lane: &LaneName,
        count: usize,
        bytes: usize,
        run: Run,
    ) -> BoxFuture<'static, Vec<Lease>> {
        let (queue, lane) = (self.clone(), lane.clone());
        let leased = spawn_blocking(move || queue.lease_runs(&lane, count, bytes, run));
        async move { leased.await.unwrap_or_default() }.boxed()
    }

    fn lease_from(
        &self,
        lane: &LaneName,
        from: u64,
        count: usize,
        bytes: usize,
    ) -> BoxFuture<'static, Vec<Lease>> {
        let (queue, lane) = (self.clone(), lane.clone());
        let leased = spawn_blocking(move || queue.lease_from(&lane, from, count, bytes));
        async move { leased.await.unwrap_or_default() }.boxed()
    }

    fn front(&self, lane: &LaneName, from: u64) -> Front {
        self.front(lane, from)
    }

    fn next_due(&self, lane: &LaneName) -> Option<Instant> {
        self.next_due(lane)
    }

    fn hasten(&self, lane: &LaneName) {
        self.hasten(lane);
    }

    fn mark(&self, lane: &LaneName) -> [u64; 3] {
        let accounts = self.accounts(lane).unwrap_or_default();
        [accounts.accepted, accounts.waiting, accounts.dead]
    }

    fn waits(&self, lane: &LaneName, position: u64) -> bool {
        self.waits(lane, position)
    }

    fn standing(&self, lane: &LaneName) -> Standing {
        let accounts = self.accounts(lane).unwrap_or_default();
        let oldest_age = self.oldest_age(lane).unwrap_or_default();
        Standing { accepted: accounts.accepted, waiting: accounts.waiting, oldest_age }
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed()
    }
}

impl Parcel for Lease {
    fn position(&self) -> u64 {
        self.position
    }

    fn record(&self) -> &Record {
        &self.record
    }

    fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    fn ack(self) {
        self.ack();
    }

    fn defer(self, not_before: Option<Instant>, charged: bool) {
        self.defer(not_before, charged);
    }

    fn dead_letter(
        self,
        code: String,
        reason: String,
    ) -> BoxFuture<'static, Result<(), SettleError>> {
        let buried = spawn_blocking(move || Lease::dead_letter(self, &code, &reason));
        async move {
            let died = |error: tokio::task::JoinError| SettleError::Disk(error.to_string());
            buried.await.map_err(died)?
        }
        .boxed()
    }
}
