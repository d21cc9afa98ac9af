//! Groups that failed: nobody is blamed for what another may have done.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::settle::{FREE, Settlement};
use super::state::{Flight, LaneState, State};

/// Records of failed groups remembered per lane; older ones may leave in company again.
const REMEMBERED: usize = 4096;

impl State {
    /// A group failed for what may be the fault of one of it. Nobody is blamed: they leave again,
    /// each alone.
    pub(super) fn scattered(
        &mut self,
        flight: &Flight,
        kind: &str,
        reason: &str,
        now: Instant,
    ) -> Settlement {
        self.answered(flight.era, now);
        let words = format!("{reason} ({} records, sent again one by one)", flight.count());
        self.fault(flight.facts.lane, kind, &words, now);
        self.scatter(flight);
        FREE
    }

    /// What became of a group is not known. A broker that stumbles once is no reason to send them
    /// one by one; the second time it may be one of them.
    pub(super) fn doubtful(&mut self, flight: &Flight, reason: &str, now: Instant) -> Settlement {
        let doubtful = &mut self.lanes[flight.facts.lane].doubtful;
        if flight.positions().any(|at| doubtful.remove(&at)) {
            return self.scattered(flight, "unknown", reason, now);
        }
        remember(doubtful, flight);
        self.answered(flight.era, now);
        self.fault(flight.facts.lane, "unknown", reason, now);
        let wait = (self.retry.bound(0) + self.retry.wait(0, &mut self.rng)) / 2;
        Settlement::Defer { until: Some(now + wait), charged: false }
    }

    pub(super) fn scatter(&mut self, flight: &Flight) {
        remember(&mut self.lanes[flight.facts.lane].scattered, flight);
    }
}

impl LaneState {
    /// What the flight carried is delivered.
    pub(super) fn arrived(&mut self, flight: &Flight) {
        self.scattered.remove(&flight.facts.position);
        for position in flight.positions() {
            self.doubtful.remove(&position);
        }
    }
}

/// Notes the records of a flight, of so many the newest.
fn remember(positions: &mut BTreeSet<u64>, flight: &Flight) {
    positions.extend(flight.positions());
    while positions.len() > REMEMBERED {
        positions.pop_first();
    }
}
