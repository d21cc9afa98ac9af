//! What an answer means for the record, the link, the pace and the lane: three kinds of trouble
//! that are never mixed.

use std::time::Duration;

use tokio::time::Instant;

use super::breakage::Breakages;
use super::breaker::{ROUND, Refusal, Verdict, round};
use super::inquiry::MUTE;
use super::state::{Flight, State};
use crate::queue::SettleError;
use crate::upstream::{Outcome, Scope};

/// A fault this long ago is no news where records are delivered.
const OVER: Duration = Duration::from_secs(600);
/// A broker's wish up to this long pauses the whole agent.
const SHORT_PAUSE: Duration = Duration::from_secs(5);
/// The waits after unanswered requests double so often while nothing at all is answered: what cuts
/// requests at once would else be asked at full speed until the link is given up.
const SILENCE_DOUBLINGS: u32 = 3;

/// What becomes of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Settlement {
    /// It is delivered.
    Ack,
    /// Back into the queue.
    Defer {
        /// Not before.
        until: Option<Instant>,
        /// It counts as an attempt of this record.
        charged: bool,
    },
    /// To the dead letters.
    Bury {
        /// The broker's code.
        code: String,
        /// Its words.
        reason: String,
    },
}

pub(super) const FREE: Settlement = Settlement::Defer { until: None, charged: false };

/// Whether RocketMQ said it.
fn is_answer(outcome: &Outcome) -> bool {
    !matches!(
        outcome,
        Outcome::LinkDown { .. } | Outcome::Stranger { .. } | Outcome::Unknown { link: true, .. }
    )
}

impl State {
    /// A request ended.
    pub(super) fn judge(&mut self, flight: &Flight, outcome: Outcome, now: Instant) -> Settlement {
        let (link, lane) = (self.link.state(), flight.facts.lane);
        let held = self.hold_code(flight);
        self.aloft.remove(&flight.number);
        self.load.remove(lane, &flight.facts.topic, flight.held_bytes());
        let delivered = matches!(outcome, Outcome::Delivered { .. });
        let delivered = if delivered { flight.count() } else { 0 };
        self.budget.settle(lane, flight.cost_bytes, delivered);
        if is_answer(&outcome) {
            self.proofs += 1;
            self.acquit();
            flight.positions().for_each(|at| self.lanes[lane].breakages.passed(at));
        }
        let settlement = match outcome {
            Outcome::Delivered { .. } => self.delivered(flight, now),
            Outcome::Throttled { after, reason } => {
                self.answered(flight.era, now);
                self.fault(lane, "throttled", &reason, now);
                let pause = self.pause(flight, after, now);
                Settlement::Defer { until: Some(pause), charged: false }
            }
            // It did not even begin, which is no record's fault.
            Outcome::LinkDown { reason } => {
                self.link.down(flight.era, &reason, now, &mut self.rng);
                FREE
            }
            Outcome::Stranger { reason, passed_on } => {
                self.strange(flight, &reason, passed_on, now)
            }
            Outcome::Unknown { reason, link: true } => self.silent(flight, &reason, now),
            Outcome::Unknown { reason, link: false } if flight.is_group() => {
                self.doubtful(flight, &reason, now)
            }
            Outcome::Unknown { reason, link: false } => self.unknown(flight, &reason, now),
            Outcome::Rejected { code, reason, .. } if flight.is_group() => {
                self.scattered(flight, &code, &reason, now)
            }
            Outcome::Rejected { code, reason, own } => {
                let refusal = Refusal { code: &code, reason: &reason, own };
                self.refused(flight, &refusal, now)
            }
            Outcome::OtherKey { .. } => {
                self.link.asked_again(flight.era, now);
                FREE
            }
            Outcome::Misconfigured { scope, code, reason } => {
                self.misconfigured(flight, scope, code, &reason, now)
            }
        };
        self.log_link(link);
        self.log_hold(flight, held);
        settlement
    }

    /// A short pause is everybody's; a long one is the topic's that earned it, and the others go on.
    fn pause(&mut self, flight: &Flight, after: Option<Duration>, now: Instant) -> Instant {
        let (sent_at, rng) = (flight.sent_at, &mut self.rng);
        match after.filter(|after| *after > SHORT_PAUSE) {
            Some(after) => {
                let until = self.pacer.throttled_topic(after, sent_at, now, rng);
                let lane = &mut self.lanes[flight.facts.lane];
                lane.trouble(&flight.facts.topic).pause(until);
                until
            }
            None => self.pacer.throttled(after, sent_at, now, rng),
        }
    }

    /// The record is in the dead letters, or could not be brought there.
    pub(super) fn buried(
        &mut self,
        flight: &Flight,
        code: &str,
        result: Result<(), SettleError>,
        now: Instant,
    ) {
        let (held, issued) = (self.hold_code(flight), self.issued);
        let facts = &flight.facts;
        let lane = &mut self.lanes[facts.lane];
        match result {
            Ok(()) => {
                lane.scattered.remove(&facts.position);
                if let Some(breaker) = lane.breaker_mut(&facts.topic) {
                    breaker.buried(facts.position, now);
                }
                lane.forget(&facts.topic);
            }
            Err(error) => {
                let reason = error.to_string();
                let hold = match error {
                    SettleError::DeadFull(_) => "dead_letters_full",
                    SettleError::Disk(_) => "dead_letters_disk",
                };
                let breaker = lane.trouble(&facts.topic);
                breaker.dead_full(hold, facts.position, code, &reason, issued, now);
                self.fault(facts.lane, "dead_letters", &reason, now);
            }
        }
        self.log_hold(flight, held);
    }

    /// A probe without a record ended.
    pub(super) fn probed(&mut self, era: u64, result: Result<(), String>, now: Instant) {
        let link = self.link.state();
        match result {
            Ok(()) => self.reached(era, now),
            Err(reason) => self.link.down(era, &reason, now, &mut self.rng),
        }
        self.log_link(link);
    }

    /// RocketMQ answered: the link is up.
    pub(super) fn answered(&mut self, era: u64, now: Instant) {
        let was_up = self.link.is_up();
        self.link.answered(era, now);
        if !was_up && self.link.is_up() {
            self.pacer.restart(now);
        }
    }

    /// The far end can be reached, whatever it would say to a record.
    fn reached(&mut self, era: u64, now: Instant) {
        self.proofs += 1;
        let was_up = self.link.is_up();
        self.link.reached(era, now);
        if !was_up && self.link.is_up() {
            self.pacer.restart(now);
        }
    }

    fn delivered(&mut self, flight: &Flight, now: Instant) -> Settlement {
        self.answered(flight.era, now);
        self.pacer.accepted(flight.facts.bytes, flight.sent_at, now);
        self.meter.count(flight.count(), flight.facts.body_bytes, now);
        let facts = &flight.facts;
        let lane = &mut self.lanes[facts.lane];
        lane.arrived(flight);
        self.blame.delivered(facts.lane, &facts.topic, flight.number);
        let lane = &mut self.lanes[facts.lane];
        lane.last_error.take_if(|trouble| now.duration_since(trouble.at) > OVER);
        if let Some(breaker) = lane.breaker_mut(&facts.topic) {
            let since = breaker.held().map_or(now, |held| held.since);
            let ended = breaker.passed(facts.position, flight.number, now);
            if ended && now.duration_since(since) > ROUND {
                breaker.spread(now + self.slot);
            }
        }
        lane.forget(&facts.topic);
        Settlement::Ack
    }

    /// The wait of a record whose requests fail with the connection while others get through.
    /// The link is then not judged by it, but asked without a record.
    fn breaks(&mut self, flight: &Flight, reason: &str, now: Instant) -> Option<Settlement> {
        // Of requests that fail together, the first takes the blame: the others are of its era.
        if flight.era != self.link.era() {
            return None;
        }
        let (facts, proofs) = (&flight.facts, self.proofs);
        let failures = self.lanes[facts.lane].breakages.failed(facts.position, proofs, reason, now);
        if !Breakages::is_suspect(failures) {
            return None;
        }
        if self.is_mute() {
            return Some(self.mute(flight, reason, now));
        }
        Some(self.blamed(flight, failures, reason, now))
    }

    /// The record's requests fail with the connection, and others get through meanwhile.
    pub(super) fn blamed(
        &mut self,
        flight: &Flight,
        failures: u32,
        reason: &str,
        now: Instant,
    ) -> Settlement {
        let facts = &flight.facts;
        let words = format!("this record breaks the connection: {reason}");
        self.fault(facts.lane, "connection", &words, now);
        self.doubt = self.link.is_up();
        if !self.doubt {
            self.link.down(flight.era, reason, now, &mut self.rng);
        }
        if flight.is_group() {
            // One of them does, but which? Alone, each fails for itself.
            self.lanes[flight.facts.lane].breakages.passed(flight.facts.position);
            self.scatter(flight);
            return FREE;
        }
        let wait = self.breaking.wait(failures, &mut self.rng);
        let wait = (self.breaking.bound(failures) + wait) / 2;
        Settlement::Defer { until: Some(now + wait), charged: false }
    }

    /// The far end answers no record: it is as good as away. This one waits no longer than the
    /// link does; until it is answered one, others that have not failed go before it.
    fn mute(&mut self, flight: &Flight, reason: &str, now: Instant) -> Settlement {
        let words = format!("{MUTE}{reason}");
        self.fault(flight.facts.lane, "no answer", &words, now);
        self.link.down(flight.era, &words, now, &mut self.rng);
        Settlement::Defer { until: Some(now + self.silence.wait(0, &mut self.rng)), charged: false }
    }

    fn silent(&mut self, flight: &Flight, reason: &str, now: Instant) -> Settlement {
        if let Some(wait) = self.breaks(flight, reason, now) {
            return wait;
        }
        self.unanswered(flight, reason, now)
    }

    /// A request without an answer, which alone says little of the link.
    pub(super) fn unanswered(&mut self, flight: &Flight, reason: &str, now: Instant) -> Settlement {
        self.link.silent(flight.era, reason, now, &mut self.rng);
        self.fault(flight.facts.lane, "no answer", reason, now);
        let up = self.link.is_up();
        let run = self.link.silent_run().saturating_sub(1).min(SILENCE_DOUBLINGS);
        Settlement::Defer {
            until: up.then(|| now + self.silence.wait(run, &mut self.rng)),
            charged: false,
        }
    }

    fn unknown(&mut self, flight: &Flight, reason: &str, now: Instant) -> Settlement {
        self.answered(flight.era, now);
        self.fault(flight.facts.lane, "unknown", reason, now);
        let (facts, issued) = (&flight.facts, self.issued);
        let breaker = self.lanes[facts.lane].trouble(&facts.topic);
        let verdict = breaker.unknown(facts.position, reason, issued, now);
        self.carry_out(verdict, "unknown", reason, now)
    }

    fn refused(&mut self, flight: &Flight, refusal: &Refusal<'_>, now: Instant) -> Settlement {
        self.answered(flight.era, now);
        self.fault(flight.facts.lane, refusal.code, refusal.reason, now);
        let (facts, issued) = (&flight.facts, self.issued);
        let breaker = self.lanes[facts.lane].trouble(&facts.topic);
        let verdict = breaker.refused(facts.position, refusal, issued, now);
        self.carry_out(verdict, refusal.code, refusal.reason, now)
    }

    fn misconfigured(
        &mut self,
        flight: &Flight,
        scope: Scope,
        code: &'static str,
        reason: &str,
        now: Instant,
    ) -> Settlement {
        self.fault(flight.facts.lane, code, reason, now);
        let (lane, topic) = (flight.facts.lane, &flight.facts.topic);
        match scope {
            Scope::Link if !self.blame.refused(lane, topic, self.issued) => {
                self.link.misconfigured(flight.era, code, reason, now, &mut self.rng);
            }
            Scope::Link | Scope::Topic => {
                self.answered(flight.era, now);
                let issued = self.issued;
                let breaker = self.lanes[lane].trouble(topic);
                breaker.misconfigured(code, reason, issued, now);
            }
        }
        FREE
    }

    fn carry_out(
        &mut self,
        verdict: Verdict,
        code: &str,
        reason: &str,
        now: Instant,
    ) -> Settlement {
        let wait = match verdict {
            Verdict::Bury => {
                return Settlement::Bury { code: code.to_owned(), reason: reason.to_owned() };
            }
            Verdict::Round => round(&mut self.rng),
            // At least half of the bound: a refused record is not asked for twice at once.
            Verdict::Retry(tries) => {
                let failures = tries.saturating_sub(1);
                (self.retry.bound(failures) + self.retry.wait(failures, &mut self.rng)) / 2
            }
        };
        Settlement::Defer { until: Some(now + wait), charged: true }
    }

    fn hold_code(&self, flight: &Flight) -> Option<&'static str> {
        let breaker = self.lanes[flight.facts.lane].breaker(&flight.facts.topic)?;
        breaker.held().map(|held| held.code)
    }

    fn log_hold(&self, flight: &Flight, before: Option<&'static str>) {
        let after = self.hold_code(flight);
        let lane = &self.lanes[flight.facts.lane];
        let topic = &flight.facts.topic;
        match lane.breaker(topic).and_then(|breaker| breaker.held()) {
            Some(held) if after != before => {
                tracing::warn!(lane = %lane.config.name, %topic, code = held.code, "held: {}", held.reason);
            }
            None if before.is_some() => {
                tracing::info!(lane = %lane.config.name, %topic, "goes on");
            }
            _ => {}
        }
    }
}
