//! When the next record may leave. The configured rates are upper bounds, held by token buckets;
//! the controller below them is the careful part. First sends, retries and probes spend the same.
//!
//! A send is paid for after it left: the next one waits until the debt is paid. So the size of a
//! record need not be known before it is chosen, and one larger than a bucket does not wait for
//! ever: its debt is paid bucket by bucket.

mod change;
mod credit;
mod view;

use std::time::Duration;

use rand::{Rng, RngExt};
use tokio::time::Instant;

use self::credit::Credit;
pub use self::view::View;
use super::bucket::Bucket;
use super::{Answer, Controller, Memory, OwnRate, Standing, spread};
use crate::config;

/// Bytes of one token: rates and bursts are 32-bit numbers in governor.
const CELL_BYTES: u64 = 1024;
/// How far sends may catch up with the pace after the loop woke late.
const CATCH_UP: Duration = Duration::from_millis(10);
/// The controller's bound where none is configured.
const AUTO_PER_S: f64 = 500.0;
/// A throttle that names no time pauses this long where there is no controller to slow down.
const PAUSE: Duration = Duration::from_secs(1);
/// With a controller it pauses up to this, so that a broker that refuses everybody at once does
/// not hear from everybody at once.
const GAP: Duration = Duration::from_millis(200);
/// ... but not longer than so many of its turns.
const GAP_TURNS: u32 = 8;
/// A broker's wish is followed up to here: a mistaken one must not silence a gateway for good.
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Intervals vary by this part to either side, so that gateways do not fall into step.
const JITTER: f64 = 0.1;
/// Below this rate, in records per second, an urgent record need not wait for the whole interval.
const SLOW_PER_S: f64 = 4.0;
/// The time that a larger message takes is its own.
const SMALL_BYTES: usize = 16 << 10;
/// No interval is longer: even the quietest gateway tries again within the hour.
const INTERVAL_MAX_S: f64 = 3600.0;

/// How soon a record should leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Backlog: in its turn.
    Patient,
    /// A record of a priority lane, or one that was just made: at a slow pace it may take the
    /// next turn before its time.
    Urgent,
}

/// Says when the next record may leave.
#[derive(Debug)]
pub struct Pacer {
    controller: Controller,
    own_rate: OwnRate,
    adaptive: bool,
    bound_per_s: f64,
    spread: Option<Duration>,
    credit: Credit,
    next_at: Instant,
    /// A record waited for the pace at this time.
    pressed_at: Option<Instant>,
    paused_until: Option<Instant>,
    /// Nobody goes before its time soon after a reject.
    patient_until: Instant,
    records: Option<Bucket>,
    bytes: Bucket,
    bytes_per_s: u64,
    /// Bytes sent that do not yet make a whole cell.
    rest_bytes: u64,
}

impl Pacer {
    /// The pace of `[drain]`, with what an earlier run learned. A `fresh` install has an
    /// allowance: nothing was ever sent, so there is no fleet that returns with it.
    pub fn new(config: &config::Drain, memory: Memory, fresh: bool, now: Instant) -> Self {
        let (records, bytes) = buckets(config, now);
        Self {
            controller: Controller::new(memory.quiet, now),
            own_rate: OwnRate::new(memory.own_rate_per_s, memory.watched),
            adaptive: config.adaptive,
            bound_per_s: bound_per_s(config),
            spread: config.reconnect_spread,
            credit: Credit::new(fresh),
            next_at: now,
            pressed_at: None,
            paused_until: None,
            patient_until: now,
            records,
            bytes,
            bytes_per_s: config.bytes_per_second,
            rest_bytes: 0,
        }
    }

    /// Notes how the queue stands: the own rate follows it.
    pub fn note(&mut self, standing: Standing, now: Instant) {
        self.own_rate.note(standing, now);
    }

    /// The window over which first sends are spread.
    pub fn window(&self) -> Duration {
        spread::window(self.spread, self.own_rate.per_s())
    }

    /// Waits between probes are within this: a gateway with many records comes back soon.
    pub fn probe_within(&self) -> Duration {
        spread::probe_window(self.own_rate.per_s())
    }

    /// When the next record may leave; `None` is now.
    pub fn ready_at(&mut self, urgency: Urgency, now: Instant) -> Option<Instant> {
        let own_turn = match urgency {
            Urgency::Urgent if self.may_borrow(now) => {
                self.next_at.checked_sub(self.interval()).unwrap_or(now)
            }
            _ => self.next_at,
        };
        let waits = [
            self.paused_until,
            Some(own_turn),
            self.records.as_mut().and_then(|bucket| bucket.pay(now)).map(|wait| now + wait),
            self.bytes.pay(now).map(|wait| now + wait),
        ];
        waits.into_iter().flatten().max().filter(|at| *at > now)
    }

    /// A record could leave now but waits for the pace: so the pace is what limits.
    pub fn pressed(&mut self, now: Instant) {
        self.pressed_at = Some(now);
    }

    /// A message of `bytes` leaves.
    pub fn spend(&mut self, bytes: usize, now: Instant, rng: &mut impl Rng) {
        self.spend_turn(now, rng);
        if let Some(bucket) = &mut self.records {
            bucket.owe(1);
        }
        self.rest_bytes += bytes as u64;
        self.bytes.owe(self.rest_bytes / CELL_BYTES);
        self.rest_bytes %= CELL_BYTES;
    }

    /// So many records more were in the message that left: they count towards the bound on records.
    pub fn spend_records(&mut self, more: u64) {
        if let Some(bucket) = &mut self.records {
            bucket.owe(more);
        }
    }

    fn spend_turn(&mut self, now: Instant, rng: &mut impl Rng) {
        let behind = now.checked_sub(CATCH_UP).unwrap_or(now);
        let mut interval = self.interval();
        if self.adaptive {
            let idle = now.saturating_duration_since(self.next_at);
            let saved = self.own_rate.per_s() * self.controller.share().min(1.0);
            self.credit.save(idle.as_secs_f64() * saved);
            interval = self.credit.spend(interval);
            interval = interval.mul_f64(1.0 + JITTER * (2.0 * rng.random::<f64>() - 1.0));
        }
        self.next_at = self.next_at.max(behind) + interval;
    }

    /// A message of `bytes` that was sent at `sent_at` was taken.
    pub fn accepted(&mut self, bytes: usize, sent_at: Instant, now: Instant) {
        // What takes long because it is large says nothing of the broker.
        match bytes <= SMALL_BYTES {
            true => self.answered(Answer::Accepted, sent_at, now),
            false => self.answered(Answer::AcceptedLarge, sent_at, now),
        }
    }

    /// The broker asked for less of one topic, for a time that only that one need wait: `after`.
    /// The pace slows down, but nothing pauses. Returns when the topic may come again.
    pub fn throttled_topic(
        &mut self,
        after: Duration,
        sent_at: Instant,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Instant {
        self.answered(Answer::Rejected, sent_at, now);
        now + after.min(PAUSE_MAX).mul_f64(1.0 + 0.5 * rng.random::<f64>())
    }

    /// The broker asked for less. Returns when the record may come again: never before `after`.
    pub fn throttled(
        &mut self,
        after: Option<Duration>,
        sent_at: Instant,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Instant {
        self.answered(Answer::Rejected, sent_at, now);
        if after.is_none() && self.adaptive {
            let gap = GAP.min(self.interval() * GAP_TURNS);
            let until = now + gap.mul_f64(rng.random::<f64>());
            self.next_at = self.next_at.max(until);
            return until;
        }
        let pause = after.unwrap_or(PAUSE).min(PAUSE_MAX);
        // Not all at the same moment, and never before the time asked for.
        let until = now + pause.mul_f64(1.0 + 0.5 * rng.random::<f64>());
        self.paused_until = self.paused_until.max(Some(until));
        until
    }

    fn answered(&mut self, answer: Answer, sent_at: Instant, now: Instant) {
        if !self.adaptive {
            return;
        }
        let response = now.saturating_duration_since(sent_at);
        // Between this record's send and its answer, or just before, another one had to wait.
        let since = sent_at.checked_sub(self.interval()).unwrap_or(sent_at);
        let pressed = self.pressed_at.is_some_and(|at| at >= since);
        // A share beyond what the bound lets through would be no evidence of anything.
        let pressed = pressed && self.rate_per_s() < self.bound_per_s;
        self.controller.answered(answer, response, pressed, now);
        if answer == Answer::Rejected {
            self.credit.void();
            self.patient_until = now + self.interval() * 2;
        }
    }

    /// Records flow again after an outage.
    pub fn restart(&mut self, now: Instant) {
        self.controller.restart(now);
        self.own_rate.hold();
        self.credit.came_up();
        self.next_at = now;
        self.pressed_at = None;
    }

    /// Whether there is nothing to grow to, or growth has met its limit.
    pub fn is_full(&self) -> bool {
        !self.adaptive || self.rate_per_s() >= self.bound_per_s || self.controller.is_settled()
    }

    /// What is worth keeping over a restart of the agent.
    pub fn memory(&self) -> Memory {
        let (own_rate_per_s, watched) = self.own_rate.learned();
        Memory { own_rate_per_s, watched, quiet: self.controller.delay().quiet() }
    }

    /// Records per second that the controller and the bound allow.
    fn rate_per_s(&self) -> f64 {
        match self.adaptive {
            true => self.controller.rate_per_s(self.own_rate.per_s()).min(self.bound_per_s),
            false => self.bound_per_s,
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_secs_f64((1.0 / self.rate_per_s()).min(INTERVAL_MAX_S))
    }

    fn may_borrow(&self, now: Instant) -> bool {
        self.adaptive && now >= self.patient_until && self.rate_per_s() < SLOW_PER_S
    }
}

fn bound_per_s(config: &config::Drain) -> f64 {
    let unbounded = if config.adaptive { AUTO_PER_S } else { f64::INFINITY };
    config.records_per_second.map_or(unbounded, f64::from)
}

/// Of records, where they are bounded, and of bytes.
fn buckets(config: &config::Drain, now: Instant) -> (Option<Bucket>, Bucket) {
    let records = config.records_per_second.map(|rate| {
        let cell = Duration::from_secs(1) / rate.max(1);
        let mut bucket = Bucket::new(cell, u64::from(rate), now);
        // A bucket begins full; with one token spent, the first send is within the bound, too.
        bucket.owe(1);
        bucket
    });
    let rate = config.bytes_per_second.max(1);
    let cell = Duration::from_secs_f64(CELL_BYTES as f64 / rate as f64);
    (records, Bucket::new(cell, rate / CELL_BYTES, now))
}

#[cfg(test)]
mod tests;
