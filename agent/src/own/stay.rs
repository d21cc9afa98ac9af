//! When a local client is there and when it is gone. Pure: connections and time come from outside.
//!
//! Many apps open a connection for each record. So a stay goes on while the next connection comes
//! within the linger; and where that is not enough, an end is held back until no more than
//! [`STAYS_PER_HOUR`] have begun in an hour, which bounds the events of a client.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::attendance::Attendance;

/// Most stays of one client that begin in an hour, but for the agent's restarts.
pub(super) const STAYS_PER_HOUR: usize = 12;
const HOUR: Duration = Duration::from_secs(3600);

/// When and how the last connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone {
    at: Instant,
    /// The same by the wall clock, ms since 1970.
    pub(super) at_ms: u64,
    /// The client closed it as it should.
    pub(super) orderly: bool,
}

/// What is known of one client.
#[derive(Debug, Default)]
pub(super) struct Stay {
    visits: u64,
    /// It is there, or was less than the linger ago.
    here: bool,
    gone: Option<Gone>,
    begun: VecDeque<Instant>,
}

impl Stay {
    /// Takes in how it is connected now.
    pub(super) fn observe(&mut self, seen: Attendance, at: Instant, at_ms: u64) {
        let came = seen.visits != self.visits;
        self.visits = seen.visits;
        if came && !self.here {
            self.here = true;
            self.begun.push_back(at);
            if self.begun.len() > STAYS_PER_HOUR {
                self.begun.pop_front();
            }
        }
        if seen.open > 0 {
            self.gone = None;
        } else if self.here && (came || self.gone.is_none()) {
            self.gone = Some(Gone { at, at_ms, orderly: seen.orderly });
        }
    }

    /// Whether it is to be shown as connected.
    pub(super) fn is_here(&self) -> bool {
        self.here
    }

    /// Its end, as far as it is known already.
    pub(super) fn gone(&self) -> Option<Gone> {
        self.gone
    }

    /// When its end may be told, if it stays away.
    pub(super) fn due(&self, linger: Duration) -> Option<Instant> {
        let gone = self.gone?;
        let full = self.begun.len() >= STAYS_PER_HOUR;
        let room = self.begun.front().filter(|_| full).map(|first| *first + HOUR);
        Some((gone.at + linger).max(room.unwrap_or(gone.at)))
    }

    /// Its end has been told.
    pub(super) fn end(&mut self) {
        self.here = false;
        self.gone = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(30);

    struct Case {
        start: Instant,
        stay: Stay,
        seen: Attendance,
    }

    impl Case {
        fn new() -> Self {
            Self { start: Instant::now(), stay: Stay::default(), seen: Attendance::default() }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        fn observe(&mut self, second: u64) {
            self.stay.observe(self.seen, self.at(second), second * 1000);
        }

        fn open(&mut self, second: u64) {
            self.seen.open += 1;
            self.seen.visits += 1;
            self.observe(second);
        }

        fn close(&mut self, second: u64, orderly: bool) {
            self.seen.open -= 1;
            self.seen.orderly = orderly;
            self.observe(second);
        }

        /// Second in which the end may be told.
        fn due(&self) -> Option<u64> {
            self.stay.due(LINGER).map(|at| (at - self.start).as_secs())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_connection_ends_the_stay_and_only_after_the_linger() {
        let mut case = Case::new();
        case.observe(0);
        assert!(!case.stay.is_here() && case.due().is_none());
        case.open(1);
        case.open(2);
        case.close(3, true);
        assert!(case.stay.is_here() && case.due().is_none());
        case.close(5, false);
        assert_eq!(case.due(), Some(35));
        // Nothing new: the time stands.
        case.observe(20);
        assert_eq!(case.due(), Some(35));
        assert!(!case.stay.gone().unwrap().orderly);
        assert_eq!(case.stay.gone().unwrap().at_ms, 5000);
        case.stay.end();
        case.observe(36);
        assert!(!case.stay.is_here() && case.due().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_for_each_record_is_one_stay() {
        let mut case = Case::new();
        for second in 0..100 {
            case.open(second * 10);
            case.close(second * 10, true);
            assert_eq!(case.due(), Some(second * 10 + 30));
        }
        assert_eq!(case.stay.begun.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_came_and_went_unseen_was_there() {
        let mut case = Case::new();
        case.seen = Attendance { open: 0, visits: 1, orderly: true };
        case.observe(7);
        assert!(case.stay.is_here());
        assert_eq!(case.due(), Some(37));
        // And again, meanwhile.
        case.seen.visits = 3;
        case.observe(20);
        assert_eq!(case.due(), Some(50));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_stays_begin_in_an_hour() {
        let (mut case, mut begun) = (Case::new(), Vec::new());
        for second in (0..7200).step_by(60) {
            if case.due().is_some_and(|due| due <= second) {
                case.stay.end();
            }
            if !case.stay.is_here() {
                begun.push(second);
            }
            case.open(second);
            case.close(second + 1, true);
        }
        let windows = begun.windows(STAYS_PER_HOUR + 1);
        assert!(
            windows.into_iter().all(|some| some[STAYS_PER_HOUR] - some[0] >= 3600),
            "{begun:?}"
        );
        assert!(begun.len() > STAYS_PER_HOUR, "{begun:?}");
    }
}
