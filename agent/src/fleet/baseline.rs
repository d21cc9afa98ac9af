//! Other ways to return, as many clients have them. All but [`Policy::Aimd`] connect within a
//! fifth of a second, send their records in order and pause as a whole when one is refused.

use rand::{Rng, RngExt};

use super::network::Path;

/// Requests in flight of a client without a controller.
const IN_FLIGHT: u32 = 8;
/// A naive client tries again after this.
const NAIVE_US: f64 = 100_000.0;
/// First and longest pause of the others.
const PAUSE_US: (f64, f64) = (1e6, 60e6);
/// Largest window of adaptive concurrency: as many as ours may have in flight.
const WINDOW_MOST: f64 = 64.0;
/// It shrinks to this part when an answer was refused or late.
const SHRINK: f64 = 0.9;
/// Late is so many mean deviations beyond the mean.
const LATE: f64 = 2.5;
/// Weight of an answer in that mean.
const WEIGHT: f64 = 0.1;

/// How the gateways of a fleet return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// As Spillway does.
    SelfAnchored,
    /// Again after a tenth of a second.
    Naive,
    /// Pauses double, without chance.
    Exponential,
    /// U(0, bound), the bound doubles.
    FullJitter,
    /// U(first, three times the last pause).
    DecorrelatedJitter,
    /// A token bucket of 10 records a second, and full jitter.
    StaticBucket,
    /// Adaptive concurrency: a window of requests that grows by one a round trip and shrinks when
    /// an answer is refused or late, as in TCP. With the same link, slots and lanes as ours.
    Aimd,
}

impl Policy {
    /// All, ours first.
    pub const ALL: [Self; 7] = [
        Self::SelfAnchored,
        Self::Naive,
        Self::Exponential,
        Self::FullJitter,
        Self::DecorrelatedJitter,
        Self::StaticBucket,
        Self::Aimd,
    ];

    /// Whether the agent's link decides when to connect, and lanes what goes first.
    pub(super) fn is_ours_but_the_pace(self) -> bool {
        matches!(self, Self::SelfAnchored | Self::Aimd)
    }
}

/// A client without our pacer.
#[derive(Debug)]
pub(super) struct Baseline {
    policy: Policy,
    failures: u32,
    pause_us: f64,
    window: f64,
    mean_us: f64,
    deviation_us: f64,
    /// The window was full since the last growth.
    filled: bool,
    /// Answers to what left before this say nothing new.
    shrunk_us: u64,
}

impl Baseline {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            failures: 0,
            pause_us: PAUSE_US.0,
            window: 1.0,
            mean_us: 0.0,
            deviation_us: 0.0,
            filled: false,
            shrunk_us: 0,
        }
    }

    /// As on a quiet line.
    pub(super) fn learn(&mut self, path: &Path, rng: &mut impl Rng) {
        for n in 0..48 {
            let response = (path.one_way_us(rng) + path.one_way_us(rng)) as f64;
            let weight = WEIGHT.max(1.0 / f64::from(n + 1));
            self.deviation_us += weight * ((response - self.mean_us).abs() - self.deviation_us);
            self.mean_us += weight * (response - self.mean_us);
        }
    }

    /// Whether another request may join `in_flight`.
    pub(super) fn has_room(&mut self, in_flight: u32) -> bool {
        let most = match self.policy {
            Policy::Aimd => self.window as u32,
            _ => IN_FLIGHT,
        };
        self.filled |= in_flight + 1 >= most;
        in_flight < most.max(1)
    }

    /// A record that was sent at `sent_us` was taken.
    pub(super) fn accepted(&mut self, sent_us: u64, now_us: u64) {
        self.failures = 0;
        self.pause_us = PAUSE_US.0;
        if self.policy != Policy::Aimd {
            return;
        }
        let response = now_us.saturating_sub(sent_us) as f64;
        let late = response > self.mean_us + LATE * self.deviation_us + 1000.0;
        if late {
            self.shrink(sent_us, now_us);
        } else if self.filled {
            self.window = (self.window + 1.0 / self.window).min(WINDOW_MOST);
            self.filled = false;
        }
        self.deviation_us += WEIGHT / 8.0 * ((response - self.mean_us).abs() - self.deviation_us);
        self.mean_us += WEIGHT / 8.0 * (response - self.mean_us);
    }

    /// It was refused, or its connection failed. Returns for how long nothing leaves.
    pub(super) fn refused(&mut self, sent_us: u64, now_us: u64, rng: &mut impl Rng) -> u64 {
        if self.policy == Policy::Aimd {
            self.shrink(sent_us, now_us);
        }
        let bound = (PAUSE_US.0 * f64::from(self.failures.min(16)).exp2()).min(PAUSE_US.1);
        self.failures += 1;
        let pause = match self.policy {
            Policy::SelfAnchored | Policy::Naive => NAIVE_US,
            Policy::Exponential => bound,
            Policy::FullJitter | Policy::StaticBucket | Policy::Aimd => bound * rng.random::<f64>(),
            Policy::DecorrelatedJitter => {
                let reach = 3.0 * self.pause_us - PAUSE_US.0;
                self.pause_us = (PAUSE_US.0 + reach * rng.random::<f64>()).min(PAUSE_US.1);
                self.pause_us
            }
        };
        pause as u64
    }

    fn shrink(&mut self, sent_us: u64, now_us: u64) {
        if sent_us >= self.shrunk_us {
            self.shrunk_us = now_us;
            self.window = (self.window * SHRINK).max(1.0);
        }
    }
}
