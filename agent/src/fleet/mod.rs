//! A fleet that comes back, simulated: many gateways, one broker, and between them a network with
//! distances and losses. Discrete events in virtual time; records are counted, not carried.
//!
//! The gateways run the agent's own [`Link`](crate::link::Link), its
//! [`Backoff`](crate::link::Backoff) and its [`Pacer`](crate::pace::Pacer) with all that is below
//! it, so that what is shown here is what the agent does. Beside them, other ways to return are
//! simulated for comparison. The same scenario, policy and seed give the same run, event by event.

mod baseline;
mod broker;
mod calendar;
mod gateway;
mod metrics;
mod network;
mod scenario;
mod world;

pub use baseline::Policy;
pub use metrics::{Latency, Load, Outcome, Stopped};
pub use scenario::{Disturbance, Limit, Scenario};

/// Runs `scenario` with every gateway (but the naive part of it) following `policy`.
pub fn simulate(scenario: &Scenario, policy: Policy, seed: u64) -> Outcome {
    world::World::new(scenario, policy, seed).run()
}

#[cfg(test)]
mod tests;
