//! What a batch of messages does to the database, in one transaction.

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

/// What one message means.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A record: a row.
    Row(Row),
    /// The agent's own: what it tells of itself, and which gateway.
    Told(Box<Told>, String),
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
    Some(Sighting { place, seq: origin.seq, accepted_ms: origin.accepted_ms })
}

/// Writes into the tables of one database.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) database: Database,
    pub(crate) lanes: Lanes,
    pub(crate) mapping: Mapping,
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
        let entry = match self.told(delivery).await? {
            Some((told, gateway)) => Entry::Told(Box::new(told), gateway),
            None => {
                let row = self.mapping.row(delivery);
                Entry::Row(row.map_err(|unfit| Fault::Record(unfit.to_string()))?)
            }
        };
        let bytes = delivery.body.len() + 512;
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
    pub(crate) async fn write(&self, batch: &[&Prepared]) -> Result<(), Fault> {
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
            false => self.write_patiently(&[], &[], sightings).await,
        }
    }

    async fn write_patiently(
        &self,
        batch: &[&Prepared],
        rows: &[&Row],
        sightings: &[Sighting],
    ) -> Result<(), Fault> {
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
    ) -> Result<(), Fault> {
        let mut transaction = self.database.begin().await?;
        if !rows.is_empty() {
            let values: Vec<Value> =
                rows.iter().flat_map(|row| row.values.iter().cloned()).collect();
            let insert = self.mapping.insert(rows.len());
            transaction.exec_drop(insert, Params::Positional(values)).await?;
        }
        for prepared in batch {
            if let Entry::Told(told, gateway) = &prepared.entry {
                told.write(&mut transaction, gateway).await?;
            }
        }
        seen.write(&mut transaction).await?;
        commit(transaction).await
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
            Entry::Told(..) => None,
        }
    }
}
