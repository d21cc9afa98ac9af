//! What `status` shows of the centre.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spillway_protocol::local::status::Control;
use tokio::time::Instant;

/// How it stands. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    pulled: Option<Instant>,
    open: u64,
    fault: Option<String>,
}

impl Board {
    /// As `status` has it.
    pub fn status(&self) -> Control {
        let shown = self.shown();
        Control {
            pulled_ago_s: shown.pulled.map(|at| at.elapsed().as_secs()),
            open: shown.open,
            fault: shown.fault.clone(),
        }
    }

    /// The page was pulled, changed or not.
    pub(super) fn pulled(&self) {
        let mut shown = self.shown();
        (shown.pulled, shown.fault) = (Some(Instant::now()), None);
    }

    /// It was not, or was no good.
    pub(super) fn failed(&self, fault: String) {
        self.shown().fault = Some(fault);
    }

    /// So many requests are not done.
    pub(super) fn open(&self, count: u64) {
        self.shown().open = count;
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
