//! What waits at the gateway, by its own word.

use std::cmp::Reverse;

use super::{Books, Reported, Seen};
use crate::ranges::Range;

impl Books {
    /// From here on, what did not arrive waits at the gateway; `u64::MAX`: nothing does.
    pub(super) fn waiting_from(&self) -> u64 {
        let newest = self.reported.iter().max_by_key(|told| told.order());
        newest.map_or(u64::MAX, |newest| {
            self.waited_from(newest, |seen| seen.since_ms <= newest.until_ms)
        })
    }

    /// From here on, what did not arrive waited at the gateway at `time_ms` or later, and so may have
    /// been on its way for less time: it left after it was told to wait.
    pub(super) fn left_from(&self, time_ms: u64) -> u64 {
        let mut told: Vec<&Reported> = self.reported.iter().collect();
        told.sort_unstable_by_key(|told| told.order());
        let followed = told.iter().zip(told.iter().skip(1));
        let lately = followed.filter(|(_, next)| next.since_ms >= time_ms);
        let left = lately.map(|(told, _)| {
            // Rows that have grown since: which of their numbers came when is not known, so
            // they count as waiting, that no more than what surely waited is spared.
            self.waited_from(told, |seen| seen.until_ms <= told.until_ms)
        });
        left.min().unwrap_or(u64::MAX)
    }

    /// What waits at the gateway are the newest of the records that had neither arrived when it
    /// said so nor are explained: a lane with `freshness` sends its newest before its backlog.
    /// Numbers above those that were accepted then count as waiting, too.
    fn waited_from(&self, told: &Reported, had_arrived: impl Fn(&Seen) -> bool) -> u64 {
        let Some(mut others) = told.waiting.checked_sub(1) else { return u64::MAX };
        let arrived = self.seen.iter().filter(|seen| had_arrived(seen)).map(|seen| seen.range);
        let mut arrived: Vec<Range> =
            arrived.filter(|range| range.first <= told.accepted_seq).collect();
        arrived.sort_unstable_by_key(|range| Reverse(range.last));
        let mut top = told.accepted_seq;
        for range in arrived.into_iter().chain([Range { first: 0, last: 0 }]) {
            let gap = Range { first: range.last.saturating_add(1), last: top };
            let parts = if gap.first <= gap.last { self.parts(gap) } else { Vec::new() };
            for left in parts.iter().rev().filter_map(|part| part.left) {
                match left.nth_last(others) {
                    Some(first) => return first,
                    None => others -= left.count(),
                }
            }
            top = top.min(range.first.saturating_sub(1));
        }
        1
    }
}

impl Reported {
    fn order(&self) -> (u64, u64) {
        (self.stored_ms, self.accepted_seq)
    }
}
