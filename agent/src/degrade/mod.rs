//! Bulk lanes give way before critical ones: the rules of `degrade`.
//!
//! Once a second each lane's pressures are measured, those of the lowest priority first, and the
//! rules in force are applied: the queue drops or thins, the drain pauses. `measure` and `rule` are
//! pure; what is dropped is the queue's to note and to tell.

mod age;
mod board;
mod measure;
mod rule;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use spillway_protocol::record::LaneName;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use board::Board;

use crate::clock::WallClock;
use crate::config::Lane;
use crate::drain::DrainHandle;
use crate::queue::Queue;
use worker::Worker;

/// How often the pressures are measured.
const EVERY: Duration = Duration::from_secs(1);

/// What the rules need.
pub struct Means {
    /// Where records wait.
    pub queue: Queue,
    /// What pauses lanes, and knows what is left of `[budget]`.
    pub drain: Arc<DrainHandle>,
    /// Lanes of apps, with their rules.
    pub lanes: Vec<Lane>,
    /// For records of earlier runs.
    pub clock: Arc<dyn WallClock>,
    /// Where it is shown.
    pub board: Board,
}

/// Applies the rules until stopped; returns at once where there are none.
pub async fn run(means: Means, stop: CancellationToken) {
    let ruled = |name: &LaneName| {
        means.lanes.iter().any(|lane| lane.name == *name && !lane.degrade.is_empty())
    };
    means.board.begin(ruled);
    if means.lanes.iter().all(|lane| lane.degrade.is_empty()) {
        return;
    }
    let mut worker = Worker::new(means, Instant::now());
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let work = move || {
            worker.tick(Instant::now());
            worker
        };
        match spawn_blocking(work).await {
            Ok(again) => worker = again,
            Err(error) => {
                return tracing::error!(%error, "the rules of degrade end; restart the agent");
            }
        }
    }
}
