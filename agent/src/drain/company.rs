//! Records that leave together: in one message (a bundle), or in one request (a batch).
//!
//! A group has one answer. Delivered, all of it is; what is not known is not known of any. What
//! may be one record's fault is never laid on all: the group is scattered, its records leave alone
//! from then on, and each is judged by its own answer.

use std::time::Duration;

use futures::future::BoxFuture;
use spillway_protocol::bundle::Compress;
use spillway_protocol::message::{Defaults, Message, Stamp};
use spillway_protocol::record::Record;

use super::source::Parcel;
use crate::config::{Lane, Order};
use crate::queue::Run;
use crate::upstream::{Outcome, Upstream};

/// Bytes of one batch: RocketMQ takes 4 MiB, and a lost answer costs all of it again.
const BATCH_BYTES: usize = 1 << 20;
/// Leased records at most: of a lane whose records leave alone, and of any.
const PARCELS: (usize, usize) = (64, 2048);
/// Groups that are leased ahead: one to send, and one that the others are chosen from.
const AHEAD: usize = 2;

/// What may leave together in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Company {
    /// Most records of a group.
    pub(super) records: usize,
    /// Most bytes of their bodies and texts.
    pub(super) bytes: usize,
    /// How long less than a group waits for more.
    pub(super) linger: Duration,
    kind: Kind,
    ordered: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Alone,
    Bundle(Compress),
    Batch,
}

impl Company {
    /// What the lane asks for.
    pub(super) fn of(lane: &Lane) -> Self {
        let ordered = lane.order != Order::None;
        let alone =
            Self { records: 1, bytes: 0, linger: Duration::ZERO, kind: Kind::Alone, ordered };
        match (&lane.bundle, &lane.batch) {
            (Some(bundle), _) => Self {
                records: bundle.records,
                bytes: bundle.bytes,
                linger: bundle.linger,
                kind: Kind::Bundle(bundle.compress),
                ordered,
            },
            (None, Some(batch)) if !ordered => {
                Self { records: batch.records, bytes: BATCH_BYTES, kind: Kind::Batch, ..alone }
            }
            _ => alone,
        }
    }

    /// Whether anything leaves together at all.
    pub(super) fn is_kept(&self) -> bool {
        self.records > 1
    }

    /// Whether only what the queue leased together goes together, in its order.
    pub(super) fn is_ordered(&self) -> bool {
        self.is_kept() && self.ordered
    }

    /// What the queue may lease together of one order.
    pub(super) fn run(&self) -> Run {
        match self.is_ordered() {
            true => Run { records: self.records, bytes: self.bytes },
            false => Run::ONE,
        }
    }

    /// Records that the drain holds at most.
    pub(super) fn parcels_max(&self) -> usize {
        (self.records * AHEAD).clamp(PARCELS.0, PARCELS.1)
    }

    /// Whether `other` may go with `first`: tag filters work at the broker, and one number stands
    /// for the stream of all. A time of delivery belongs to a message of its own.
    pub(super) fn suits<P: Parcel>(&self, first: &P, other: &P) -> bool {
        let (a, b) = (first.record(), other.record());
        let (from, to) = (first.stamp(), other.stamp());
        let undelayed = |record: &Record| record.properties.start_deliver_ms().is_none();
        let same = a.topic == b.topic && from.lane == to.lane && undelayed(a) && undelayed(b);
        same && match self.kind {
            Kind::Alone => false,
            Kind::Bundle(_) => a.tag == b.tag && from.stream == to.stream,
            // Each keeps its message, so they need to share the topic only.
            Kind::Batch => true,
        }
    }

    /// Composes what leaves. `records` are what [`Company::suits`] let go together.
    pub(super) fn compose(
        &self,
        records: &[(&Record, &Stamp)],
        defaults: &Defaults<'_>,
        order_key: Option<&str>,
    ) -> Cargo {
        let one = |(record, stamp): &(&Record, &Stamp)| {
            Message::compose(record, stamp, defaults, order_key)
        };
        match (self.kind, records) {
            (Kind::Bundle(compress), [_, _, ..]) => {
                let bundle = Message::bundle(records, defaults, order_key, compress);
                Cargo { messages: bundle.into_iter().collect(), is_bundle: true }
            }
            _ => Cargo { messages: records.iter().map(one).collect(), is_bundle: false },
        }
    }
}

/// What one request carries.
#[derive(Debug)]
pub(super) struct Cargo {
    messages: Vec<Message>,
    is_bundle: bool,
}

impl Cargo {
    /// Bytes that it costs. Of a bundle those on the wire: over HTTP it goes as base64, which
    /// costs a third more.
    pub(super) fn size_bytes(&self, upstream: &dyn Upstream) -> usize {
        let size = |message: &Message| match self.is_bundle {
            true => upstream.wire_bytes(message),
            false => message.size_bytes(),
        };
        self.messages.iter().map(size).sum()
    }

    /// Bytes on the wire, about, on its way out.
    pub(super) fn wire_bytes(&self, upstream: &dyn Upstream) -> usize {
        self.messages.iter().map(|message| upstream.wire_bytes(message)).sum()
    }

    /// Sends it.
    pub(super) fn send(self, upstream: &dyn Upstream) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            match &self.messages[..] {
                [message] => upstream.send(message).await,
                messages => upstream.send_batch(messages).await,
            }
        })
    }
}

/// Whether a lane waits until more has gathered, so that it leaves together.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Gathering {
    since: Option<tokio::time::Instant>,
}

impl Gathering {
    /// Until when to wait where `idle` records could be leased: `None` is not at all.
    pub(super) fn until(
        &mut self,
        company: &Company,
        idle: usize,
        now: tokio::time::Instant,
    ) -> Option<tokio::time::Instant> {
        if idle == 0 || idle >= company.records || company.linger.is_zero() {
            return None;
        }
        let until = *self.since.get_or_insert(now) + company.linger;
        (until > now).then_some(until)
    }

    /// It is over: what has gathered is leased.
    pub(super) fn end(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[test]
    fn less_than_a_group_waits_for_more_but_never_beyond_the_linger() {
        let linger = Duration::from_millis(200);
        let kind = Kind::Bundle(Compress::None);
        let company = Company { records: 3, bytes: 9, linger, kind, ordered: false };
        let (mut gathering, now) = (Gathering::default(), Instant::now());
        assert_eq!(gathering.until(&company, 0, now), None);
        assert_eq!(gathering.until(&company, 1, now), Some(now + linger));
        let later = now + linger / 2;
        assert_eq!(gathering.until(&company, 2, later), Some(now + linger));
        assert_eq!(gathering.until(&company, 3, later), None, "a whole group");
        assert_eq!(gathering.until(&company, 2, now + linger), None, "long enough");
        gathering.end();
        assert_eq!(gathering.until(&company, 1, later), Some(later + linger));
        let hasty = Company { linger: Duration::ZERO, ..company };
        assert_eq!(gathering.until(&hasty, 1, now), None);
    }
}
