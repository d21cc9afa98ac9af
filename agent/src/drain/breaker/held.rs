//! The hold of a topic.

use std::time::Duration;

use tokio::time::Instant;

/// Why a topic is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Code for `status`.
    pub code: &'static str,
    /// For a person.
    pub reason: String,
    /// Since when.
    pub since: Instant,
    /// Highest number given out when it began.
    pub(super) at: u64,
    /// Only the suspects themselves (or an operator) can end it.
    pub(super) by_suspects: bool,
    pub(super) fresh_due: Instant,
    pub(super) suspect_due: Instant,
}

impl Held {
    pub(super) fn new(
        code: &'static str,
        reason: String,
        by_suspects: bool,
        at: u64,
        now: Instant,
        round: Duration,
    ) -> Self {
        Self {
            code,
            reason,
            since: now,
            at,
            by_suspects,
            fresh_due: now,
            // Where no other can be asked, the refused one is, at once.
            suspect_due: if by_suspects { now } else { now + round },
        }
    }

    /// Whether it is not for the broker's answers but for want of a place in the dead letters.
    pub(super) fn is_of_dead_letters(&self) -> bool {
        matches!(self.code, "dead_letters_full" | "dead_letters_disk")
    }

    /// Another reason to hold. The newest is shown, since it is what the broker says now; the
    /// start stays the first. Full dead letters stay the reason until there is room.
    pub(super) fn renew(&mut self, code: &'static str, reason: String, by_suspects: bool, at: u64) {
        if self.code == code {
            self.reason = reason;
        } else if !self.is_of_dead_letters() {
            (self.code, self.reason) = (code, reason);
            (self.by_suspects, self.at) = (by_suspects, at);
        }
    }
}
