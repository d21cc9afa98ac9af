//! What the kernel knows of the way to the far end: it makes the link react sooner, and decides
//! nothing that attempts would not find as well.

use std::time::Duration;

use rand::{Rng, RngExt};
use spillway_protocol::local::status::LinkState;
use tokio::time::Instant;

use super::{Link, NO_WAY_PROBE, about};

/// A way that is back is tried within this time, at a moment drawn by lot ...
const WAKE_WITHIN: Duration = Duration::from_secs(1);
/// ... but this long apart, however often it goes and comes.
const WAKE_APART: Duration = Duration::from_secs(5);

impl Link {
    /// The kernel knows no way to the far end any more: no deadline need be waited for.
    pub fn unrouted(&mut self, reason: &str, now: Instant, rng: &mut impl Rng) {
        self.no_way = true;
        match self.state {
            LinkState::Online | LinkState::Ramping => self.bare_next = true,
            LinkState::Probing | LinkState::Offline => {}
            _ => return,
        }
        self.lost = true;
        if self.attempting || self.is_up() {
            self.era += 1;
        }
        if self.is_up() && !self.unproven {
            self.failures = 0;
        }
        (self.attempting, self.flow_from, self.silent) = (false, None, 0);
        if !self.starting {
            self.next_attempt_at = Some(now + about(NO_WAY_PROBE, rng));
        }
        self.enter(LinkState::Offline, Some(reason), now);
    }

    /// There is a way that there was not before: it is tried soon, whatever the backoff says. The
    /// slot after a start stays, and so does the one for sends.
    pub fn way_came(&mut self, now: Instant, rng: &mut impl Rng) {
        self.no_way = false;
        // Another network may have no portal.
        self.astray = false;
        let away = matches!(self.state, LinkState::Offline | LinkState::Probing);
        if self.starting || !away || (self.next_attempt_at.is_none() && !self.attempting) {
            return;
        }
        if self.attempting {
            // It went another way, and would end by its deadline.
            self.attempting = false;
            self.era += 1;
            self.enter(LinkState::Offline, None, now);
        }
        let wake_at = match self.woken_at {
            Some(at) if at >= now => at,
            last => {
                let soonest = last.map_or(now, |at| now.max(at + WAKE_APART));
                soonest + WAKE_WITHIN.mul_f64(rng.random())
            }
        };
        self.woken_at = Some(wake_at);
        self.next_attempt_at = Some(self.next_attempt_at.map_or(wake_at, |at| at.min(wake_at)));
    }
}
