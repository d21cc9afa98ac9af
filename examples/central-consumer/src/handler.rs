//! The handler: a batch of messages becomes one transaction. If one of them does not fit, each is
//! tried by itself, so that only that one is charged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use central_store::{Fault, Sighting};
use spillway_protocol::consumer::{Delivery, Handler, Verdict};
use tokio::time::timeout;

use crate::batch::{Prepared, Writer, sighting};
use crate::claims::{Claims, HELD, Held};
use crate::metrics::{Batch, Counts};
use crate::parked;

/// A database that does not answer for so long is away.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest statement, in bytes; servers take 16 MiB and more. A larger record goes by itself.
const STATEMENT_BYTES: usize = 4 << 20;

/// See the module.
pub(crate) struct Central {
    pub(crate) writer: Writer,
    pub(crate) claims: Option<Claims>,
    pub(crate) group: String,
    /// When the broker stored the newest message that was handled, ms since 1970; 0: none was.
    pub(crate) newest_ms: std::sync::Arc<AtomicU64>,
    pub(crate) counts: std::sync::Arc<Counts>,
}

impl Handler for Central {
    async fn handle(&self, batch: &[Delivery]) -> Vec<Verdict> {
        let away = |fault: Fault| {
            self.writer.lanes.forget();
            vec![Verdict::away(fault); batch.len()]
        };
        match self.claimed(batch).await {
            Ok(verdicts) => verdicts,
            Err(fault) => away(fault),
        }
    }

    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), String> {
        let parked = parked::park(&self.writer, &self.group, delivery, reason);
        let parked = timeout(PATIENCE, parked).await;
        let parked = parked.unwrap_or_else(|_| Err(silent(PATIENCE)));
        if let Err(fault) = &parked {
            self.writer.lanes.forget();
            tracing::warn!(id = delivery.id(), %fault, "could not be parked");
        }
        parked.map_err(|fault| fault.to_string())
    }
}

/// The wall clock, ms since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn silent(patience: Duration) -> Fault {
    Fault::Away(format!("no answer within {} s", patience.as_secs()))
}

impl Central {
    /// Leaves out what is known to be stored, and says of the rest what became of it.
    async fn claimed(&self, batch: &[Delivery]) -> Result<Vec<Verdict>, Fault> {
        let Some(claims) = &self.claims else {
            return self.store(&batch.iter().collect::<Vec<_>>()).await;
        };
        let ids: Vec<&str> = batch.iter().map(Delivery::id).collect();
        let mut held = claims.claim(&ids).await?;
        let ours = ours(batch, &held);
        let stored = timeout(HELD, self.store(&ours)).await;
        let stored = stored.unwrap_or_else(|_| Err(silent(HELD)));
        for (delivery, verdict) in ours.iter().zip(stored.iter().flatten()) {
            if *verdict == Verdict::Done {
                held.stored(delivery.id()).await?;
            }
        }
        held.release_all().await;
        let verdicts: BTreeMap<&str, Verdict> =
            ours.iter().map(|delivery| delivery.id()).zip(stored?).collect();
        let verdict = |id: &&str| verdicts.get(id).cloned().unwrap_or(Verdict::Done);
        let verdicts: Vec<Verdict> = ids.iter().map(verdict).collect();
        let others = others(batch, &ours, &verdicts);
        self.writer.see(&others).await?;
        let duplicates = others.len() as u64;
        if duplicates > 0 {
            self.counts.committed(Batch { duplicates, ..Batch::default() }, now_ms());
        }
        Ok(verdicts)
    }

    /// Stores them, and says of each what became of it.
    async fn store(&self, batch: &[&Delivery]) -> Result<Vec<Verdict>, Fault> {
        let mut verdicts = vec![Verdict::Done; batch.len()];
        let mut prepared = Vec::with_capacity(batch.len());
        for (index, delivery) in batch.iter().enumerate() {
            match self.writer.prepare(index, delivery).await {
                Ok(ready) => prepared.push(ready),
                Err(Fault::Record(reason)) => verdicts[index] = Verdict::failed(reason),
                Err(fault) => return Err(fault),
            }
        }
        for chunk in chunks(&prepared) {
            self.write(&chunk, &mut verdicts).await?;
        }
        let done = batch.iter().zip(&verdicts).filter(|(_, verdict)| **verdict == Verdict::Done);
        let origins = done.filter_map(|(delivery, _)| delivery.origin.as_ref());
        origins.for_each(|origin| self.counts.arrived(origin, now_ms()));
        let newest = batch.iter().filter_map(|delivery| delivery.stored_ms).max();
        self.newest_ms.fetch_max(newest.unwrap_or(0), Ordering::Relaxed);
        Ok(verdicts)
    }

    async fn write(&self, chunk: &[&Prepared], verdicts: &mut [Verdict]) -> Result<(), Fault> {
        match self.write_in_time(chunk).await {
            Err(Fault::Record(_)) if chunk.len() > 1 => {}
            Err(Fault::Record(reason)) => {
                verdicts[chunk[0].index] = Verdict::failed(reason);
                return Ok(());
            }
            done => return done,
        }
        tracing::debug!(messages = chunk.len(), "one of them does not fit; each by itself");
        for one in chunk {
            match self.write_in_time(&[*one]).await {
                Err(Fault::Record(reason)) => verdicts[one.index] = Verdict::failed(reason),
                done => done?,
            }
        }
        Ok(())
    }

    async fn write_in_time(&self, chunk: &[&Prepared]) -> Result<(), Fault> {
        let written = timeout(PATIENCE, self.writer.write(chunk)).await;
        let batch = written.unwrap_or_else(|_| Err(silent(PATIENCE)))?;
        self.counts.committed(batch, now_ms());
        Ok(())
    }
}

/// Those that this call has to store. An id that is there twice is stored once; where that fails,
/// both come again.
fn ours<'a>(batch: &'a [Delivery], held: &Held<'_>) -> Vec<&'a Delivery> {
    let mut first = BTreeMap::new();
    for delivery in batch.iter().filter(|delivery| held.has(delivery.id())) {
        first.entry(delivery.id()).or_insert(delivery);
    }
    first.into_values().collect()
}

/// Those whose id is stored without them. A record that its app sent twice has two numbers, and
/// neither is missing.
fn others(batch: &[Delivery], ours: &[&Delivery], verdicts: &[Verdict]) -> Vec<Sighting> {
    let is_ours = |delivery: &Delivery| ours.iter().any(|our| std::ptr::eq(*our, delivery));
    let done = batch.iter().zip(verdicts).filter(|(_, verdict)| **verdict == Verdict::Done);
    done.filter(|(delivery, _)| !is_ours(delivery))
        .filter_map(|(delivery, _)| sighting(delivery))
        .collect()
}

/// In pieces that fit a statement.
fn chunks(prepared: &[Prepared]) -> Vec<Vec<&Prepared>> {
    let mut chunks: Vec<Vec<&Prepared>> = Vec::new();
    let mut bytes = 0;
    for one in prepared {
        bytes += one.bytes;
        match chunks.last_mut() {
            Some(chunk) if bytes <= STATEMENT_BYTES => chunk.push(one),
            _ => {
                bytes = one.bytes;
                chunks.push(vec![one]);
            }
        }
    }
    chunks
}
