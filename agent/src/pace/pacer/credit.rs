//! Sends that were saved up: what a gateway did not send while it had nothing to send, it may
//! send faster later. A burst of a quiet gateway is nobody's rush; the rush after an outage is,
//! so an outage voids it.

use std::time::Duration;

/// Most that can be saved, in records.
const MOST: f64 = 100.0;
/// Time between two sends on credit.
const INTERVAL: Duration = Duration::from_millis(250);
/// And on the allowance of a new installation: its first 100 records leave within 5 s.
const FRESH_INTERVAL: Duration = Duration::from_millis(40);

/// See the module.
#[derive(Debug)]
pub(super) struct Credit {
    records: f64,
    interval: Duration,
    /// The link was never up.
    unused: bool,
}

impl Credit {
    pub(super) fn new(fresh: bool) -> Self {
        match fresh {
            true => Self { records: MOST, interval: FRESH_INTERVAL, unused: true },
            false => Self { records: 0.0, interval: INTERVAL, unused: false },
        }
    }

    /// So many records could have been sent.
    pub(super) fn save(&mut self, records: f64) {
        self.records = (self.records + records).min(MOST);
    }

    /// A record leaves. Returns the time to the next, instead of `interval`.
    pub(super) fn spend(&mut self, interval: Duration) -> Duration {
        if interval <= self.interval || self.records < 1.0 {
            return interval;
        }
        self.records -= 1.0;
        if self.records < 1.0 {
            // An allowance is given once.
            *self = Self::new(false);
        }
        self.interval
    }

    /// The broker refused: nobody has anything to spare.
    pub(super) fn void(&mut self) {
        *self = Self::new(false);
    }

    /// The link came up. The allowance of a new installation is for the first time.
    pub(super) fn came_up(&mut self) {
        if !std::mem::take(&mut self.unused) {
            self.void();
        }
    }
}
