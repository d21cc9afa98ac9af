//! The one budget of everything that clients can make the agent hold in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use spillway_protocol::local::{Code, Refusal};

/// Charged for a connection: its buffers, and its session.
pub(super) const CONNECTION_BYTES: usize = 32 * 1024;
/// Charged for a record beside its size, while it waits for the disk: its answer to come and what
/// keeps track of it.
pub(super) const RECORD_BYTES: usize = 512;

/// Bytes in use, and the most there may be. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    used: Arc<AtomicUsize>,
    max_bytes: Arc<AtomicUsize>,
}

impl Budget {
    /// A budget of `max_bytes`, none of it used.
    pub fn new(max_bytes: usize) -> Self {
        Self { used: Arc::default(), max_bytes: Arc::new(max_bytes.into()) }
    }

    /// Bytes in use.
    pub fn used_bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The most there may be.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// Another most; what is held beyond it is given back in its time.
    pub(super) fn resize(&self, max_bytes: usize) {
        self.max_bytes.store(max_bytes, Ordering::Relaxed);
    }

    /// Takes `bytes`, if they are there.
    pub fn try_hold(&self, bytes: usize) -> Option<Held> {
        let mut held = self.empty();
        held.try_resize(bytes).then_some(held)
    }

    /// Holds nothing yet.
    pub fn empty(&self) -> Held {
        Held { budget: self.clone(), bytes: 0 }
    }
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub struct Held {
    budget: Budget,
    bytes: usize,
}

impl Held {
    /// How much it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes it `bytes`; false, and nothing changes, if the budget has not as many more.
    pub fn try_resize(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let max_bytes = self.budget.max_bytes();
        let fits = |used: usize| used.checked_add(more).filter(|&u| u <= max_bytes);
        let used = &self.budget.used;
        if more > 0 && used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            return false;
        }
        self.give_back(bytes);
        self.bytes = bytes;
        true
    }

    /// Makes it `bytes`, over the budget if need be: for what replaces something larger.
    pub fn resize(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        }
        self.give_back(bytes);
        self.bytes = bytes;
    }

    /// What is more than `bytes`. All connections count here, so it is not touched in vain.
    fn give_back(&self, bytes: usize) {
        if bytes < self.bytes {
            self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.resize(0);
    }
}

/// The refusal of whoever found the budget used up.
pub(super) fn overloaded() -> Refusal {
    let message = "the agent's memory ([limits] memory) is used up by records on their way to \
                   disk and answers not yet read; send it again later";
    Refusal::new(Code::Overloaded, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_never_exceeded_by_asking_and_always_given_back() {
        let budget = Budget::new(100);
        let mut one = budget.try_hold(60).unwrap();
        assert!(budget.try_hold(41).is_none());
        let two = budget.try_hold(40).unwrap();
        assert!(!one.try_resize(61));
        assert_eq!((one.bytes(), budget.used_bytes()), (60, 100));
        assert!(one.try_resize(10));
        assert_eq!(budget.used_bytes(), 50);
        one.resize(200);
        assert_eq!(budget.used_bytes(), 240);
        drop((one, two));
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn an_absurd_wish_is_refused_and_not_wrapped_around() {
        let budget = Budget::new(100);
        let _one = budget.try_hold(1).unwrap();
        assert!(budget.try_hold(usize::MAX).is_none());
        assert_eq!(budget.used_bytes(), 1);
    }
}
