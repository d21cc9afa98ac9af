//! What all gateways together miss, looked up again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use central_store::ledger::Ledger;
use central_store::{Database, Fault};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::Told;

/// When to look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    pub(crate) every: Duration,
    pub(crate) silent_after: Duration,
}

/// Numbers that are not where they should be: younger ones may be on their way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) gaps: u64,
    pub(crate) records: u64,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) gateways: u64,
    pub(crate) silent: u64,
    /// Gateways of which something is in `open`.
    pub(crate) with_gaps: u64,
    pub(crate) open: Open,
    /// Records that were in `open` at one look and fewer at the next, since the start.
    pub(crate) closed: u64,
    /// At the gateways still, by their own word.
    pub(crate) waiting: u64,
    /// When this was looked up, ms since 1970 by the database's clock.
    pub(crate) at_ms: u64,
}

/// Records in gaps of each place.
type ByPlace = BTreeMap<u32, u64>;

/// Looks until nobody asks any more.
pub(super) async fn look(database: Database, rhythm: Rhythm, told: watch::Sender<Told>) {
    let mut every = interval(rhythm.every.max(Duration::from_secs(1)));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut closed) = (ByPlace::new(), 0);
    loop {
        every.tick().await;
        match read(&database, rhythm.silent_after).await {
            Ok((mut books, now)) => {
                closed += fewer(&before, &now);
                (books.closed, before) = (closed, now);
                told.send_modify(|told| told.books = Some(books));
            }
            // The handler meets the same, and says so; the time of the last look stands still.
            Err(fault) => tracing::debug!(%fault, "the books could not be looked through"),
        }
    }
}

/// How many of `before` are gone, place by place.
fn fewer(before: &ByPlace, now: &ByPlace) -> u64 {
    let left = |place: &u32| now.get(place).copied().unwrap_or(0);
    before.iter().map(|(place, count)| count.saturating_sub(left(place))).sum()
}

async fn read(database: &Database, silent_after: Duration) -> Result<(Books, ByPlace), Fault> {
    let mut ledger = Ledger::open(database).await?;
    let at_ms = ledger.now_ms().await?;
    let silent_ms = u64::try_from(silent_after.as_millis()).unwrap_or(u64::MAX);
    let newest = ledger.newest_of_gateways().await?;
    let silent = newest.iter().filter(|(_, newest)| newest.saturating_add(silent_ms) < at_ms);
    let mut books = Books {
        gateways: newest.len() as u64,
        silent: silent.count() as u64,
        at_ms,
        ..Books::default()
    };
    let (mut by_place, mut gateways) = (ByPlace::new(), BTreeMap::new());
    for (id, place) in ledger.places(None).await? {
        if place.is_own() {
            continue;
        }
        let mut records = 0;
        for day in ledger.books(id).await?.audit(0).values() {
            books.waiting += day.waiting;
            for gap in day.missing.iter().chain(&day.young) {
                books.open.gaps += 1;
                records += gap.count();
            }
        }
        books.open.records += records;
        if records > 0 {
            by_place.insert(id, records);
            gateways.insert(place.gateway, ());
        }
    }
    books.with_gaps = gateways.len() as u64;
    Ok((books, by_place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_place_gains_does_not_hide_what_another_closed() {
        let before = ByPlace::from([(1, 5), (2, 3), (3, 1)]);
        let now = ByPlace::from([(1, 9), (2, 1), (4, 7)]);
        assert_eq!(fewer(&before, &now), 2 + 1);
    }
}
