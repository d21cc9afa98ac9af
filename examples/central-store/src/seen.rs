//! What arrived: ranges of numbers, written in the transaction that stores the data.
//!
//! A transaction only **adds** rows, one for each run of numbers without a gap, and touches nobody
//! else's: writers never wait for each other, and a number that comes again is simply there twice.
//! [`crate::compaction`] joins the rows later. What is seen is the union of all rows.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value};

use crate::database::Database;
use crate::fault::Fault;
use crate::lanes::{Lanes, Place};
use crate::ranges::Range;

const DAY_MS: u64 = 86_400_000;
/// 9999-12-31, the last day that the database knows.
const DAY_MAX: u64 = 2_932_896;
/// Rows of one statement.
const ROWS: usize = 1000;

/// One record that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Where it comes from.
    pub place: Place,
    /// Its number there.
    pub seq: u64,
    /// When the gateway accepted it, ms since 1970 by the gateway's clock. It chooses the day, which is
    /// the same however often the record comes; a clock that was not set gives days in 1970.
    pub accepted_ms: u64,
}

/// What a batch has seen, ready to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sightings {
    rows: Vec<(u32, u64, Range)>,
}

/// Day of a time, in days since 1970.
pub fn day(ms: u64) -> u64 {
    (ms / DAY_MS).min(DAY_MAX)
}

impl Sightings {
    /// Looks up the places and joins neighbours. Not within a transaction: see [`Lanes::id`].
    ///
    /// # Errors
    /// What the database answers.
    pub async fn prepare(
        database: &Database,
        lanes: &Lanes,
        sightings: &[Sighting],
    ) -> Result<Self, Fault> {
        let mut numbers: BTreeMap<(u32, u64), Vec<u64>> = BTreeMap::new();
        for sighting in sightings {
            let lane = lanes.id(database, &sighting.place).await?;
            numbers.entry((lane, day(sighting.accepted_ms))).or_default().push(sighting.seq);
        }
        let rows = numbers.into_iter().flat_map(|((lane, day), numbers)| {
            runs(numbers).into_iter().map(move |run| (lane, day, run))
        });
        Ok(Self { rows: rows.collect() })
    }

    /// Adds the rows; they count when the transaction does.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn write(&self, transaction: &mut impl Queryable) -> Result<(), Fault> {
        for rows in self.rows.chunks(ROWS) {
            let places = vec!["(?, DATE_ADD('1970-01-01', INTERVAL ? DAY), ?, ?)"; rows.len()];
            let insert = "INSERT INTO sw_seen (lane_id, day, first_seq, last_seq) VALUES ";
            let statement = format!("{insert}{}", places.join(", "));
            let values = rows.iter().flat_map(|(lane, day, run)| {
                [Value::from(*lane), (*day).into(), run.first.into(), run.last.into()]
            });
            transaction.exec_drop(statement, Params::Positional(values.collect())).await?;
        }
        Ok(())
    }
}

/// Numbers in any order as ranges.
fn runs(mut numbers: Vec<u64>) -> Vec<Range> {
    numbers.sort_unstable();
    let mut runs: Vec<Range> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if number <= run.last.saturating_add(1) => run.last = number,
            _ => runs.push(Range { first: number, last: number }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_runs_whatever_their_order() {
        let run = |first, last| Range { first, last };
        assert_eq!(runs(vec![5, 3, 4, 4, 9, 8, 1]), [run(1, 1), run(3, 5), run(8, 9)]);
        assert_eq!(runs(vec![]), []);
    }

    #[test]
    fn a_wild_clock_still_gives_a_day_that_the_database_knows() {
        assert_eq!(day(1_700_000_000_123), 19_675);
        assert_eq!(day(u64::MAX), DAY_MAX);
    }
}
