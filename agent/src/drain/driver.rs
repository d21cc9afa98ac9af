//! The loop: starts what may be started, then sleeps until something happens.

mod landing;
mod leasing;
mod purse;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use spillway_protocol::message::Defaults;
use spillway_protocol::record::{LaneName, Record};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::Options;
use super::company::{Cargo, Company, Gathering};
use super::freshness::Freshness;
use super::handle::Shared;
use super::plan::{LaneView, Readiness, Step};
use super::source::{self, Parcel, Source};
use super::state::{Facts, Flight, State};
use super::stock::{Mark, Stock};
use crate::budget::request_bytes;
use crate::config::{self, Order};
use crate::link::Permit;
use crate::pace::Urgency;
use crate::queue::SettleError;
use crate::upstream::{Outcome, Upstream};

/// A wait in which the far end need not hear of us.
const LONG: Duration = Duration::from_secs(2);
/// How often the own rate is looked at; the queue may have to read for it.
const NOTE_EVERY: Duration = Duration::from_secs(10);
/// How often it is asked whether records that failed still wait there.
const FORGET_EVERY: Duration = Duration::from_secs(10);
/// What tokio's timers can tell apart.
const TICK: Duration = Duration::from_millis(1);

/// Owns the records that are leased; everything it decides with is in [`Shared`].
pub(super) struct Driver<S: Source> {
    options: Options,
    source: Arc<S>,
    upstream: Option<Arc<dyn Upstream>>,
    shared: Arc<Shared>,
    stop: watch::Receiver<Option<Instant>>,
    changed: watch::Receiver<u64>,
    stocks: Vec<Stock<S::Parcel>>,
    companies: Vec<Company>,
    gathering: Vec<Gathering>,
    lease: Option<BoxFuture<'static, Leased<S::Parcel>>>,
    tasks: JoinSet<Done>,
    jobs: HashMap<Id, Job<S::Parcel>>,
    flowing: bool,
    /// Connections were closed because the day's bytes are used.
    closed: bool,
    noted_at: Option<Instant>,
    /// When it was last asked which records still wait, and how often the queue had changed.
    forgot: Option<(Instant, u64)>,
}

/// A lane's lease: the lane, its mark before (`None` where it was of live records alone), the
/// records.
type Leased<P> = (usize, Option<Mark>, Vec<P>);

/// What a task is about.
enum Job<P> {
    /// The first record, and those that left with it.
    Send(Flight, Vec<P>),
    Bury(Flight, String),
    Probe(u64),
}

/// How it ended.
enum Done {
    Sent(Outcome),
    Buried(Result<(), SettleError>),
    Probed(Result<(), String>),
}

impl<S: Source> Driver<S> {
    pub(super) fn new(
        options: Options,
        source: Arc<S>,
        upstream: Option<Arc<dyn Upstream>>,
        shared: Arc<Shared>,
        stop: watch::Receiver<Option<Instant>>,
    ) -> Self {
        let companies: Vec<Company> = options.lanes.iter().map(Company::of).collect();
        let stock = |lane: &config::Lane| {
            let end = source.front(&lane.name, 0).end;
            let freshness = lane.freshness.map(|goal| Freshness::new(goal, end, Instant::now()));
            Stock::new(Company::of(lane), options.stock_bytes(lane), freshness)
        };
        let mut driver = Self {
            changed: source.changed(),
            stocks: options.lanes.iter().map(stock).collect(),
            gathering: vec![Gathering::default(); companies.len()],
            companies,
            options,
            source,
            upstream,
            shared,
            stop,
            lease: None,
            tasks: JoinSet::new(),
            jobs: HashMap::new(),
            flowing: false,
            closed: false,
            noted_at: None,
            forgot: None,
        };
        driver.note_fronts(Instant::now());
        driver
    }

    /// Runs until told to stop, or until its handle is gone.
    pub(super) async fn run(mut self) {
        loop {
            let wake = self.turn(|driver| {
                let wake = [driver.advance(), driver.forget_at()].into_iter().flatten().min();
                driver.shared.tell_connection();
                wake
            });
            let timer = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = self.stop.changed() => break,
                Some(done) = self.tasks.join_next_with_id() => self.turn(|driver| driver.settle(done)),
                leased = pending_or(&mut self.lease) => self.turn(|driver| driver.stock(leased)),
                () = self.shared.poke.notified() => self.turn(Self::hasten),
                Ok(()) = self.changed.changed() => {}
                () = timer => {}
            }
        }
        self.wind_down().await;
    }

    /// Does `what` while those who watch know that something is done.
    fn turn<T>(&mut self, what: impl FnOnce(&mut Self) -> T) -> T {
        self.shared.pulse.begin();
        let done = what(self);
        self.shared.pulse.end(self.lease.is_some());
        done
    }

    /// Lets what is in flight finish within the grace, and leaves the rest in the queue.
    async fn wind_down(mut self) {
        self.turn(|driver| {
            driver.stocks.iter_mut().for_each(Stock::clear);
            driver.lease = None;
        });
        loop {
            // It may be brought forward.
            let until = (*self.stop.borrow()).unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                done = self.tasks.join_next_with_id() => match done {
                    Some(done) => self.settle(done),
                    None => break,
                },
                () = sleep_until(until) => break,
                _ = self.stop.changed() => {}
            }
        }
        self.tasks.shutdown().await;
        self.flow(false);
    }

    /// Does everything that can be done now; says when there will be more by itself.
    fn advance(&mut self) -> Option<Instant> {
        loop {
            let now = Instant::now();
            self.note(now);
            self.forget(now);
            self.count(now);
            self.note_fronts(now);
            self.lease_more(now);
            match self.decide(now) {
                (Step::Send(lane), views) => self.send(lane, &views, now),
                (Step::Probe, _) if self.lease.is_none() => self.probe(now),
                (Step::WaitUntil(at), _) => {
                    if at > now + LONG {
                        self.rest(now);
                    }
                    // A time that has come already waits for a lease or an answer under way.
                    return Some(at.max(now + TICK));
                }
                (Step::Idle | Step::Hold(_), _) => {
                    self.rest(now);
                    return None;
                }
                (Step::Probe, _) => return None,
            }
        }
    }

    /// Tells the pace how the queue stands, now and then.
    fn note(&mut self, now: Instant) {
        if self.noted_at.is_some_and(|at| now < at + NOTE_EVERY) {
            return;
        }
        self.noted_at = Some(now);
        let standing = source::standing_of_all(self.source.as_ref(), &self.options.lanes);
        self.shared.state().note(standing, now);
    }

    /// Forgets what failed and waits no longer, now and then, where the queue has changed.
    fn forget(&mut self, now: Instant) {
        let changes = *self.changed.borrow();
        let early = |(at, known)| known == changes || now < at + FORGET_EVERY;
        if self.forgot.is_some_and(early) {
            return;
        }
        self.forgot = Some((now, changes));
        let waits = |lane: &LaneName, position| self.source.waits(lane, position);
        self.shared.state().forget_dropped(waits, now);
    }

    /// When there may be something to forget, though nothing else happens.
    fn forget_at(&self) -> Option<Instant> {
        let (at, known) = self.forgot?;
        let missed = known != *self.changed.borrow() && self.shared.state().remembers();
        missed.then(|| at + FORGET_EVERY)
    }

    /// Records that failed and wait need not, where an operator decided about them; where the way
    /// is gone, those leased and not yet sent go back.
    fn hasten(&mut self) {
        let mut state = self.shared.state();
        if !state.link.is_up() {
            self.stocks.iter_mut().for_each(Stock::clear);
        }
        for (lane, stock) in self.stocks.iter_mut().enumerate() {
            if state.lanes[lane].paused {
                stock.clear();
            }
            if std::mem::take(&mut state.lanes[lane].hastened) {
                stock.clear();
                self.source.hasten(&self.options.lanes[lane].name);
            }
        }
    }

    fn decide(&mut self, now: Instant) -> (Step, Vec<LaneView>) {
        self.shared.state().note_ramp(false, now);
        let mut views: Vec<LaneView> =
            (0..self.stocks.len()).map(|lane| self.view(lane, now)).collect();
        self.ration(&mut views, now);
        let mut state = self.shared.state();
        let permit = state.permit(&mut views, now);
        let urgency = self.urgency(&state, &views);
        let pace = state.pacer.ready_at(urgency, now);
        let step = state.plan.decide(permit, pace, &views);
        let ready = views.iter().any(|view| view.state == Readiness::Ready);
        if permit == Permit::Flow && pace.is_some() && ready {
            state.pacer.pressed(now);
        }
        (step, views)
    }

    /// A record of a priority lane, or one that alone waits, need not wait for a slow pace.
    fn urgency(&self, state: &State, views: &[LaneView]) -> Urgency {
        let mut lanes = 0..views.len();
        let first = |lane| state.is_urgent(lane) && views[lane].state == Readiness::Ready;
        let alone = || self.stocks.iter().map(Stock::len).sum::<usize>() == 1;
        match lanes.any(first) || alone() {
            true => Urgency::Urgent,
            false => Urgency::Patient,
        }
    }

    fn view(&mut self, lane: usize, now: Instant) -> LaneView {
        let stock = self.stocks[lane].readiness(&self.shared.state(), now);
        let state = self.readiness(lane, stock, now);
        let lane = &self.options.lanes[lane];
        let (priority, weight, min_share_percent) =
            (lane.priority, lane.weight, lane.min_share_percent);
        LaneView { priority, weight, min_share_percent, state }
    }

    /// Nothing is left to do: the link is online without proof by numbers, and heartbeats rest.
    fn rest(&mut self, now: Instant) {
        if self.jobs.is_empty() && self.lease.is_none() {
            self.shared.state().note_ramp(true, now);
            self.flow(false);
            self.close();
        }
    }

    fn flow(&mut self, flowing: bool) {
        if self.flowing != flowing {
            self.flowing = flowing;
            if let Some(upstream) = &self.upstream {
                upstream.flowing(flowing);
            }
        }
    }

    fn send(&mut self, lane: usize, views: &[LaneView], now: Instant) {
        let mut state = self.shared.state();
        let Some(upstream) = self.upstream.clone() else {
            return;
        };
        let Some(head) = self.stocks[lane].take(&state, now) else {
            return;
        };
        let others = self.stocks[lane].take_company(&head, &state, now);
        let group: Vec<(Facts, S::Parcel)> = std::iter::once(head).chain(others).collect();
        let cargo = self.compose(lane, &group);
        let positions = group[1..].iter().map(|(facts, _)| facts.position).collect();
        let facts = Facts {
            bytes: cargo.size_bytes(&*upstream),
            body_bytes: group.iter().map(|(facts, _)| facts.body_bytes).sum(),
            ..group[0].0.clone()
        };
        let mut flight = state.depart(facts, positions, views, now);
        flight.cost_bytes = request_bytes(cargo.wire_bytes(&*upstream));
        state.budget.grant(lane, flight.cost_bytes);
        drop(state);
        self.flow(true);
        let task = async move { Done::Sent(cargo.send(&*upstream).await) };
        let id = self.tasks.spawn(task).id();
        let parcels = group.into_iter().map(|(_, parcel)| parcel).collect();
        self.jobs.insert(id, Job::Send(flight, parcels));
    }

    /// As records of the lane they were accepted in, which for one that is sent again is not the
    /// lane it waits in.
    fn compose(&self, lane: usize, group: &[(Facts, S::Parcel)]) -> Cargo {
        let (company, lane) = (&self.companies[lane], &self.options.lanes[lane]);
        let first = &group[0].1;
        let lane = self.options.accepted_in(&first.stamp().lane).unwrap_or(lane);
        let defaults = Defaults { topic: &lane.topic, tag: lane.tag.as_ref() };
        let order_key = order_key(lane.order, first.record(), &self.options.gateway);
        let records: Vec<_> = group.iter().map(|(_, p)| (p.record(), p.stamp())).collect();
        company.compose(&records, &defaults, order_key)
    }

    /// Asks the far end without a record: none waits, or one has just failed.
    fn probe(&mut self, now: Instant) {
        let mut state = self.shared.state();
        state.link.attempt_bare(now);
        let era = state.link.era();
        drop(state);
        self.ask(era);
    }

    /// A probe without a record, whose answer is taken as one of `era`.
    fn ask(&mut self, era: u64) {
        let Some(upstream) = self.upstream.clone() else {
            return;
        };
        let task = async move { Done::Probed(upstream.probe().await) };
        let id = self.tasks.spawn(task).id();
        self.jobs.insert(id, Job::Probe(era));
    }
}

/// What the lane's order asks the broker to keep in order. A lane ordered as a whole is one
/// sequence, whatever order keys its records name.
fn order_key<'a>(order: Order, record: &'a Record, gateway: &'a str) -> Option<&'a str> {
    match order {
        Order::None => None,
        Order::Lane => Some(gateway),
        Order::Key => Some(record.order_key.as_ref().map_or(gateway, |key| key.as_str())),
    }
}

/// The future's result, or never where there is none.
async fn pending_or<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
