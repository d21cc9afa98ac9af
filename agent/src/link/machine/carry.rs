//! The link goes on to the same far end while what sends over it is made anew.

use spillway_protocol::local::status::LinkState;
use tokio::time::Instant;

use super::{Backoff, Link};

impl Link {
    /// Its sessions are numbered on from those of `former`, which led elsewhere.
    pub fn follow(&mut self, former: &Self) {
        self.session = former.session;
    }

    /// Says why there is no upstream, where there is none.
    pub fn explain(&mut self, reason: Option<&str>) {
        if let Some(reason) = reason.filter(|_| self.state == LinkState::Unconfigured) {
            reason.clone_into(&mut self.reason);
        }
    }

    /// Answers to what left before are not heard any more: an attempt that was under way is made
    /// again at once, and what is up stays up. `retry`: what held the link may be put right.
    pub fn carry_on(&mut self, backoff: Backoff, retry: bool, now: Instant) {
        self.backoff = backoff;
        self.era += 1;
        self.silent = 0;
        let held = self.state == LinkState::Held;
        if std::mem::take(&mut self.attempting) {
            if !held {
                self.enter(LinkState::Offline, None, now);
            }
            self.next_attempt_at = Some(now);
        }
        if held && retry {
            self.next_attempt_at = Some(now);
        }
    }
}
