//! Self-anchored pacing: the rate is this gateway's own rate times its *share*, and the share
//! follows a price that all gateways of the fleet see alike.
//!
//! - The price is the queue delay, and rejects. It works per unit of time, not per answer, so
//!   gateways that send much and gateways that send little agree.
//! - The share follows the price slowly (the integral part), the sent rate at once (the
//!   proportional part): rate against queue is an integrator, and without the second part it swings.
//! - `growth / share` pulls unequal shares together.
//!
//! Time-outs are no sign here: a lost reply says nothing of the broker.

use std::time::Duration;

use tokio::time::Instant;

use super::delay::{Delay, Quiet};
use super::rejects::Rejects;

/// Queue delay, in seconds, that one unit of price stands for.
const TARGET_S: f64 = 0.130;
/// Price of a reject.
const REJECT_PRICE: f64 = 33.0;
/// Highest price of delay.
const DELAY_PRICE_MOST: f64 = 20.0;
/// Growth of the share per second where nothing speaks against it ...
const GROWTH_MOST: f64 = 0.06;
/// ... and near the broker's limit, where it is also what the price is weighed against.
const GROWTH_LEAST: f64 = 0.010;
/// Growth doubles in this many seconds without delay or rejects, but only over this many answers.
const CLEAN_S: f64 = 6.0;
const CLEAN_ANSWERS: f64 = 4.0;
const CLEAN_ANSWERS_POLICED: f64 = 20.0;
/// Share of rejects, and of the target, beyond which growth is careful.
const HOT_REJECTS: f64 = 0.02;
const HOT_DELAY: f64 = 0.7;
/// The fair delay, which falls with the share, is not told from noise beyond this share.
const FAIR_SHARE_MOST: f64 = 1.7;
/// Answers farther apart than this are no steady signal, in seconds.
const DT_MOST: f64 = 4.0;
/// Bounds of one answer's effect on the logarithm of the share: what was not tried is not known.
const RISE_MOST: f64 = 0.06;
const FALL_MOST: f64 = 0.15;
/// Part of the rate taken off per second of queue delay, and what is left of it at least.
const DAMPING: f64 = 0.8;
const DAMPED_LEAST: f64 = 0.4;
/// Part of the rate that rejects leave at once, at least; a volley of them is one event.
const KEPT_LEAST: f64 = 0.25;
/// Live records and resends have to fit, while the broker refuses few.
const ENTITLED: f64 = 1.04;
const SHARE_FLOOR: f64 = 1.05;
/// Below, however much is refused, it does not sink.
const SHARE_LEAST: f64 = 0.05;
/// After an outage the share starts within these bounds: what others do now is not known.
const RESTART_BOUNDS: (f64, f64) = (0.5, 1.0);

/// What an answer said of the broker's capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It took the record.
    Accepted,
    /// It took a record so large that the time it took means nothing.
    AcceptedLarge,
    /// It refused the record for want of capacity.
    Rejected,
}

/// Why the share is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Nothing speaks against more.
    Growing,
    /// Answers are late.
    Delayed,
    /// The broker refuses.
    Rejected,
    /// It refuses without being late: a limit.
    Policed,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Controller {
    share: f64,
    growth: f64,
    delay: Delay,
    rejects: Rejects,
    answered_at: Instant,
    hot: bool,
}

impl Controller {
    /// A controller that has heard nothing yet but knows what a quiet line is like.
    pub fn new(quiet: Quiet, now: Instant) -> Self {
        Self {
            share: 1.0,
            growth: GROWTH_MOST,
            delay: Delay::new(quiet),
            rejects: Rejects::default(),
            answered_at: now,
            hot: false,
        }
    }

    /// Records per second for a gateway whose own rate is `own_per_s`.
    pub fn rate_per_s(&self, own_per_s: f64) -> f64 {
        let damped = (1.0 - DAMPING * self.delay.quick_s().max(0.0)).max(DAMPED_LEAST);
        let kept = (1.0 - self.rejects.quick).max(KEPT_LEAST);
        let rate = own_per_s * self.share * damped * kept;
        match self.share >= 1.0 && !self.rejects.are_many() {
            true => rate.max(ENTITLED * own_per_s),
            false => rate,
        }
    }

    /// An answer came after `response`. `pressed` says whether a record was waiting for the pace:
    /// a rate that is not used proves nothing, so without that the share does not rise.
    pub fn answered(&mut self, answer: Answer, response: Duration, pressed: bool, now: Instant) {
        let rejected = answer == Answer::Rejected;
        let dt = now.saturating_duration_since(self.answered_at).as_secs_f64().min(DT_MOST);
        self.answered_at = now;
        let price = match rejected {
            true => {
                self.rejects.came_at(self.delay.slow_s(), now);
                REJECT_PRICE
            }
            false => {
                let calm = !pressed && self.rejects.slow < HOT_REJECTS;
                let delay_s = match answer {
                    Answer::AcceptedLarge => self.delay.slow_s(),
                    _ => self.delay.answered(response, dt, calm),
                };
                (delay_s / TARGET_S).clamp(-1.0, DELAY_PRICE_MOST)
            }
        };
        self.rejects.answered(rejected, dt);
        self.warm(rejected, dt, now);
        self.steer(price, pressed, dt);
    }

    /// Whether growth is fast or careful.
    fn warm(&mut self, rejected: bool, dt: f64, now: Instant) {
        let fair_s = TARGET_S / self.share.clamp(1.0, FAIR_SHARE_MOST);
        let late_s = HOT_DELAY * (fair_s + self.delay.quiet().deviation_s);
        self.hot = rejected || self.rejects.quick > HOT_REJECTS || self.delay.slow_s() > late_s;
        let answers = match self.rejects.is_policed(now) {
            true => CLEAN_ANSWERS_POLICED,
            false => CLEAN_ANSWERS,
        };
        self.growth = match self.hot {
            true => GROWTH_LEAST,
            false => (self.growth * (dt / CLEAN_S).min(1.0 / answers).exp2()).min(GROWTH_MOST),
        };
    }

    fn steer(&mut self, price: f64, pressed: bool, dt: f64) {
        let up = match pressed {
            true => (self.growth - GROWTH_LEAST) + GROWTH_LEAST / self.share,
            false => 0.0,
        };
        let change = (dt * up).min(RISE_MOST) - dt * GROWTH_LEAST * price;
        let change = if pressed { change } else { change.min(0.0) };
        let floor = match self.rejects.are_many() {
            true => SHARE_LEAST,
            false => SHARE_FLOOR.min(self.share),
        };
        self.share = (self.share * change.clamp(-FALL_MOST, RISE_MOST).exp()).max(floor);
        if self.share <= SHARE_FLOOR
            && self.rejects.slow < HOT_REJECTS
            && self.delay.slow_s() > TARGET_S
        {
            self.delay.relearn(dt);
        }
    }

    /// Records flow again after an outage.
    pub fn restart(&mut self, now: Instant) {
        self.share = self.share.clamp(RESTART_BOUNDS.0, RESTART_BOUNDS.1);
        self.growth = GROWTH_MOST;
        self.delay.forget();
        self.rejects = Rejects::default();
        self.answered_at = now;
        self.hot = false;
    }

    /// The multiple of the own rate that is sent.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// What is known of the queue delay.
    pub fn delay(&self) -> &Delay {
        &self.delay
    }

    /// The part of the requests that is refused, over the last few seconds.
    pub fn reject_share(&self) -> f64 {
        self.rejects.slow
    }

    /// Whether growth has met something that speaks against more.
    pub fn is_settled(&self) -> bool {
        self.hot || self.growth < GROWTH_MOST
    }

    pub(super) fn mood(&self, now: Instant) -> Mood {
        match () {
            () if self.rejects.slow > HOT_REJECTS && self.rejects.is_policed(now) => Mood::Policed,
            () if self.rejects.slow > HOT_REJECTS => Mood::Rejected,
            () if self.hot => Mood::Delayed,
            () => Mood::Growing,
        }
    }
}

#[cfg(test)]
mod tests;
