//! One record in hand: a message of its own, or one of a bundle's.

use tokio::time::Instant;

use super::Ticket;
use crate::consumer::Delivery;

#[derive(Debug)]
pub(super) struct Entry {
    /// The message that it came in.
    pub(super) packet: Ticket,
    /// Its place there.
    pub(super) part: usize,
    /// Under what its charges are remembered: the message id, or in a bundle its own.
    pub(super) account: String,
    pub(super) order_key: Option<String>,
    /// None while it is worked on.
    pub(super) delivery: Option<Delivery>,
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
}

impl Entry {
    /// `alone`: nothing else is in its message.
    pub(super) fn new(packet: Ticket, part: usize, alone: bool, delivery: Delivery) -> Self {
        let account = if alone { &delivery.message_id } else { delivery.id() };
        Self {
            packet,
            part,
            account: account.to_owned(),
            order_key: delivery.order_key.clone(),
            charges: 0,
            park: delivery.unreadable().map(str::to_owned),
            stage: Stage::Fresh,
            delivery: Some(delivery),
        }
    }

    /// Hands the delivery to a handler.
    pub(super) fn begin(&mut self) -> Option<Delivery> {
        self.stage = Stage::Working;
        self.delivery.take()
    }

    /// Whether a handler may have it now.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        match self.stage {
            Stage::Fresh => true,
            Stage::Waiting { from } => from <= now,
            Stage::Working => false,
        }
    }

    /// Whether no handler has it.
    pub(super) fn waits(&self) -> bool {
        self.stage != Stage::Working
    }
}
