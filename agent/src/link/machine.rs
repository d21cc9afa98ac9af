//! States, verdicts and times of the link.

mod carry;
mod rekeyed;
mod spent;
mod way;

use std::time::Duration;

use rand::{Rng, RngExt};
use spillway_protocol::local::status::{self, LinkState};
use tokio::time::Instant;

use super::Backoff;

/// Requests without an answer, one after the other, that speak against the link ...
const SILENT_RUN: u32 = 4;
/// ... if nothing at all was answered for this long. The count alone errs at hundreds a second.
const SILENT_FOR: Duration = Duration::from_secs(5);
/// Priority lanes wait this part of the slot.
const URGENT: u32 = 8;
/// How often a held link is asked again, on average: a fleet is not to ask in step.
const HELD_PROBE: Duration = Duration::from_secs(60);
/// How often the far end is asked on average while the kernel knows no way: it may be wrong.
const NO_WAY_PROBE: Duration = Duration::from_secs(60);

/// Up for less than this without an answer to a record is no end of an outage.
const BRIEF: Duration = Duration::from_secs(60);

/// How the agent begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// There is no `[upstream]`.
    Unconfigured,
    /// A new installation: at once, and its first sends wait for no slot, since there is no fleet
    /// that returns with it.
    Fresh,
    /// The first attempt is due after this wait.
    After(Duration),
}

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// As much as the pace allows.
    Flow,
    /// One attempt: a waiting record, else (unless `record_only`) a probe without one.
    Probe {
        /// Only a real record can tell: a connection says nothing of credentials.
        record_only: bool,
    },
    /// One attempt without a record: one has just failed, and may itself be what breaks.
    Bare,
    /// Nothing before this moment.
    Wait(Instant),
    /// Nothing until something happens.
    Never,
}

/// The mistake that holds the whole link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLink {
    /// Hold code, such as `credentials`.
    pub code: &'static str,
    /// The broker's words.
    pub reason: String,
}

/// The link. Every outcome carries the [`Link::era`] in which its request left, so that answers
/// from before a verdict are not taken for answers after it.
#[derive(Debug)]
pub struct Link {
    backoff: Backoff,
    spread: Duration,
    /// Bound of the waits between probes, beside the configured one.
    probe_within: Duration,
    state: LinkState,
    since: Instant,
    reason: String,
    held: Option<HeldLink>,
    era: u64,
    attempting: bool,
    /// The last attempt was one without a record.
    bare: bool,
    /// A record failed last: the next attempt is one without.
    bare_next: bool,
    /// What answered a record was not RocketMQ: an attempt without one proves nothing.
    astray: bool,
    /// It is up on the word of an attempt without a record, which came after a record's failure.
    unproven: bool,
    /// Since when it was away before that.
    outage_since: Instant,
    failures: u32,
    next_attempt_at: Option<Instant>,
    flow_from: Option<Instant>,
    /// The same for priority lanes, which are few records and need not wait as long.
    urgent_from: Option<Instant>,
    /// When the far end was last known to be away: the slot counts from there.
    failed_at: Instant,
    starting: bool,
    /// A new installation that has not been up yet.
    fresh: bool,
    silent: u32,
    answered_at: Instant,
    /// The kernel knows no way to the far end.
    no_way: bool,
    /// It did not at some time of this outage.
    lost: bool,
    /// When an attempt was, or will be, made because a way came.
    woken_at: Option<Instant>,
    /// How often it was proved to be up.
    session: u64,
}

impl Link {
    /// A link that has not been tried. `spread` is this gateway's own slot: how long its first
    /// sends wait once the far end is back.
    pub fn new(backoff: Backoff, spread: Duration, start: Start, now: Instant) -> Self {
        let (state, reason, next_attempt_at) = match start {
            Start::Unconfigured => {
                (LinkState::Unconfigured, "no [upstream] is configured: records wait", None)
            }
            Start::Fresh => (LinkState::Offline, "not tried yet", Some(now)),
            Start::After(wait) => (LinkState::Offline, "not tried yet", Some(now + wait)),
        };
        Self {
            backoff,
            spread,
            probe_within: Duration::MAX,
            state,
            since: now,
            reason: reason.to_owned(),
            held: None,
            era: 0,
            attempting: false,
            bare: false,
            bare_next: false,
            astray: false,
            unproven: false,
            outage_since: now,
            failures: 0,
            next_attempt_at,
            flow_from: None,
            urgent_from: None,
            failed_at: now,
            starting: next_attempt_at.is_some(),
            fresh: start == Start::Fresh,
            silent: 0,
            answered_at: now,
            no_way: false,
            lost: false,
            woken_at: None,
            session: 0,
        }
    }

    /// State as `status` names it.
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// Why, for a person; empty when online.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The mistake, while the link is held.
    pub fn held(&self) -> Option<&HeldLink> {
        self.held.as_ref()
    }

    /// The present era.
    pub fn era(&self) -> u64 {
        self.era
    }

    /// Whether records flow, or will as soon as this gateway's turn has come.
    pub fn is_up(&self) -> bool {
        matches!(self.state, LinkState::Online | LinkState::Ramping)
    }

    /// Whether it is up, and not only on the word of an attempt without a record while records
    /// fail.
    pub fn is_proven(&self) -> bool {
        self.is_up() && !self.unproven
    }

    /// How often it was proved to be up: while it is, the number of its present time.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Another slot, for the next time the link comes up, and a bound for the waits between
    /// probes: a gateway with many records is worth asking for more often.
    pub fn set_spread(&mut self, spread: Duration, probe_within: Duration) {
        (self.spread, self.probe_within) = (spread, probe_within);
    }

    /// Requests without an answer, one after the other.
    pub fn silent_run(&self) -> u32 {
        self.silent
    }

    /// While [`Link::permit`] lets the others wait for this gateway's turn: when priority lanes
    /// may send.
    pub fn urgent_from(&self, now: Instant) -> Option<Instant> {
        let waiting = self.is_up() && self.flow_from.is_some_and(|at| at > now);
        self.urgent_from.filter(|_| waiting && !self.attempting)
    }

    /// When the first send after a start or an outage is due.
    pub fn first_send_at(&self, now: Instant) -> Option<Instant> {
        let start = self.next_attempt_at.filter(|_| self.starting);
        start.or(self.flow_from).filter(|at| *at > now)
    }

    /// Whether only a record can tell how it is: it is held, or something else answers in RocketMQ's
    /// place.
    pub fn asks_records(&self) -> bool {
        self.state == LinkState::Held || self.astray
    }

    /// What may be sent now.
    pub fn permit(&self, now: Instant) -> Permit {
        if self.attempting {
            return Permit::Never;
        }
        match self.state {
            LinkState::Online | LinkState::Ramping => match self.flow_from {
                Some(at) if at > now => Permit::Wait(at),
                _ => Permit::Flow,
            },
            _ => match self.next_attempt_at {
                Some(at) if self.state == LinkState::Budget => Permit::Wait(at),
                None => Permit::Never,
                Some(at) if at > now => Permit::Wait(at),
                Some(_) if self.bare_next => Permit::Bare,
                Some(_) => Permit::Probe { record_only: self.asks_records() },
            },
        }
    }

    /// The permitted probe leaves, with a record.
    pub fn attempt(&mut self, now: Instant) {
        self.begin(false, now);
    }

    /// The permitted probe leaves, without a record.
    pub fn attempt_bare(&mut self, now: Instant) {
        self.begin(true, now);
    }

    fn begin(&mut self, bare: bool, now: Instant) {
        self.attempting = true;
        self.bare = bare;
        self.starting = false;
        self.next_attempt_at = None;
        // A held link stays held to its operator while it is asked again.
        if self.state != LinkState::Held {
            self.enter(LinkState::Probing, None, now);
        }
    }

    /// RocketMQ answered, whatever it said.
    pub fn answered(&mut self, era: u64, now: Instant) {
        self.answered_at = now;
        self.silent = 0;
        if era == self.era && (self.attempting || self.is_up()) {
            self.session += u64::from(self.unproven && self.is_up());
            (self.bare_next, self.unproven) = (false, false);
        }
        if self.attempting && era == self.era {
            self.come_up(now);
        } else if self.is_up() && era == self.era {
            self.failures = 0;
        } else if self.state == LinkState::Offline && !self.starting {
            // An answer to a request from before the verdict: ask at once whether it was hasty.
            self.next_attempt_at = Some(now);
        }
    }

    /// The far end can be reached, as an attempt without a record has shown.
    pub fn reached(&mut self, era: u64, now: Instant) {
        if !self.attempting || era != self.era {
            return;
        }
        let failures = self.failures;
        self.unproven = self.bare_next;
        self.come_up(now);
        if self.unproven {
            // If records still fail, the waits go on growing.
            self.failures = failures;
        }
    }

    /// A request did not get through.
    pub fn down(&mut self, era: u64, reason: &str, now: Instant, rng: &mut impl Rng) {
        if era != self.era {
            return;
        }
        if self.attempting {
            // Without a way, the far end is not to blame.
            self.failures = self.failures.saturating_add(u32::from(!self.no_way));
            self.bare_next = !self.bare;
        } else if self.is_up() {
            self.failures = if self.unproven { self.failures.saturating_add(1) } else { 0 };
            self.bare_next = true;
            self.era += 1;
        } else {
            return;
        }
        // Up for a moment, and only on a connection's word: the outage goes on.
        let brief = self.unproven && now.duration_since(self.since) < BRIEF;
        let goes_on = (self.is_up() && brief).then_some(self.outage_since);
        self.astray = false;
        self.failed_at = now;
        self.attempting = false;
        self.held = None;
        self.flow_from = None;
        self.silent = 0;
        self.next_attempt_at = Some(match self.no_way {
            true => now + about(NO_WAY_PROBE, rng),
            false => now + self.backoff.wait_within(self.failures, self.probe_within, rng),
        });
        self.enter(LinkState::Offline, Some(reason), now);
        self.since = goes_on.unwrap_or(self.since);
    }

    /// What answered last was not RocketMQ. If the link is down for it, it is asked only with
    /// records: who answers connections says nothing.
    pub fn only_records_tell(&mut self) {
        if self.state == LinkState::Offline {
            (self.astray, self.bare_next) = (true, false);
        }
    }

    /// A request was not answered in time; it may have arrived.
    pub fn silent(&mut self, era: u64, reason: &str, now: Instant, rng: &mut impl Rng) {
        if self.attempting {
            return self.down(era, reason, now, rng);
        }
        if era != self.era || !self.is_up() {
            return;
        }
        self.silent += 1;
        if self.silent >= SILENT_RUN && now.duration_since(self.answered_at) >= SILENT_FOR {
            let reason = format!("{} requests without an answer; the last: {reason}", self.silent);
            self.down(era, &reason, now, rng);
        }
    }

    /// RocketMQ refuses everything until an operator has put something right.
    pub fn misconfigured(
        &mut self,
        era: u64,
        code: &'static str,
        reason: &str,
        now: Instant,
        rng: &mut impl Rng,
    ) {
        self.answered_at = now;
        if era != self.era {
            return;
        }
        if !self.attempting && self.is_up() {
            self.era += 1;
        } else if !self.attempting {
            return;
        }
        let again = self.state == LinkState::Held;
        (self.attempting, self.astray) = (false, false);
        self.flow_from = None;
        self.failures = 0;
        (self.bare_next, self.unproven) = (false, false);
        self.next_attempt_at = Some(match again {
            true => now + about(HELD_PROBE, rng),
            false => now,
        });
        self.held = Some(HeldLink { code, reason: reason.to_owned() });
        self.enter(LinkState::Held, Some(&format!("{code}: {reason}")), now);
    }

    /// The agent itself can send nothing any more.
    pub fn failed(&mut self, reason: &str, now: Instant) {
        self.era += 1;
        (self.attempting, self.held) = (false, None);
        (self.next_attempt_at, self.flow_from) = (None, None);
        self.enter(LinkState::Offline, Some(reason), now);
    }

    /// The pace has reached its bound, or nothing is left to send.
    pub fn ramped(&mut self, now: Instant) {
        if self.state == LinkState::Ramping && self.permit(now) == Permit::Flow {
            self.flow_from = None;
            self.enter(LinkState::Online, Some(""), now);
        }
    }

    /// For `GET /v1/status`; `wall_ms` is the wall clock at `now`.
    pub fn status(&self, now: Instant, wall_ms: u64) -> status::Link {
        let since = now.duration_since(self.since);
        let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        status::Link {
            state: self.state,
            since_s: since.as_secs(),
            since: wall_ms.saturating_sub(since_ms),
            reason: self.reason.clone(),
            next_attempt_in_s: self
                .next_attempt_at
                .map(|at| at.duration_since(now).as_secs_f64().ceil() as u64),
        }
    }

    fn come_up(&mut self, now: Instant) {
        // An outage that its first probe ends was a cut connection: the jitter has spread it.
        let outage = self.state == LinkState::Probing && self.failures > 0;
        // A hold that lasted is the same for a fleet whose operator has put the mistake right.
        let long = now.duration_since(self.since) > HELD_PROBE;
        // A way that was lost for long, or was not there at the start, may have been a fleet's.
        let returned = self.lost && (long || self.session == 0);
        let spread = outage || returned || (self.state == LinkState::Held && long);
        // The probes of an outage are spread by their own jitter, and what they waited counts:
        // the slot runs from the last moment at which the far end was known to be away.
        let began = if outage { self.failed_at } else { now };
        let flow_from = |slot| (spread && !self.fresh).then(|| (began + slot).max(now));
        (self.flow_from, self.urgent_from) =
            (flow_from(self.spread), flow_from(self.spread / URGENT));
        self.fresh = false;
        self.session += u64::from(!self.unproven);
        self.outage_since = self.since;
        (self.attempting, self.bare_next, self.astray) = (false, false, false);
        (self.no_way, self.lost) = (false, false);
        self.held = None;
        self.failures = 0;
        self.next_attempt_at = None;
        self.enter(LinkState::Ramping, Some("back; the rate is growing"), now);
    }

    fn enter(&mut self, state: LinkState, reason: Option<&str>, now: Instant) {
        let away = |s| matches!(s, LinkState::Offline | LinkState::Probing);
        // An outage with its probes is one: `since` says when it began.
        if self.state != state && !(away(self.state) && away(state)) {
            self.since = now;
        }
        self.state = state;
        if let Some(reason) = reason {
            reason.clone_into(&mut self.reason);
        }
    }
}

/// Half of `mean` to one and a half of it.
fn about(mean: Duration, rng: &mut impl Rng) -> Duration {
    mean.mul_f64(0.5 + rng.random::<f64>())
}

#[cfg(test)]
mod tests;
