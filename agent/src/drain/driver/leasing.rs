//! Keeps the stocks filled: which lane leases next, and what it has.

use futures::FutureExt;
use tokio::time::Instant;

use super::{Driver, Leased};
use crate::drain::plan::Readiness;
use crate::drain::source::{Parcel, Source};
use crate::drain::state::Facts;
use crate::link::Permit;

/// Records of one lease.
const BATCH: usize = 32;

impl<S: Source> Driver<S> {
    /// A full stock does not hear of deferred records that come due; the plan has to.
    pub(super) fn readiness(&self, lane: usize, stock: Readiness) -> Readiness {
        let name = &self.options.lanes[lane].name;
        let due = || self.stocks[lane].hidden_due(|| self.source.next_due(name));
        match stock {
            Readiness::Held => due().map_or(stock, Readiness::Due),
            Readiness::Due(at) => Readiness::Due(due().map_or(at, |due| due.min(at))),
            _ => stock,
        }
    }

    /// Leases for the first lane that has nothing ready and may have more, if none is under way.
    pub(super) fn lease_more(&mut self, now: Instant) {
        let permit = self.shared.state().link.permit(now);
        let batch = match permit {
            Permit::Flow => BATCH,
            // Several, to choose a topic from that was not asked for lately.
            Permit::Probe { record_only: true } => BATCH,
            Permit::Probe { record_only: false } => 1,
            Permit::Wait(_) if self.shared.state().link.urgent_from(now).is_some() => BATCH,
            Permit::Bare | Permit::Wait(_) | Permit::Never => return,
        };
        if self.lease.is_some() {
            return;
        }
        for lane in self.turns(permit) {
            let name = self.options.lanes[lane].name.clone();
            if !self.lacks(lane, now) {
                continue;
            }
            let due = || self.source.next_due(&name);
            self.stocks[lane].refresh(due, now);
            if self.stocks[lane].wants(|| self.source.mark(&name), now) {
                let mark = self.stocks[lane].mark(self.source.mark(&name));
                let (count, bytes) = self.stocks[lane].room();
                let leased = self.source.lease(&name, count.min(batch), bytes);
                self.lease = Some(leased.map(move |leased| (lane, mark, leased)).boxed());
                return;
            }
        }
    }

    /// Lanes in the order in which they lease: by priority; by turns, to ask whether a held link
    /// is still held, since one lane's trouble must not decide for all.
    fn turns(&self, permit: Permit) -> Vec<usize> {
        let mut lanes: Vec<usize> = (0..self.stocks.len()).collect();
        lanes.sort_by_key(|lane| self.options.lanes[*lane].priority);
        if matches!(permit, Permit::Wait(_)) {
            let state = self.shared.state();
            lanes.retain(|lane| state.is_urgent(*lane));
        }
        if permit == (Permit::Probe { record_only: true }) {
            let state = self.shared.state();
            lanes.sort_by_key(|lane| state.blame.lane_last_asked(*lane));
        }
        lanes
    }

    /// Whether the lane has nothing that may leave, though there is room for requests.
    fn lacks(&self, lane: usize, now: Instant) -> bool {
        let state = self.shared.state();
        match self.stocks[lane].readiness(&state, now) {
            Readiness::Ready => false,
            Readiness::Busy => state.load.free() > 0,
            Readiness::Due(_) | Readiness::Held | Readiness::Empty => true,
        }
    }

    pub(super) fn stock(&mut self, (lane, mark, leased): Leased<S::Parcel>) {
        self.lease = None;
        let now = Instant::now();
        let config = &self.options.lanes[lane];
        let due = self.source.next_due(&config.name);
        let accepted_in =
            |parcel: &S::Parcel| self.options.accepted_in(&parcel.stamp().lane).unwrap_or(config);
        let known = leased.into_iter().map(|parcel| {
            let record = parcel.record();
            let facts = Facts {
                lane,
                topic: record.topic.as_ref().unwrap_or(&accepted_in(&parcel).topic).clone(),
                position: parcel.position(),
                bytes: record.size_bytes(),
                body_bytes: record.body.len(),
            };
            (facts, parcel)
        });
        let state = self.shared.state();
        self.stocks[lane].add(known.collect(), mark, due, &state, now);
    }
}
