//! The loop: takes the next event, lets it happen, and notes what follows from it.

use std::hash::{DefaultHasher, Hash, Hasher};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use super::baseline::Policy;
use super::broker::{Broker, Verdict};
use super::calendar::{Calendar, Event};
use super::gateway::{Clock, Gate, Gateway};
use super::metrics::{Metrics, Outcome, Stopped};
use super::network::Fate;
use super::scenario::{Disturbance, Scenario};

/// A request that was not answered after this long never will be.
const TIME_OUT_US: u64 = 5_000_000;
/// The same for a connect.
const CONNECT_TIME_OUT_US: u64 = 3_000_000;
/// Clients without our link notice within this time that the network is back.
const NOTICE_US: u64 = 200_000;

/// A record on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Request {
    sent_us: u64,
    index: u32,
    era: u32,
}

/// What happens to a gateway, or arrives from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    Wake,
    Connect { sent_us: u64, era: u32, record: bool },
    Connected { era: u32, record: bool },
    ConnectFailed { era: u32 },
    Cut,
    Arrive(Request, bool),
    Accepted(Request),
    Rejected(Request),
    TimedOut(Request),
}

/// See the module.
#[derive(Debug)]
pub(super) struct World<'a> {
    scenario: &'a Scenario,
    rng: StdRng,
    gateways: Vec<Gateway>,
    broker: Broker,
    calendar: Calendar<(u32, What)>,
    metrics: Metrics,
    live_per_s: f64,
    back_us: u64,
    /// Gateways that have drained.
    drained: u32,
    trace: DefaultHasher,
    events: u64,
}

impl<'a> World<'a> {
    pub(super) fn new(scenario: &'a Scenario, policy: Policy, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let clock = Clock(Instant::now());
        let back_us = scenario.outage.as_micros() as u64;
        let naive = (f64::from(scenario.gateways) * scenario.naive_part) as u32;
        let gateway = |n: u32| {
            let policy = if n < naive { Policy::Naive } else { policy };
            Gateway::new(scenario, policy, &format!("gw-{seed}-{n}"), clock, &mut rng)
        };
        let gateways: Vec<Gateway> = (0..scenario.gateways).map(gateway).collect();
        let live_per_s = gateways.iter().map(|g| g.own_per_us * 1e6).sum();
        let mut world = Self {
            scenario,
            rng,
            gateways,
            broker: Broker::new(scenario, live_per_s, back_us),
            calendar: Calendar::new(),
            metrics: Metrics::new(back_us),
            live_per_s,
            back_us,
            drained: 0,
            trace: DefaultHasher::new(),
            events: 0,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for n in 0..self.gateways.len() {
            let at_us = self.back_us + self.rng.random_range(0..NOTICE_US);
            self.gateways[n].notice(at_us);
            self.wake_at(n, 0);
            if let Disturbance::Restart { from, .. } = self.scenario.disturbance {
                let cut_us = self.back_us + from.as_micros() as u64;
                let way_us = self.gateways[n].path.one_way_us(&mut self.rng);
                self.calendar.push(cut_us + way_us, (n as u32, What::Cut));
            }
        }
    }

    pub(super) fn run(mut self) -> Outcome {
        let end_us = self.back_us + self.scenario.horizon.as_micros() as u64;
        let mut events = Vec::new();
        let mut now_us = 0;
        let most = self.scenario.most_events;
        while now_us < end_us && self.drained < self.scenario.gateways && self.events < most {
            loop {
                self.calendar.take(&mut events);
                if events.is_empty() {
                    break;
                }
                for event in &events {
                    self.happen(event);
                }
            }
            now_us = self.calendar.advance();
        }
        let capacity_per_s = self.live_per_s * self.scenario.capacity;
        let ideal_s = self.scenario.ideal().as_secs_f64();
        let drained_us = self.gateways.iter().filter_map(|gateway| gateway.drained_us).collect();
        let gateways = self.gateways.len();
        let outcome =
            self.metrics.outcome(self.live_per_s, capacity_per_s, ideal_s, drained_us, gateways);
        let stopped = match self.drained < self.scenario.gateways {
            false => None,
            true if now_us < end_us => Some(Stopped::Events),
            true => Some(Stopped::Time),
        };
        let lasted = now_us.saturating_sub(self.back_us) as f64 / 1e6 / ideal_s;
        Outcome { stopped, lasted, trace: self.trace.finish(), events: self.events, ..outcome }
    }

    fn happen(&mut self, event: &Event<(u32, What)>) {
        let (now_us, (n, what)) = (event.at_us, event.what);
        let n = n as usize;
        if what == What::Wake && self.gateways[n].wake_us != now_us {
            return;
        }
        self.events += 1;
        (now_us, n, what).hash(&mut self.trace);
        match what {
            What::Wake => {
                self.gateways[n].wake_us = u64::MAX;
                self.drive(n, now_us);
            }
            What::Connect { sent_us, era, record } => {
                self.connect(n, sent_us, era, record, now_us);
            }
            What::Connected { era, record } => self.connected(n, era, record, now_us),
            What::ConnectFailed { era } => {
                self.gateways[n].failed(era, now_us, &mut self.rng);
                self.drive(n, now_us);
            }
            What::Cut => self.cut(n, now_us),
            What::Arrive(request, answers) => self.arrive(n, request, answers, now_us),
            What::Accepted(request) => self.accepted(n, request, now_us),
            What::Rejected(request) => self.rejected(n, request, now_us),
            What::TimedOut(request) => {
                self.gateways[n].silent(request.index, request.era, now_us, &mut self.rng);
                self.drive(n, now_us);
            }
        }
    }

    fn wake_at(&mut self, n: usize, at_us: u64) {
        let gateway = &mut self.gateways[n];
        if at_us < gateway.wake_us {
            gateway.wake_us = at_us;
            self.calendar.push(at_us, (n as u32, What::Wake));
        }
    }

    /// Does everything the gateway may do now, and says when it can do more.
    fn drive(&mut self, n: usize, now_us: u64) {
        loop {
            let critical_only = match self.gateways[n].gate(now_us) {
                Gate::Never => return,
                Gate::Wait(at_us) => return self.wake_at(n, at_us.max(now_us + 1)),
                Gate::Attempt { record } => return self.attempt(n, record, now_us),
                Gate::Flow { critical_only } => critical_only,
            };
            let gateway = &mut self.gateways[n];
            if !gateway.has_room() {
                return;
            }
            let Some(index) = gateway.next(critical_only, now_us) else {
                let at_us = gateway.next_made_us(now_us);
                return self.wake_at(n, at_us);
            };
            if let Some(at_us) = gateway.ready_us(index, now_us) {
                return self.wake_at(n, at_us);
            }
            self.send(n, index, now_us);
        }
    }

    fn send(&mut self, n: usize, index: u32, now_us: u64) {
        let gateway = &mut self.gateways[n];
        gateway.send(index, self.scenario.message_bytes, now_us, &mut self.rng);
        let request = Request { sent_us: now_us, index, era: gateway.era() };
        let fate = gateway.path.fate(&mut self.rng);
        let way_us = gateway.path.one_way_us(&mut self.rng);
        if fate != Fate::Lost {
            let answers = fate == Fate::Arrives;
            self.calendar.push(now_us + way_us, (n as u32, What::Arrive(request, answers)));
        }
        if fate != Fate::Arrives {
            self.time_out(n, request);
        }
    }

    fn time_out(&mut self, n: usize, request: Request) {
        let at_us = request.sent_us + TIME_OUT_US;
        self.calendar.push(at_us, (n as u32, What::TimedOut(request)));
    }

    fn arrive(&mut self, n: usize, request: Request, answers: bool, now_us: u64) {
        if !self.broker.is_there(now_us) {
            if answers {
                self.time_out(n, request);
            }
            return;
        }
        self.metrics.offered += 1;
        let verdict = self.broker.record(now_us);
        let way_us = self.gateways[n].path.one_way_us(&mut self.rng);
        let (work, at_us, what) = match verdict {
            Verdict::Accepted(at_us) => (1.0, at_us, What::Accepted(request)),
            Verdict::Rejected(at_us) => {
                self.metrics.rejected += 1;
                (self.scenario.reject_work, at_us, What::Rejected(request))
            }
        };
        self.metrics.arrived(work, true, now_us);
        if answers {
            self.calendar.push(at_us + way_us, (n as u32, what));
        } else if matches!(verdict, Verdict::Accepted(_)) {
            self.metrics.repeated += 1;
        }
    }

    /// Whether an answer gets through; if not, it is missed later.
    fn gets_through(&mut self, n: usize, request: Request, now_us: u64) -> bool {
        let there = self.broker.is_there(now_us);
        if !there {
            let at_us = (request.sent_us + TIME_OUT_US).max(now_us);
            self.calendar.push(at_us, (n as u32, What::TimedOut(request)));
        }
        there
    }

    /// RocketMQ answered; where that brings the link up, there may be a backlog again.
    fn answered(&mut self, n: usize, request: Request, now_us: u64) {
        let gateway = &mut self.gateways[n];
        let drained = gateway.drained_us.is_some();
        gateway.answered(request.era, now_us);
        self.drained -= u32::from(drained && gateway.drained_us.is_none());
    }

    fn accepted(&mut self, n: usize, request: Request, now_us: u64) {
        if !self.gets_through(n, request, now_us) {
            return;
        }
        self.answered(n, request, now_us);
        let gateway = &mut self.gateways[n];
        let class = gateway.class(request.index, self.back_us);
        let records = gateway.records(request.index);
        self.metrics.delivered(class, records, gateway.made_us(request.index), now_us);
        let bytes = self.scenario.message_bytes;
        let drained = gateway.drained_us.is_some();
        gateway.accepted(request.index, bytes, request.sent_us, now_us);
        self.drained += u32::from(!drained && gateway.drained_us.is_some());
        if gateway.wake_us == u64::MAX {
            self.drive(n, now_us);
        }
    }

    fn rejected(&mut self, n: usize, request: Request, now_us: u64) {
        if !self.gets_through(n, request, now_us) {
            return;
        }
        self.answered(n, request, now_us);
        let gateway = &mut self.gateways[n];
        gateway.rejected(request.index, request.sent_us, now_us, &mut self.rng);
        if gateway.wake_us == u64::MAX {
            self.drive(n, now_us);
        }
    }

    fn attempt(&mut self, n: usize, record: bool, now_us: u64) {
        let gateway = &mut self.gateways[n];
        let record = record && gateway.next(false, now_us).is_some();
        let era = gateway.attempt(record, now_us);
        let way_us = gateway.path.one_way_us(&mut self.rng);
        let what = What::Connect { sent_us: now_us, era, record };
        self.calendar.push(now_us + way_us, (n as u32, what));
    }

    /// A connect arrives where the broker should be.
    fn connect(&mut self, n: usize, sent_us: u64, era: u32, record: bool, now_us: u64) {
        let path = self.gateways[n].path;
        let done_us = match self.broker.is_there(now_us) {
            true => self.broker.connect(now_us),
            false => None,
        };
        let Some(done_us) = done_us else {
            let at_us = (sent_us + CONNECT_TIME_OUT_US).max(now_us);
            return self.calendar.push(at_us, (n as u32, What::ConnectFailed { era }));
        };
        self.metrics.connects += 1;
        self.metrics.arrived(self.scenario.connect_work, false, now_us);
        // Back, and once more there and back for TLS.
        let ways_us: u64 = (0..3).map(|_| path.one_way_us(&mut self.rng)).sum();
        let what = match done_us + ways_us - sent_us > CONNECT_TIME_OUT_US {
            true => What::ConnectFailed { era },
            false => What::Connected { era, record },
        };
        let at_us = (done_us + ways_us).min(sent_us + CONNECT_TIME_OUT_US).max(now_us);
        self.calendar.push(at_us, (n as u32, what));
    }

    fn connected(&mut self, n: usize, era: u32, record: bool, now_us: u64) {
        let gateway = &mut self.gateways[n];
        let drained = gateway.drained_us.is_some();
        match gateway.next(false, now_us).filter(|_| record) {
            // The record's answer will tell.
            Some(index) => self.send(n, index, now_us),
            None => {
                gateway.connected(era, now_us);
                self.drained -= u32::from(drained && gateway.drained_us.is_none());
                self.drive(n, now_us);
            }
        }
    }

    /// The broker was stopped, and with it every connection.
    fn cut(&mut self, n: usize, now_us: u64) {
        self.broker.clear();
        let era = self.gateways[n].era();
        self.gateways[n].failed(era, now_us, &mut self.rng);
        self.drive(n, now_us);
    }
}
