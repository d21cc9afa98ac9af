//! What arrived: ranges of numbers, written in the transaction that stores the data.
//!
//! A transaction only **adds** rows, one for each run of numbers without a gap, and touches nobody
//! else's: writers never wait for each other, and a number that comes again is simply there twice.
//! [`crate::compaction`] joins the rows later. What is seen is the union of all rows.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value};

use crate::clones::Life;
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
    /// When the broker stored it, ms since 1970 by the broker's clock, if that is a sign of life of
    /// the stream ([`crate::clones`]): not of what is sent again under its old number or was a
    /// dead letter, nor where the gateway's clock was not set.
    pub live_ms: Option<u64>,
}

impl Sighting {
    fn life(&self) -> Option<Life> {
        Some(Life::at(self.accepted_ms, self.live_ms?))
    }
}

/// What a batch has seen, ready to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sightings {
    rows: Vec<(u32, u64, Run)>,
}

/// Numbers without a gap, and the signs of life among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    range: Range,
    life: Option<Life>,
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
        let mut numbers: BTreeMap<(u32, u64), Vec<Run>> = BTreeMap::new();
        for sighting in sightings {
            let lane = lanes.id(database, &sighting.place).await?;
            let range = Range { first: sighting.seq, last: sighting.seq };
            let run = Run { range, life: sighting.life() };
            numbers.entry((lane, day(sighting.accepted_ms))).or_default().push(run);
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
            let place = "(?, DATE_ADD('1970-01-01', INTERVAL ? DAY), ?, ?, ?, ?, ?, ?)";
            let insert = "INSERT INTO sw_seen (lane_id, day, first_seq, last_seq, live_at_first, \
                          live_at_last, live_stored_first, live_stored_last) VALUES ";
            let statement = format!("{insert}{}", vec![place; rows.len()].join(", "));
            let values = rows.iter().flat_map(|(lane, day, Run { range, life })| {
                let place = [Value::from(*lane), (*day).into()];
                let range = [range.first.into(), range.last.into()];
                place.into_iter().chain(range).chain(Life::columns(*life))
            });
            transaction.exec_drop(statement, Params::Positional(values.collect())).await?;
        }
        Ok(())
    }
}

/// Numbers in any order, neighbours as one.
fn runs(mut numbers: Vec<Run>) -> Vec<Run> {
    numbers.sort_unstable_by_key(|number| number.range);
    let mut runs: Vec<Run> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if number.range.first <= run.range.last.saturating_add(1) => {
                run.range.last = number.range.last;
                run.life = Life::joined(run.life, number.life);
            }
            _ => runs.push(number),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, last: u64, life: Option<Life>) -> Run {
        Run { range: Range { first, last }, life }
    }

    #[test]
    fn numbers_become_runs_whatever_their_order() {
        let numbers = [5, 3, 4, 4, 9, 8, 1].map(|number| run(number, number, None));
        let expected = [run(1, 1, None), run(3, 5, None), run(8, 9, None)];
        assert_eq!(runs(numbers.to_vec()), expected);
        assert_eq!(runs(vec![]), []);
    }

    #[test]
    fn a_run_has_the_signs_of_life_of_its_numbers() {
        let (early, late) = (Life::at(10, 70), Life::at(20, 60));
        let numbers = vec![run(2, 2, Some(late)), run(3, 3, None), run(1, 1, Some(early))];
        let both = Life::joined(Some(early), Some(late));
        assert_eq!(runs(numbers), [run(1, 3, both)]);
    }

    #[test]
    fn a_wild_clock_still_gives_a_day_that_the_database_knows() {
        assert_eq!(day(1_700_000_000_123), 19_675);
        assert_eq!(day(u64::MAX), DAY_MAX);
    }
}
