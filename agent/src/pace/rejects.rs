//! The share of requests that the broker refuses for want of capacity, and whether it warns first.

use std::time::Duration;

use tokio::time::Instant;

use super::delay::weight;

/// A reject with less queue delay than this before it, in seconds, came without a warning.
const UNWARNED_S: f64 = 0.160;
/// So long it is believed that a limit without a queue stands there.
const POLICED_FOR: Duration = Duration::from_secs(300);
/// An answer weighs at most this much in the quick share.
const QUICK_MOST: f64 = 0.3;
/// Time constant of the slow share, in seconds.
const SLOW_S: f64 = 5.0;
/// Bounds of an answer's weight in it.
const SLOW_BOUNDS: (f64, f64) = (0.002, 0.1);
/// With this share, even the gateway's own live records are too many.
const MANY: f64 = 0.15;

/// What is known of rejects.
#[derive(Debug, Clone, Default)]
pub(super) struct Rejects {
    /// Share of the last second's answers.
    pub(super) quick: f64,
    /// Share of the last few seconds'.
    pub(super) slow: f64,
    policed_until: Option<Instant>,
}

impl Rejects {
    /// An answer came `dt` seconds after the one before.
    pub(super) fn answered(&mut self, rejected: bool, dt: f64) {
        let hit = f64::from(u8::from(rejected));
        self.quick += weight(dt).min(QUICK_MOST) * (hit - self.quick);
        self.slow += (dt / SLOW_S).clamp(SLOW_BOUNDS.0, SLOW_BOUNDS.1) * (hit - self.slow);
    }

    /// A reject came while the queue delay was `delay_s`.
    pub(super) fn came_at(&mut self, delay_s: f64, now: Instant) {
        if delay_s < UNWARNED_S {
            self.policed_until = Some(now + POLICED_FOR);
        }
    }

    /// Whether a limit without a queue, which gives no warning, was met lately.
    pub(super) fn is_policed(&self, now: Instant) -> bool {
        self.policed_until.is_some_and(|until| now < until)
    }

    /// Whether so much is refused that the fleet's live records alone are too many.
    pub(super) fn are_many(&self) -> bool {
        self.slow >= MANY
    }
}
