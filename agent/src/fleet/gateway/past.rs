//! A gateway as the outage finds it: what it makes, what it has learned, its link just cut.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use tokio::time::Instant;

use super::{Clock, Path, Policy, Scenario};
use crate::config;
use crate::link::{Backoff, Link, Start};
use crate::pace::{Delay, Memory, Pacer};

/// Records per second of a static bucket.
const STATIC_PER_S: u32 = 10;
/// Quiet answers that taught it what a quiet line is like.
const QUIET_ANSWERS: u32 = 256;

pub(super) fn draw_rate(scenario: &Scenario, rng: &mut impl Rng) -> f64 {
    let (least, most) = scenario.own_rate_per_s;
    let rate = least + (most - least) * rng.random::<f64>();
    match rng.random_bool(scenario.heavy_part) {
        true => rate * scenario.heavy_times,
        false => rate,
    }
}

/// What it learned before the outage, with the agent's own means.
pub(super) fn remembered(own_rate_per_s: f64, path: &Path, rng: &mut impl Rng) -> Memory {
    let mut delay = Delay::default();
    for _ in 0..QUIET_ANSWERS {
        let response_us = path.one_way_us(rng) + path.one_way_us(rng) + 1000;
        delay.answered(Duration::from_micros(response_us), 60.0, true);
    }
    let watched = Duration::from_secs(4 * 3600);
    Memory { own_rate_per_s, watched, quiet: delay.quiet() }
}

/// Ours, or what holds a static bucket or a pause.
pub(super) fn pacer(
    scenario: &Scenario,
    policy: Policy,
    memory: Memory,
    now: Instant,
) -> Option<Pacer> {
    let fixed = |records_per_second| config::Drain {
        adaptive: false,
        records_per_second,
        ..scenario.drain.clone()
    };
    let drain = match policy {
        Policy::SelfAnchored => scenario.drain.clone(),
        Policy::StaticBucket => fixed(Some(STATIC_PER_S)),
        Policy::Aimd => fixed(None),
        _ => return None,
    };
    Some(Pacer::new(&drain, memory, false, now))
}

/// A link that was up, and whose network went away within the first seconds.
pub(super) fn cut_link(
    backoff: &config::Backoff,
    slot: Duration,
    probe_within: Duration,
    clock: Clock,
    rng: &mut StdRng,
) -> Link {
    let cut = clock.at(rng.random_range(0..5_000_000));
    let mut link = Link::new(Backoff::new(backoff), slot, Start::After(Duration::ZERO), cut);
    link.set_spread(slot, probe_within);
    link.attempt_bare(cut);
    link.reached(link.era(), cut);
    link.ramped(cut);
    link.down(link.era(), "away", cut, rng);
    link
}
