//! Since when it has been known that a number exists.

use super::{Books, Gap, push};
use crate::ranges::Range;

/// Numbers, sorted, and since when it has been known that they, and so all below, exist.
pub(super) struct News(Vec<(u64, u64)>);

impl News {
    pub(super) fn of(books: &Books) -> Self {
        let arrived = books.seen.iter().map(|seen| (seen.range.last, seen.since_ms));
        let reported = books.reported.iter().map(|told| (told.accepted_seq, told.since_ms));
        let mut news: Vec<(u64, u64)> = arrived.chain(reported).collect();
        news.sort_unstable();
        let mut earliest = u64::MAX;
        for (_, since_ms) in news.iter_mut().rev() {
            earliest = earliest.min(*since_ms);
            *since_ms = earliest;
        }
        Self(news)
    }

    /// A gap in pieces of one age. Above all news only tombstones are.
    pub(super) fn by_age(&self, gap: Range) -> Vec<Gap> {
        let mut pieces: Vec<Gap> = Vec::new();
        let mut first = gap.first;
        let begin = self.0.partition_point(|(number, _)| *number < first);
        let above = (u64::MAX, u64::MAX);
        for (number, since_ms) in self.0[begin..].iter().copied().chain([above]) {
            if first > gap.last {
                break;
            }
            let last = number.min(gap.last);
            if first <= last {
                push(&mut pieces, Gap { range: Range { first, last }, every: 1, since_ms });
                first = last.saturating_add(1);
            }
        }
        pieces
    }
}
