//! Distances and losses.

use rand::{Rng, RngExt};

/// One gateway's way to the broker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    round_trip_us: f64,
    jitter: f64,
    loss: f64,
}

/// What becomes of a request on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    Lost,
    ReplyLost,
}

impl Path {
    /// Draws a way: its round trip log-uniform within `round_trip_us`, its loss uniform.
    pub(super) fn draw(
        round_trip_us: (f64, f64),
        jitter: f64,
        loss: (f64, f64),
        rng: &mut impl Rng,
    ) -> Self {
        let stretch = (round_trip_us.1 / round_trip_us.0).powf(rng.random::<f64>());
        let loss = loss.0 + (loss.1 - loss.0) * rng.random::<f64>();
        Self { round_trip_us: round_trip_us.0 * stretch, jitter, loss }
    }

    /// One way, in microseconds.
    pub(super) fn one_way_us(&self, rng: &mut impl Rng) -> u64 {
        let chance = -(1.0 - rng.random::<f64>()).ln();
        (self.round_trip_us / 2.0 * (1.0 + self.jitter * chance)) as u64
    }

    /// What becomes of the next request.
    pub(super) fn fate(&self, rng: &mut impl Rng) -> Fate {
        let chance: f64 = rng.random();
        match () {
            () if chance < self.loss / 2.0 => Fate::Lost,
            () if chance < self.loss => Fate::ReplyLost,
            () => Fate::Arrives,
        }
    }
}
