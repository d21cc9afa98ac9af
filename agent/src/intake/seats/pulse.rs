//! Whether something is under way on a connection, and since when not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// See the module. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Pulse(Arc<Mutex<Phase>>);

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// It has not said all of what it wants, since then.
    Asking(Instant),
    /// A request is under way.
    Working,
    /// Everything is answered, since then.
    Resting(Instant),
}

/// While it lives, a request is under way.
#[derive(Debug)]
pub(crate) struct Working(Pulse);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.rest();
    }
}

impl Pulse {
    /// Of a connection that begins.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Phase::Asking(Instant::now()))))
    }

    /// Bytes came in.
    pub(crate) fn hear(&self) {
        let mut phase = self.phase();
        if matches!(*phase, Phase::Resting(_)) {
            *phase = Phase::Asking(Instant::now());
        }
    }

    /// A request begins, and lasts until the returned is dropped.
    pub(crate) fn begin(&self) -> Working {
        self.work();
        Working(self.clone())
    }

    /// Something is under way.
    pub(crate) fn work(&self) {
        *self.phase() = Phase::Working;
    }

    /// Everything is answered.
    pub(crate) fn rest(&self) {
        *self.phase() = Phase::Resting(Instant::now());
    }

    /// Since when nothing is under way; `None` while something is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        match *self.phase() {
            Phase::Asking(since) | Phase::Resting(since) => Some(since),
            Phase::Working => None,
        }
    }

    /// Ends when the connection has been asking for `head_max`, or resting for `idle_max`; where it
    /// rested before it asked, up to `head_max` later.
    pub(crate) async fn overdue(&self, head_max: Duration, idle_max: Duration) {
        loop {
            let (phase, now) = (*self.phase(), Instant::now());
            let due = match phase {
                Phase::Asking(since) => since + head_max,
                Phase::Resting(since) => since + idle_max,
                Phase::Working => now + head_max,
            };
            if due <= now && !matches!(phase, Phase::Working) {
                return;
            }
            sleep_until(due.min(now + head_max)).await;
        }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD_MAX: Duration = Duration::from_secs(30);
    const IDLE_MAX: Duration = Duration::from_secs(300);

    async fn seconds_until_overdue(pulse: &Pulse) -> u64 {
        let from = Instant::now();
        pulse.overdue(HEAD_MAX, IDLE_MAX).await;
        from.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_nothing_has_less_time_than_who_rests() {
        let pulse = Pulse::new();
        assert_eq!(seconds_until_overdue(&pulse).await, 30);
        drop(pulse.begin());
        assert_eq!(seconds_until_overdue(&pulse).await, 300);
        pulse.rest();
        pulse.hear();
        assert_eq!(seconds_until_overdue(&pulse).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_bit_by_bit_has_no_more_time() {
        let pulse = Pulse::new();
        let dripping = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                pulse.hear();
            }
        };
        tokio::select! {
            seconds = seconds_until_overdue(&pulse) => assert_eq!(seconds, 30),
            () = dripping => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_request_is_under_way_nothing_is_overdue() {
        let pulse = Pulse::new();
        let working = pulse.begin();
        assert!(pulse.idle_since().is_none());
        let asked = tokio::time::timeout(10 * IDLE_MAX, pulse.overdue(HEAD_MAX, IDLE_MAX)).await;
        assert!(asked.is_err());
        drop(working);
        assert!(pulse.idle_since().is_some());
    }
}
