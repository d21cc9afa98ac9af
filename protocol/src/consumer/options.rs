//! How a consumer works.

use std::time::Duration;

/// How a [`super::Consumer`] works. The defaults suit a handler that writes into a database.
#[derive(Debug, Clone)]
pub struct Options {
    /// Calls of [`super::Handler::handle`] side by side.
    pub handlers: usize,
    /// Most deliveries of one call.
    pub batch_max: usize,
    /// Most messages received and not acknowledged; with their bodies they lie in memory. A bundle
    /// counts as its records, so that with bundles the last receive may go beyond.
    pub unacked_max: usize,
    /// Receives side by side.
    pub receivers: usize,
    /// How long a receive waits for messages.
    pub wait: Duration,
    /// Never a later delivery of an order key before an earlier one is done or parked. The
    /// [`super::Subscription`] has to be ordered too.
    pub ordered: bool,
    /// Failures after which a delivery is parked. Counted in this process.
    pub charges_max: u32,
    /// Before a failed delivery is tried again: full jitter below a bound that doubles from here.
    pub retry_initial: Duration,
    /// Largest bound of a retry.
    pub retry_max: Duration,
    /// The same for a database that is away, and for a broker that is.
    pub away_initial: Duration,
    /// Largest bound of these.
    pub away_max: Duration,
    /// How long acknowledgements wait for company.
    pub ack_linger: Duration,
    /// What a stop may take.
    pub grace: Duration,
    /// Seed of the jitter; drawn if none.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            handlers: 4,
            batch_max: 64,
            unacked_max: 256,
            receivers: 2,
            wait: Duration::from_secs(15),
            ordered: false,
            charges_max: 5,
            retry_initial: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            away_initial: Duration::from_millis(500),
            away_max: Duration::from_secs(30),
            ack_linger: Duration::from_millis(20),
            grace: Duration::from_secs(30),
            seed: None,
        }
    }
}
