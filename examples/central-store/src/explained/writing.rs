//! The rows of what a message told.

use mysql_async::prelude::Queryable;
use spillway_protocol::report::Report;

use super::{Explained, Told, Top, reason_name};
use crate::fault::Fault;

/// Reports of a lane's newest number are kept so long.
const REPORTED_DAYS: u32 = 8;

impl Told {
    /// Writes it; told again, it changes nothing.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn write(
        &self,
        transaction: &mut impl Queryable,
        gateway: &str,
    ) -> Result<(), Fault> {
        for range in &self.ranges {
            explain(transaction, range).await?;
        }
        for top in &self.tops {
            report_top(transaction, *top).await?;
        }
        if let Some((report, stored_ms)) = &self.report {
            keep_report(transaction, gateway, report, *stored_ms).await?;
        }
        Ok(())
    }
}

async fn explain(transaction: &mut impl Queryable, explained: &Explained) -> Result<(), Fault> {
    let insert = "INSERT INTO sw_explained \
         (lane_id, first_seq, last_seq, reason, kept_every, first_ms, last_ms, note) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE last_ms = VALUES(last_ms)";
    let Explained { lane, range, reason, kept_every, first_ms, last_ms, note } = explained;
    let reason = reason_name(*reason);
    let values = (lane, range.first, range.last, reason, kept_every, first_ms, last_ms, note);
    Ok(transaction.exec_drop(insert, values).await?)
}

/// The first time stays; the last is that of the newest report, should an older one come again.
async fn report_top(transaction: &mut impl Queryable, top: Top) -> Result<(), Fault> {
    let Top { lane, accepted_seq, waiting, stored_ms } = top;
    // Assigned from left to right: what decides comes last.
    let insert = "INSERT INTO sw_reported (lane_id, accepted_seq, waiting, stored_ms) \
         VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE \
         until = IF(VALUES(stored_ms) > stored_ms, CURRENT_TIMESTAMP(3), until), \
         stored_ms = GREATEST(VALUES(stored_ms), stored_ms)";
    transaction.exec_drop(insert, (lane, accepted_seq, waiting, stored_ms)).await?;
    // Older ones only tell since when a tail has been missing.
    let delete = "DELETE FROM sw_reported WHERE lane_id = ? AND accepted_seq <= ? \
                  AND stored_ms < ? AND until < CURRENT_TIMESTAMP - INTERVAL ? DAY";
    let values = (lane, accepted_seq, stored_ms, REPORTED_DAYS);
    Ok(transaction.exec_drop(delete, values).await?)
}

async fn keep_report(
    transaction: &mut impl Queryable,
    gateway: &str,
    report: &Report,
    stored_ms: u64,
) -> Result<(), Fault> {
    // Assigned from left to right: what decides comes last.
    let newer = "VALUES(stored_ms) >= stored_ms";
    let columns = ["stream", "at_ms", "every_s", "report", "stored_ms"];
    let updates = columns.map(|name| format!("{name} = IF({newer}, VALUES({name}), {name})"));
    let insert = format!(
        "INSERT INTO sw_reports (gateway, stream, at_ms, every_s, report, stored_ms) \
         VALUES (?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE {}",
        updates.join(", ")
    );
    let json = report.to_json().map_err(|error| Fault::Record(error.to_string()))?;
    let values = (gateway, &report.stream, report.at_ms, report.every_s, json, stored_ms);
    Ok(transaction.exec_drop(insert, values).await?)
}
