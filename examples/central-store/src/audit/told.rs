//! What waits at the gateway, by its own word.

use super::{Books, Reported, Seen};
use crate::explained::Explained;
use crate::ranges::Range;

/// Where the newest numbers of a place begin that are not at the centre for a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// From here on, what did not arrive waits at the gateway; `u64::MAX`: nothing does.
    pub(super) waiting_from: u64,
    /// From here on, it waited there when the grace time began, or later.
    pub(super) left_from: u64,
}

impl Books {
    /// What was told since `known_before_ms`, and the last that was told before, bound what has
    /// been on its way for less than that: it left after it was told to wait.
    pub(super) fn bounds(&self, known_before_ms: u64) -> Bounds {
        let mut told: Vec<&Reported> = self.reported.iter().collect();
        told.sort_unstable_by_key(|told| (told.stored_ms, told.accepted_seq));
        let waiting_from = told.last().map_or(u64::MAX, |newest| {
            self.waiting_from(newest, |seen| seen.since_ms <= newest.until_ms)
        });
        let followed = told.iter().zip(told.iter().skip(1));
        let lately = followed.filter(|(_, next)| next.since_ms >= known_before_ms);
        let left = lately.map(|(told, _)| {
            // Rows that have grown since: which of their numbers came when is not known, so
            // they count as waiting, that no more than what surely waited is spared.
            self.waiting_from(told, |seen| seen.until_ms <= told.until_ms)
        });
        Bounds { waiting_from, left_from: left.min().unwrap_or(u64::MAX) }
    }

    /// What waits at the gateway are the newest of the records that had neither arrived when it
    /// said so nor are explained: a lane with `freshness` sends its newest before its backlog.
    /// Numbers above those that were accepted then count as waiting, too.
    fn waiting_from(&self, told: &Reported, had_arrived: impl Fn(&Seen) -> bool) -> u64 {
        if told.waiting == 0 {
            return u64::MAX;
        }
        let arrived = self.seen.iter().filter(|seen| had_arrived(seen)).map(|seen| seen.range);
        let explained = self.explained.iter().flat_map(Explained::runs);
        let mut gone: Vec<Range> = arrived.chain(explained).collect();
        gone.sort_by_key(|range| std::cmp::Reverse(range.last));
        let (mut top, mut waiting) = (told.accepted_seq, told.waiting);
        for range in gone.into_iter().filter(|range| range.first <= told.accepted_seq) {
            let between = top.saturating_sub(range.last);
            if between >= waiting {
                break;
            }
            waiting -= between;
            top = top.min(range.first - 1);
        }
        top - waiting.min(top) + 1
    }
}
