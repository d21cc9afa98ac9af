//! Group commit: one thread a lane gathers what all sessions brought since the last sync, gives
//! numbers, makes it durable, and only then answers. While a sync runs the next group gathers, so
//! that a lone record waits for one sync and a crowd shares one.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use spillway_protocol::record::{IdOrigin, Record};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::api::{AppendError, Receipt};
use super::chain::{Sealed, Tail};
use super::entry::{self, Stored};
use super::ids::{IdHash, Ids, Print, Seen};
use super::lane::Lane;
use crate::allocator;
use crate::clock::WallClock;
use crate::logs::Repeated;

/// A group is closed at this many bytes or records.
const GROUP_BYTES: usize = 512 * 1024;
const GROUP_RECORDS: usize = 4096;
/// Pause before a table of ids that could not be written is tried again.
const IDS_RETRY: Duration = Duration::from_secs(5);

/// Answers one record, and counts it among those that wait until it is dropped.
pub(super) struct Answer {
    sender: oneshot::Sender<Result<Receipt, AppendError>>,
    _waiting: Waiting,
}

impl Answer {
    /// An answer to `sender`'s other end.
    pub(super) fn new(
        sender: oneshot::Sender<Result<Receipt, AppendError>>,
        waiting: Waiting,
    ) -> Self {
        Self { sender, _waiting: waiting }
    }

    /// Who has hung up gets no answer; a record that was stored is stored all the same.
    fn send(self, result: Result<Receipt, AppendError>) {
        drop(self.sender.send(result));
    }
}

/// Bytes of records that wait for the disk, whether or not anybody still waits for the answer.
#[derive(Default)]
pub(super) struct Waiting {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Waiting {
    /// Counts `bytes` into `all`, unless that would exceed `max_bytes`.
    pub(super) fn enter(all: &Arc<AtomicUsize>, bytes: usize, max_bytes: usize) -> Option<Self> {
        let fits = |now: usize| now.checked_add(bytes).filter(|sum| *sum <= max_bytes || now == 0);
        all.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Self { all: all.clone(), bytes })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Relaxed);
    }
}

/// What a lane's thread is asked to do.
pub(super) enum Command {
    Append {
        record: Record,
        /// From the dead letters: it is stored again whatever its id.
        replay: bool,
        answer: Answer,
    },
    /// Commit what came before this, close the segment, end.
    Close,
}

/// Owns the writing end of a lane.
pub(super) struct Committer {
    pub(super) lane: Arc<Lane>,
    pub(super) lanes: Vec<Arc<Lane>>,
    pub(super) tail: Tail,
    pub(super) ids: Arc<Ids>,
    pub(super) clock: Arc<dyn WallClock>,
    /// Sealed segments whose ids are not yet written.
    pub(super) unwritten: Vec<Sealed>,
    /// When these are tried again, after a failure.
    pub(super) ids_retry_at: Option<Instant>,
    /// Faults that were logged lately.
    pub(super) faults: Repeated,
}

/// Records to be stored together: each with whether it is a replay, and whom to answer.
pub(super) type Group = Vec<(Record, bool, Answer)>;

/// A group that the disk did not take. Nothing of it counts.
#[must_use]
pub(super) struct Failed {
    error: io::Error,
    answers: Vec<Answer>,
}

impl Failed {
    /// Answers the group, and those who came too late to be tried.
    pub(super) fn refuse(self, late: Group, faults: &mut Repeated) {
        let late = late.into_iter().map(|(_, _, answer)| answer);
        let answers: Vec<Answer> = self.answers.into_iter().chain(late).collect();
        let (error, records) = (&self.error, answers.len());
        if let Some(times_before) = faults.note(&error.to_string(), Instant::now()) {
            tracing::error!(%error, records, times_before, "records could not be stored and were refused");
        }
        for answer in answers {
            answer.send(Err(refusal(error)));
        }
    }
}

/// A group on its way to the disk.
#[derive(Default)]
struct Batch {
    candidates: Vec<Candidate>,
    /// App-given ids among them.
    ids: HashMap<IdHash, (Print, usize)>,
    /// The same record twice in one group: it is answered with the first.
    repeats: Vec<(usize, Answer)>,
}

impl Batch {
    fn into_answers(self) -> impl Iterator<Item = Answer> {
        let repeats = self.repeats.into_iter().map(|(_, answer)| answer);
        self.candidates.into_iter().map(|candidate| candidate.answer).chain(repeats)
    }

    fn add(&mut self, candidate: Candidate) {
        let nth = self.candidates.len();
        self.ids.extend(candidate.print.map(|print| (*print.id(), (print, nth))));
        self.candidates.push(candidate);
    }
}

/// What a record is, by its id.
enum Admission {
    New,
    /// The same as the nth of this group.
    Again(usize),
    /// Accepted before.
    Known(Receipt),
}

/// A record that is about to be stored.
struct Candidate {
    print: Option<Print>,
    entry: Vec<u8>,
    receipt: Receipt,
    answer: Answer,
}

impl Committer {
    /// Commits groups until told to close or until nobody can ask any more.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        while let Ok(first) = commands.recv() {
            let (group, mut close) = gather(first, commands);
            if let Err(failed) = self.commit(group) {
                // What was submitted since must fail too: of one order key, a later record may
                // not be stored before an earlier one that its app will bring again.
                let (late, closing) = gather_all(commands);
                close |= closing;
                failed.refuse(late, &mut self.faults);
            }
            if close {
                break;
            }
        }
        self.rotate(true);
    }

    /// Stores a group and answers each of it; if the disk fails, the caller answers.
    pub(super) fn commit(&mut self, group: Group) -> Result<(), Failed> {
        self.rotate(false);
        let mut batch = Batch::default();
        let mut group = group.into_iter();
        while let Some((record, replay, answer)) = group.next() {
            let print = (record.id_origin == IdOrigin::App).then(|| Print::of(&record));
            let position = self.tail.next() + batch.candidates.len() as u64;
            match self.admit(&record, replay, print, &batch) {
                Ok(Admission::New) => match self.entry(&record, replay) {
                    Ok(entry) => {
                        let receipt = self.receipt(&record, position);
                        batch.add(Candidate { print, entry, receipt, answer });
                    }
                    Err(error) => answer.send(Err(AppendError::Disk(error.to_string()))),
                },
                Ok(Admission::Again(nth)) => batch.repeats.push((nth, answer)),
                Ok(Admission::Known(receipt)) => answer.send(Ok(receipt)),
                // Not this record alone: one behind it could be of its order key.
                Err(AppendError::Disk(reason)) => {
                    let rest = group.map(|(_, _, answer)| answer);
                    let answers = batch.into_answers().chain([answer]).chain(rest).collect();
                    return Err(Failed { error: io::Error::other(reason), answers });
                }
                Err(error) => answer.send(Err(error)),
            }
        }
        self.store(batch)
    }

    /// Decides whether a record is new.
    fn admit(
        &self,
        record: &Record,
        replay: bool,
        print: Option<Print>,
        batch: &Batch,
    ) -> Result<Admission, AppendError> {
        let Some(print) = print.filter(|_| !replay) else {
            return Ok(Admission::New);
        };
        if let Some((known, nth)) = batch.ids.get(print.id()) {
            return match *known == print {
                true => Ok(Admission::Again(*nth)),
                false => Err(reused(record, &batch.candidates[*nth].receipt)),
            };
        }
        let receipt = |lane: usize, position: u64| {
            let lane = &self.lanes[lane];
            let (stream, seq) = lane.numbering().number(position);
            let lane = lane.name.clone();
            Receipt { lane, stream, seq, duplicate: true, ..self.receipt(record, position) }
        };
        match self.ids.seen(&print).map_err(|e| AppendError::Disk(e.to_string()))? {
            Seen::New => Ok(Admission::New),
            Seen::Pending => {
                Err(AppendError::Disk("another lane is storing the same id; try again".into()))
            }
            Seen::Same { lane, position } => Ok(Admission::Known(receipt(lane, position))),
            Seen::Other { lane, position } => Err(reused(record, &receipt(lane, position))),
        }
    }

    fn entry(&self, record: &Record, replay: bool) -> io::Result<Vec<u8>> {
        let (accepted_ms, clock_set) = (self.clock.now_ms(), self.clock.is_set());
        entry::encode(&Stored { accepted_ms, clock_set, replay, record })
    }

    fn receipt(&self, record: &Record, position: u64) -> Receipt {
        Receipt {
            id: record.id.clone(),
            key: record.key.clone().unwrap_or_else(|| (&record.id).into()),
            lane: self.lane.name.clone(),
            stream: self.lane.numbering().newest().stream,
            seq: position.saturating_sub(self.lane.numbering().newest().base),
            duplicate: false,
        }
    }

    fn store(&mut self, batch: Batch) -> Result<(), Failed> {
        if batch.candidates.is_empty() {
            return Ok(());
        }
        let (mut rows, mut entries, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for (candidate, position) in batch.candidates.into_iter().zip(self.tail.next()..) {
            rows.extend(candidate.print.map(|print| (print, position)));
            entries.push(candidate.entry);
            answers.push((candidate.receipt, candidate.answer));
        }
        let before = self.ids.begin(self.lane.index, &rows);
        let result = self.tail.append(&entries);
        self.ids.finish(self.lane.index, &rows, before, result.is_ok());
        match result {
            Ok(()) => {
                self.lane.touch();
                acknowledge(answers, batch.repeats);
                Ok(())
            }
            Err(error) => {
                self.unwritten.extend(self.tail.take_abandoned());
                self.tell_unwritten();
                let answers = answers.into_iter().map(|(_, answer)| answer);
                let repeats = batch.repeats.into_iter().map(|(_, answer)| answer);
                Err(Failed { error, answers: answers.chain(repeats).collect() })
            }
        }
    }

    /// Closes a full segment and writes the table of its ids.
    fn rotate(&mut self, force: bool) {
        let Some(sealed) = self.tail.seal(force) else {
            return self.write_ids();
        };
        // Its megabytes are free now.
        allocator::trim();
        self.unwritten.push(sealed);
        self.tell_unwritten();
        self.ids_retry_at = None;
        self.write_ids();
    }

    /// Writes the tables of ids that are due; after a failure not before a pause.
    fn write_ids(&mut self) {
        let paused = self.ids_retry_at.is_some_and(|at| Instant::now() < at);
        if self.unwritten.is_empty() || paused {
            return;
        }
        let now_ms = self.clock.now_ms();
        let (ids, lane, faults) = (&self.ids, self.lane.index, &mut self.faults);
        self.unwritten.retain(|sealed| match ids.seal(lane, sealed.first, sealed.end, now_ms) {
            Ok(()) => false,
            Err(error) => {
                if faults.note("ids", Instant::now()).is_some() {
                    tracing::warn!(%error, "a table of ids could not be written; it is tried again");
                }
                true
            }
        });
        self.ids_retry_at = Some(Instant::now() + IDS_RETRY);
        self.tell_unwritten();
    }

    /// Segments stay until their ids are written.
    fn tell_unwritten(&self) {
        let first = self.unwritten.iter().map(|sealed| sealed.first).min();
        self.lane.keep_from(first.unwrap_or(u64::MAX));
    }
}

/// All that is there already, up to a group's size; whether to close after it.
fn gather(first: Command, commands: &Receiver<Command>) -> (Group, bool) {
    let mut group = Vec::new();
    let mut bytes = 0;
    let mut command = first;
    loop {
        match command {
            Command::Close => return (group, true),
            Command::Append { record, replay, answer } => {
                bytes += record.size_bytes();
                group.push((record, replay, answer));
            }
        }
        if bytes >= GROUP_BYTES || group.len() >= GROUP_RECORDS {
            return (group, false);
        }
        command = match commands.try_recv() {
            Ok(command) => command,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => return (group, false),
        };
    }
}

/// All that is there already.
fn gather_all(commands: &Receiver<Command>) -> (Group, bool) {
    let mut group = Vec::new();
    while let Ok(command) = commands.try_recv() {
        match command {
            Command::Close => return (group, true),
            Command::Append { record, replay, answer } => group.push((record, replay, answer)),
        }
    }
    (group, false)
}

fn acknowledge(answers: Vec<(Receipt, Answer)>, repeats: Vec<(usize, Answer)>) {
    for (first, answer) in repeats {
        let receipt = Receipt { duplicate: true, ..answers[first].0.clone() };
        answer.send(Ok(receipt));
    }
    answers.into_iter().for_each(|(receipt, answer)| answer.send(Ok(receipt)));
}

fn reused(record: &Record, by: &Receipt) -> AppendError {
    AppendError::IdReused { id: record.id.clone(), lane: by.lane.clone(), seq: by.seq }
}

/// What the app is told of an error of the disk.
fn refusal(error: &io::Error) -> AppendError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            AppendError::Full(error.to_string())
        }
        _ => AppendError::Disk(error.to_string()),
    }
}
