//! Keeps `sw_seen` small: joins rows of one lane and day whose numbers touch.
//!
//! Any number of processes may do it at once, beside writers: a pass only deletes rows that it has
//! locked, in the transaction that extends the row which covers them, so that the union of all rows
//! is the same before and after, whoever dies when. Writers only add rows and wait for nobody.
//!
//! What had arrived at a gateway's last report and what came later stay apart until its next one: of
//! a row of both, the audit could not tell which of its numbers had waited at the gateway then.

use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value};

use crate::clones::Life;
use crate::database::{Database, Transaction, Tries};
use crate::fault::Fault;
use crate::ranges::Range;

/// The first pass of a process looks back so far, at most.
const LOOK_BACK: u64 = 100_000;
/// Rows deleted by one statement.
const DELETED: usize = 1000;

/// Remembers how far it came.
#[derive(Debug)]
pub struct Compactor {
    database: Database,
    /// Newest row at the end of the last two passes. A pass begins behind the older one: a
    /// transaction that was still open then may have committed rows below the newer.
    newest: Option<[u64; 2]>,
}

/// A row of `sw_seen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    id: u64,
    range: Range,
    since_ms: u64,
    until_ms: u64,
    life: Option<Life>,
}

/// Rows that become one.
#[derive(Debug, PartialEq, Eq)]
struct Joined {
    row: Row,
    others: Vec<u64>,
}

impl Compactor {
    /// Has done nothing yet.
    pub fn new(database: Database) -> Self {
        Self { database, newest: None }
    }

    /// One pass over what was added since; answers how many rows it saved.
    ///
    /// # Errors
    /// What the database answers; rows that it did not come to are left to the next pass.
    pub async fn pass(&mut self) -> Result<u64, Fault> {
        let mut connection = self.database.connection().await?;
        let newest = "SELECT CAST(COALESCE(MAX(id), 0) AS UNSIGNED) FROM sw_seen";
        let newest: u64 = connection.query_first(newest).await?.unwrap_or(0);
        let [before, last] = self.newest.unwrap_or([newest.saturating_sub(LOOK_BACK); 2]);
        let touched = "SELECT lane_id, DATE_FORMAT(day, '%Y-%m-%d') FROM sw_seen WHERE id > ? \
                       GROUP BY lane_id, day";
        let touched: Vec<(u32, String)> = connection.exec(touched, (before,)).await?;
        drop(connection);
        let mut saved = 0;
        for (lane, day) in touched {
            let mut tries = Tries::default();
            saved += loop {
                match self.join(lane, &day).await {
                    Err(fault) => tries.again(fault)?,
                    Ok(saved) => break saved,
                }
            };
        }
        self.newest = Some([last, newest]);
        Ok(saved)
    }

    async fn join(&self, lane: u32, day: &str) -> Result<u64, Fault> {
        let mut transaction = self.database.begin().await?;
        let rows = read(&mut transaction, lane, day).await?;
        let told_ms = last_told_ms(&mut transaction, lane).await?;
        let mut saved = 0;
        for joined in joined(rows, told_ms) {
            saved += joined.others.len() as u64;
            write(&mut transaction, &joined).await?;
        }
        transaction.commit().await?;
        Ok(saved)
    }
}

/// In the order of the index, which is the order in which they are locked.
async fn read(transaction: &mut Transaction, lane: u32, day: &str) -> Result<Vec<Row>, Fault> {
    let select = "SELECT id, first_seq, last_seq, \
         CAST(ROUND(UNIX_TIMESTAMP(since) * 1000) AS UNSIGNED), \
         CAST(ROUND(UNIX_TIMESTAMP(until) * 1000) AS UNSIGNED), \
         live_at_first, live_at_last, live_stored_first, live_stored_last \
         FROM sw_seen WHERE lane_id = ? AND day = ? ORDER BY first_seq FOR UPDATE";
    let row = |(id, first, last, since_ms, until_ms, a, b, c, d)| Row {
        id,
        range: Range { first, last },
        since_ms,
        until_ms,
        life: Life::of_columns([a, b, c, d]),
    };
    let rows = transaction.exec_map(select, (lane, day), row);
    Ok(rows.await?)
}

/// When the gateway's newest report arrived, by the clock of the rows; 0: none has.
async fn last_told_ms(transaction: &mut Transaction, lane: u32) -> Result<u64, Fault> {
    let select = "SELECT CAST(ROUND(UNIX_TIMESTAMP(until) * 1000) AS UNSIGNED) FROM sw_reported \
                  WHERE lane_id = ? ORDER BY stored_ms DESC, accepted_seq DESC LIMIT 1";
    Ok(transaction.exec_first(select, (lane,)).await?.unwrap_or(0))
}

/// Rows sorted by their first number, those that touch as one, but not across `told_ms`; rows that
/// stay alone are left out.
fn joined(rows: Vec<Row>, told_ms: u64) -> Vec<Joined> {
    let (before, later): (Vec<Row>, Vec<Row>) =
        rows.into_iter().partition(|row| row.since_ms <= told_ms);
    [before, later].iter().flat_map(|rows| touching(rows)).collect()
}

fn touching(rows: &[Row]) -> Vec<Joined> {
    let mut groups: Vec<Joined> = Vec::new();
    for row in rows {
        match groups.last_mut() {
            Some(group) if row.range.first <= group.row.range.last.saturating_add(1) => {
                let kept = &mut group.row;
                kept.range.last = kept.range.last.max(row.range.last);
                kept.since_ms = kept.since_ms.min(row.since_ms);
                kept.until_ms = kept.until_ms.max(row.until_ms);
                kept.life = Life::joined(kept.life, row.life);
                group.others.push(row.id);
            }
            _ => groups.push(Joined { row: *row, others: vec![] }),
        }
    }
    groups.retain(|group| !group.others.is_empty());
    groups
}

async fn write(transaction: &mut Transaction, joined: &Joined) -> Result<(), Fault> {
    let Row { id, range, since_ms, until_ms, life } = joined.row;
    let update = "UPDATE sw_seen SET last_seq = ?, since = FROM_UNIXTIME(? / 1000), \
                  until = FROM_UNIXTIME(? / 1000), live_at_first = ?, live_at_last = ?, \
                  live_stored_first = ?, live_stored_last = ? WHERE id = ?";
    let times = [Value::from(range.last), since_ms.into(), until_ms.into()];
    let values = times.into_iter().chain(Life::columns(life)).chain([id.into()]);
    transaction.exec_drop(update, Params::Positional(values.collect())).await?;
    for ids in joined.others.chunks(DELETED) {
        let places = vec!["?"; ids.len()].join(", ");
        let delete = format!("DELETE FROM sw_seen WHERE id IN ({places})");
        let values = ids.iter().copied().map(Value::from).collect();
        transaction.exec_drop(delete, Params::Positional(values)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, first: u64, last: u64, at_ms: u64) -> Row {
        let life = Some(Life::at(at_ms, at_ms));
        Row { id, range: Range { first, last }, since_ms: at_ms, until_ms: at_ms, life }
    }

    #[test]
    fn rows_that_touch_or_overlap_become_the_first_of_them() {
        let rows = [row(7, 1, 4, 30), row(2, 2, 3, 10), row(9, 5, 5, 50), row(3, 7, 9, 20)];
        let life = Life::joined(Some(Life::at(10, 10)), Some(Life::at(50, 50)));
        let kept = Row { until_ms: 50, since_ms: 10, life, ..row(7, 1, 5, 0) };
        assert_eq!(joined(rows.to_vec(), 0), [Joined { row: kept, others: vec![2, 9] }]);
        assert_eq!(joined(rows[2..].to_vec(), 0), []);
    }

    #[test]
    fn what_came_since_the_last_report_is_joined_after_the_next() {
        let rows = vec![row(1, 1, 9, 10), row(4, 5, 6, 70), row(2, 10, 10, 50), row(3, 11, 11, 60)];
        let ids = |told_ms| -> Vec<(u64, Vec<u64>)> {
            let joined = joined(rows.clone(), told_ms).into_iter();
            joined.map(|joined| (joined.row.id, joined.others)).collect()
        };
        assert_eq!(ids(55), [(1, vec![2])]);
        assert_eq!(ids(60), [(1, vec![2, 3])]);
        assert_eq!(ids(70), [(1, vec![4, 2, 3])]);
    }
}
