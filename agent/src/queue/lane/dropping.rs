//! Waiting records are given up at a limit.

use std::io;

use super::Lane;
use crate::queue::api::Ordering;
use crate::queue::chain::Read;
use crate::queue::head::End;

/// Most positions that one search reads.
const SEARCH_MAX: usize = 20_000;

impl Lane {
    /// See [`Queue::drop_oldest`](crate::queue::Queue::drop_oldest).
    pub(in crate::queue) fn drop_oldest(&self, below: u64) -> u64 {
        let before = self.accounts().dropped;
        let mut head = self.head();
        let ranges = head.drop_below(below.min(self.chain.end()));
        for range in ranges {
            self.give_up(&mut head, range, End::Dropped, self.now_ms());
        }
        drop(head);
        self.dropped_since(before)
    }

    /// See [`Queue::purge`](crate::queue::Queue::purge).
    pub(in crate::queue) fn purge(&self, ranges: &[(u64, u64)], dry_run: bool) -> u64 {
        let before = self.accounts().dropped;
        let mut head = self.head();
        let ranges = ranges.iter().map(|&(from, to)| (from, to.min(self.chain.end())));
        if dry_run {
            return ranges.map(|(from, to)| head.purgeable(from, to)).sum();
        }
        for (from, to) in ranges {
            for range in head.purge(from, to) {
                self.give_up(&mut head, range, End::Purged, self.now_ms());
            }
        }
        drop(head);
        self.dropped_since(before)
    }

    /// See [`Queue::thin`](crate::queue::Queue::thin).
    pub(in crate::queue) fn thin(&self, below: u64, every: u32) -> u64 {
        let before = self.accounts().dropped;
        let mut head = self.head();
        if every < 2 || head.ordering() != Ordering::None {
            return 0;
        }
        let mut start = head.settled().watermark();
        let below = below.min(self.chain.end());
        while start < below {
            let (base, end) = self.numbering.stretch(start);
            let ranges = head.thin((start, end.min(below)), every, base);
            for range in ranges {
                self.give_up(&mut head, range, End::Thinned(every), self.now_ms());
            }
            start = end;
        }
        drop(head);
        self.dropped_since(before)
    }

    /// The letter of the record at `position` was purged.
    pub(in crate::queue) fn note_purged(&self, position: u64) {
        self.head().note_lost(position, position + 1);
        self.tap.tell((position, position + 1), End::Purged, || self.now_ms());
        self.touch();
    }

    /// A lease beside it may find that something of what was dropped is damaged.
    fn dropped_since(&self, before: u64) -> u64 {
        let dropped = self.accounts().dropped.saturating_sub(before);
        if dropped > 0 {
            self.touch();
        }
        dropped
    }

    /// The first position in `from..below` that waits and was not accepted before
    /// `accepted_before_ms` by a clock that was set, or `below`. Reads the disk, but not for long:
    /// a search may end early.
    pub(in crate::queue) fn first_younger(
        &self,
        (from, below): (u64, u64),
        accepted_before_ms: u64,
    ) -> io::Result<u64> {
        let mut position = self.head().next_waiting(from);
        for _ in 0..SEARCH_MAX {
            if position >= below {
                break;
            }
            position = match self.chain.read(position)? {
                Read::Pack(pack) => {
                    let stored = super::decode(&pack, position).map(|(stored, _)| stored);
                    let older = |ms: u64, set: bool| set && ms < accepted_before_ms;
                    if !stored.is_some_and(|s| older(s.accepted_ms, s.clock_set)) {
                        break;
                    }
                    position + 1
                }
                Read::Hole { until } => until,
                // How old they are is not known.
                Read::Locked { .. } | Read::End => break,
            };
            position = self.head().next_waiting(position);
        }
        Ok(position.min(below))
    }
}
