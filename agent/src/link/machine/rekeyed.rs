//! Access keys that take each other's place: a refused one says nothing while there is another.

use spillway_protocol::local::status::LinkState;
use tokio::time::Instant;

use super::Link;

impl Link {
    /// RocketMQ refused an access key and there is another one: the attempt is made again, and
    /// what the link is it stays.
    pub fn asked_again(&mut self, era: u64, now: Instant) {
        self.answered_at = now;
        self.silent = 0;
        if era == self.era && self.attempting {
            self.attempting = false;
            (self.bare_next, self.next_attempt_at) = (false, Some(now));
        }
    }

    /// There are other access keys than before: a link that is held for them is asked at once.
    pub fn rekeyed(&mut self, now: Instant) {
        let held = self.held.as_ref().is_some_and(|held| held.code == "credentials");
        if held && self.state == LinkState::Held && !self.attempting {
            self.next_attempt_at = Some(now);
        }
    }
}
