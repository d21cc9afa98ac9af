//! The records without an answer: which of them to send next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::AppendError;
use crate::local::Receipt;

/// A record without an answer. Its room in the window is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Item {
    frame: Bytes,
    reply: oneshot::Sender<Result<Receipt, AppendError>>,
    _room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Item {
    pub(super) fn new(
        frame: Bytes,
        reply: oneshot::Sender<Result<Receipt, AppendError>>,
        room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    ) -> Self {
        Self { frame, reply, _room: room }
    }
}

/// All records without an answer, by correlation, which is the order of the calls.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    items: BTreeMap<u64, Item>,
    unsent: BTreeSet<u64>,
    delayed: BTreeSet<(Instant, u64)>,
}

impl Backlog {
    pub(super) fn add(&mut self, correlation: u64, item: Item) {
        self.items.insert(correlation, item);
        self.unsent.insert(correlation);
    }

    /// A new connection knows nothing of what the old one carried.
    pub(super) fn reconnected(&mut self) {
        self.unsent = self.items.keys().copied().collect();
        for (_, correlation) in &self.delayed {
            self.unsent.remove(correlation);
        }
    }

    /// Copies frames to `out` until it has `enough` bytes.
    pub(super) fn fill(&mut self, out: &mut BytesMut, enough: usize) {
        while out.len() < enough {
            let Some(correlation) = self.unsent.pop_first() else {
                return;
            };
            if let Some(item) = self.items.get(&correlation) {
                out.extend_from_slice(&item.frame);
            }
        }
    }

    /// Sends the record again after `wait`.
    pub(super) fn delay(&mut self, correlation: u64, wait: Duration) {
        if self.items.contains_key(&correlation) {
            self.unsent.remove(&correlation);
            self.delayed.insert((Instant::now() + wait, correlation));
        }
    }

    /// When the first delayed record is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.delayed.first().map(|(due, _)| *due)
    }

    /// Makes every delayed record that is due unsent.
    pub(super) fn wake(&mut self) {
        let now = Instant::now();
        while self.next_due().is_some_and(|due| due <= now) {
            if let Some((_, correlation)) = self.delayed.pop_first() {
                self.unsent.insert(correlation);
            }
        }
    }

    /// Gives the answer to whoever waits for it; a second answer finds nobody.
    pub(super) fn settle(&mut self, correlation: u64, answer: Result<Receipt, AppendError>) {
        if let Some(item) = self.items.remove(&correlation) {
            self.unsent.remove(&correlation);
            self.delayed.retain(|(_, delayed)| *delayed != correlation);
            // A caller that no longer waits needs no answer.
            let _ = item.reply.send(answer);
        }
    }

    pub(super) fn fail_all(&mut self, error: &AppendError) {
        for (_, item) in std::mem::take(&mut self.items) {
            let _ = item.reply.send(Err(error.clone()));
        }
    }

    /// Whether any record is on its way and without an answer.
    pub(super) fn awaits_answers(&self) -> bool {
        self.items.len() > self.unsent.len() + self.delayed.len()
    }

    /// Whether nobody waits for any answer.
    pub(super) fn is_unwanted(&self) -> bool {
        self.items.values().all(|item| item.reply.is_closed())
    }
}
