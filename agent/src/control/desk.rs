//! What an operator can see and do, apart from how it is asked for. Everything here may read the
//! disk: call it where blocking is allowed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use spillway_protocol::local::{Code, Refusal};
use spillway_protocol::message::StreamId;
use spillway_protocol::record::LaneName;
use tokio::time::Instant;

use super::api::{
    Accepted, Action, Checked, Done, Entry, Filter, Lane, Lanes, Left, Letter, Letters, Look,
    Overall, PAGE_DEFAULT, PAGE_MAX, Page, Purge, Quarantine, RESEND_MAX, Resend, Resent, Span,
    Upgrade, Waiting,
};
use super::reload::{Reloaded, Wish};
use super::tail::{self, Tailing};
use super::{Door, view};
use crate::config::RESEND_LANE;
use crate::queue::KeyId;
use crate::queue::inspect::{Inspection, Room};
use crate::queue::{CommitError, DeadFilter, LeaveError, Queue, Replayed, SettleError, Standing};
use crate::why::{Answers, Question};

/// Letters that are read at once: each may have a body of 4 MiB.
const CHUNK: usize = 4;
/// Bytes of bodies at which a page ends early.
const PAGE_BYTES: usize = 8 << 20;
/// Longest that one request reads to see whether it can.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// Says that a lane's refusals are the records' own fault, so that it goes on; false if the lane
/// was not held for that.
pub type Accept = Arc<dyn Fn(&LaneName) -> bool + Send + Sync>;

/// Told when dead letters have left their place.
type Freed = Arc<dyn Fn() + Send + Sync>;

/// Where the status page is at this moment.
pub type Opening = Arc<dyn Fn() -> Door + Send + Sync>;
/// Says why something has not left. May read the disk for seconds.
pub type Ask = Arc<dyn Fn(&Question) -> Result<Answers, Refusal> + Send + Sync>;

/// What became of a [`Wish`].
pub type Reloading = Result<Reloaded, Refusal>;

/// Takes another configuration, or keeps one that is on trial.
pub type Reload = Arc<dyn Fn(Wish) -> BoxFuture<'static, Reloading> + Send + Sync>;

/// The queue as an operator sees it.
#[derive(Clone)]
pub struct Desk(Hands);

#[derive(Clone)]
enum Hands {
    /// Over a queue that is open.
    Acting(Acting),
    /// Over one that is only looked at.
    Looking(Inspection),
}

#[derive(Clone)]
struct Acting {
    queue: Queue,
    accept: Accept,
    ask: Ask,
    freed: Freed,
    /// Of an agent that runs.
    tailing: Option<Tailing>,
    door: Opening,
    reload: Option<Reload>,
}

impl Desk {
    /// Over `queue`; `accept` is the drain's, `ask` that of whoever knows all parts.
    pub fn new(queue: Queue, accept: Accept, ask: Ask) -> Self {
        let door: Opening = Arc::new(Door::default);
        let freed: Freed = Arc::new(|| {});
        Self(Hands::Acting(Acting { queue, accept, ask, freed, tailing: None, door, reload: None }))
    }

    /// The same, where the status page is behind `door`.
    pub fn with_door(self, door: Opening) -> Self {
        self.acting_as(|acting| Acting { door, ..acting })
    }

    /// The same, where `freed` is told of room among the dead letters.
    pub fn telling(self, freed: Arc<dyn Fn() + Send + Sync>) -> Self {
        self.acting_as(|acting| Acting { freed, ..acting })
    }

    /// The same, where what happens can be watched.
    pub fn tailing(self, tailing: Tailing) -> Self {
        self.acting_as(|acting| Acting { tailing: Some(tailing), ..acting })
    }

    /// Of an agent that takes another configuration by `reload`.
    pub fn reloading(self, reload: Reload) -> Self {
        self.acting_as(|acting| Acting { reload: Some(reload), ..acting })
    }

    fn acting_as(self, other: impl FnOnce(Acting) -> Acting) -> Self {
        match self.0 {
            Hands::Acting(acting) => Self(Hands::Acting(other(acting))),
            looking => Self(looking),
        }
    }

    /// Over a queue that is only looked at.
    pub fn looking(inspection: Inspection) -> Self {
        Self(Hands::Looking(inspection))
    }

    fn acting(&self) -> Result<&Acting, Refusal> {
        let refused = || Refusal::new(Code::NotAllowed, "the queue is open to be looked at only");
        match &self.0 {
            Hands::Acting(acting) => Ok(acting),
            Hands::Looking(_) => Err(refused()),
        }
    }

    /// Of the queue as it is now: its lanes come and go.
    fn inspection(&self) -> Inspection {
        match &self.0 {
            Hands::Acting(acting) => acting.queue.inspection(),
            Hands::Looking(inspection) => inspection.clone(),
        }
    }

    pub(super) fn reload(&self, wish: Wish) -> Result<BoxFuture<'static, Reloading>, Refusal> {
        let none = || Refusal::new(Code::NotAllowed, "no agent runs here that could reload");
        let reload = self.acting()?.reload.as_ref().ok_or_else(none)?;
        Ok(reload(wish))
    }

    pub(super) fn tail(&self, wish: &tail::Wish) -> Result<tail::Lines, Refusal> {
        let acting = self.acting()?;
        let named = |names: &String| names.split(',').map(|name| self.lane(name)).collect();
        let lanes = wish.lanes.as_ref().map(named).transpose()?;
        let running = acting.tailing.as_ref().ok_or_else(|| {
            Refusal::new(Code::NotAllowed, "the agent is stopped: nothing happens here")
        })?;
        tail::lines(&acting.queue, lanes, running, wish)
    }

    pub(super) fn door(&self) -> Result<Door, Refusal> {
        Ok((self.acting()?.door)())
    }

    pub(super) fn why(&self, question: &Question) -> Result<Answers, Refusal> {
        (self.acting()?.ask)(question)
    }

    pub(super) fn lanes(&self) -> Lanes {
        let lane = |name: LaneName| {
            let figures = self.inspection().figures(&name)?;
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
                missing_key: figures.missing_key.map(|key| key.to_string()),
            })
        };
        Lanes { lanes: self.inspection().lanes().into_iter().filter_map(lane).collect() }
    }

    pub(super) fn waiting(&self, lane: &str, page: &Page) -> Result<Waiting, Refusal> {
        let lane = self.lane(lane)?;
        let records = page.limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
        let room = Room { records, body_bytes: PAGE_BYTES };
        let found =
            self.inspection().page(&lane, page.from.unwrap_or(0), room).map_err(unreadable)?;
        let entry = |entry: &crate::queue::Entry| Entry {
            position: entry.position,
            record: view::record(&entry.record, &entry.stamp, page.body),
        };
        let records = found.entries.iter().map(entry).collect();
        let span = |((from, to), key): &((u64, u64), KeyId)| ((*from, to - 1), key.to_string());
        let locked = found.locked.iter().map(span).collect();
        Ok(Waiting { records, lost: spans(&found.lost), locked, next: found.next })
    }

    pub(super) fn overall(&self) -> Result<Overall, Refusal> {
        let (letters, letters_lost) = self.inspection().check_letters().map_err(unreadable)?;
        let damaged_files = self.inspection().damaged_files().map_err(unreadable)?;
        let aside = self.inspection().quarantined();
        let quarantine = Quarantine { segments: aside.segments, bytes: aside.bytes };
        let newer = self.standing().and_then(|standing| view::format(&standing).newer);
        let locked = self.inspection().locked_letters();
        let letters_locked = locked.map(|(count, key)| (count, key.to_string()));
        Ok(Overall { letters, letters_lost, letters_locked, damaged_files, quarantine, newer })
    }

    /// `None`: no agent runs, and nobody knows the folder's level.
    fn standing(&self) -> Option<Standing> {
        match &self.0 {
            Hands::Acting(acting) => Some(acting.queue.standing()),
            Hands::Looking(inspection) => inspection.standing().cloned(),
        }
    }

    pub(super) fn upgrade(&self) -> Result<Upgrade, Refusal> {
        let standing = self.standing().ok_or_else(|| {
            let message = "the file identity is damaged or missing; start the agent once";
            Refusal::new(Code::NotFound, message)
        })?;
        let newer = standing.newer.as_ref().filter(|_| standing.aside);
        let obstacle = newer
            .map(|newer| format!("{newer}, which leaves it alone; install the newer agent again"));
        Ok(Upgrade { format: view::format(&standing), obstacle, was: None })
    }

    pub(super) fn commit(&self) -> Result<Upgrade, Refusal> {
        let was = self.acting()?.queue.commit_level().map_err(|error| {
            let code = match error {
                CommitError::Newer { .. } => Code::IncompatibleVersion,
                CommitError::Damaged { .. } | CommitError::Io { .. } => Code::DiskFailed,
            };
            Refusal::new(code, error.to_string())
        })?;
        Ok(Upgrade { was: Some(was.number()), ..self.upgrade()? })
    }

    pub(super) fn check(&self, lane: &str, from: Option<u64>) -> Result<Checked, Refusal> {
        let (lane, until) = (self.lane(lane)?, Instant::now() + CHECK_MAX);
        let checked =
            self.inspection().check(&lane, from.unwrap_or(0), until).map_err(unreadable)?;
        let locked = checked.locked.iter().map(|(key, count)| (key.to_string(), *count)).collect();
        let (records, lost) = (checked.records, spans(&checked.lost));
        Ok(Checked { records, lost, locked, next: checked.next })
    }

    pub(super) fn letters(&self, look: Look) -> Result<Letters, Refusal> {
        let limit = look.limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
        let mut filter = self.filter(Filter {
            number: None,
            lane: look.lane,
            reason: look.reason,
            since_ms: look.since_ms,
            limit: None,
        })?;
        filter.from = look.from;
        let (mut letters, mut bytes) = (Vec::new(), 0);
        loop {
            let full = letters.len() >= limit || bytes >= PAGE_BYTES;
            filter.limit = Some(if full { 1 } else { CHUNK.min(limit - letters.len()) });
            let found = self.inspection().letters(&filter).map_err(unreadable)?;
            let Some(last) = found.last() else {
                return Ok(Letters { letters, more: false, next: None });
            };
            if full {
                return Ok(Letters { letters, more: true, next: Some(last.number) });
            }
            filter.from = Some(last.number + 1);
            bytes += found.iter().map(|letter| letter.record.body.len()).sum::<usize>();
            letters.extend(found.iter().map(|found| view::letter(found, look.body)));
        }
    }

    pub(super) fn letter(&self, number: u64, body: bool) -> Result<Letter, Refusal> {
        let filter = DeadFilter { number: Some(number), ..DeadFilter::default() };
        let found = self.inspection().letters(&filter).map_err(unreadable)?;
        found.first().map(|found| view::letter(found, body)).ok_or_else(|| {
            let message =
                format!("there is no dead letter {number}; dead list shows those there are");
            Refusal::new(Code::NotFound, message)
        })
    }

    pub(super) fn purge_waiting(&self, lane: &str, purge: &Purge) -> Result<Done, Refusal> {
        let (lane, queue) = (self.lane(lane)?, &self.acting()?.queue);
        let ranges = match (purge.all, purge.ranges.is_empty()) {
            (true, true) => vec![(0, u64::MAX)],
            (false, false) => exclusive(&purge.ranges)?,
            _ => {
                let message = "needs positions, or all, and not both; queue peek shows them";
                return Err(Refusal::of("ranges", Code::BadRecord, message));
            }
        };
        let purged = queue.purge(&lane, &ranges, purge.dry_run);
        let count = purged.map_err(|e| Refusal::new(Code::DiskFailed, e.to_string()))?;
        Ok(Done { count, dry_run: purge.dry_run, ..Done::default() })
    }

    pub(super) fn replay(&self, action: Action) -> Result<Done, Refusal> {
        let Acting { queue, tailing, .. } = self.acting()?;
        let stops = || tailing.as_ref().is_some_and(Tailing::stops);
        self.act(action, |filter| {
            let replayed = queue.dead_replay(filter, stops)?;
            let Replayed { count, left, left_for, broken_off } = replayed;
            let left = left_for.map(|why| Left { count: left, why });
            Ok(Done { count, left, broken_off, ..Done::default() })
        })
    }

    pub(super) fn purge(&self, action: Action) -> Result<Done, Refusal> {
        if !action.all && action.filter == Filter::default() {
            let message = "would be all dead letters; name a filter, or say all";
            return Err(Refusal::new(Code::BadRecord, message));
        }
        let queue = &self.acting()?.queue;
        self.act(action, |filter| {
            let count = queue.dead_purge(filter)?;
            Ok(Done { count, ..Done::default() })
        })
    }

    fn act(
        &self,
        action: Action,
        settle: impl FnOnce(&DeadFilter) -> Result<Done, LeaveError>,
    ) -> Result<Done, Refusal> {
        let filter = self.filter(action.filter)?;
        if !action.dry_run {
            let done = settle(&filter);
            (self.acting()?.freed)();
            return done.map_err(stayed);
        }
        let count = self.inspection().letters(&filter).map_err(unreadable)?.len() as u64;
        Ok(Done { count, dry_run: true, ..Done::default() })
    }

    pub(super) fn accept(&self, lane: &str) -> Result<Accepted, Refusal> {
        let lane = self.lane(lane)?;
        let accepted = (self.acting()?.accept)(&lane);
        Ok(Accepted { lane: lane.to_string(), accepted })
    }

    pub(super) fn resend(&self, wish: &Resend) -> Result<Resent, Refusal> {
        let queue = &self.acting()?.queue;
        let lanes = queue.lanes();
        let Some(into) = lanes.iter().find(|lane| lane.as_str() == RESEND_LANE) else {
            let message = "delivered records are not kept here; add [audit] to the configuration";
            return Err(Refusal::new(Code::NotFound, message));
        };
        let lane = self.lane(&wish.lane)?;
        let stream = stream(wish.stream.as_deref(), queue.stream())?;
        if wish.from == 0 || wish.from > wish.to || wish.to - wish.from >= RESEND_MAX {
            let message = format!(
                "{} to {} is no range of at most {RESEND_MAX} numbers from 1 up",
                wish.from, wish.to
            );
            return Err(Refusal::of("from", Code::BadRecord, message));
        }
        let done = queue.resend(into, &lane, stream, wish.from, wish.to).map_err(failed)?;
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
            from: None,
            limit: filter.limit,
        })
    }

    /// A lane of this agent, or an error that lists them.
    fn lane(&self, name: &str) -> Result<LaneName, Refusal> {
        let lanes = self.inspection().lanes();
        if let Some(lane) = lanes.iter().find(|lane| lane.as_str() == name) {
            return Ok(lane.clone());
        }
        let names = lanes.iter().map(LaneName::as_str);
        // The agent's own are nobody's to ask for by mistake.
        let known: Vec<&str> = names.filter(|name| !name.starts_with('_')).collect();
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

fn stayed(error: LeaveError) -> Refusal {
    match error {
        LeaveError::UnderWay => Refusal::new(Code::NotAttempted, error.to_string()),
        LeaveError::Settle(error) => failed(error),
    }
}

fn failed(error: SettleError) -> Refusal {
    let code = match error {
        SettleError::DeadFull(_) => Code::DiskFull,
        SettleError::Disk(_) => Code::DiskFailed,
    };
    Refusal::new(code, error.to_string())
}

fn unreadable(error: io::Error) -> Refusal {
    let message = format!("the queue cannot be read: {error}; see that the disk works");
    Refusal::new(Code::DiskFailed, message)
}

/// First and last of ranges whose end is exclusive.
fn spans(ranges: &[(u64, u64)]) -> Vec<Span> {
    ranges.iter().map(|&(from, to)| (from, to - 1)).collect()
}

/// The reverse, in their order and joined: the same may be named twice.
fn exclusive(spans: &[Span]) -> Result<Vec<(u64, u64)>, Refusal> {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for (from, to) in sorted {
        if from == 0 || from > to {
            let message = format!("{from}-{to} is no range of positions from 1 up");
            return Err(Refusal::of("ranges", Code::BadRecord, message));
        }
        let end = to.saturating_add(1);
        match ranges.last_mut() {
            Some((_, last)) if from <= *last => *last = end.max(*last),
            _ => ranges.push((from, end)),
        }
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_count_once() {
        assert_eq!(exclusive(&[(5, 7), (1, 1), (7, 9), (2, 2)]).unwrap(), [(1, 3), (5, 10)]);
        assert!(exclusive(&[(0, 4)]).is_err() && exclusive(&[(4, 3)]).is_err());
    }
}
