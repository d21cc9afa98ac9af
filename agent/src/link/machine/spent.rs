//! The day's bytes are used up: nothing leaves, not even a probe, before there are others.

use spillway_protocol::local::status::LinkState;
use tokio::time::Instant;

use super::Link;

impl Link {
    /// Nothing may leave before `until`, for this reason. Told again, the time is another one:
    /// clocks jump. Answers to what is under way still come, and change nothing here.
    pub fn spent(&mut self, reason: &str, until: Instant, now: Instant) {
        if self.state == LinkState::Unconfigured {
            return;
        }
        if self.state != LinkState::Budget {
            self.era += 1;
            (self.attempting, self.starting, self.flow_from) = (false, false, None);
            (self.bare_next, self.astray) = (false, false);
            (self.unproven, self.lost) = (false, false);
            (self.failures, self.silent) = (0, 0);
            self.held = None;
        }
        self.next_attempt_at = Some(until);
        self.enter(LinkState::Budget, Some(reason), now);
    }

    /// There are bytes again. A fleet's days end together, so the first attempt waits for this
    /// gateway's slot, as after a start.
    pub fn replenished(&mut self, now: Instant) {
        if self.state == LinkState::Budget {
            self.starting = true;
            self.next_attempt_at = Some(now + self.spread);
            self.enter(LinkState::Offline, Some("not tried yet: the day has just begun"), now);
        }
    }
}
