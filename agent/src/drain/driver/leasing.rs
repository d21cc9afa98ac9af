//! Keeps the stocks filled: which lane leases next, and what it has.

use futures::FutureExt;
use spillway_protocol::record::Record;
use tokio::time::Instant;

use super::{Driver, Job, Leased, order_key};
use crate::drain::plan::Readiness;
use crate::drain::source::{Parcel, Source};
use crate::drain::state::Facts;
use crate::link::Permit;

/// Records of one lease.
const BATCH: usize = 32;

impl<S: Source> Driver<S> {
    /// A full stock does not hear of deferred records that come due; the plan has to, and of the
    /// end of a linger.
    pub(super) fn readiness(&mut self, lane: usize, stock: Readiness, now: Instant) -> Readiness {
        if matches!(stock, Readiness::Ready | Readiness::Busy) {
            return stock;
        }
        let gathered = self.gathers(lane, now);
        let name = &self.options.lanes[lane].name;
        let hidden = || self.stocks[lane].hidden_due(|| self.source.next_due(name));
        let known = match stock {
            Readiness::Due(at) => Some(at),
            _ => None,
        };
        let hidden = if stock == Readiness::Empty { None } else { hidden() };
        let due = [known, hidden, gathered].into_iter().flatten().min();
        due.map_or(stock, Readiness::Due)
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
                if permit == Permit::Flow && self.gathers(lane, now).is_some() {
                    continue;
                }
                self.gathering[lane].end();
                let mark = self.stocks[lane].mark(self.source.mark(&name));
                let (count, bytes) = self.stocks[lane].room();
                let company = self.companies[lane];
                let batch = if company.is_kept() && batch > 1 { count } else { batch };
                let leased = self.source.lease(&name, count.min(batch), bytes, company.run());
                self.lease = Some(leased.map(move |leased| (lane, mark, leased)).boxed());
                return;
            }
        }
    }

    /// Until when the lane waits for more to leave together, though there is something to lease.
    fn gathers(&mut self, lane: usize, now: Instant) -> Option<Instant> {
        let company = self.companies[lane];
        let up = || self.shared.state().link.permit(now) == Permit::Flow;
        // What is being leased is nowhere to be counted; once it is here, all is looked at again.
        let leasing = self.lease.is_some();
        if !company.is_kept() || company.linger.is_zero() || leasing || !up() {
            return None;
        }
        let name = &self.options.lanes[lane].name;
        let wants = self.stocks[lane].wants(|| self.source.mark(name), now);
        let [_, waiting, _] = self.source.mark(name);
        let idle = usize::try_from(waiting).unwrap_or(usize::MAX);
        let busy = self.stocks[lane].count() + self.in_flight(lane);
        let idle = if wants { idle.saturating_sub(busy) } else { 0 };
        self.gathering[lane].until(&company, idle, now)
    }

    /// Records of the lane whose requests are under way, or that are on their way to the dead
    /// letters.
    fn in_flight(&self, lane: usize) -> usize {
        let count = |job: &Job<S::Parcel>| match job {
            Job::Send(flight, _) | Job::Bury(flight, _) if flight.facts.lane == lane => {
                flight.count()
            }
            _ => 0,
        };
        self.jobs.values().map(count).sum()
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
        let company = self.companies[lane];
        let order_of = |record: &Record| {
            order_key(config.order, record, &self.options.gateway).unwrap_or("").to_owned()
        };
        let accepted_in =
            |parcel: &S::Parcel| self.options.accepted_in(&parcel.stamp().lane).unwrap_or(config);
        let known = leased.into_iter().map(|parcel| {
            let record = parcel.record();
            let facts = Facts {
                lane,
                topic: record.topic.as_ref().unwrap_or(&accepted_in(&parcel).topic).clone(),
                position: parcel.position(),
                order: company.is_ordered().then(|| order_of(record)),
                bytes: record.size_bytes(),
                body_bytes: record.body.len(),
            };
            (facts, parcel)
        });
        let state = self.shared.state();
        self.stocks[lane].add(known.collect(), mark, due, &state, now);
    }
}
