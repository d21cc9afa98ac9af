//! One message in hand, with its receipts. Most hold one record; a bundle holds several, and is
//! acknowledged when the last of them is done or parked.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Ticket;
use crate::consumer::{Delivery, Receipt};

/// More bundles than this that were begun and never came back are somebody else's by now.
const BEGUN_MAX: usize = 1_000;

#[derive(Debug)]
pub(super) struct Packet {
    pub(super) message_id: String,
    order_key: Option<String>,
    body: Bytes,
    /// Records in it.
    pub(super) parts: usize,
    /// Those that are done or parked.
    pub(super) done: BTreeSet<usize>,
    /// Those in hand. The others have been let go of.
    pub(super) in_hand: BTreeMap<usize, Ticket>,
    /// Of every time that it was received; the newest last.
    pub(super) receipts: Vec<Receipt>,
    /// The newest receipt is being renewed, so that none of them counts for the moment.
    pub(super) renewing: bool,
    /// A renewal has failed; not again before.
    pub(super) renew_from: Option<Instant>,
    /// Once nothing of it is in hand, it is given back to come again after this time.
    pub(super) back: Option<Duration>,
    pub(super) ack: Ack,
}

/// How it stands with the acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    /// Not all is done.
    Open,
    /// All is done; it may wait for company until then.
    Due(Option<Instant>),
    /// It is on its way.
    Sent,
}

impl Packet {
    /// Of a message that was received just now, with nothing in hand yet.
    pub(super) fn new(delivery: &Delivery, parts: usize, done: BTreeSet<usize>) -> Self {
        Self {
            message_id: delivery.message_id.clone(),
            order_key: delivery.order_key.clone(),
            body: delivery.body.clone(),
            parts,
            done,
            in_hand: BTreeMap::new(),
            receipts: vec![delivery.receipt.clone()],
            renewing: false,
            renew_from: None,
            back: None,
            ack: Ack::Open,
        }
    }

    /// Whether `other` is this message once more. A sender may use an id twice; then the bodies
    /// tell them apart.
    pub(super) fn is_again(&self, other: &Delivery) -> bool {
        self.message_id == other.message_id
            && self.body == other.body
            && self.order_key == other.order_key
    }

    /// Whether all of it is done.
    pub(super) fn is_complete(&self) -> bool {
        self.done.len() == self.parts
    }

    /// When the last of its receipts expires, if that is known of all.
    pub(super) fn expires(&self) -> Option<Instant> {
        let known: Option<Vec<Instant>> = self.receipts.iter().map(|r| r.expires).collect();
        known?.into_iter().max()
    }

    fn name(&self) -> Name {
        name(&self.message_id, &self.body)
    }
}

/// A message, as good as its id and body.
type Name = (String, u64);

fn name(message_id: &str, body: &[u8]) -> Name {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    (message_id.to_owned(), hasher.finish())
}

/// What was done of bundles that were let go of, so that only the rest is offered when they come
/// again.
#[derive(Debug, Default)]
pub(super) struct Begun {
    done: HashMap<Name, BTreeSet<usize>>,
    /// Oldest first; some are gone from the map already.
    order: VecDeque<Name>,
}

impl Begun {
    pub(super) fn keep(&mut self, packet: Packet) {
        if packet.done.is_empty() {
            return;
        }
        let name = packet.name();
        if self.done.insert(name.clone(), packet.done).is_none() {
            self.order.push_back(name);
        }
        while self.order.len() > BEGUN_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.done.remove(&oldest);
            }
        }
    }

    /// What was done of a bundle that has come again.
    pub(super) fn take(&mut self, delivery: &Delivery) -> BTreeSet<usize> {
        if self.done.is_empty() {
            return BTreeSet::new();
        }
        self.done.remove(&name(&delivery.message_id, &delivery.body)).unwrap_or_default()
    }
}
