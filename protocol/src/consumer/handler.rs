//! What a consumer's user writes: what is done with the messages.

use std::future::Future;

use super::Delivery;

/// Does the work. Several calls run side by side ([`super::Options::handlers`]), so it takes
/// `&self`. Implement it with `async fn`.
pub trait Handler: Send + Sync + 'static {
    /// Works off a batch, and answers one verdict per delivery, in their order. Missing verdicts
    /// count as [`Verdict::Failed`], and so does a panic for the whole batch.
    ///
    /// A delivery may come again although it was done (at least once): de-duplicate by
    /// [`Delivery::id`]. In ordered mode a batch has at most one delivery of an order key.
    ///
    /// Set a time limit on what may hang: a call is never given up, but at the end of a stop.
    fn handle(&self, batch: &[Delivery]) -> impl Future<Output = Vec<Verdict>> + Send;

    /// Puts a delivery aside that failed too often or cannot be read, with the reason of the last
    /// failure; it is acknowledged afterwards and does not come again. It may be called twice for
    /// one message.
    ///
    /// # Errors
    /// What keeps it from being put aside; counts as [`Verdict::Away`].
    fn park(
        &self,
        delivery: &Delivery,
        reason: &str,
    ) -> impl Future<Output = Result<(), String>> + Send;
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is where it belongs, for good: it may be acknowledged.
    Done,
    /// It failed by its own fault. Charged: after [`super::Options::charges_max`] it is parked.
    Failed {
        /// Why.
        reason: String,
    },
    /// What it should go into is away. Not charged: the consumer stops receiving, backs off, and
    /// tries the same delivery again.
    Away {
        /// Why.
        reason: String,
    },
}

impl Verdict {
    /// [`Verdict::Failed`] because of `reason`.
    pub fn failed(reason: impl std::fmt::Display) -> Self {
        Self::Failed { reason: reason.to_string() }
    }

    /// [`Verdict::Away`] because of `reason`.
    pub fn away(reason: impl std::fmt::Display) -> Self {
        Self::Away { reason: reason.to_string() }
    }
}
