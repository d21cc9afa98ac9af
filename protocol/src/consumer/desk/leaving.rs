//! What is let go of: it comes again, to us or to another.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::Entry;
use super::packet::Packet;
use super::{Desk, Ticket};

impl Desk {
    /// Receives no more, and lets go of what would not be finished soon.
    pub(crate) fn stop(&mut self, now: Instant) {
        self.stopping = true;
        let absent = self.away.is_some();
        let let_go: Vec<Ticket> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.waits() && (absent || !entry.is_free(now)))
            .map(|(ticket, _)| *ticket)
            .collect();
        let keys: HashSet<String> = let_go
            .iter()
            .filter(|_| self.options.ordered)
            .filter_map(|ticket| self.entries[ticket].order_key.clone())
            .collect();
        let back = Some(Duration::ZERO);
        let_go.into_iter().for_each(|ticket| self.let_go(ticket, back));
        // Nor may the next of an order key go before it.
        keys.iter().for_each(|key| self.let_go_of_key(key, back));
        self.count();
    }

    /// Lets go of whatever of an order key still waits.
    pub(super) fn let_go_of_key(&mut self, key: &str, back: Option<Duration>) {
        let of_key = |entry: &Entry| entry.order_key.as_deref() == Some(key);
        let waiting = self.entries.iter().filter(|(_, entry)| of_key(entry) && entry.waits());
        let tickets: Vec<Ticket> = waiting.map(|(ticket, _)| *ticket).collect();
        tickets.into_iter().for_each(|ticket| self.let_go(ticket, back));
    }

    /// Lets go of a record: its message comes again to anyone, after `back`, or when the broker
    /// thinks fit.
    pub(super) fn let_go(&mut self, ticket: Ticket, back: Option<Duration>) {
        let Some(entry) = self.entries.remove(&ticket) else { return };
        self.charges.keep(&entry.account, entry.charges);
        if let Some(packet) = self.packets.get_mut(&entry.packet) {
            packet.in_hand.remove(&entry.part);
            packet.back = back;
        }
        self.release(entry.packet);
    }

    /// Forgets a message of which nothing is in hand though not all is done, but for what is.
    pub(super) fn release(&mut self, ticket: Ticket) {
        let over = |packet: &Packet| packet.in_hand.is_empty() && !packet.is_complete();
        if !self.packets.get(&ticket).is_some_and(over) {
            return;
        }
        let Some(mut packet) = self.packets.remove(&ticket) else { return };
        if let Some(wait) = packet.back.filter(|_| self.nature.invisible.is_some()) {
            let receipts = std::mem::take(&mut packet.receipts);
            self.given_back.extend(receipts.into_iter().map(|receipt| (receipt, wait)));
        }
        self.begun.keep(packet);
    }
}
