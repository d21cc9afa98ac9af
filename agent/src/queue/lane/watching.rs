//! Who waits for a record to be settled.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::Lane;
use crate::queue::api::Place;

/// By position.
#[derive(Default)]
pub(super) struct Watchers(Mutex<BTreeMap<u64, Vec<oneshot::Sender<bool>>>>);

impl Watchers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<oneshot::Sender<bool>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, position: u64) -> oneshot::Receiver<bool> {
        let (sender, receiver) = oneshot::channel();
        self.lock().entry(position).or_default().push(sender);
        receiver
    }

    /// What lies in `from..to` does not wait any more, unless `waits` says so.
    pub(super) fn wake(&self, from: u64, to: u64, delivered: bool, waits: impl Fn(u64) -> bool) {
        let mut watchers = self.lock();
        // Nearly always nobody waits.
        let settled: Vec<u64> =
            watchers.range(from..to).map(|(at, _)| *at).filter(|at| !waits(*at)).collect();
        for sender in settled.iter().filter_map(|at| watchers.remove(at)).flatten() {
            let _ = sender.send(delivered);
        }
    }

    fn forget_gone(&self, position: u64) {
        let mut watchers = self.lock();
        if let Some(senders) = watchers.get_mut(&position) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                watchers.remove(&position);
            }
        }
    }
}

/// Ends once a record does not wait any more: whether it was delivered. Where that is not known any
/// more it was not.
pub struct Settling {
    lane: Arc<Lane>,
    position: u64,
    receiver: oneshot::Receiver<bool>,
}

impl Lane {
    /// Watches the record at `position`.
    pub(in crate::queue) fn settling(self: Arc<Self>, position: u64) -> Settling {
        let receiver = self.watchers.add(position);
        // It may have been settled before anybody watched.
        if !self.head().waits(position) {
            let delivered = matches!(self.place(position), Place::Delivered { .. })
                && !self.head().is_forgotten(position);
            self.watchers.wake(position, position + 1, delivered, |_| false);
        }
        Settling { lane: self, position, receiver }
    }
}

impl Future for Settling {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        Pin::new(&mut self.receiver).poll(cx).map(|delivered| delivered.unwrap_or(false))
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.receiver.close();
        self.lane.watchers.forget_gone(self.position);
    }
}
