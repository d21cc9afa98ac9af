//! What the pace thinks, for people.

use std::time::Duration;

use tokio::time::Instant;

use super::Pacer;
use crate::pace::controller::Mood;

/// The pace at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Records per second the gateway produces by itself.
    pub own_rate_per_s: f64,
    /// The multiple of it that may leave; 1 without a controller.
    pub share: f64,
    /// Records per second that may leave; `None` is without a bound on records.
    pub allowed_per_s: Option<f64>,
    /// Bytes per second that may leave, however many records they are.
    pub allowed_bytes_per_s: u64,
    /// How much later answers come than on a quiet line, in seconds.
    pub queue_delay_s: f64,
    /// Part of the requests that the broker refused for want of capacity, over some seconds.
    pub reject_share: f64,
    /// Nothing leaves for so long, because the broker asked for it.
    pub paused_for: Option<Duration>,
    /// What limits the pace, for a person.
    pub reason: &'static str,
}

impl Pacer {
    /// How the pace stands.
    pub fn view(&self, now: Instant) -> View {
        let paused = self.paused_until.map(|until| until.saturating_duration_since(now));
        let paused_for = paused.filter(|wait| !wait.is_zero());
        Self::told(self, paused_for, now)
    }

    fn told(&self, paused_for: Option<Duration>, now: Instant) -> View {
        let rate = self.rate_per_s();
        View {
            own_rate_per_s: self.own_rate.per_s(),
            share: if self.adaptive { self.controller.share() } else { 1.0 },
            allowed_per_s: rate.is_finite().then_some(rate),
            allowed_bytes_per_s: self.bytes_per_s,
            queue_delay_s: self.controller.delay().slow_s().max(0.0),
            reject_share: self.controller.reject_share(),
            paused_for,
            reason: self.reason(paused_for.is_some(), rate, now),
        }
    }

    fn reason(&self, paused: bool, rate_per_s: f64, now: Instant) -> &'static str {
        match self.controller.mood(now) {
            _ if paused => "the broker asked for a pause",
            _ if !self.adaptive => "the configured rates alone (adaptive = false)",
            Mood::Policed => "the broker refuses what is over a limit",
            Mood::Rejected => "the broker is busy and refuses",
            Mood::Delayed => "answers are late: the broker has a queue",
            Mood::Growing if rate_per_s >= self.bound_per_s => "the upper bound",
            Mood::Growing if self.pressed_at.is_some() => {
                "growing with each answer that is not late"
            }
            Mood::Growing => "nothing waits for the pace",
        }
    }
}
