//! What a consumer has done, and what keeps it.

/// Counts since the start, and what is wrong right now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Messages received, repeats included.
    pub received: u64,
    /// Verdicts [`super::Verdict::Done`].
    pub done: u64,
    /// Verdicts [`super::Verdict::Failed`].
    pub failed: u64,
    /// Verdicts [`super::Verdict::Away`].
    pub away: u64,
    /// Deliveries parked.
    pub parked: u64,
    /// Acknowledged by the broker.
    pub acked: u64,
    /// Done or parked, but the receipt was used up: they come again.
    pub ack_lost: u64,
    /// Received and neither acknowledged nor given back; of a bundle, each record that is not done.
    pub in_hand: usize,
    /// The database is away, for this reason.
    pub away_reason: Option<String>,
    /// The broker is away or refuses, for this reason.
    pub link_reason: Option<String>,
}
