//! One message in hand.

use bytes::Bytes;
use tokio::time::Instant;

use crate::consumer::{Delivery, Receipt};

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message_id: String,
    pub(super) order_key: Option<String>,
    body: Bytes,
    /// None while it is worked on.
    pub(super) delivery: Option<Delivery>,
    /// Of every time that it was received; the newest last.
    pub(super) receipts: Vec<Receipt>,
    /// The newest receipt is being renewed, so that none of them counts for the moment.
    pub(super) renewing: bool,
    /// A renewal has failed; not again before.
    pub(super) renew_from: Option<Instant>,
    pub(super) charges: u32,
    /// It is not to be handled again but parked, for this reason.
    pub(super) park: Option<String>,
    pub(super) stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// For a handler, from this moment on.
    Waiting { from: Instant },
    /// For a handler, as it arrived.
    Fresh,
    /// A handler has it.
    Working,
    /// Done or parked; its acknowledgement may wait for company until then.
    Settled { due: Instant },
    /// The acknowledgement is on its way.
    Acking,
}

impl Entry {
    pub(super) fn new(delivery: Delivery, charges: u32) -> Self {
        Self {
            message_id: delivery.message_id.clone(),
            order_key: delivery.order_key.clone(),
            body: delivery.body.clone(),
            receipts: vec![delivery.receipt.clone()],
            renewing: false,
            renew_from: None,
            charges,
            park: delivery.unreadable().map(str::to_owned),
            stage: Stage::Fresh,
            delivery: Some(delivery),
        }
    }

    /// Whether `other` is this message once more. A sender may use an id twice; then the bodies
    /// tell them apart.
    pub(super) fn is_again(&self, other: &Delivery) -> bool {
        self.message_id == other.message_id
            && self.body == other.body
            && self.order_key == other.order_key
    }

    /// Hands the delivery to a handler.
    pub(super) fn begin(&mut self) -> Option<Delivery> {
        self.stage = Stage::Working;
        self.delivery.take()
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Settled { .. } | Stage::Acking)
    }

    /// Whether a handler may have it now.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        match self.stage {
            Stage::Fresh => true,
            Stage::Waiting { from } => from <= now,
            _ => false,
        }
    }

    /// Whether no handler has it or has had it with success.
    pub(super) fn waits(&self) -> bool {
        matches!(self.stage, Stage::Fresh | Stage::Waiting { .. })
    }

    /// When the last of its receipts expires, if that is known of all.
    pub(super) fn expires(&self) -> Option<Instant> {
        let known: Option<Vec<Instant>> = self.receipts.iter().map(|r| r.expires).collect();
        known?.into_iter().max()
    }
}
