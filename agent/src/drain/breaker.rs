//! Nothing is thrown away for an operator's mistake: one breaker per lane and topic.
//!
//! **The rule.** A refusal that is not plainly the record's own makes the record a *suspect*: it
//! stays in the queue. It is dead-lettered when it is refused again after another record, sent
//! after its first refusal, has passed: only then is it known that the trouble is the record's.
//! So not even the first 19 of a long run are lost. 20 refusals in a row, or more than half of
//! the last 200, for one code hold the topic; then one record a minute is sent as a probe
//! (another waiting one, and one of the suspects), the first at once. One that passes ends the
//! hold.
//!
//! In a lane ordered by key a suspect keeps its own key waiting, and only that: the queue hands
//! out nothing behind a deferred record. In a lane ordered as a whole, or with
//! `on_reject = "hold"`, nobody can speak for a suspect: the first refusal holds (the key, where
//! order is by key) until that record passes or an operator accepts it as dead.
//!
//! Sends are numbered in the order they leave. A pass only counts for what was refused before
//! that number was given out: answers overtake each other.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tokio::time::Instant;

use super::inquiry::Mishap;
use crate::config::{OnReject, Order};

mod held;
mod suspect;
mod window;

pub use held::Held;
pub use suspect::{Refusal, Verdict};
use suspect::{Suspect, UNKNOWN_TRIES};
use window::{RUN, Window};

/// Time between probes of what is held, on average.
pub(super) const ROUND: Duration = Duration::from_secs(60);
/// More suspects than this hold as well: memory is bounded.
const SUSPECTS: usize = 1000;
/// Passes after which an operator's acceptance of a code is over.
const ACCEPTED_FOR: u32 = 200;

/// The breaker of one topic in one lane.
#[derive(Debug)]
pub struct Breaker {
    order: Order,
    on_reject: OnReject,
    window: Window,
    suspects: BTreeMap<u64, Suspect>,
    held: Option<Held>,
    newest_pass: u64,
    /// Codes an operator accepted, with the passes since one was last seen.
    accepted: BTreeMap<String, u32>,
    /// Nothing leaves before this moment.
    paused_until: Option<Instant>,
    /// What leaves after it does so as after an outage.
    restarts: bool,
    /// Draws the rounds.
    rng: StdRng,
}

/// Draws the time to the next probe: the probes of a fleet are not to come in step.
pub(super) fn round(rng: &mut impl Rng) -> Duration {
    ROUND.mul_f64(0.5 + rng.random::<f64>())
}

impl Breaker {
    /// A breaker that has seen nothing. `seed` draws when it probes.
    pub fn new(order: Order, on_reject: OnReject, seed: u64) -> Self {
        Self {
            order,
            on_reject,
            window: Window::default(),
            suspects: BTreeMap::new(),
            held: None,
            newest_pass: 0,
            accepted: BTreeMap::new(),
            paused_until: None,
            restarts: false,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Why it is held, if it is.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Order keys that wait for their refused head.
    pub fn held_keys(&self) -> usize {
        match self.order {
            Order::Key => self.suspects.values().filter(|s| s.is_stuck()).count(),
            Order::None | Order::Lane => 0,
        }
    }

    /// Whether the record at `position` does more than wait for its next try.
    pub fn is_stuck(&self, position: u64) -> bool {
        self.suspects.get(&position).is_some_and(Suspect::is_stuck)
    }

    /// Records that failed and wait for another try.
    pub fn suspect_positions(&self) -> impl Iterator<Item = u64> {
        self.suspects.keys().copied()
    }

    /// The first record that does more than wait for its next try, and how it failed.
    pub fn first_stuck(&self) -> Option<(u64, Mishap)> {
        let mut stuck = self.suspects.iter().filter(|(_, suspect)| suspect.is_stuck());
        stuck.next().map(|(position, suspect)| (*position, suspect.mishap()))
    }

    /// How the record at `position` failed, if it did.
    pub fn mishap(&self, position: u64) -> Option<Mishap> {
        self.suspects.get(&position).map(Suspect::mishap)
    }

    /// When a held topic is asked next, if something of it waits by then.
    pub fn asked_at(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| match held.by_suspects {
            true => held.suspect_due,
            false => held.suspect_due.min(held.fresh_due),
        })
    }

    /// Nothing leaves before this moment.
    pub fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Whether the record at `position` failed before.
    pub fn suspects(&self, position: u64) -> bool {
        self.suspects.contains_key(&position)
    }

    /// Whether the record at `position` may make room for others, which are better probes.
    pub fn steps_back(&self, position: u64) -> bool {
        self.held.as_ref().is_some_and(|held| !held.by_suspects) && self.suspects(position)
    }

    /// Whether nothing is remembered that matters.
    pub fn is_clean(&self) -> bool {
        self.held.is_none()
            && self.suspects.is_empty()
            && self.accepted.is_empty()
            && self.paused_until.is_none()
            && self.window.is_clean()
    }

    /// When the record at `position` may be sent: at once (`since` or earlier than now), as a
    /// probe at that time, or `None`: not before the hold ends.
    pub fn due(&self, position: u64, now: Instant) -> Option<Instant> {
        let due = match &self.held {
            None => Some(now),
            Some(held) if self.suspects(position) => Some(held.suspect_due),
            Some(held) => (!held.by_suspects).then_some(held.fresh_due),
        };
        due.max(self.paused_until.filter(|_| due.is_some()))
    }

    /// The broker wants nothing of the topic before `until`.
    pub fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// A hold that was the whole fleet's has ended: this gateway's records leave in its own slot,
    /// at `from`, and slowly at first.
    pub fn spread(&mut self, from: Instant) {
        self.paused_until = self.paused_until.max(Some(from));
        self.restarts = true;
    }

    /// A record is about to leave. True if it is the first one after [`Breaker::spread`].
    pub fn resumes(&mut self, now: Instant) -> bool {
        if self.paused_until.is_some_and(|at| at > now) {
            return false;
        }
        self.paused_until = None;
        std::mem::take(&mut self.restarts)
    }

    /// The record at `position` leaves.
    pub fn sent(&mut self, position: u64, now: Instant) {
        let next = now + round(&mut self.rng);
        let suspect = self.suspects.get_mut(&position);
        if let Some(held) = &mut self.held {
            match suspect.is_some() {
                true => held.suspect_due = next,
                false => held.fresh_due = next,
            }
        }
        if let Some(suspect) = suspect {
            suspect.vouched = self.newest_pass > suspect.at;
        }
    }

    /// The record at `position`, sent as `number`, passed. True if that ended a hold.
    pub fn passed(&mut self, position: u64, number: u64, now: Instant) -> bool {
        self.window.note(None);
        self.newest_pass = self.newest_pass.max(number);
        let was_suspect = self.suspects.remove(&position).is_some();
        self.accepted.retain(|_, passes| {
            *passes += 1;
            *passes < ACCEPTED_FOR
        });
        let ends = self.held.as_ref().is_some_and(|held| match held.by_suspects {
            true => !self.suspects.values().any(Suspect::is_stuck),
            false => number > held.at,
        });
        if let Some(held) = self.held.as_mut().filter(|held| held.by_suspects && was_suspect) {
            // What was refused is taken now: the others need not wait for their rounds.
            held.suspect_due = now;
        }
        ends && self.end(now)
    }

    /// The record at `position` was refused; `issued` is the highest number given out so far.
    pub fn refused(
        &mut self,
        position: u64,
        refusal: &Refusal<'_>,
        issued: u64,
        now: Instant,
    ) -> Verdict {
        if let Some(passes) = self.accepted.get_mut(refusal.code) {
            *passes = 0;
            return Verdict::Bury;
        }
        if refusal.own && self.on_reject == OnReject::DeadLetter {
            return Verdict::Bury;
        }
        let suspect = self.suspects.entry(position).or_insert_with(|| Suspect::new(issued));
        let first = suspect.refusals == 0;
        if first {
            // An earlier unknown fate says nothing: the proof must follow the refusal.
            (suspect.at, suspect.vouched) = (issued, false);
        }
        suspect.refusals += 1;
        refusal.code.clone_into(&mut suspect.code);
        refusal.reason.clone_into(&mut suspect.reason);
        let (refusals, vouched) = (suspect.refusals, suspect.vouched);
        if first && !refusal.own {
            self.window.note(Some(refusal.code));
        }
        if self.only_itself() && self.order != Order::Key {
            self.hold("refused", refusal.to_string(), true, issued, now);
        } else if vouched && !self.only_itself() && self.buries() {
            return Verdict::Bury;
        } else if let Some(count) = self.trips(refusal.code, refusals, vouched) {
            self.hold("refused", format!("{count}; {refusal}"), false, issued, now);
        }
        match self.only_itself() {
            // Asked again at once, then every minute.
            true if refusals > 1 => Verdict::Round,
            false if self.held.is_some() => Verdict::Round,
            _ => Verdict::Retry(refusals),
        }
    }

    /// The topic is missing, of another type, or not ours to write to.
    pub fn misconfigured(&mut self, code: &'static str, reason: &str, issued: u64, now: Instant) {
        self.hold(code, reason.to_owned(), false, issued, now);
    }

    /// There are other access keys than before: what is held for the key is asked for at once. True if
    /// it is.
    pub fn rekeyed(&mut self, now: Instant) -> bool {
        let Some(held) = self.held.as_mut() else { return false };
        let by_key = matches!(held.code, "credentials" | "permission");
        if by_key {
            held.fresh_due = held.fresh_due.min(now);
            held.suspect_due = held.suspect_due.min(now);
        }
        by_key
    }

    /// Dead letters have left: what should have gone there is tried at once. True if something waits
    /// for it.
    pub fn freed(&mut self, now: Instant) -> bool {
        let Some(held) = self.held.as_mut().filter(|held| held.is_of_dead_letters()) else {
            return false;
        };
        held.suspect_due = held.suspect_due.min(now);
        true
    }

    /// What became of the record at `position` is unknown, though the link is up.
    pub fn unknown(&mut self, position: u64, reason: &str, issued: u64, now: Instant) -> Verdict {
        let full = self.suspects.len() >= SUSPECTS;
        let suspect = self.suspects.entry(position).or_insert_with(|| Suspect::new(issued));
        suspect.unknowns += 1;
        reason.clone_into(&mut suspect.reason);
        let (tries, vouched) = (suspect.unknowns, suspect.vouched);
        if tries < UNKNOWN_TRIES {
            return Verdict::Retry(tries);
        }
        if self.accepted.contains_key("unknown") {
            return Verdict::Bury;
        }
        // One that passes ends the hold; from then on, while others pass, the record waits alone.
        let news = tries == UNKNOWN_TRIES || !vouched || full;
        if self.order != Order::Key && news {
            let reason = format!("{tries} tries without a valid answer; {reason}");
            self.hold("unknown", reason, full, issued, now);
        }
        Verdict::Round
    }

    /// The dead letters took no more, for `hold` (`dead_letters_full` or `dead_letters_disk`):
    /// what should have gone there holds.
    pub fn dead_full(
        &mut self,
        hold: &'static str,
        position: u64,
        code: &str,
        reason: &str,
        issued: u64,
        now: Instant,
    ) {
        let suspect = self.suspects.entry(position).or_insert_with(|| Suspect::new(issued));
        suspect.refusals = suspect.refusals.max(1);
        code.clone_into(&mut suspect.code);
        self.held = None;
        self.hold(hold, reason.to_owned(), true, issued, now);
        let next = now + round(&mut self.rng);
        if let Some(held) = &mut self.held {
            held.suspect_due = next;
        }
    }

    /// The record at `position` is in the dead letters. True if that ended a hold.
    pub fn buried(&mut self, position: u64, now: Instant) -> bool {
        self.suspects.remove(&position);
        let ends = self.held.as_ref().is_some_and(|held| {
            let full = held.is_of_dead_letters();
            full || (held.by_suspects && !self.suspects.values().any(Suspect::is_stuck))
        });
        ends && self.end(now)
    }

    /// Suspects that do not wait any more speak for nobody.
    pub fn forget(&mut self, waits: impl Fn(u64) -> bool, now: Instant) {
        let all = self.suspects.keys().copied();
        let gone: Vec<u64> = all.filter(|position| !waits(*position)).collect();
        for position in gone {
            self.buried(position, now);
        }
    }

    /// An operator accepts that what is refused now is dead. False if nothing was.
    pub fn accept(&mut self) -> bool {
        let stuck = self.suspects.values().filter(|suspect| suspect.is_stuck());
        let codes: Vec<String> = stuck.map(Suspect::accepted_code).collect();
        let any = !codes.is_empty();
        self.accepted.extend(codes.into_iter().map(|code| (code, 0)));
        let ends = |held: &Held| matches!(held.code, "refused" | "unknown");
        if any && self.held.as_ref().is_some_and(ends) {
            self.held = None;
            self.window.forget();
        }
        any
    }

    /// Whether only the record itself can prove that it passes.
    fn only_itself(&self) -> bool {
        self.on_reject == OnReject::Hold || self.order == Order::Lane
    }

    /// Whether dead-lettering goes on.
    fn buries(&self) -> bool {
        self.held.as_ref().is_none_or(Held::is_of_dead_letters)
    }

    /// Why a refusal for `code` holds, if it does.
    fn trips(&self, code: &str, refusals: u32, vouched: bool) -> Option<String> {
        let alone = refusals >= RUN && !vouched && self.order == Order::None;
        let full = self.suspects.len() >= SUSPECTS;
        self.window
            .trips(code)
            .or_else(|| full.then(|| format!("{SUSPECTS} refused and waiting")))
            .or_else(|| {
                alone.then(|| format!("one record refused {refusals} times, and no other passed"))
            })
    }

    fn hold(
        &mut self,
        code: &'static str,
        reason: String,
        by_suspects: bool,
        issued: u64,
        now: Instant,
    ) {
        let round = round(&mut self.rng);
        match &mut self.held {
            Some(held) => held.renew(code, reason, by_suspects, issued),
            held => *held = Some(Held::new(code, reason, by_suspects, issued, now, round)),
        }
    }

    /// Ends the hold, unless a refused record goes on holding by itself.
    fn end(&mut self, now: Instant) -> bool {
        self.held = None;
        self.window.forget();
        let stuck = self.suspects.values().find(|s| s.refusals > 0);
        if let Some(suspect) = stuck.filter(|_| self.only_itself() && self.order != Order::Key) {
            let reason = format!("{}: {}", suspect.code, suspect.reason);
            self.hold("refused", reason, true, self.newest_pass, now);
        }
        self.held.is_none()
    }
}

#[cfg(test)]
mod tests;
