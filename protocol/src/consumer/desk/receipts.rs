//! Receipts: acknowledged once their message is settled, renewed while it is not, and let go of
//! when they have expired.

use std::time::Duration;

use tokio::time::Instant;

use super::entry::{Entry, Stage};
use super::{Desk, Ticket};
use crate::consumer::{AckFailure, FeedError, Receipt};

/// Before a renewal or acknowledgement is tried again that the broker did not answer.
const AGAIN: Duration = Duration::from_secs(1);

impl Desk {
    /// Acknowledgements that are due, up to what the transport takes at once.
    pub(crate) fn next_acks(&mut self, now: Instant) -> Vec<(Ticket, Receipt)> {
        let settled = |entry: &Entry| match entry.stage {
            Stage::Settled { due } if !entry.renewing => Some(due),
            _ => None,
        };
        let dues: Vec<_> =
            self.entries.iter().filter_map(|(t, e)| settled(e).map(|due| (*t, due))).collect();
        let hurry = self.stopping || dues.len() >= self.nature.ack_max;
        if !hurry && dues.iter().all(|(_, due)| *due > now) {
            return Vec::new();
        }
        let mut acks: Vec<(Ticket, Receipt)> = Vec::new();
        for (ticket, due) in dues {
            let Some(entry) = self.entries.get_mut(&ticket) else { continue };
            // One that was tried already waits for its time even when all hurry.
            let tried = due > now + self.options.ack_linger;
            let full = acks.len() + entry.receipts.len() > self.nature.ack_max;
            if tried || (full && !acks.is_empty()) {
                continue;
            }
            entry.stage = Stage::Acking;
            acks.extend(entry.receipts.iter().map(|receipt| (ticket, receipt.clone())));
        }
        acks
    }

    /// Takes in how acknowledgements ended.
    pub(crate) fn acked(
        &mut self,
        asked: Vec<(Ticket, Receipt)>,
        result: Result<Vec<AckFailure>, FeedError>,
        now: Instant,
    ) {
        for (ticket, receipt) in asked {
            let failure = match &result {
                Ok(failures) => failures.iter().find(|f| f.receipt == receipt).map(|f| f.again),
                Err(FeedError::Receipt(_)) => Some(false),
                Err(_) => Some(true),
            };
            let Some(entry) = self.entries.get_mut(&ticket) else { continue };
            match failure {
                None => self.status.acked += 1,
                Some(again) if again && receipt.expires.is_none_or(|until| until > now) => {
                    entry.stage = Stage::Settled { due: now + self.options.ack_linger + AGAIN };
                    continue;
                }
                Some(_) => self.status.ack_lost += 1,
            }
            entry.receipts.retain(|held| *held != receipt);
            match entry.receipts.is_empty() {
                true => drop(self.entries.remove(&ticket)),
                // It was received once more in the meantime.
                false => entry.stage = Stage::Settled { due: now },
            }
        }
        self.count();
    }

    /// Receipts to be renewed: half of their time is over and their message is not settled.
    pub(crate) fn next_renewals(&mut self, now: Instant) -> Vec<(Ticket, Receipt)> {
        let Some(invisible) = self.nature.invisible else { return Vec::new() };
        let mut renewals = Vec::new();
        for (ticket, entry) in &mut self.entries {
            let due = renewal_due(entry, invisible).is_some_and(|due| due <= now);
            let live = |receipt: &&Receipt| receipt.expires.is_some_and(|until| until > now);
            if let Some(receipt) = entry.receipts.last().filter(|_| due).filter(live) {
                renewals.push((*ticket, receipt.clone()));
                entry.renewing = true;
            }
        }
        renewals
    }

    /// Takes in how a renewal ended.
    pub(crate) fn renewed(
        &mut self,
        ticket: Ticket,
        old: &Receipt,
        result: Result<Option<Receipt>, FeedError>,
        now: Instant,
    ) {
        let Some(entry) = self.entries.get_mut(&ticket) else { return };
        entry.renewing = false;
        entry.renew_from = None;
        match result {
            Ok(Some(new)) => {
                entry.receipts.retain(|held| held != old);
                entry.receipts.push(new);
            }
            Ok(None) | Err(FeedError::Link(_) | FeedError::Busy(_) | FeedError::Refused(_)) => {
                entry.renew_from = Some(now + AGAIN);
            }
            // Expired for us: the message is on its way to us or to another.
            Err(FeedError::Receipt(_)) => {
                if let Some(held) = entry.receipts.iter_mut().find(|held| *held == old) {
                    held.expires = Some(now);
                }
            }
        }
    }

    /// Lets go of messages that wait under receipts that have all expired: the broker hands them
    /// out again, to us or to another. In ordered mode the later ones of the key go with them.
    pub(crate) fn expire(&mut self, now: Instant) {
        let expired = |entry: &Entry| entry.expires().is_some_and(|until| until <= now);
        let gone = self.entries.iter().filter(|(_, e)| e.waits() && !e.renewing && expired(e));
        let gone: Vec<Ticket> = gone.map(|(ticket, _)| *ticket).collect();
        for ticket in gone {
            let Some(entry) = self.entries.remove(&ticket) else { continue };
            self.charges.keep(&entry.message_id, entry.charges);
            if let Some(key) = entry.order_key.filter(|_| self.options.ordered) {
                self.let_go_of_key(&key);
            }
        }
        self.count();
    }

    /// Messages to be put out of sight for a while, and forgotten.
    pub(crate) fn next_given_back(&mut self) -> Vec<(Receipt, Duration)> {
        std::mem::take(&mut self.given_back)
    }

    /// When something will be due that is not now.
    pub(crate) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let away = self.away.as_ref().map(|away| away.until);
        let of_entries = self.entries.values().flat_map(|entry| {
            let staged = match entry.stage {
                Stage::Waiting { from } => Some(from),
                Stage::Settled { due } => Some(due),
                _ => None,
            };
            let renewal = self.nature.invisible.and_then(|time| renewal_due(entry, time));
            [staged, renewal, entry.expires().filter(|_| entry.waits())]
        });
        of_entries.chain([away]).flatten().filter(|instant| *instant > now).min()
    }
}

/// When the newest receipt of a message is to be renewed, if at all.
fn renewal_due(entry: &Entry, invisible: Duration) -> Option<Instant> {
    let expires = entry.receipts.last()?.expires?;
    if entry.renewing || entry.is_settled() {
        return None;
    }
    let due = expires.checked_sub(invisible / 2).unwrap_or(expires);
    Some(entry.renew_from.map_or(due, |from| due.max(from)))
}
