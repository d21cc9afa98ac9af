//! What is left of a lane for which nothing comes any more.

use std::sync::atomic::Ordering::Relaxed;

use super::Lane;
use crate::queue::untold::Untold;

impl Lane {
    /// See [`Queue::remains`](crate::queue::Queue::remains).
    pub(in crate::queue) fn remains(&self) -> bool {
        let keeps = self.shelved_from.load(Relaxed) != u64::MAX;
        let files = || match keeps {
            true => self.chain.first() < self.chain.end(),
            // The open one has only what is settled.
            false => !self.chain.closed_sizes().is_empty(),
        };
        self.accounts().waiting > 0 || self.is_untold() || files()
    }

    /// Numbers were given up of which somebody has to be told yet, whether that is saved or not.
    fn is_untold(&self) -> bool {
        self.tell && self.head().untold != Untold::default()
    }
}
