//! How much of a fleet is simulated.

use std::time::Duration;

use super::{Company, Question};
use crate::config::{Drain, Order};
use crate::fleet::Scenario;

/// Messages of one simulated return: some seconds of a processor.
const MESSAGES: f64 = 1_500_000.0;
/// Gateways: beyond it a fleet behaves no differently, below the other it is noisy.
const GATEWAYS: (u32, u32) = (100, 2000);
/// Messages per second of the part's capacity, and gateways that it may take: a part that a few messages
/// or one TLS connect fill floods its broker by chance alone.
const CAPACITY_LEAST: f64 = 100.0;
const SPARSE_GATEWAYS: f64 = 10_000.0;
/// A shorter outage would not let the waits between probes grow.
const OUTAGE_LEAST_S: f64 = 300.0;
/// A round trip is at least this part of the longest.
const ROUND_TRIPS: f64 = 1.0 / 16.0;
/// In so many times the ideal time, and this beside it, every gateway is back.
const HORIZON: (f64, Duration) = (3.0, Duration::from_secs(2400));
/// ... but no longer is simulated, since a run's curve grows with its time.
const HORIZON_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Which part of the gateways and of the outage is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Gateways.
    pub gateways: u32,
    /// Outage.
    pub outage: Duration,
}

impl Scale {
    /// All of it.
    pub fn exact(question: &Question) -> Self {
        Self { gateways: question.gateways, outage: question.outage }
    }

    /// As many gateways as are simulated in seconds, or as few as still are a fleet with a broker to
    /// speak of, and then as much of the outage.
    pub fn quick(question: &Question) -> Self {
        let headroom = question.headroom();
        // The backlog, and what comes meanwhile.
        let sends_per_s = question.rate_per_s / question.in_message() * headroom / (headroom - 1.0);
        let outage_s = question.outage.as_secs_f64();
        let fit = MESSAGES / (sends_per_s * outage_s).max(1.0);
        let each_per_s = question.capacity_per_s / f64::from(question.gateways);
        let sparse = (CAPACITY_LEAST / each_per_s).min(SPARSE_GATEWAYS).ceil() as u32;
        let gateways = (fit as u32).clamp(GATEWAYS.0, GATEWAYS.1).max(sparse);
        let gateways = gateways.min(question.gateways);
        let fit_s = MESSAGES / (sends_per_s * f64::from(gateways)).max(1e-9);
        let outage_s = outage_s.min(fit_s.max(OUTAGE_LEAST_S));
        Self { gateways, outage: Duration::from_secs_f64(outage_s) }
    }

    /// How much longer the real outage is.
    pub fn stretch(&self, question: &Question) -> f64 {
        question.outage.as_secs_f64() / self.outage.as_secs_f64()
    }

    /// What is simulated. A record there stands for a message of live records here.
    pub fn scenario(&self, question: &Question) -> Scenario {
        let live = question.in_live_message();
        let (least, most) = question.rates_per_s();
        let together = (question.in_message() / live).round().max(1.0);
        let mut scenario = Scenario {
            own_rate_per_s: (least / live, most / live),
            heavy_part: question.heavy_part,
            heavy_times: question.heavy_times,
            outage: self.outage,
            round_trip: (question.round_trip.mul_f64(ROUND_TRIPS), question.round_trip),
            message_bytes: question.message_body_bytes(question.in_message()) as usize,
            together: together as u32,
            in_flight: if question.order == Order::Lane { 1 } else { 64 },
            drain: drain(question),
            backoff: question.backoff.clone(),
            ..Scenario::outage(self.gateways, question.headroom())
        };
        let horizon = scenario.ideal().mul_f64(HORIZON.0) + HORIZON.1;
        scenario.horizon = horizon.min(HORIZON_MAX);
        scenario
    }
}

/// The bound on records, in messages of a backlog.
fn drain(question: &Question) -> Drain {
    let bound = question.drain.records_per_second.map(|records| match question.company {
        Company::Bundle { .. } => (f64::from(records) / question.in_message()).ceil() as u32,
        _ => records,
    });
    Drain { records_per_second: bound, ..question.drain.clone() }
}
