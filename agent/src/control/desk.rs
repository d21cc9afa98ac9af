//! What an operator can see and do, apart from how it is asked for. Everything here may read the
//! disk: call it where blocking is allowed.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use spillway_protocol::local::{Code, Refusal};
use spillway_protocol::message::{Stamp, StreamId};
use spillway_protocol::record::{self, LaneName};

use super::api::{
    Accepted, Action, Content, Done, Entry, Filter, Lane, Lanes, Letter, Letters, Look,
    PAGE_DEFAULT, PAGE_MAX, Page, RESEND_MAX, Record, Resend, Resent, Waiting,
};
use crate::config::RESEND_LANE;
use crate::queue::{DeadFilter, DeadLetter, Queue, SettleError};
use crate::why::{Answers, Question};

/// Records that are read at once: each may have a body of 4 MiB.
const CHUNK: usize = 4;
/// Bytes of shown content at which a page ends early.
const PAGE_BYTES: u64 = 8 << 20;

/// Says that a lane's refusals are the records' own fault, so that it goes on; false if the lane
/// was not held for that.
pub type Accept = Arc<dyn Fn(&LaneName) -> bool + Send + Sync>;

/// Says why something has not left. May read the disk for seconds.
pub type Ask = Arc<dyn Fn(&Question) -> Result<Answers, Refusal> + Send + Sync>;

/// The queue as an operator sees it.
#[derive(Clone)]
pub struct Desk {
    queue: Queue,
    accept: Accept,
    ask: Ask,
}

impl Desk {
    /// Over `queue`; `accept` is the drain's, `ask` that of whoever knows all parts.
    pub fn new(queue: Queue, accept: Accept, ask: Ask) -> Self {
        Self { queue, accept, ask }
    }

    pub(super) fn why(&self, question: &Question) -> Result<Answers, Refusal> {
        (self.ask)(question)
    }

    pub(super) fn lanes(&self) -> Lanes {
        let lane = |name: LaneName| {
            let figures = self.queue.figures(&name)?;
            let accounts = figures.accounts;
            Some(Lane {
                name: name.to_string(),
                accepted: accounts.accepted,
                delivered: accounts.delivered,
                waiting: accounts.waiting,
                dead: accounts.dead,
                expired: accounts.expired,
                dropped: accounts.dropped,
                damaged: accounts.damaged,
                in_flight: figures.in_flight,
                oldest_accepted_ms: figures.oldest_accepted_ms,
                live_bytes: figures.live_bytes,
                disk_bytes: figures.disk_bytes,
            })
        };
        Lanes { lanes: self.queue.lanes().into_iter().filter_map(lane).collect() }
    }

    pub(super) fn waiting(&self, lane: &str, page: &Page) -> Result<Waiting, Refusal> {
        let lane = self.lane(lane)?;
        let limit = page.limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
        let mut records: Vec<Entry> = Vec::new();
        let (mut next, mut shown_bytes) = (page.from.unwrap_or(0), 0u64);
        while records.len() < limit && shown_bytes < PAGE_BYTES {
            let count = CHUNK.min(limit - records.len());
            let chunk = self.queue.peek(&lane, next, count);
            let Some(last) = chunk.last() else {
                return Ok(Waiting { records, next: None });
            };
            next = last.position + 1;
            for entry in chunk {
                let record = view(&entry.record, &entry.stamp, page.body);
                shown_bytes += if page.body { record.body_bytes } else { 0 };
                records.push(Entry { position: entry.position, record });
            }
        }
        Ok(Waiting { records, next: Some(next) })
    }

    pub(super) fn letters(&self, look: Look) -> Result<Letters, Refusal> {
        let limit = look.limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
        let filter = self.filter(Filter {
            number: None,
            lane: look.lane,
            reason: look.reason,
            since_ms: look.since_ms,
            limit: Some(limit + 1),
        })?;
        let found = self.queue.dead_list(&filter);
        let more = found.len() > limit;
        let letters = found.iter().take(limit).map(|found| letter(found, look.body)).collect();
        Ok(Letters { letters, more })
    }

    pub(super) fn letter(&self, number: u64, body: bool) -> Result<Letter, Refusal> {
        let filter = DeadFilter { number: Some(number), ..DeadFilter::default() };
        let found = self.queue.dead_list(&filter);
        found.first().map(|found| letter(found, body)).ok_or_else(|| {
            let message =
                format!("there is no dead letter {number}; dead list shows those there are");
            Refusal::new(Code::NotFound, message)
        })
    }

    pub(super) fn replay(&self, action: Action) -> Result<Done, Refusal> {
        self.act(action, |filter| self.queue.dead_replay(filter))
    }

    pub(super) fn purge(&self, action: Action) -> Result<Done, Refusal> {
        if !action.all && action.filter == Filter::default() {
            let message = "would be all dead letters; name a filter, or say all";
            return Err(Refusal::new(Code::BadRecord, message));
        }
        self.act(action, |filter| self.queue.dead_purge(filter))
    }

    fn act(
        &self,
        action: Action,
        settle: impl FnOnce(&DeadFilter) -> Result<u64, SettleError>,
    ) -> Result<Done, Refusal> {
        let dry_run = action.dry_run;
        let filter = self.filter(action.filter)?;
        let count = if dry_run {
            self.queue.dead_list(&filter).len() as u64
        } else {
            settle(&filter).map_err(failed)?
        };
        Ok(Done { count, dry_run })
    }

    pub(super) fn accept(&self, lane: &str) -> Result<Accepted, Refusal> {
        let lane = self.lane(lane)?;
        let accepted = (self.accept)(&lane);
        Ok(Accepted { lane: lane.to_string(), accepted })
    }

    pub(super) fn resend(&self, wish: &Resend) -> Result<Resent, Refusal> {
        let lanes = self.queue.lanes();
        let Some(into) = lanes.iter().find(|lane| lane.as_str() == RESEND_LANE) else {
            let message = "delivered records are not kept here; add [audit] to the configuration";
            return Err(Refusal::new(Code::NotFound, message));
        };
        let lane = self.lane(&wish.lane)?;
        let stream = stream(wish.stream.as_deref(), self.queue.stream())?;
        if wish.from == 0 || wish.from > wish.to || wish.to - wish.from >= RESEND_MAX {
            let message = format!(
                "{} to {} is no range of at most {RESEND_MAX} numbers from 1 up",
                wish.from, wish.to
            );
            return Err(Refusal::of("from", Code::BadRecord, message));
        }
        let done = self.queue.resend(into, &lane, stream, wish.from, wish.to).map_err(failed)?;
        Ok(Resent {
            lane: lane.to_string(),
            stream: stream.to_string(),
            sent: done.sent,
            waiting: done.waiting,
            dead: done.dead,
            dropped: done.dropped,
            expired: done.expired,
            unknown: done.unknown,
        })
    }

    fn filter(&self, filter: Filter) -> Result<DeadFilter, Refusal> {
        Ok(DeadFilter {
            number: filter.number,
            lane: filter.lane.map(|lane| self.lane(&lane)).transpose()?,
            reason: filter.reason,
            since_ms: filter.since_ms,
            limit: filter.limit,
        })
    }

    /// A lane of this agent, or an error that lists them.
    fn lane(&self, name: &str) -> Result<LaneName, Refusal> {
        let lanes = self.queue.lanes();
        if let Some(lane) = lanes.iter().find(|lane| lane.as_str() == name) {
            return Ok(lane.clone());
        }
        let known: Vec<&str> = lanes.iter().map(LaneName::as_str).collect();
        let message = format!("{name:?} is no lane here; there are: {}", known.join(", "));
        Err(Refusal::of("lane", Code::UnknownLane, message))
    }
}

fn stream(said: Option<&str>, present: StreamId) -> Result<StreamId, Refusal> {
    let Some(said) = said else {
        return Ok(present);
    };
    said.parse().map_err(|_| {
        let message = format!("{said:?} is no stream: 8 hex digits, as in sw_st or status");
        Refusal::of("stream", Code::BadRecord, message)
    })
}

fn failed(error: SettleError) -> Refusal {
    let code = match error {
        SettleError::DeadFull(_) => Code::DiskFull,
        SettleError::Disk(_) => Code::DiskFailed,
    };
    Refusal::new(code, error.to_string())
}

fn letter(letter: &DeadLetter, body: bool) -> Letter {
    Letter {
        number: letter.number,
        code: letter.code.clone(),
        reason: letter.reason.clone(),
        died_ms: letter.died_ms,
        attempts: letter.attempts,
        record: view(&letter.record, &letter.stamp, body),
    }
}

fn view(record: &record::Record, stamp: &Stamp, body: bool) -> Record {
    Record {
        lane: stamp.lane.to_string(),
        stream: stamp.stream.to_string(),
        seq: stamp.seq,
        id: record.id.to_string(),
        topic: record.topic.as_ref().map(ToString::to_string),
        tag: record.tag.as_ref().map(ToString::to_string),
        body_bytes: record.body.len() as u64,
        accepted_ms: stamp.accepted_ms,
        clock_set: stamp.clock_set,
        content: body.then(|| content(record)),
    }
}

fn content(record: &record::Record) -> Content {
    let text = std::str::from_utf8(&record.body).ok().map(str::to_owned);
    Content {
        key: record.key.as_ref().map(ToString::to_string),
        order_key: record.order_key.as_ref().map(ToString::to_string),
        properties: record.properties.clone().into(),
        body_base64: text.is_none().then(|| STANDARD.encode(&record.body)),
        body: text,
    }
}
