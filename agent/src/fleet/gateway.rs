//! One gateway: what waits, how it may connect, and when its next record may leave.

mod past;

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::Instant;

use self::past::{cut_link, draw_rate, pacer, remembered};
use super::baseline::{Baseline, Policy};
use super::metrics::Class;
use super::network::Path;
use super::scenario::Scenario;
use crate::link::{Link, Permit};
use crate::pace::{Pacer, Standing, Urgency, spread};

/// One record in so many is critical.
const CRITICAL: u32 = 50;
/// How often the own rate is looked at: as the agent's drain does.
const NOTE_EVERY_US: u64 = 10_000_000;

/// How it connects.
#[derive(Debug)]
enum Way {
    /// As the agent does.
    Link(Box<Link>),
    /// At once, and again after a pause.
    Plain { up: bool, connecting: bool, not_before_us: u64 },
}

/// What may be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Records may leave; only critical ones if so.
    Flow { critical_only: bool },
    /// Connect, and send a record right behind if so.
    Attempt { record: bool },
    /// Nothing before.
    Wait(u64),
    /// Nothing until something happens.
    Never,
}

/// Virtual time as the agent's parts want it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(pub(super) Instant);

impl Clock {
    pub(super) fn at(self, us: u64) -> Instant {
        self.0 + Duration::from_micros(us)
    }

    /// Rounded up, so that what waits for a moment does not come before it.
    pub(super) fn us(self, at: Instant) -> u64 {
        at.saturating_duration_since(self.0).as_nanos().div_ceil(1000) as u64
    }
}

/// See the module. Records are numbers: which one is critical, and when it was made, is
/// reckoned from them.
#[derive(Debug)]
pub(super) struct Gateway {
    clock: Clock,
    pub(super) path: Path,
    pub(super) own_per_us: f64,
    phase_us: f64,
    way: Way,
    pacer: Option<Box<Pacer>>,
    baseline: Option<Box<Baseline>>,
    lanes: bool,
    together: u32,
    most_in_flight: u32,
    place: f64,
    /// The pending wake; others are stale.
    pub(super) wake_us: u64,
    pub(super) in_flight: u32,
    noted_us: u64,
    /// Next record of each kind that never left, and where live ones begin.
    critical: u32,
    backlog: u32,
    live: u32,
    live_from: u32,
    /// Records that come again.
    again: Vec<u32>,
    /// Records made before it was up that are not delivered: of those below this.
    owed: u32,
    owed_below: u32,
    /// When there were none.
    pub(super) drained_us: Option<u64>,
}

impl Gateway {
    pub(super) fn new(
        scenario: &Scenario,
        policy: Policy,
        name: &str,
        clock: Clock,
        rng: &mut StdRng,
    ) -> Self {
        let us = |time: Duration| time.as_micros() as f64;
        let round_trip = (us(scenario.round_trip.0), us(scenario.round_trip.1));
        let path = Path::draw(round_trip, scenario.jitter, scenario.loss, rng);
        let own_per_s = draw_rate(scenario, rng);
        let own_per_us = own_per_s / 1e6;
        let error = 1.0 + scenario.own_rate_error * (2.0 * rng.random::<f64>() - 1.0);
        let memory = remembered(own_per_s * error, &path, rng);
        let place = spread::place(name);
        let mut gateway = Self {
            clock,
            path,
            own_per_us,
            phase_us: rng.random::<f64>() / own_per_us,
            way: Way::Plain { up: false, connecting: false, not_before_us: 0 },
            pacer: pacer(scenario, policy, memory, clock.at(0)).map(Box::new),
            baseline: (policy != Policy::SelfAnchored).then(|| Box::new(Baseline::new(policy))),
            lanes: policy.is_ours_but_the_pace(),
            together: scenario.together.max(1),
            most_in_flight: scenario.in_flight.max(1),
            place,
            wake_us: u64::MAX,
            in_flight: 0,
            noted_us: 0,
            critical: 0,
            backlog: 1,
            live: 0,
            live_from: 0,
            again: Vec::new(),
            owed: 0,
            owed_below: 0,
            drained_us: None,
        };
        if let Some(baseline) = &mut gateway.baseline {
            baseline.learn(&path, rng);
        }
        if policy.is_ours_but_the_pace() {
            let window = spread::window(scenario.drain.reconnect_spread, memory.own_rate_per_s);
            let slot = spread::slot(place, window);
            let within = gateway.pacer.as_ref().map_or(Duration::MAX, |p| p.probe_within());
            let link = cut_link(&scenario.backoff, slot, within, clock, rng);
            gateway.way = Way::Link(Box::new(link));
        }
        gateway
    }

    /// A client without a link of ours notices that the network is back.
    pub(super) fn notice(&mut self, at_us: u64) {
        if let Way::Plain { not_before_us, .. } = &mut self.way {
            *not_before_us = at_us;
        }
    }

    /// Records made until then.
    fn made(&self, now_us: u64) -> u32 {
        ((now_us as f64 + self.phase_us) * self.own_per_us) as u32
    }

    /// When record `index` was, or will be, made.
    pub(super) fn made_us(&self, index: u32) -> u64 {
        (f64::from(index + 1) / self.own_per_us - self.phase_us).max(0.0).ceil() as u64
    }

    /// What a record counts as, for a network that was back at `back_us`.
    pub(super) fn class(&self, index: u32, back_us: u64) -> Class {
        match () {
            () if index.is_multiple_of(CRITICAL) => Class::Critical,
            () if index >= self.live_from && self.made_us(index) >= back_us => Class::Live,
            () => Class::Backlog,
        }
    }

    pub(super) fn gate(&mut self, now_us: u64) -> Gate {
        let now = self.clock.at(now_us);
        let link = match &self.way {
            Way::Plain { up, connecting, not_before_us } => {
                return match () {
                    () if *connecting => Gate::Never,
                    () if *not_before_us > now_us => Gate::Wait(*not_before_us),
                    () if *up => Gate::Flow { critical_only: false },
                    () => Gate::Attempt { record: false },
                };
            }
            Way::Link(link) => link,
        };
        match link.permit(now) {
            Permit::Never => Gate::Never,
            Permit::Flow => Gate::Flow { critical_only: false },
            Permit::Bare => Gate::Attempt { record: false },
            Permit::Probe { .. } => Gate::Attempt { record: true },
            Permit::Wait(at) => match link.urgent_from(now) {
                Some(from) if from <= now && self.has_critical(now_us) => {
                    Gate::Flow { critical_only: true }
                }
                Some(from) if from > now => Gate::Wait(self.clock.us(from)),
                _ => Gate::Wait(self.clock.us(at)),
            },
        }
    }

    fn has_critical(&self, now_us: u64) -> bool {
        self.critical < self.made(now_us) || self.again.iter().any(|i| i.is_multiple_of(CRITICAL))
    }

    /// The attempt leaves. Returns its era.
    pub(super) fn attempt(&mut self, record: bool, now_us: u64) -> u32 {
        let now = self.clock.at(now_us);
        match &mut self.way {
            Way::Link(link) => {
                if record {
                    link.attempt(now)
                } else {
                    link.attempt_bare(now)
                }
                link.era() as u32
            }
            Way::Plain { connecting, .. } => {
                *connecting = true;
                0
            }
        }
    }

    /// The connect is done.
    pub(super) fn connected(&mut self, era: u32, now_us: u64) {
        let now = self.clock.at(now_us);
        match &mut self.way {
            Way::Link(link) => {
                let was_up = link.is_up();
                link.reached(u64::from(era), now);
                if !was_up && link.is_up() {
                    self.come_up(now_us);
                }
            }
            Way::Plain { up, connecting, .. } => {
                (*up, *connecting) = (true, false);
                self.come_up(now_us);
            }
        }
    }

    /// The connect failed, or the connection was cut.
    pub(super) fn failed(&mut self, era: u32, now_us: u64, rng: &mut StdRng) {
        let now = self.clock.at(now_us);
        match (&mut self.way, &mut self.baseline) {
            (Way::Link(link), _) => link.down(u64::from(era), "away", now, rng),
            (Way::Plain { up, connecting, not_before_us }, Some(baseline)) => {
                (*up, *connecting) = (false, false);
                *not_before_us = now_us + baseline.refused(now_us, now_us, rng);
            }
            (Way::Plain { .. }, None) => {}
        }
    }

    /// The era of what leaves now.
    pub(super) fn era(&self) -> u32 {
        match &self.way {
            Way::Link(link) => link.era() as u32,
            Way::Plain { .. } => 0,
        }
    }

    fn come_up(&mut self, now_us: u64) {
        let made = self.made(now_us);
        // What was live and did not leave is backlog now, unless older backlog is still there.
        if self.backlog >= self.live_from {
            self.backlog = self.live + u32::from(self.live.is_multiple_of(CRITICAL));
            (self.live, self.live_from) = (made, made);
        }
        self.drained_us = None;
        self.owed_below = made;
        self.owed = self.in_flight
            + self.again.len() as u32
            + self.messages(self.backlog, self.live_from)
            + self.count(self.live, made)
            + made.div_ceil(CRITICAL).saturating_sub(self.critical / CRITICAL);
        self.note(now_us, true);
        if let Some(pacer) = &mut self.pacer {
            pacer.restart(self.clock.at(now_us));
        }
    }

    /// Records in a range, without the critical ones.
    fn count(&self, from: u32, to: u32) -> u32 {
        let critical = to.div_ceil(CRITICAL).saturating_sub(from.div_ceil(CRITICAL));
        to.saturating_sub(from).saturating_sub(critical)
    }

    /// Messages that a backlog leaves in.
    fn messages(&self, from: u32, to: u32) -> u32 {
        if self.together == 1 {
            return self.count(from, to);
        }
        let firsts = std::iter::successors(Some(from), |index| Some(self.behind(*index)));
        firsts.take_while(|index| *index < to).count() as u32
    }

    /// The first record of the backlog behind the message that begins with `index`.
    fn behind(&self, index: u32) -> u32 {
        let next = index + self.together;
        next + u32::from(next.is_multiple_of(CRITICAL))
    }

    /// Records in the message that begins with `index`.
    pub(super) fn records(&self, index: u32) -> u32 {
        match self.rank(index) {
            2 => self.count(index, self.behind(index).min(self.live_from)),
            _ => 1,
        }
    }

    /// As the drain does: the own rate follows the queue, the slot follows the own rate.
    fn note(&mut self, now_us: u64, at_once: bool) {
        let Some(pacer) = self.pacer.as_mut().filter(|_| self.lanes) else {
            return;
        };
        if !at_once && now_us < self.noted_us + NOTE_EVERY_US {
            return;
        }
        self.noted_us = now_us;
        let made = ((now_us as f64 + self.phase_us) * self.own_per_us) as u32;
        let first = if self.backlog < self.live_from { self.backlog } else { self.live };
        let oldest_us = (f64::from(first + 1) / self.own_per_us - self.phase_us).max(0.0) as u64;
        let live = made.saturating_sub(self.live);
        let waiting = self.live_from.saturating_sub(self.backlog) + live + self.again.len() as u32;
        let standing = Standing {
            accepted: u64::from(made),
            waiting: u64::from(waiting),
            oldest_age: Duration::from_micros(now_us.saturating_sub(oldest_us)),
        };
        let now = self.clock.at(now_us);
        pacer.note(standing, now);
        if let Way::Link(link) = &mut self.way {
            let slot = spread::slot(self.place, pacer.window());
            link.set_spread(slot, pacer.probe_within());
        }
    }

    /// Whether another request may be made.
    pub(super) fn has_room(&mut self) -> bool {
        let room = self.in_flight < self.most_in_flight;
        match &mut self.baseline {
            Some(baseline) => room && baseline.has_room(self.in_flight),
            None => room,
        }
    }

    /// The next record that would leave, without taking it: critical, live, backlog; or the
    /// oldest where there are no lanes.
    pub(super) fn next(&self, critical_only: bool, now_us: u64) -> Option<u32> {
        let made = self.made(now_us);
        let fresh = |index: u32, end: u32| (index < end).then_some(index);
        let critical = fresh(self.critical, made);
        let live = fresh(self.live + u32::from(self.live.is_multiple_of(CRITICAL)), made);
        let backlog = fresh(self.backlog, self.live_from);
        let again = self.again.iter().copied();
        if !self.lanes {
            return again.chain(critical).chain(live).chain(backlog).min();
        }
        let all = again.chain(critical).chain(live).chain(backlog);
        all.filter(|index| !critical_only || index.is_multiple_of(CRITICAL))
            .min_by_key(|index| (self.rank(*index), *index))
    }

    fn rank(&self, index: u32) -> u8 {
        match () {
            () if index.is_multiple_of(CRITICAL) => 0,
            () if index >= self.live_from => 1,
            () => 2,
        }
    }

    /// Whether one record waits and no other.
    fn is_alone(&self, now_us: u64) -> bool {
        let backlog = self.live_from.saturating_sub(self.backlog);
        backlog + self.made(now_us).saturating_sub(self.live) + self.again.len() as u32 <= 1
    }

    /// When the next record is made.
    pub(super) fn next_made_us(&self, now_us: u64) -> u64 {
        self.made_us(self.made(now_us)).max(now_us + 1)
    }

    /// When `index` may leave; `None` is now.
    pub(super) fn ready_us(&mut self, index: u32, now_us: u64) -> Option<u64> {
        self.note(now_us, false);
        let urgency = match self.rank(index) == 0 || self.is_alone(now_us) {
            true => Urgency::Urgent,
            false => Urgency::Patient,
        };
        let pacer = self.pacer.as_mut()?;
        let now = self.clock.at(now_us);
        let at = pacer.ready_at(urgency, now)?;
        pacer.pressed(now);
        Some(self.clock.us(at).max(now_us + 1))
    }

    /// `index` leaves.
    pub(super) fn send(&mut self, index: u32, bytes: usize, now_us: u64, rng: &mut StdRng) {
        self.take(index);
        self.in_flight += 1;
        if let Some(pacer) = &mut self.pacer {
            pacer.spend(bytes, self.clock.at(now_us), rng);
        }
    }

    fn take(&mut self, index: u32) {
        if let Some(place) = self.again.iter().position(|again| *again == index) {
            self.again.swap_remove(place);
        } else if index.is_multiple_of(CRITICAL) {
            self.critical = index + CRITICAL;
        } else if index >= self.live_from {
            self.live = index + 1;
        } else {
            self.backlog = self.behind(index);
        }
    }

    /// The broker has `index`.
    pub(super) fn accepted(&mut self, index: u32, bytes: usize, sent_us: u64, now_us: u64) {
        let now = self.clock.at(now_us);
        self.in_flight -= 1;
        match (&mut self.baseline, &mut self.pacer) {
            (Some(baseline), _) => baseline.accepted(sent_us, now_us),
            (None, Some(pacer)) => pacer.accepted(bytes, self.clock.at(sent_us), now),
            (None, None) => {}
        }
        if index < self.owed_below {
            self.owed = self.owed.saturating_sub(1);
        }
        self.drained_us = self.drained_us.or((self.owed == 0).then_some(now_us));
    }

    /// The broker refused `index`.
    pub(super) fn rejected(&mut self, index: u32, sent_us: u64, now_us: u64, rng: &mut StdRng) {
        self.in_flight -= 1;
        self.again.push(index);
        let (sent, now) = (self.clock.at(sent_us), self.clock.at(now_us));
        match (&mut self.baseline, &mut self.pacer) {
            (Some(baseline), pacer) => {
                let pause_us = baseline.refused(sent_us, now_us, rng);
                match (&mut self.way, pacer) {
                    (Way::Plain { not_before_us, .. }, _) => {
                        *not_before_us = (*not_before_us).max(now_us + pause_us);
                    }
                    (Way::Link(_), Some(pacer)) => {
                        let pause = Duration::from_micros(pause_us);
                        pacer.throttled(Some(pause), sent, now, rng);
                    }
                    (Way::Link(_), None) => {}
                }
            }
            (None, Some(pacer)) => {
                pacer.throttled(None, sent, now, rng);
            }
            (None, None) => {}
        }
    }

    /// RocketMQ answered a request of that era, whatever it said.
    pub(super) fn answered(&mut self, era: u32, now_us: u64) {
        let now = self.clock.at(now_us);
        if let Way::Link(link) = &mut self.way {
            let was_up = link.is_up();
            link.answered(u64::from(era), now);
            if !was_up && link.is_up() {
                self.come_up(now_us);
            }
        }
    }

    /// Nobody answered `index` in time.
    pub(super) fn silent(&mut self, index: u32, era: u32, now_us: u64, rng: &mut StdRng) {
        self.in_flight -= 1;
        self.again.push(index);
        let now = self.clock.at(now_us);
        if let Way::Link(link) = &mut self.way {
            link.silent(u64::from(era), "no answer", now, rng);
        }
    }
}
