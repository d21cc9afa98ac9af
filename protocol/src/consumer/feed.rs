//! What both transports do for a consumer.

use std::time::Duration;

use futures::future::BoxFuture;

use super::{Delivery, Receipt};

/// One consumer group's way to one topic. Nothing is decided here; [`super::Consumer`] does that,
/// but a feed can also be used by itself.
pub trait Feed: Send + Sync + 'static {
    /// Up to `max` messages, as soon as there are any; none after `wait`. Both are cut to what the
    /// transport takes ([`Nature::receive_max`]; HTTP waits up to 30 s, gRPC's proxy 5 to 20 s).
    fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Vec<Delivery>, FeedError>>;

    /// Acknowledges, up to [`Nature::ack_max`] at once. Answers those that were not: their
    /// messages come again.
    fn ack<'a>(
        &'a self,
        receipts: &'a [Receipt],
    ) -> BoxFuture<'a, Result<Vec<AckFailure>, FeedError>>;

    /// Has the message stay out of sight for `by` from now on, and answers the receipt that counts
    /// from then on. `None` where the transport has no such thing (HTTP): the message simply comes
    /// back after the invisible time.
    fn postpone<'a>(
        &'a self,
        receipt: &'a Receipt,
        by: Duration,
    ) -> BoxFuture<'a, Result<Option<Receipt>, FeedError>>;

    /// What this transport can do.
    fn nature(&self) -> Nature;

    /// Says goodbye to the server. Nothing may be asked afterwards.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What a transport can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nature {
    /// Most messages of one receive.
    pub receive_max: usize,
    /// Most receipts of one acknowledgement.
    pub ack_max: usize,
    /// How long a message stays out of sight, where the consumer decides that. It can then also be
    /// postponed.
    pub invisible: Option<Duration>,
    /// Whether a receive that is given up midway leaves no message out of sight for long.
    pub receive_can_be_given_up: bool,
}

/// A receipt that was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckFailure {
    /// Which.
    pub receipt: Receipt,
    /// Why, in words.
    pub reason: String,
    /// Whether another try may succeed. Otherwise the receipt is of no use any more: the message
    /// comes again under another.
    pub again: bool,
}

/// A feed could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// No answer, or none of RocketMQ's: try again later.
    #[error("RocketMQ cannot be reached: {0}")]
    Link(String),
    /// Too fast, or the server has trouble of its own: try again later.
    #[error("RocketMQ is busy: {0}")]
    Busy(String),
    /// Credentials, permissions, a missing topic or group: an operator has to act, and trying again
    /// shows whether one has.
    #[error("RocketMQ refuses this consumer: {0}; check topic, group, access key and permissions")]
    Refused(String),
    /// The receipt is of no use any more.
    #[error("the receipt is used up or expired: {0}; the message comes again under another")]
    Receipt(String),
}
