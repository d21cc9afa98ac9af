//! Keeps the stocks filled: which lane leases next, and what it has.

use futures::FutureExt;
use spillway_protocol::local::status::LinkState;
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
        if self.shared.state().lanes[lane].paused {
            return Readiness::Held;
        }
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
        let rests = self.stocks[lane].live_rests_until(now);
        let due = [known, hidden, gathered, rests].into_iter().flatten().min();
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
            if self.shared.state().lanes[lane].paused {
                continue;
            }
            let leases = self.lacks(lane, now) && self.lease_oldest(lane, permit, batch, now);
            if leases || permit == Permit::Flow && self.lease_live(lane, now) {
                return;
            }
        }
    }

    /// Leases the lane's oldest, if the queue may have something that is not here.
    fn lease_oldest(&mut self, lane: usize, permit: Permit, batch: usize, now: Instant) -> bool {
        let name = self.options.lanes[lane].name.clone();
        let due = || self.source.next_due(&name);
        self.stocks[lane].refresh(due, now);
        if !self.stocks[lane].wants(|| self.source.mark(&name), now) {
            return false;
        }
        if permit == Permit::Flow && self.gathers(lane, now).is_some() {
            return false;
        }
        self.gathering[lane].end();
        let mark = self.stocks[lane].mark(self.source.mark(&name));
        let (count, bytes) = self.stocks[lane].room();
        let company = self.companies[lane];
        let batch = if company.is_kept() && batch > 1 { count } else { batch };
        let leased = self.source.lease(&name, count.min(batch), bytes, company.run());
        self.lease = Some(leased.map(move |leased| (lane, Some(mark), leased)).boxed());
        true
    }

    /// Leases live records ahead of a backlog, where none is at hand. Only while the link is up:
    /// what is to prove a link or a topic is the oldest.
    fn lease_live(&mut self, lane: usize, now: Instant) -> bool {
        let stock = &self.stocks[lane];
        let Some(from) = stock.live_from() else { return false };
        if stock.has_ready(true, &self.shared.state(), now) || !self.lags(lane, from) {
            return false;
        }
        let name = &self.options.lanes[lane].name;
        let (count, bytes) = stock.room_for_live();
        let there = self.source.front(name, from).first.is_some();
        if !there || count == 0 || bytes == 0 || stock.live_rests_until(now).is_some() {
            return false;
        }
        let batch = if self.companies[lane].is_kept() { count } else { BATCH };
        let leased = self.source.lease_from(name, from, count.min(batch), bytes);
        self.lease = Some(leased.map(move |leased| (lane, None, leased)).boxed());
        true
    }

    /// Whether something waits that is older than the lane's live front.
    fn lags(&self, lane: usize, from: u64) -> bool {
        let first = self.source.front(&self.options.lanes[lane].name, 0).first;
        self.stocks[lane].has_backlog() || first.is_some_and(|first| first < from)
    }

    /// Moves the live fronts on.
    pub(super) fn note_fronts(&mut self, now: Instant) {
        for (lane, stock) in self.stocks.iter_mut().enumerate() {
            let Some(from) = stock.live_from() else { continue };
            let front = self.source.front(&self.options.lanes[lane].name, from);
            stock.note_front(front, now);
            self.shared.state().lanes[lane].live_from = stock.live_from();
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
        if self.stocks[lane].live_from().is_some_and(|from| self.lags(lane, from)) {
            // Live records at hand do not keep the backlog from its part.
            return !self.stocks[lane].has_ready(false, &state, now);
        }
        match self.stocks[lane].readiness(&state, now) {
            Readiness::Ready => false,
            Readiness::Busy => state.load.free() > 0,
            Readiness::Due(_) | Readiness::Held | Readiness::Empty => true,
        }
    }

    /// Whether nothing leaves the lane any more for a long time: what is leased goes back, since a
    /// rule of `degrade` drops only what is not.
    fn rests(&self, lane: usize) -> bool {
        let state = self.shared.state();
        state.lanes[lane].paused || state.link.state() == LinkState::Budget
    }

    /// Takes in what was leased.
    pub(super) fn stock(&mut self, (lane, mark, leased): Leased<S::Parcel>) {
        self.lease = None;
        if self.rests(lane) {
            drop(leased);
            return self.stocks[lane].outdate();
        }
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
        match mark {
            Some(mark) => self.stocks[lane].add(known.collect(), mark, due, &state, now),
            None => self.stocks[lane].add_live(known.collect(), &state, now),
        }
    }
}
