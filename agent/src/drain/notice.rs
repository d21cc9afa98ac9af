//! Repeated faults are logged at most once a minute, with their count.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

const QUIET: Duration = Duration::from_secs(60);
/// Kinds remembered at most; the map is emptied beyond.
const KINDS: usize = 1000;

/// What was logged when.
#[derive(Debug, Default)]
pub(super) struct Notices(BTreeMap<(usize, String), (Instant, u64)>);

impl Notices {
    /// Whether a fault of this lane and kind is to be logged now, and how often it happened since
    /// it last was.
    pub(super) fn due(&mut self, lane: usize, kind: &str, now: Instant) -> Option<u64> {
        if self.0.len() >= KINDS {
            self.0.clear();
        }
        match self.0.get_mut(&(lane, kind.to_owned())) {
            Some((logged, count)) if now.duration_since(*logged) < QUIET => {
                *count += 1;
                None
            }
            Some((logged, count)) => {
                *logged = now;
                Some(std::mem::take(count) + 1)
            }
            None => {
                self.0.insert((lane, kind.to_owned()), (now, 0));
                Some(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_logged_and_then_one_a_minute_with_the_count() {
        let now = Instant::now();
        let mut notices = Notices::default();
        assert_eq!(notices.due(0, "x", now), Some(1));
        (0..9).for_each(|_| assert_eq!(notices.due(0, "x", now), None));
        assert_eq!(notices.due(0, "y", now), Some(1));
        assert_eq!(notices.due(1, "x", now), Some(1));
        assert_eq!(notices.due(0, "x", now + QUIET), Some(10));
        assert_eq!(notices.due(0, "x", now + QUIET), None);
    }
}
