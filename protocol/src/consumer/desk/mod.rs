//! What a consumer has in hand, and what is to be done next. Pure: time and chance are passed in,
//! and whoever asks does the work.
//!
//! Every message in hand has a ticket; tickets rise in the order of arrival. It waits, is worked
//! on, and is settled (done or parked); then its acknowledgement is due ([`receipts`]). In ordered
//! mode the earliest unsettled ticket of an order key is the only one of it that may be worked on.

mod backoff;
mod charges;
mod entry;
mod receipts;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;

pub(super) use self::backoff::Backoff;
use self::charges::Charges;
use self::entry::{Entry, Stage};
use super::{Delivery, Nature, Options, Receipt, Status, Verdict};

/// Names a message in hand.
pub(super) type Ticket = u64;

/// A piece of work.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) tickets: Vec<Ticket>,
    pub(super) deliveries: Vec<Delivery>,
    /// The one delivery is to be parked, for this reason; otherwise all are to be handled.
    pub(super) park: Option<String>,
}

/// See the module.
pub(super) struct Desk {
    options: Options,
    nature: Nature,
    entries: BTreeMap<Ticket, Entry>,
    next_ticket: Ticket,
    charges: Charges,
    /// To be put out of sight for a while, and then handed out to anyone again.
    given_back: Vec<(Receipt, Duration)>,
    away: Option<Away>,
    working: usize,
    stopping: bool,
    rng: StdRng,
    pub(super) status: Status,
}

/// The database is away.
struct Away {
    failures: u32,
    until: Instant,
}

impl Desk {
    pub(super) fn new(options: Options, nature: Nature, seed: u64) -> Self {
        Self {
            options,
            nature,
            entries: BTreeMap::new(),
            next_ticket: 0,
            charges: Charges::default(),
            given_back: Vec::new(),
            away: None,
            working: 0,
            stopping: false,
            rng: StdRng::seed_from_u64(seed),
            status: Status::default(),
        }
    }

    /// How many messages may be received now. While the database is away none, but for one to try
    /// it with once the wait is over and nothing is left in hand.
    pub(super) fn room(&self, now: Instant) -> usize {
        match &self.away {
            _ if self.stopping => 0,
            None => self.options.unacked_max.saturating_sub(self.entries.len()),
            Some(away) => usize::from(self.entries.is_empty() && away.until <= now),
        }
    }

    /// Takes in what was received.
    pub(super) fn arrived(&mut self, deliveries: Vec<Delivery>) {
        self.status.received += deliveries.len() as u64;
        for delivery in deliveries {
            match self.entries.values_mut().find(|entry| entry.is_again(&delivery)) {
                Some(entry) => entry.receipts.push(delivery.receipt),
                None => {
                    let charges = self.charges.of(&delivery.message_id);
                    self.entries.insert(self.next_ticket, Entry::new(delivery, charges));
                    self.next_ticket += 1;
                }
            }
        }
        self.count();
    }

    /// What can be worked on now.
    pub(super) fn next_job(&mut self, now: Instant) -> Option<Job> {
        // After an absence one delivery tries it first.
        let batch_max = match &self.away {
            Some(away) if away.until > now || self.working > 0 => return None,
            Some(_) => 1,
            None => self.options.batch_max.max(1),
        };
        let free = self.free(now);
        let park = self.entries.get(free.first()?)?.park.clone();
        let tickets: Vec<Ticket> = match park {
            Some(_) => free.into_iter().take(1).collect(),
            None => {
                let handled = |ticket: &Ticket| self.entries[ticket].park.is_none();
                free.into_iter().filter(handled).take(batch_max).collect()
            }
        };
        self.working += 1;
        let deliveries = tickets.iter().filter_map(|t| self.entries.get_mut(t)?.begin()).collect();
        Some(Job { tickets, deliveries, park })
    }

    /// Tickets that may be worked on, in their order.
    fn free(&self, now: Instant) -> Vec<Ticket> {
        let mut taken: HashSet<&str> = HashSet::new();
        let mut free = Vec::new();
        for (ticket, entry) in &self.entries {
            if entry.is_settled() {
                continue;
            }
            let key = entry.order_key.as_deref().filter(|_| self.options.ordered);
            let first = key.is_none_or(|key| taken.insert(key));
            if first && entry.is_free(now) {
                free.push(*ticket);
            }
        }
        free
    }

    /// Takes in how a job ended.
    pub(super) fn worked(&mut self, mut job: Job, verdicts: Vec<Verdict>, now: Instant) {
        self.working -= 1;
        let parked = job.park.is_some();
        let mut verdicts = verdicts.into_iter();
        let mut away = None;
        for (ticket, delivery) in job.tickets.drain(..).zip(job.deliveries.drain(..)) {
            let missing = || Verdict::failed("the handler gave no verdict on it");
            let verdict = verdicts.next().unwrap_or_else(missing);
            let Some(entry) = self.entries.get_mut(&ticket) else { continue };
            entry.delivery = Some(delivery);
            match verdict {
                Verdict::Done => {
                    let count =
                        if parked { &mut self.status.parked } else { &mut self.status.done };
                    *count += 1;
                    entry.stage = Stage::Settled { due: now + self.options.ack_linger };
                    self.charges.forget(&entry.message_id);
                }
                Verdict::Away { reason } => {
                    self.status.away += 1;
                    entry.stage = Stage::Waiting { from: now };
                    away = Some(reason);
                }
                Verdict::Failed { reason } => self.charge(ticket, reason, now),
            }
        }
        self.presence(away, now);
        self.count();
    }

    /// One more failure of its own.
    fn charge(&mut self, ticket: Ticket, reason: String, now: Instant) {
        self.status.failed += 1;
        let backoff = Backoff { initial: self.options.retry_initial, max: self.options.retry_max };
        let Some(entry) = self.entries.get_mut(&ticket) else { return };
        entry.charges += 1;
        tracing::debug!(message = entry.message_id, charges = entry.charges, reason, "failed");
        let wait = backoff.wait(entry.charges, &mut self.rng);
        if entry.charges >= self.options.charges_max {
            entry.park = Some(reason);
            entry.stage = Stage::Waiting { from: now };
        } else if self.options.ordered {
            // Given back, it could come again after the next of its key.
            entry.stage = Stage::Waiting { from: now + wait };
        } else {
            self.give_back(ticket, wait);
        }
    }

    /// Lets go of a message: after `wait`, or when the broker thinks fit, it comes to anyone.
    fn give_back(&mut self, ticket: Ticket, wait: Duration) {
        if let Some(entry) = self.entries.remove(&ticket) {
            self.charges.keep(&entry.message_id, entry.charges);
            if self.nature.invisible.is_some() {
                self.given_back.extend(entry.receipts.into_iter().map(|receipt| (receipt, wait)));
            }
        }
    }

    /// A job showed whether the database is there.
    fn presence(&mut self, away: Option<String>, now: Instant) {
        let Some(reason) = away else {
            self.away = None;
            self.status.away_reason = None;
            return;
        };
        // Jobs that ran side by side all report one absence.
        if self.away.as_ref().is_some_and(|away| away.until > now) {
            return;
        }
        let failures = self.away.as_ref().map_or(0, |away| away.failures).saturating_add(1);
        let backoff = Backoff { initial: self.options.away_initial, max: self.options.away_max };
        let until = now + backoff.wait(failures, &mut self.rng);
        self.away = Some(Away { failures, until });
        self.status.away_reason = Some(reason);
    }

    /// Receives no more, and lets go of what would not be finished soon.
    pub(super) fn stop(&mut self, now: Instant) {
        self.stopping = true;
        let absent = self.away.is_some();
        let waits = |entry: &Entry| !entry.is_settled() && entry.delivery.is_some();
        let let_go: Vec<Ticket> = self
            .entries
            .iter()
            .filter(|(_, entry)| waits(entry) && (absent || !entry.is_free(now)))
            .map(|(ticket, _)| *ticket)
            .collect();
        let keys: HashSet<String> = let_go
            .iter()
            .filter(|_| self.options.ordered)
            .filter_map(|ticket| self.entries[ticket].order_key.clone())
            .collect();
        let_go.into_iter().for_each(|ticket| self.give_back(ticket, Duration::ZERO));
        // Nor may the next of an order key go before it.
        keys.iter().for_each(|key| self.let_go_of_key(key));
        self.count();
    }

    /// Lets go of whatever of an order key still waits.
    fn let_go_of_key(&mut self, key: &str) {
        let of_key = |entry: &Entry| entry.order_key.as_deref() == Some(key);
        let waiting = self.entries.iter().filter(|(_, entry)| of_key(entry) && entry.waits());
        let tickets: Vec<Ticket> = waiting.map(|(ticket, _)| *ticket).collect();
        tickets.into_iter().for_each(|ticket| self.give_back(ticket, Duration::ZERO));
    }

    /// Whether nothing is left to do.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.given_back.is_empty()
    }

    fn count(&mut self) {
        self.status.in_hand = self.entries.len();
    }
}
