//! What a consumer has in hand, and what is to be done next. Pure: time and chance are passed in,
//! and whoever asks does the work.
//!
//! Every record in hand has a ticket; tickets rise in the order of arrival. It waits, is worked
//! on, and is done or parked. When nothing else of its message is left (a bundle has several), the
//! acknowledgement is due ([`receipts`]). In ordered mode the earliest ticket of an order key is
//! the only one of it that may be worked on.

mod backoff;
mod charges;
mod entry;
mod leaving;
mod packet;
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
use self::packet::{Ack, Begun, Packet};
use super::{Delivery, Nature, Options, Receipt, Status, Verdict};

/// Names a record in hand, or a message: then it is the one that its first record had.
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
    packets: BTreeMap<Ticket, Packet>,
    next_ticket: Ticket,
    charges: Charges,
    begun: Begun,
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
            packets: BTreeMap::new(),
            next_ticket: 0,
            charges: Charges::default(),
            begun: Begun::default(),
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
            None => self.options.unacked_max.saturating_sub(self.in_hand()),
            Some(away) => usize::from(self.in_hand() == 0 && away.until <= now),
        }
    }

    /// Takes in what was received.
    pub(super) fn arrived(&mut self, deliveries: Vec<Delivery>) {
        self.status.received += deliveries.len() as u64;
        for delivery in deliveries {
            let again = self.packets.iter_mut().find(|(_, packet)| packet.is_again(&delivery));
            match again {
                Some((ticket, packet)) => {
                    packet.receipts.push(delivery.receipt.clone());
                    let ticket = *ticket;
                    self.take_up(ticket, delivery.unpack());
                }
                None => {
                    let (ticket, done) = (self.next_ticket, self.begun.take(&delivery));
                    let mut packet = Packet::new(&delivery, 0, done);
                    let parts = delivery.unpack();
                    packet.parts = parts.len();
                    self.packets.insert(ticket, packet);
                    self.take_up(ticket, parts);
                }
            }
        }
        self.count();
    }

    /// Takes in the records of a message that are neither done nor in hand.
    fn take_up(&mut self, ticket: Ticket, parts: Vec<Delivery>) {
        let Some(packet) = self.packets.get_mut(&ticket) else { return };
        let alone = parts.len() == 1;
        for (part, delivery) in parts.into_iter().enumerate() {
            if packet.done.contains(&part) || packet.in_hand.contains_key(&part) {
                continue;
            }
            let mut entry = Entry::new(ticket, part, alone, delivery);
            entry.charges = self.charges.of(&entry.account);
            packet.in_hand.insert(part, self.next_ticket);
            self.entries.insert(self.next_ticket, entry);
            self.next_ticket += 1;
        }
        if packet.is_complete() && packet.ack == Ack::Open {
            // All of it was done the last time.
            packet.ack = Ack::Due(None);
            self.next_ticket += 1;
        }
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
                    self.finished(ticket, now);
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

    /// The record is done or parked; so may be its message.
    fn finished(&mut self, ticket: Ticket, now: Instant) {
        let Some(entry) = self.entries.remove(&ticket) else { return };
        self.charges.forget(&entry.account);
        let Some(packet) = self.packets.get_mut(&entry.packet) else { return };
        packet.in_hand.remove(&entry.part);
        packet.done.insert(entry.part);
        if packet.is_complete() {
            packet.ack = Ack::Due(Some(now + self.options.ack_linger));
        }
        self.release(entry.packet);
    }

    /// One more failure of its own.
    fn charge(&mut self, ticket: Ticket, reason: String, now: Instant) {
        self.status.failed += 1;
        let backoff = Backoff { initial: self.options.retry_initial, max: self.options.retry_max };
        let Some(entry) = self.entries.get_mut(&ticket) else { return };
        entry.charges += 1;
        tracing::debug!(record = entry.account, charges = entry.charges, reason, "failed");
        let wait = backoff.wait(entry.charges, &mut self.rng);
        let alone = self.packets.get(&entry.packet).is_none_or(|packet| packet.parts == 1);
        if entry.charges >= self.options.charges_max {
            entry.park = Some(reason);
            entry.stage = Stage::Waiting { from: now };
        } else if self.options.ordered || !alone {
            // Given back, it could come again after the next of its key; of a bundle, it would
            // take along what is not done yet.
            entry.stage = Stage::Waiting { from: now + wait };
        } else {
            self.let_go(ticket, Some(wait));
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

    /// Whether nothing is left to do.
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty() && self.given_back.is_empty()
    }

    /// Records that are not done, and messages that are but are not acknowledged.
    fn in_hand(&self) -> usize {
        let complete = self.packets.values().filter(|packet| packet.is_complete());
        self.entries.len() + complete.count()
    }

    fn count(&mut self) {
        self.status.in_hand = self.in_hand();
    }
}
