//! What all gateways together miss, looked up again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use central_store::ledger::Ledger;
use central_store::{Audit, Database, Fault};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::Told;
use super::overdue::Overdue;

/// When to look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    pub(crate) every: Duration,
    pub(crate) silent_after: Duration,
    pub(crate) missing_after: Duration,
}

/// Numbers that are not where they should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) gaps: u64,
    pub(crate) records: u64,
    /// Of these records, those that are not young, see [`Overdue`].
    pub(crate) missing: u64,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) gateways: u64,
    pub(crate) silent: u64,
    /// Gateways of which something is in `open`.
    pub(crate) with_gaps: u64,
    /// Gateways of which something is missing.
    pub(crate) with_missing: u64,
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
    let mut overdue = Overdue::new(ms(rhythm.missing_after));
    let (mut before, mut closed) = (ByPlace::new(), 0);
    loop {
        every.tick().await;
        match read(&database, rhythm.silent_after, &mut overdue).await {
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

async fn read(
    database: &Database,
    silent_after: Duration,
    overdue: &mut Overdue,
) -> Result<(Books, ByPlace), Fault> {
    let mut ledger = Ledger::open(database).await?;
    let at_ms = ledger.now_ms().await?;
    let heard: BTreeMap<String, u64> = ledger.newest_of_gateways().await?.into_iter().collect();
    let silent = heard.values().filter(|newest| newest.saturating_add(ms(silent_after)) < at_ms);
    let mut books = Books {
        gateways: heard.len() as u64,
        silent: silent.count() as u64,
        at_ms,
        ..Books::default()
    };
    let (mut by_place, mut gateways) = (ByPlace::new(), BTreeMap::new());
    for (id, place) in ledger.places(None).await? {
        if place.is_own() {
            continue;
        }
        let heard_ms = heard.get(&place.gateway).copied().unwrap_or(0);
        let days = ledger.books(id).await?.audit(overdue.old_before(heard_ms));
        let open = books.add(&days);
        let is_missing = overdue.is_missing(id, open.missing > 0, heard_ms, at_ms);
        let missing = if is_missing { open.missing } else { 0 };
        books.open.missing = books.open.missing.saturating_add(missing);
        if open.records > 0 {
            by_place.insert(id, open.records);
            *gateways.entry(place.gateway).or_insert(false) |= missing > 0;
        }
    }
    books.with_gaps = gateways.len() as u64;
    books.with_missing = gateways.values().filter(|is_missing| **is_missing).count() as u64;
    Ok((books, by_place))
}

impl Books {
    /// Adds all of a place but what is missing of it, and answers what is open there.
    fn add(&mut self, days: &BTreeMap<u64, Audit>) -> Open {
        let mut open = Open::default();
        for day in days.values() {
            let missing = day.missing_count();
            self.waiting = self.waiting.saturating_add(day.waiting);
            open.gaps += (day.missing.len() + day.young.len()) as u64;
            open.missing = open.missing.saturating_add(missing);
            open.records = open.records.saturating_add(missing.saturating_add(day.young_count()));
        }
        self.open.gaps += open.gaps;
        self.open.records = self.open.records.saturating_add(open.records);
        open
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
