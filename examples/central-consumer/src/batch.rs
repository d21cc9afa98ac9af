//! What a batch of messages does to the database, in one transaction.

use std::sync::Arc;

use central_store::explained::Told;
use central_store::seen::Sightings;
use central_store::{Database, Fault, Lanes, Place, Sighting, Tries};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value};
use spillway_protocol::consumer::Delivery;
use spillway_protocol::control::Answer;
use spillway_protocol::report::Report;
use spillway_protocol::tombstone::Tombstones;

use crate::mapping::{Mapping, Row};
use crate::metrics::Batch;

/// What one message means.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A record: a row.
    Row(Row),
    /// The agent's own: what it tells of itself, and which gateway.
    Told(Box<Told>, String),
    /// A record that only has to be noted.
    Noted,
}

/// A message, ready to be written.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Its place among the deliveries of the handler's call.
    pub(crate) index: usize,
    pub(crate) entry: Entry,
    pub(crate) sighting: Option<Sighting>,
    /// What the statement will weigh.
    pub(crate) bytes: usize,
}

/// Where a message comes from, if it says so.
pub(crate) fn sighting(delivery: &Delivery) -> Option<Sighting> {
    let origin = delivery.origin.as_ref()?;
    let place =
        Place { gateway: origin.gateway.clone(), lane: origin.lane.clone(), stream: origin.stream };
    let alive = origin.clock_set && !origin.flag("resend") && !origin.flag("replay");
    let live_ms = delivery.stored_ms.filter(|_| alive);
    Some(Sighting { place, seq: origin.seq, accepted_ms: origin.accepted_ms, live_ms })
}

/// Writes into the tables of one database.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) database: Database,
    pub(crate) lanes: Lanes,
    /// None: records are noted, and nothing of them is stored.
    pub(crate) mapping: Option<Arc<Mapping>>,
}

impl Writer {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Fault::Record`] if it does not fit; for the agent's own also what the database answers.
    pub(crate) async fn prepare(
        &self,
        index: usize,
        delivery: &Delivery,
    ) -> Result<Prepared, Fault> {
        let entry = match (self.told(delivery).await?, &self.mapping) {
            (Some((told, gateway)), _) => Entry::Told(Box::new(told), gateway),
            (None, Some(mapping)) => {
                let row = mapping.row(delivery);
                Entry::Row(row.map_err(|unfit| Fault::Record(unfit.to_string()))?)
            }
            (None, None) => Entry::Noted,
        };
        let body = if matches!(entry, Entry::Row(_)) { delivery.body.len() } else { 0 };
        let bytes = body + 512;
        Ok(Prepared { index, entry, sighting: sighting(delivery), bytes })
    }

    /// Tombstones, reports and answers; they need to say which gateway they come from.
    async fn told(&self, delivery: &Delivery) -> Result<Option<(Told, String)>, Fault> {
        let Some(origin) = &delivery.origin else { return Ok(None) };
        let (database, lanes, gateway) = (&self.database, &self.lanes, &origin.gateway);
        let wrong = |error: serde_json::Error| Fault::Record(error.to_string());
        let told = if delivery.flag("tombstone") {
            let tombstones = Tombstones::from_json(&delivery.body).map_err(wrong)?;
            Told::tombstones(database, lanes, gateway, &tombstones).await?
        } else if delivery.flag("report") {
            let report = Report::from_json(&delivery.body).map_err(wrong)?;
            let stored_ms = delivery.stored_ms.unwrap_or(report.at_ms);
            Told::report(database, lanes, gateway, report, stored_ms).await?
        } else if delivery.flag("answer") {
            let answer = Answer::from_json(&delivery.body).map_err(wrong)?;
            let stored_ms = delivery.stored_ms.unwrap_or(origin.accepted_ms);
            Told::answer(database, lanes, gateway, &answer, stored_ms).await?
        } else {
            return Ok(None);
        };
        Ok(Some((told, gateway.clone())))
    }

    /// Writes all or nothing; what is in another's way is tried again.
    ///
    /// # Errors
    /// Never [`Fault::Again`].
    pub(crate) async fn write(&self, batch: &[&Prepared]) -> Result<Batch, Fault> {
        let sightings: Vec<Sighting> =
            batch.iter().filter_map(|prepared| prepared.sighting.clone()).collect();
        let mut rows: Vec<&Row> = batch.iter().filter_map(|prepared| prepared.row()).collect();
        // Two transactions with the same rows take them in the same order.
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        self.write_patiently(batch, &rows, &sightings).await
    }

    /// Notes messages that have their rows already.
    pub(crate) async fn see(&self, sightings: &[Sighting]) -> Result<(), Fault> {
        match sightings.is_empty() {
            true => Ok(()),
            false => self.write_patiently(&[], &[], sightings).await.map(|_| ()),
        }
    }

    async fn write_patiently(
        &self,
        batch: &[&Prepared],
        rows: &[&Row],
        sightings: &[Sighting],
    ) -> Result<Batch, Fault> {
        let seen = Sightings::prepare(&self.database, &self.lanes, sightings).await?;
        let mut tries = Tries::default();
        loop {
            match self.write_once(batch, rows, &seen).await {
                Err(fault) => tries.again(fault)?,
                done => return done,
            }
        }
    }

    async fn write_once(
        &self,
        batch: &[&Prepared],
        rows: &[&Row],
        seen: &Sightings,
    ) -> Result<Batch, Fault> {
        let mut transaction = self.database.begin().await?;
        let mut done = Batch { written: rows.len() as u64, ..Batch::default() };
        if let Some(mapping) = self.mapping.as_ref().filter(|_| !rows.is_empty()) {
            let values: Vec<Value> =
                rows.iter().flat_map(|row| row.values.iter().cloned()).collect();
            let insert = mapping.insert(rows.len());
            transaction.exec_drop(insert, Params::Positional(values)).await?;
            // Where newer rows take the place of older ones, the server's count mixes both.
            if mapping.keeps_first() {
                done.written = transaction.affected_rows().min(rows.len() as u64);
                done.duplicates = rows.len() as u64 - done.written;
            }
        }
        for prepared in batch {
            match &prepared.entry {
                Entry::Told(told, gateway) => {
                    told.write(&mut transaction, gateway).await?;
                    done.own += 1;
                }
                Entry::Noted => done.noted += 1,
                Entry::Row(_) => {}
            }
        }
        seen.write(&mut transaction).await?;
        commit(transaction).await?;
        Ok(done)
    }
}

/// A commit that fails is nobody's fault: whether it happened is unknown, and doing it again is safe.
pub(crate) async fn commit(transaction: central_store::database::Transaction) -> Result<(), Fault> {
    transaction.commit().await.map_err(|error| match Fault::from(error) {
        Fault::Record(reason) => Fault::Away(reason),
        fault => fault,
    })
}

impl Prepared {
    fn row(&self) -> Option<&Row> {
        match &self.entry {
            Entry::Row(row) => Some(row),
            Entry::Told(..) | Entry::Noted => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(at: &str, flags: &str) -> Delivery {
        let mut delivery = Delivery { stored_ms: Some(2_000), ..Delivery::default() };
        let place = [("sw_gw", "gw-1"), ("sw_lane", "ward"), ("sw_st", "00000007")];
        let rest = [("sw_seq", "5"), ("sw_at", at), ("sw_flags", flags)];
        let all = place.into_iter().chain(rest);
        delivery.read_properties(all.map(|(name, value)| (name.to_owned(), value.to_owned())));
        delivery
    }

    #[test]
    fn only_what_a_gateway_sends_for_the_first_time_is_a_sign_of_life() {
        let live_ms = |at, flags| sighting(&delivery(at, flags)).unwrap().live_ms;
        assert_eq!(live_ms("1000", ""), Some(2_000));
        assert_eq!(live_ms("1000", "report"), Some(2_000));
        for (at, flags) in [("1000", "resend"), ("1000", "replay,base64"), ("~1000", "")] {
            assert_eq!(live_ms(at, flags), None, "{at} {flags}");
        }
        assert_eq!(sighting(&Delivery::default()), None);
    }
}
