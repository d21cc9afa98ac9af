//! Everything the drain has decided and remembers, without the records themselves. Pure: time
//! comes with each call, chance from its own seeded generator.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use spillway_protocol::local::status::LinkState;
use spillway_protocol::record::{LaneName, Topic};
use tokio::time::Instant;

use super::Options;
use super::blame::Blame;
use super::breakage::Breakages;
use super::breaker::Breaker;
use super::inquiry::Aloft;
use super::load::Load;
use super::meter::Meter;
use super::notice::Notices;
use super::plan::{LaneView, Plan, Readiness};
use crate::budget::{Budget, request_bytes};
use crate::config;
use crate::link::{Backoff, Link, Permit, Start};
use crate::pace::{Pacer, Standing, spread};

/// Topics of one lane that have a breaker of their own; further ones share the lane's.
const BREAKERS: usize = 256;
/// A lane without a priority of its own has this one; what comes before it is a priority lane.
const PRIORITY: u32 = 1;
/// What a message has beside the record, about: headers and the agent's properties.
const AROUND_BYTES: usize = 600;
/// Memory that a leased record takes beside its body.
const LEASED_BYTES: usize = 512;
/// A record that breaks the connection costs what it carries each time: its waits grow far.
const BREAKING_MAX: Duration = Duration::from_secs(15 * 60);

pub(super) struct State {
    pub(super) link: Link,
    pub(super) pacer: Pacer,
    pub(super) plan: Plan,
    pub(super) lanes: Vec<LaneState>,
    /// How long this gateway's first sends wait when a fleet returns.
    pub(super) slot: Duration,
    /// Its place in that window, in [0, 1).
    place: f64,
    pub(super) load: Load,
    /// What connections may cost today.
    pub(super) budget: Budget,
    pub(super) meter: Meter,
    pub(super) notices: Notices,
    pub(super) rng: StdRng,
    /// Waits of records that were refused while the link is up.
    pub(super) retry: Backoff,
    /// Waits of records whose requests were not answered.
    pub(super) silence: Backoff,
    pub(super) blame: Blame,
    /// Waits of records that break the connection.
    pub(super) breaking: Backoff,
    /// How often the link has proved that it works: answers, and probes without a record.
    pub(super) proofs: u64,
    /// The last proof that was an answer to a record.
    pub(super) answered_proof: u64,
    /// The same when something that is not RocketMQ answered last.
    pub(super) strange_proof: u64,
    /// Only a record that breaks connections has failed, which says nothing of the link: it is
    /// to be asked without one.
    pub(super) doubt: bool,
    /// Sends so far; the number of each is its own.
    pub(super) issued: u64,
    /// Requests under way by their numbers, for who asks after a record.
    pub(super) aloft: BTreeMap<u64, Aloft>,
}

pub(super) struct LaneState {
    pub(super) config: config::Lane,
    pub(super) breakers: BTreeMap<Topic, Breaker>,
    pub(super) breakages: Breakages,
    pub(super) last_error: Option<Trouble>,
    /// Something changed what becomes of the records that failed (an operator's word, an answer
    /// after none): they are tried now.
    pub(super) hastened: bool,
    /// Records of groups that failed: each leaves alone, so that its own answer tells.
    pub(super) scattered: BTreeSet<u64>,
    /// Records of groups whose fate is not known for the first time.
    pub(super) doubtful: BTreeSet<u64>,
    /// Nothing leaves it for now, by a rule of `degrade`.
    pub(super) paused: bool,
    /// A new day let it go on: its first record leaves in the gateway's slot.
    pub(super) rested_until: Option<Instant>,
    /// Where its live front begins, if it has one.
    pub(super) live_from: Option<u64>,
    /// Seeds its breakers.
    rng: StdRng,
}

/// What went wrong last in a lane.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) at: Instant,
    pub(super) words: String,
}

impl Trouble {
    /// With its age, once that tells something.
    pub(super) fn told(&self, now: Instant) -> String {
        match now.duration_since(self.at).as_secs() / 60 {
            0 => self.words.clone(),
            minutes if minutes < 120 => format!("{minutes} min ago: {}", self.words),
            minutes => format!("{} h ago: {}", minutes / 60, self.words),
        }
    }
}

/// A record as the state knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) lane: usize,
    pub(super) topic: Topic,
    pub(super) position: u64,
    /// What it is in order with, where records of one order leave together.
    pub(super) order: Option<String>,
    /// Of the message as it is sent.
    pub(super) bytes: usize,
    pub(super) body_bytes: usize,
}

impl Facts {
    /// What a request with it costs on the wire, about.
    pub(super) fn cost_bytes(&self) -> u64 {
        request_bytes(self.bytes + AROUND_BYTES)
    }
}

/// A request under way.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    /// Of the first record; bytes are those of all.
    pub(super) facts: Facts,
    /// Positions of those that left with it.
    pub(super) others: Vec<u64>,
    pub(super) number: u64,
    pub(super) era: u64,
    pub(super) sent_at: Instant,
    /// What it was estimated to cost on the wire.
    pub(super) cost_bytes: u64,
}

impl Flight {
    /// Places in the lane of all that it carries.
    pub(super) fn positions(&self) -> impl Iterator<Item = u64> {
        self.others.iter().copied().chain([self.facts.position])
    }

    /// Records that it carries.
    pub(super) fn count(&self) -> usize {
        self.others.len() + 1
    }

    /// Bytes of memory until it is answered: the leased records, their message, and the request.
    pub(super) fn held_bytes(&self) -> usize {
        self.facts.bytes + 2 * self.facts.body_bytes + self.count() * LEASED_BYTES
    }

    /// Whether these are several.
    pub(super) fn is_group(&self) -> bool {
        !self.others.is_empty()
    }
}

impl State {
    /// `standing` is how the queue stands at the start.
    pub(super) fn new(
        options: &Options,
        connected: bool,
        standing: Standing,
        seed: u64,
        now: Instant,
    ) -> Self {
        let place = spread::place(&options.gateway);
        let mut pacer = Pacer::new(&options.drain, options.memory, options.fresh, now);
        pacer.note(standing, now);
        let slot = spread::slot(place, pacer.window());
        let start = match (connected, options.fresh) {
            (false, _) => Start::Unconfigured,
            (true, true) => Start::Fresh,
            (true, false) => Start::After(slot),
        };
        let backoff = Backoff::new(&options.backoff);
        let retry = config::Backoff { initial: Duration::from_secs(1), max: super::breaker::ROUND };
        let breaking = config::Backoff { initial: options.backoff.initial, max: BREAKING_MAX };
        let mut rng = StdRng::seed_from_u64(seed);
        let lane = |config: &config::Lane| LaneState {
            config: config.clone(),
            breakers: BTreeMap::new(),
            breakages: Breakages::default(),
            last_error: None,
            hastened: false,
            scattered: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            paused: false,
            rested_until: None,
            live_from: None,
            rng: StdRng::seed_from_u64(rng.random()),
        };
        let lanes = options.lanes.iter().map(lane).collect();
        let mut link = Link::new(backoff.clone(), slot, start, now);
        link.explain(options.no_upstream.as_deref());
        Self {
            link,
            pacer,
            place,
            plan: Plan::default(),
            lanes,
            slot,
            load: Load::new(options.in_flight_bytes),
            budget: Budget::new(&options.budget, &options.lanes, now),
            meter: Meter::new(now),
            notices: Notices::default(),
            rng,
            retry: Backoff::new(&retry),
            silence: backoff,
            breaking: Backoff::new(&breaking),
            proofs: 0,
            answered_proof: 0,
            strange_proof: 0,
            blame: Blame::default(),
            doubt: false,
            issued: 0,
            aloft: BTreeMap::new(),
        }
    }

    /// Notes how the queue stands: the own rate follows it, and the slot follows that.
    pub(super) fn note(&mut self, standing: Standing, now: Instant) {
        self.pacer.note(standing, now);
        self.slot = spread::slot(self.place, self.pacer.window());
        self.link.set_spread(self.slot, self.pacer.probe_within());
    }

    /// Whether a lane is a priority lane: its records need not wait for this gateway's turn.
    pub(super) fn is_urgent(&self, lane: usize) -> bool {
        self.lanes[lane].config.priority < PRIORITY
    }

    /// What the link lets leave now. While others wait for this gateway's turn and priority
    /// lanes need not, they alone are left in `views`.
    pub(super) fn permit(&self, views: &mut [LaneView], now: Instant) -> Permit {
        let permit = self.link.permit(now);
        let Some(from) = self.link.urgent_from(now) else {
            return permit;
        };
        let ready = |state| matches!(state, Readiness::Ready);
        let waits = (0..views.len()).any(|lane| self.is_urgent(lane) && ready(views[lane].state));
        match waits {
            false => permit,
            true if from > now => Permit::Wait(from),
            true => {
                let others = (0..views.len()).filter(|lane| !self.is_urgent(*lane));
                others.for_each(|lane| views[lane].state = Readiness::Empty);
                Permit::Flow
            }
        }
    }

    /// Whether the record may leave now, and if not, what it waits for.
    pub(super) fn readiness(&self, facts: &Facts, now: Instant) -> Readiness {
        let breaker = self.lanes[facts.lane].breaker(&facts.topic);
        let due = breaker.map_or(Some(now), |breaker| breaker.due(facts.position, now));
        match due {
            None => Readiness::Held,
            Some(at) if at > now => Readiness::Due(at),
            Some(_) if self.load.has_room(facts.lane, &facts.topic, facts.bytes) => {
                Readiness::Ready
            }
            Some(_) => Readiness::Busy,
        }
    }

    /// Whether a request with the record fits in what its lane may use today.
    pub(super) fn fits(&self, facts: &Facts) -> bool {
        self.budget.fits(facts.lane, facts.cost_bytes())
    }

    /// Whether the record failed before and its topic is held until another one passes.
    pub(super) fn steps_back(&self, facts: &Facts) -> bool {
        let breaker = self.lanes[facts.lane].breaker(&facts.topic);
        breaker.is_some_and(|b| b.steps_back(facts.position))
    }

    /// Whether the record, if it may leave, is a probe of a held topic by one that did not fail.
    pub(super) fn is_probe(&self, facts: &Facts) -> bool {
        let breaker = self.lanes[facts.lane].breaker(&facts.topic);
        breaker.is_some_and(|b| b.held().is_some() && !b.suspects(facts.position))
    }

    /// Whether the record leaves by itself, also where records leave together: it is a probe, or
    /// it failed before, by itself or with others.
    pub(super) fn goes_alone(&self, facts: &Facts) -> bool {
        let lane = &self.lanes[facts.lane];
        let breaker = lane.breaker(&facts.topic);
        let suspect = |b: &Breaker| b.held().is_some() || b.suspects(facts.position);
        !self.link.is_up()
            || lane.scattered.contains(&facts.position)
            || lane.breakages.knows(facts.position)
            || breaker.is_some_and(suspect)
    }

    /// The record leaves, and the `others` with it.
    pub(super) fn depart(
        &mut self,
        facts: Facts,
        others: Vec<u64>,
        views: &[LaneView],
        now: Instant,
    ) -> Flight {
        if !self.link.is_up() {
            self.link.attempt(now);
        }
        self.issued += 1;
        if self.link.asks_records() {
            self.blame.asked(facts.lane, &facts.topic, self.issued);
        }
        self.plan.sent(facts.lane, views);
        if let Some(breaker) = self.lanes[facts.lane].breaker_mut(&facts.topic) {
            if breaker.resumes(now) {
                self.pacer.restart(now);
            }
            breaker.sent(facts.position, now);
        }
        // A group is one send to the broker, and costs its bytes; but the bound on records is one on
        // what the far side has to work off, so there each record counts.
        self.pacer.spend(facts.bytes, now, &mut self.rng);
        self.pacer.spend_records(others.len() as u64);
        let (number, era) = (self.issued, self.link.era());
        let flight = Flight { facts, others, number, era, sent_at: now, cost_bytes: 0 };
        self.load.add(flight.facts.lane, &flight.facts.topic, flight.held_bytes());
        self.aloft.insert(number, Aloft::of(&flight));
        flight
    }

    /// An operator accepts that what is refused in the lane is dead.
    pub(super) fn accept(&mut self, name: &str) -> bool {
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.config.name.as_str() == name)
        else {
            return false;
        };
        let accepted = lane.breakers.values_mut().map(Breaker::accept);
        let accepted = accepted.fold(false, |any, one| any | one);
        lane.hastened |= accepted;
        accepted
    }

    /// There are other access keys than before.
    pub(super) fn rekeyed(&mut self, now: Instant) {
        self.link.rekeyed(now);
        for lane in &mut self.lanes {
            let held = lane.breakers.values_mut().map(|breaker| breaker.rekeyed(now));
            lane.hastened |= held.fold(false, |any, one| any | one);
        }
    }

    /// There may be room among the dead letters.
    pub(super) fn freed(&mut self, now: Instant) {
        for lane in &mut self.lanes {
            let held = lane.breakers.values_mut().map(|breaker| breaker.freed(now));
            lane.hastened |= held.fold(false, |any, one| any | one);
        }
    }

    /// What waits no longer though it was not delivered, such as what rules of `degrade` dropped,
    /// holds nothing and is remembered no longer.
    pub(super) fn forget_dropped(&mut self, waits: impl Fn(&LaneName, u64) -> bool, now: Instant) {
        for lane in &mut self.lanes {
            let waits = |position| waits(&lane.config.name, position);
            for breaker in lane.breakers.values_mut() {
                breaker.forget(waits, now);
            }
            lane.breakages.retain(waits);
            lane.scattered.retain(|position| waits(*position));
            lane.doubtful.retain(|position| waits(*position));
        }
    }

    /// Whether anything is remembered of records that failed.
    pub(super) fn remembers(&self) -> bool {
        self.lanes.iter().any(|lane| {
            let sets = [&lane.scattered, &lane.doubtful];
            lane.breakers.values().any(|breaker| !breaker.is_clean())
                || !lane.breakages.is_empty()
                || sets.iter().any(|positions| !positions.is_empty())
        })
    }

    /// The loop has died; `status` must not tell of a link that is online.
    pub(super) fn failed(&mut self, now: Instant) {
        self.link.failed("the drain failed; see the log", now);
    }

    /// The kernel knows no way to the far end any more.
    pub(super) fn unrouted(&mut self, reason: &str, now: Instant) {
        let before = self.link.state();
        self.link.unrouted(reason, now, &mut self.rng);
        self.log_link(before);
    }

    /// The kernel knows a way that it did not know before.
    pub(super) fn way_came(&mut self, now: Instant) {
        self.link.way_came(now, &mut self.rng);
    }

    /// A new day has begun for what waited for it. A fleet's days begin together, so those lanes
    /// go on in this gateway's slot.
    pub(super) fn new_day(&mut self, now: Instant) {
        for (n, lane) in self.lanes.iter_mut().enumerate() {
            if self.budget.has_waited(n) || lane.paused {
                lane.rested_until = Some(now + self.slot);
            }
        }
    }

    /// Once the day's bytes are used the link rests, until there are others.
    pub(super) fn heed_budget(&mut self, now: Instant) {
        let before = self.link.state();
        match (self.budget.is_spent(), before == LinkState::Budget) {
            (true, _) => self.link.spent(&self.budget.reason(), self.budget.ends_at(), now),
            (false, true) => self.link.replenished(now),
            (false, false) => {}
        }
        self.log_link(before);
    }

    /// Notes that slow start is over: the pace is at its bound, or nothing is left to send.
    pub(super) fn note_ramp(&mut self, idle: bool, now: Instant) {
        let before = self.link.state();
        if before == LinkState::Ramping && (self.pacer.is_full() || idle) {
            self.link.ramped(now);
            self.log_link(before);
        }
    }

    /// Logs a change of the link, once.
    pub(super) fn log_link(&self, before: LinkState) {
        let (state, reason) = (self.link.state(), self.link.reason());
        if state == before || state == LinkState::Probing {
            return;
        }
        match state {
            LinkState::Online => tracing::info!("link online"),
            LinkState::Ramping => tracing::info!("link back: {reason}"),
            LinkState::Held => tracing::warn!("link held: {reason}"),
            LinkState::Budget => tracing::warn!("link rests: {reason}"),
            // A failed probe is no news.
            _ if before == LinkState::Probing => tracing::debug!("link offline: {reason}"),
            _ => tracing::warn!("link offline: {reason}"),
        }
    }

    /// Notes what went wrong for `status`, and logs it at most once a minute.
    pub(super) fn fault(&mut self, lane: usize, kind: &str, words: &str, now: Instant) {
        let state = &mut self.lanes[lane];
        if let Some(times) = self.notices.due(lane, kind, now) {
            tracing::warn!(lane = %state.config.name, times, "{kind}: {words}");
        }
        state.last_error = Some(Trouble { at: now, words: format!("{kind}: {words}") });
    }
}

impl LaneState {
    pub(super) fn breaker(&self, topic: &Topic) -> Option<&Breaker> {
        self.breakers.get(self.home(topic))
    }

    pub(super) fn breaker_mut(&mut self, topic: &Topic) -> Option<&mut Breaker> {
        let home = self.home(topic).clone();
        self.breakers.get_mut(&home)
    }

    /// The topic's breaker, made where there is none.
    pub(super) fn trouble(&mut self, topic: &Topic) -> &mut Breaker {
        let (order, on_reject) = (self.config.order, self.config.on_reject);
        let home = self.home(topic).clone();
        let (breakers, rng) = (self.breakers.entry(home), &mut self.rng);
        breakers.or_insert_with(|| Breaker::new(order, on_reject, rng.random()))
    }

    /// Drops the topic's breaker where it has nothing to remember. Where topics share one, it
    /// stays shared: what it knows of them is found nowhere else.
    pub(super) fn forget(&mut self, topic: &Topic) {
        if self.breakers.len() < BREAKERS && self.breaker(topic).is_some_and(Breaker::is_clean) {
            self.breakers.remove(topic);
        }
    }

    fn home<'a>(&'a self, topic: &'a Topic) -> &'a Topic {
        let own = self.breakers.contains_key(topic) || self.breakers.len() < BREAKERS;
        if own { topic } else { &self.config.topic }
    }
}
