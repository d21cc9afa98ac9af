//! The broker: work in, verdicts out, first come, first served.

use super::scenario::{Disturbance, Limit, Scenario};

/// What it takes to answer, beside waiting and serving.
const ANSWER_US: f64 = 1000.0;
/// A policer lets through this much of a second at once.
const POLICER_BURST_S: f64 = 0.1;

/// What becomes of a record; the time is when the broker says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted(u64),
    Rejected(u64),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Broker {
    rate_per_us: f64,
    limit: Limit,
    connect_work: f64,
    reject_work: f64,
    connects_per_us: f64,
    accept_backlog_us: f64,
    disturbance: Disturbance,
    /// When the network is back; disturbances count from here.
    back_us: u64,
    /// When everything in the queue is served.
    free_us: f64,
    /// When everything in the accept backlog is.
    accept_free_us: f64,
}

impl Broker {
    pub(super) fn new(scenario: &Scenario, live_per_s: f64, back_us: u64) -> Self {
        Self {
            rate_per_us: live_per_s * scenario.capacity / 1e6,
            limit: scenario.limit,
            connect_work: scenario.connect_work,
            reject_work: scenario.reject_work,
            connects_per_us: scenario.connects_per_s * f64::from(scenario.gateways) / 1e6,
            accept_backlog_us: scenario.accept_backlog.as_micros() as f64,
            disturbance: scenario.disturbance,
            back_us,
            free_us: 0.0,
            accept_free_us: 0.0,
        }
    }

    /// Whether it can be reached at all.
    pub(super) fn is_there(&self, now_us: u64) -> bool {
        now_us >= self.back_us && !self.is_within_gap(now_us)
    }

    fn is_within_gap(&self, now_us: u64) -> bool {
        match self.disturbance {
            Disturbance::SecondOutage { from, to } | Disturbance::Restart { from, to } => {
                let since_us = u128::from(now_us - self.back_us);
                (from.as_micros()..to.as_micros()).contains(&since_us)
            }
            Disturbance::None | Disturbance::Halved { .. } => false,
        }
    }

    fn rate_per_us(&self, now_us: u64) -> f64 {
        let since_us = u128::from(now_us.saturating_sub(self.back_us));
        match self.disturbance {
            Disturbance::Halved { from, to }
                if (from.as_micros()..to.as_micros()).contains(&since_us) =>
            {
                self.rate_per_us / 2.0
            }
            _ => self.rate_per_us,
        }
    }

    /// A record arrives.
    pub(super) fn record(&mut self, now_us: u64) -> Verdict {
        let now = now_us as f64;
        let wait = (self.free_us - now).max(0.0);
        let service = 1.0 / self.rate_per_us(now_us);
        match self.limit {
            Limit::Queue(bound) if wait > bound.as_micros() as f64 => self.refuse(now, 0.0),
            // What waits longer is thrown out then, and is not in the way of those behind it.
            Limit::Late(bound) if wait > bound.as_micros() as f64 => {
                self.refuse(now, bound.as_micros() as f64)
            }
            Limit::Policer if wait > POLICER_BURST_S * 1e6 => self.refuse_unqueued(now),
            Limit::Policer => {
                self.free_us = self.free_us.max(now) + service;
                Verdict::Accepted((now + ANSWER_US) as u64)
            }
            Limit::Queue(_) | Limit::Late(_) => {
                self.free_us = self.free_us.max(now) + service;
                Verdict::Accepted((self.free_us + ANSWER_US) as u64)
            }
        }
    }

    fn refuse(&mut self, now: f64, after_us: f64) -> Verdict {
        self.free_us += self.reject_work / self.rate_per_us;
        Verdict::Rejected((now + after_us + ANSWER_US) as u64)
    }

    /// A policer counts only what it lets through.
    fn refuse_unqueued(&mut self, now: f64) -> Verdict {
        Verdict::Rejected((now + ANSWER_US) as u64)
    }

    /// A TLS connect arrives. Returns when it is done, or nothing if the backlog is full.
    pub(super) fn connect(&mut self, now_us: u64) -> Option<u64> {
        let now = now_us as f64;
        let wait = (self.accept_free_us - now).max(0.0);
        if wait > self.accept_backlog_us {
            return None;
        }
        self.accept_free_us = self.accept_free_us.max(now) + 1.0 / self.connects_per_us;
        if self.limit != Limit::Policer {
            self.free_us = self.free_us.max(now) + self.connect_work / self.rate_per_us(now_us);
        }
        Some(self.accept_free_us as u64)
    }

    /// It was stopped: what it had queued is gone.
    pub(super) fn clear(&mut self) {
        (self.free_us, self.accept_free_us) = (0.0, 0.0);
    }
}
