//! Wall time, by this machine's clock and by the server's.

use std::sync::Arc;

use super::WallClock;
use crate::rocketmq::skew::Skew;

/// This machine's clock, and how far the server's is ahead of it by the last `Date` that was seen.
/// Requests are signed with the server's time, since it refuses dates that are far off.
pub(super) struct ServerClock {
    local: Arc<dyn WallClock>,
    skew: Skew,
}

impl ServerClock {
    pub(super) fn new(local: Arc<dyn WallClock>) -> Self {
        Self { local, skew: Skew::default() }
    }

    /// The server's time, ms since 1970; this machine's until a server answered.
    pub(super) fn now_ms(&self) -> u64 {
        self.skew.server_ms(self.local.now_ms())
    }

    /// Takes in a server's `Date`, of an answer that is known to be RocketMQ's.
    pub(super) fn observe(&self, server_ms: u64) {
        self.skew.observe(self.local.now_ms(), server_ms);
    }
}
