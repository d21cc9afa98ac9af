//! The drain: takes records out of the queue, sends them as link, pace and order allow, and
//! settles each by what became of it.
//!
//! - [`driver`](self) is the only loop; it wakes on a new record, an answer, a timer, an operator.
//! - `state` holds everything decided, without the records: [`crate::link::Link`], the [`Pacer`](crate::pace::Pacer),
//!   the [`plan`] and one [`breaker`] per lane and topic. It is pure, so the same seed and the
//!   same answers give the same run.
//! - `company` says which records leave together in one message or request, where the lane asks.
//! - `settle` says what an answer means; `stock` keeps the few records leased and not yet sent.

mod blame;
mod breakage;
pub mod breaker;
mod change;
mod company;
mod driver;
mod freshness;
mod handle;
mod heritage;
mod inquiry;
mod load;
pub mod marks;
mod meter;
mod notice;
pub mod plan;
mod pulse;
mod scatter;
mod settle;
pub mod source;
mod state;
mod status;
mod stock;
mod stranger;

pub use change::Way;
pub use handle::{Connection, Drain, DrainHandle, Ended};
pub use inquiry::{LaneOutlook, Mishap, TopicOutlook, mute_reason};
pub use status::{DrainStatus, LaneDrain};

use spillway_protocol::record::{BODY_MAX, LaneName};

use crate::budget;
use crate::config::{self, Config};
use crate::pace;

/// What the drain is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Gateway id: its slot in a fleet's return, and the order key of records without one.
    pub gateway: String,
    /// Lanes, in the order of the configuration; the agent's own is the last.
    pub lanes: Vec<config::Lane>,
    /// `[drain]`
    pub drain: config::Drain,
    /// `[backoff]`
    pub backoff: config::Backoff,
    /// A fresh install: nothing was ever delivered, so there is no fleet to return with, and the
    /// first record need not wait for this gateway's slot.
    pub fresh: bool,
    /// What the pace learned in an earlier run.
    pub memory: pace::Memory,
    /// What connections may cost and have cost today.
    pub budget: budget::Options,
    /// Why there is no upstream, where there is none and more is to be said of it.
    pub no_upstream: Option<String>,
    /// Bytes of messages in flight; the first requests of topics may go up to twice that.
    pub in_flight_bytes: usize,
    /// Bytes of records that the lanes share evenly as what each leases ahead; a lane has from 64 KiB to
    /// 1 MiB, and at least one group where records leave together (`batch`, `bundle`), so that many lanes
    /// or large groups hold more. Half of the part of a lane that has `freshness` is kept for live
    /// records.
    pub ahead_bytes: usize,
}

impl Options {
    /// What `config` says.
    pub fn new(
        config: &Config,
        fresh: bool,
        memory: pace::Memory,
        budget: budget::Options,
    ) -> Self {
        Self {
            gateway: config.gateway.id.clone(),
            lanes: config.all_lanes().collect(),
            drain: config.drain.clone(),
            backoff: config.backoff.clone(),
            fresh,
            memory,
            budget,
            no_upstream: None,
            in_flight_bytes: in_flight_bytes(config.limits.memory_bytes),
            ahead_bytes: ahead_bytes(config.limits.memory_bytes),
        }
    }
}

impl Options {
    /// A lane's part of what is leased ahead: never much, but all that is to leave together.
    fn stock_bytes(&self, lane: &config::Lane) -> usize {
        let share = self.ahead_bytes / self.lanes.len().max(1);
        share.clamp(64 << 10, 1 << 20).max(company::Company::of(lane).bytes)
    }

    /// The lane of that name.
    fn accepted_in(&self, name: &LaneName) -> Option<&config::Lane> {
        self.lanes.iter().find(|lane| lane.name == *name)
    }
}

/// An eighth of the memory, but room for the largest message.
fn in_flight_bytes(memory_bytes: u64) -> usize {
    usize::try_from(memory_bytes / 8).unwrap_or(usize::MAX).max(BODY_MAX)
}

/// A sixteenth of the memory.
fn ahead_bytes(memory_bytes: u64) -> usize {
    usize::try_from(memory_bytes / 16).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
