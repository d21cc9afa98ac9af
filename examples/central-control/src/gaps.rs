//! Requests for what an auditor misses: gaps in the tables of `central-store` that are older than
//! the grace time.
//!
//! Numbers are asked for in blocks of [`BLOCK`], so that a request keeps its id while its records
//! come in one by one. A block that gets another gap gets another id, from the time since when its
//! youngest gap has been known: once that one is closed it has its earlier id again, which is done.
//! What is still missing is asked for once more in each period of [`Gaps::retry_ms`], under another id.

use std::collections::BTreeMap;

use central_store::clones::LIVE_MS;
use central_store::ledger::Ledger;
use central_store::{Database, Fault, Gap, Place};
use futures::FutureExt;
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};
use spillway_protocol::control::Request;

use super::source::{Source, SourceError};

/// Numbers of one request at most.
const BLOCK: u64 = 64;

/// See the module.
pub(crate) struct Gaps {
    pub(crate) database: Database,
    /// Younger gaps may still be on their way.
    pub(crate) grace_ms: u64,
    /// Period after which the same is asked for once more.
    pub(crate) retry_ms: u64,
}

impl Gaps {
    async fn read(&self, gateway: &str) -> Result<Vec<Request>, Fault> {
        let mut ledger = Ledger::open(&self.database).await?;
        let now_ms = ledger.now_ms().await?;
        if !ledger.cloned(Some(gateway), LIVE_MS).await?.is_empty() {
            // Each of the machines would say of the other's numbers that they never existed, and
            // close gaps that the other could fill.
            tracing::warn!(gateway, "two machines have this id: nothing is asked of them");
            return Ok(Vec::new());
        }
        let attempt = now_ms / self.retry_ms.max(1);
        let mut requests = Vec::new();
        // The gateway's own numbers are spread over topics that nobody here may read.
        let places = ledger.places(Some(gateway)).await?;
        for (lane, place) in places.into_iter().filter(|(_, place)| !place.is_own()) {
            let days = ledger.books(lane).await?.audit(now_ms.saturating_sub(self.grace_ms));
            let missing: Vec<Gap> = days.into_values().flat_map(|day| day.missing).collect();
            requests.extend(wanted(&place, &missing, attempt));
        }
        Ok(requests)
    }
}

impl Source for Gaps {
    fn requests<'a>(
        &'a self,
        gateway: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Request>, SourceError>> {
        async move { self.read(gateway).await.map_err(SourceError::Database) }.boxed()
    }
}

/// What is missing of a block.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    from: u64,
    to: u64,
    /// Since when its youngest gap has been known.
    since_ms: u64,
}

/// For each block the range from its first missing number to its last.
fn wanted(place: &Place, missing: &[Gap], attempt: u64) -> Vec<Request> {
    let mut blocks: BTreeMap<u64, Wanted> = BTreeMap::new();
    for gap in missing {
        // More than a page holds is not looked at now.
        for (from, to) in in_blocks(gap).take(super::pages::REQUESTS_MAX) {
            let since_ms = gap.since_ms;
            let wanted = blocks.entry(from / BLOCK).or_insert(Wanted { from, to, since_ms });
            wanted.from = wanted.from.min(from);
            wanted.to = wanted.to.max(to);
            wanted.since_ms = wanted.since_ms.max(since_ms);
        }
    }
    let request = |(block, Wanted { from, to, since_ms })| Request {
        id: id(place, block, since_ms, attempt),
        lane: place.lane.clone(),
        stream: place.stream.to_string(),
        from,
        to,
    };
    blocks.into_iter().map(request).collect()
}

/// The first and the last number of a gap in each block that has one.
fn in_blocks(gap: &Gap) -> impl Iterator<Item = (u64, u64)> {
    let Gap { range, every, .. } = *gap;
    let mut next = Some(range.first);
    std::iter::from_fn(move || {
        let from = next.filter(|from| *from <= range.last)?;
        let end = range.last.min(from | (BLOCK - 1));
        let to = end - (end - from) % every;
        next = to.checked_add(every);
        Some((from, to))
    })
}

/// The same for the same block, youngest gap and attempt; lanes may have long names.
fn id(place: &Place, block: u64, since_ms: u64, attempt: u64) -> String {
    let digest = Sha256::digest(format!("{place}/{block}/{since_ms}/{attempt}").as_bytes());
    let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("gap-{hex}")
}

#[cfg(test)]
mod tests {
    use central_store::ranges::Range;

    use super::*;

    fn place(lane: &str) -> Place {
        Place { gateway: "gw".into(), lane: lane.into(), stream: "00c0ffee".parse().unwrap() }
    }

    fn gaps(ranges: &[(u64, u64)]) -> Vec<Gap> {
        let gap = |(first, last): &(u64, u64)| Gap {
            range: Range { first: *first, last: *last },
            every: 1,
            since_ms: 1,
        };
        ranges.iter().map(gap).collect()
    }

    fn ranges(requests: &[Request]) -> Vec<(u64, u64)> {
        requests.iter().map(|request| (request.from, request.to)).collect()
    }

    #[test]
    fn gaps_are_asked_for_in_blocks() {
        let requests = wanted(&place("main"), &gaps(&[(5, 5), (9, 10), (60, 130)]), 1);
        assert_eq!(ranges(&requests), [(5, 63), (64, 127), (128, 130)]);
        assert_eq!((requests[0].lane.as_str(), requests[0].stream.as_str()), ("main", "00c0ffee"));
        let endless = wanted(&place("main"), &gaps(&[(1, u64::MAX)]), 1);
        assert_eq!(endless.len(), crate::pages::REQUESTS_MAX);
        let kept = Gap { every: 50, ..gaps(&[(50, 400)])[0] };
        let requests = wanted(&place("main"), &[kept], 1);
        let numbers =
            [(50, 50), (100, 100), (150, 150), (200, 250), (300, 300), (350, 350), (400, 400)];
        assert_eq!(ranges(&requests), numbers);
        let rare = Gap { every: 1000, ..gaps(&[(1000, 100_000)])[0] };
        assert_eq!(wanted(&place("main"), &[rare], 1).len(), 100);
        let top = wanted(&place("main"), &gaps(&[(u64::MAX, u64::MAX)]), 1);
        assert_eq!(ranges(&top), [(u64::MAX, u64::MAX)]);
    }

    #[test]
    fn a_request_keeps_its_id_while_its_gap_closes_and_gets_another_at_the_next_attempt() {
        let id =
            |lane: &str, gap, attempt| wanted(&place(lane), &gaps(&[gap]), attempt)[0].id.clone();
        let first = id("main", (5, 20), 1);
        assert_eq!(first, id("main", (7, 7), 1));
        assert_ne!(first, id("main", (5, 20), 2));
        assert_ne!(first, id("other", (5, 20), 1));
        assert_ne!(first, id("main", (70, 80), 1));
    }

    #[test]
    fn a_later_gap_of_a_block_is_asked_for_at_once_and_only_once() {
        let gap = |number, since_ms| {
            let range = Range { first: number, last: number };
            Gap { range, every: 1, since_ms }
        };
        let request = |gaps: &[Gap]| wanted(&place("main"), gaps, 1).remove(0);
        let first = request(&[gap(5, 10)]);
        let both = request(&[gap(5, 10), gap(40, 20)]);
        assert_ne!(first.id, both.id);
        assert_eq!((both.from, both.to), (5, 40));
        // Whichever comes back first, what is left was asked for.
        assert_eq!(request(&[gap(5, 10)]).id, first.id);
        assert_eq!(request(&[gap(40, 20)]).id, both.id);
    }
}
