//! Receipts: acknowledged once their message is settled, renewed while it is not, and let go of
//! when they have expired.

use std::time::Duration;

use tokio::time::Instant;

use super::entry::Stage;
use super::packet::{Ack, Packet};
use super::{Desk, Ticket};
use crate::consumer::{AckFailure, FeedError, Receipt};

/// Before a renewal or acknowledgement is tried again that the broker did not answer.
const AGAIN: Duration = Duration::from_secs(1);

impl Desk {
    /// Acknowledgements that are due, up to what the transport takes at once.
    pub(crate) fn next_acks(&mut self, now: Instant) -> Vec<(Ticket, Receipt)> {
        let due = |packet: &Packet| match packet.ack {
            Ack::Due(due) if !packet.renewing => Some(due.unwrap_or(now)),
            _ => None,
        };
        let dues: Vec<_> =
            self.packets.iter().filter_map(|(t, p)| due(p).map(|due| (*t, due))).collect();
        let hurry = self.stopping || dues.len() >= self.nature.ack_max;
        if !hurry && dues.iter().all(|(_, due)| *due > now) {
            return Vec::new();
        }
        let mut acks: Vec<(Ticket, Receipt)> = Vec::new();
        for (ticket, due) in dues {
            let Some(packet) = self.packets.get_mut(&ticket) else { continue };
            // One that was tried already waits for its time even when all hurry.
            let tried = due > now + self.options.ack_linger;
            let full = acks.len() + packet.receipts.len() > self.nature.ack_max;
            if tried || (full && !acks.is_empty()) {
                continue;
            }
            packet.ack = Ack::Sent;
            acks.extend(packet.receipts.iter().map(|receipt| (ticket, receipt.clone())));
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
            let Some(packet) = self.packets.get_mut(&ticket) else { continue };
            match failure {
                None => self.status.acked += 1,
                Some(again) if again && receipt.expires.is_none_or(|until| until > now) => {
                    let due = now + self.options.ack_linger + AGAIN;
                    packet.ack = Ack::Due(Some(due));
                    continue;
                }
                Some(_) => self.status.ack_lost += 1,
            }
            packet.receipts.retain(|held| *held != receipt);
            match packet.receipts.is_empty() {
                true => drop(self.packets.remove(&ticket)),
                // It was received once more in the meantime.
                false => packet.ack = Ack::Due(Some(now)),
            }
        }
        self.count();
    }

    /// Receipts to be renewed: half of their time is over and their message is not settled.
    pub(crate) fn next_renewals(&mut self, now: Instant) -> Vec<(Ticket, Receipt)> {
        let Some(invisible) = self.nature.invisible else { return Vec::new() };
        let mut renewals = Vec::new();
        for (ticket, packet) in &mut self.packets {
            let due = renewal_due(packet, invisible).is_some_and(|due| due <= now);
            let live = |receipt: &&Receipt| receipt.expires.is_some_and(|until| until > now);
            if let Some(receipt) = packet.receipts.last().filter(|_| due).filter(live) {
                renewals.push((*ticket, receipt.clone()));
                packet.renewing = true;
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
        let Some(packet) = self.packets.get_mut(&ticket) else { return };
        packet.renewing = false;
        packet.renew_from = None;
        match result {
            Ok(Some(new)) => {
                packet.receipts.retain(|held| held != old);
                packet.receipts.push(new);
            }
            Ok(None) | Err(FeedError::Link(_) | FeedError::Busy(_) | FeedError::Refused(_)) => {
                packet.renew_from = Some(now + AGAIN);
            }
            // Expired for us: the message is on its way to us or to another.
            Err(FeedError::Receipt(_)) => {
                if let Some(held) = packet.receipts.iter_mut().find(|held| *held == old) {
                    held.expires = Some(now);
                }
            }
        }
    }

    /// Lets go of what waits under receipts that have all expired: the broker hands it out again,
    /// to us or to another. In ordered mode the later ones of the key go with it.
    pub(crate) fn expire(&mut self, now: Instant) {
        let expired = |packet: &Packet| packet.expires().is_some_and(|until| until <= now);
        let gone = self.packets.values().filter(|packet| !packet.renewing && expired(packet));
        let gone: Vec<Ticket> = gone.flat_map(|packet| packet.in_hand.values().copied()).collect();
        for ticket in gone {
            let waiting = self.entries.get(&ticket).filter(|entry| entry.waits());
            let Some(key) = waiting.map(|entry| entry.order_key.clone()) else { continue };
            self.let_go(ticket, None);
            if let Some(key) = key.filter(|_| self.options.ordered) {
                self.let_go_of_key(&key, Some(Duration::ZERO));
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
            let from = match entry.stage {
                Stage::Waiting { from } => Some(from),
                Stage::Fresh | Stage::Working => None,
            };
            let packet = self.packets.get(&entry.packet).filter(|_| entry.waits());
            [from, packet.and_then(Packet::expires)]
        });
        let of_packets = self.packets.values().flat_map(|packet| {
            let due = match packet.ack {
                Ack::Due(due) => due,
                Ack::Open | Ack::Sent => None,
            };
            [due, self.nature.invisible.and_then(|time| renewal_due(packet, time))]
        });
        let all = of_entries.chain(of_packets).chain([away]);
        all.flatten().filter(|instant| *instant > now).min()
    }
}

/// When the newest receipt of a message is to be renewed, if at all.
fn renewal_due(packet: &Packet, invisible: Duration) -> Option<Instant> {
    let expires = packet.receipts.last()?.expires?;
    if packet.renewing || packet.is_complete() {
        return None;
    }
    let due = expires.checked_sub(invisible / 2).unwrap_or(expires);
    Some(packet.renew_from.map_or(due, |from| due.max(from)))
}
