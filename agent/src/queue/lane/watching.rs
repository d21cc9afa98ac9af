//! Who waits for a record to be settled.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::Lane;

/// By position.
#[derive(Default)]
pub(super) struct Watchers(Mutex<BTreeMap<u64, Vec<oneshot::Sender<()>>>>);

impl Watchers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<oneshot::Sender<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, position: u64) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.lock().entry(position).or_default().push(sender);
        receiver
    }

    /// What lies in `from..to` does not wait any more.
    pub(super) fn wake(&self, from: u64, to: u64) {
        let mut watchers = self.lock();
        // Nearly always nobody waits.
        while let Some((&position, _)) = watchers.range(from..to).next() {
            for sender in watchers.remove(&position).into_iter().flatten() {
                let _ = sender.send(());
            }
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

/// Ends once a record does not wait any more, whatever became of it.
pub struct Settling {
    lane: Arc<Lane>,
    position: u64,
    receiver: oneshot::Receiver<()>,
}

impl Lane {
    /// Watches the record at `position`.
    pub(in crate::queue) fn settling(self: Arc<Self>, position: u64) -> Settling {
        let receiver = self.watchers.add(position);
        // It may have been settled before anybody watched.
        if !self.head().waits(position) {
            self.watchers.wake(position, position + 1);
        }
        Settling { lane: self, position, receiver }
    }
}

impl Future for Settling {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.receiver).poll(cx).map(drop)
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.receiver.close();
        self.lane.watchers.forget_gone(self.position);
    }
}
