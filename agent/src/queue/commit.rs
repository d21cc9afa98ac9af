//! Group commit: one thread a lane gathers what all sessions brought since the last sync, gives
//! numbers, makes it durable, and only then answers. While a sync runs the next group gathers, so
//! that a lone record waits for one sync and a crowd shares one.

use std::io;
use std::mem::take;
use std::sync::{Arc, MutexGuard};

use spillway_protocol::message::Flags;
use spillway_protocol::record::{LaneName, MessageKey, RecordId};
use tokio::time::Instant;

use super::answers::Answers;
use super::api::{AppendError, Receipt};
use super::chain::{Newest, Tail};
use super::gather::Gatherer;
use super::ids::{ByIdHash, Ids, Print, Seen, Unwritten, is_full};
use super::inbox::{Group, Inbox};
use super::lane::Lane;
use super::limits::Gate;
use super::pulse::Pulse;
use super::submission::{Answer, Submission};
use crate::clock::WallClock;
use crate::logs::Repeated;

/// Owns the writing end of a lane.
pub(super) struct Committer {
    pub(super) lane: Arc<Lane>,
    pub(super) lanes: Vec<Arc<Lane>>,
    pub(super) tail: Tail,
    pub(super) ids: Arc<Ids>,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) gate: Arc<Gate>,
    /// Closed segments whose ids are not yet written.
    pub(super) unwritten: Unwritten,
    /// Faults that were logged lately.
    pub(super) faults: Repeated,
}

/// A group that is on disk and not yet answered.
#[must_use]
pub(super) struct Committed {
    /// What was stored, and where.
    stored: Vec<Submission>,
    numbered: Numbered,
    /// Those that are the same as the nth of these.
    repeats: Vec<(usize, Answer)>,
    /// Those behind them for which there was no room.
    refused: Option<Failed>,
}

/// Where a group's records stand in their lane.
struct Numbered {
    lane: LaneName,
    newest: Newest,
    /// The first one's position.
    first: u64,
}

impl Numbered {
    fn receipt(&self, nth: usize, id: RecordId, key: MessageKey) -> Receipt {
        let Newest { stream, base } = self.newest;
        let seq = (self.first + nth as u64).saturating_sub(base);
        Receipt { id, key, lane: self.lane.clone(), stream, seq, duplicate: false }
    }
}

impl Committed {
    /// Something was stored: the disk had to sync.
    fn is_new(&self) -> bool {
        !self.stored.is_empty()
    }

    /// Says so to everybody, and returns those that are to be refused.
    pub(super) fn acknowledge(self) -> Option<Failed> {
        let Self { stored, numbered, repeats, refused } = self;
        for (nth, answer) in repeats {
            let first = &stored[nth];
            let receipt = numbered.receipt(nth, first.id.clone(), first.key.clone());
            answer.send(Ok(Receipt { duplicate: true, ..receipt }));
        }
        // Woken once all is said: else the first answers would be taken while the others come.
        let mut woken: Vec<Answers> = Vec::new();
        let mut entries = Vec::with_capacity(stored.len());
        for (nth, submission) in stored.into_iter().enumerate() {
            let Submission { id, key, answer, entry, .. } = submission;
            woken.extend(answer.leave(Ok(numbered.receipt(nth, id, key))));
            // Nobody waits while they are freed.
            entries.push(entry);
        }
        woken.iter().for_each(Answers::wake);
        refused
    }
}

/// A group that the disk did not take. Nothing of it counts.
#[must_use]
pub(super) struct Failed {
    error: io::Error,
    answers: Vec<Answer>,
}

impl Failed {
    /// Answers the group, and those who came too late to be tried.
    pub(super) fn refuse(self, late: Group, faults: &mut Repeated) {
        let late = late.into_iter().map(|submission| submission.answer);
        let answers: Vec<Answer> = self.answers.into_iter().chain(late).collect();
        let (error, records) = (&self.error, answers.len());
        // How full it is changes with every record.
        let (full, text) = (is_full(error), error.to_string());
        let fault = if full { "full" } else { &text };
        match faults.note(fault, Instant::now()) {
            Some(times_before) if full => {
                tracing::warn!(%error, records, times_before, "there is no room; records were refused");
            }
            Some(times_before) => {
                tracing::error!(%error, records, times_before, "records could not be stored and were refused");
            }
            None => {}
        }
        for answer in answers {
            answer.send(Err(refusal(error)));
        }
    }
}

/// A group on its way to the disk.
struct Batch {
    candidates: Vec<Submission>,
    /// The same record twice in one group: it is answered with the first.
    repeats: Vec<(usize, Answer)>,
    /// What there was no room for.
    full: Option<Failed>,
    /// Of the candidates.
    bytes: u64,
}

impl Batch {
    fn fail(self, error: io::Error) -> Failed {
        let repeats = self.repeats.into_iter().map(|(_, answer)| answer);
        let full = self.full.into_iter().flat_map(|full| full.answers);
        let answers = self.candidates.into_iter().map(|candidate| candidate.answer);
        Failed { error, answers: answers.chain(repeats).chain(full).collect() }
    }

    fn stored(self, numbered: Numbered) -> Committed {
        let Self { candidates: stored, repeats, full: refused, .. } = self;
        Committed { stored, numbered, repeats, refused }
    }

    /// Only the first so many, of so many bytes, are stored.
    fn cut(&mut self, fitting: usize, bytes: u64, error: io::Error) {
        let (kept, gone) = take(&mut self.repeats).into_iter().partition(|(nth, _)| *nth < fitting);
        (self.repeats, self.bytes) = (kept, bytes);
        let gone: Vec<(usize, Answer)> = gone;
        let answers = self.candidates.drain(fitting..).map(|candidate| candidate.answer);
        let answers = answers.chain(gone.into_iter().map(|(_, answer)| answer)).collect();
        self.full = Some(Failed { error, answers });
    }
}

/// What of a group was looked at.
struct Sifted {
    /// App-given ids among the candidates.
    ids: ByIdHash<(Print, usize)>,
    /// Candidates, and their bytes.
    count: usize,
    bytes: u64,
    repeats: Vec<(usize, Answer)>,
    /// Most bytes of an entry that the lane could ever have.
    entry_max: u64,
    /// Why none of them can be stored.
    fault: Option<String>,
}

impl Sifted {
    fn with_capacity(records: usize, entry_max: u64) -> Self {
        let ids = ByIdHash::with_capacity_and_hasher(records, Default::default());
        Self { ids, count: 0, bytes: 0, repeats: Vec::new(), entry_max, fault: None }
    }

    fn add(&mut self, submission: &Submission) {
        self.ids.extend(submission.print.map(|print| (*print.id(), (print, self.count))));
        self.bytes += submission.entry.len() as u64;
        self.count += 1;
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

impl Committer {
    /// Commits groups until the inbox is closed and empty.
    pub(super) fn run(mut self, inbox: &Inbox, pulse: &Pulse) {
        let mut gatherer = Gatherer::new(inbox);
        while let Some(group) = gatherer.next() {
            pulse.begin();
            let (records, begun) = (group.len(), std::time::Instant::now());
            // Until the next group: what comes behind it fails too.
            inbox.failed(None);
            match self.commit(group) {
                Ok(committed) => {
                    gatherer.committed(records, begun.elapsed());
                    if committed.is_new() {
                        pulse.synced();
                    }
                    if let Some(full) = committed.acknowledge() {
                        inbox.failed(Some(refusal(&full.error)));
                        full.refuse(gatherer.rest(), &mut self.faults);
                    }
                }
                // What was submitted since must fail too: of one order key, a later record may
                // not be stored before an earlier one that its app will bring again.
                Err(failed) => {
                    inbox.failed(Some(refusal(&failed.error)));
                    failed.refuse(gatherer.rest(), &mut self.faults);
                }
            }
            pulse.end();
            self.tail.prepare();
        }
        self.rotate(true);
    }

    /// Stores a group, of which the caller then answers each.
    pub(super) fn commit(&mut self, group: Group) -> Result<Committed, Failed> {
        self.rotate(false);
        let ids = self.ids.clone();
        let turn = group.iter().any(|submission| submission.print.is_some()).then(|| ids.turn());
        let mut sifted =
            Sifted::with_capacity(group.len(), self.gate.largest_entry(self.lane.index));
        // In place: a group is large, and fresh memory costs a fault a page.
        let candidates = group.into_iter().filter_map(|record| self.sift(record, &mut sifted));
        let candidates = candidates.collect();
        let Sifted { bytes, repeats, fault, .. } = sifted;
        let mut batch = Batch { candidates, repeats, full: None, bytes };
        if let Some(reason) = fault {
            return Err(batch.fail(io::Error::other(reason)));
        }
        self.fit(&mut batch);
        self.store(batch, turn)
    }

    /// Answers a record that is not to be stored, and hands back one that is, or that fails with
    /// the group.
    fn sift(&self, submission: Submission, sifted: &mut Sifted) -> Option<Submission> {
        // Not one record alone: one behind it could be of its order key.
        if sifted.fault.is_some() {
            return Some(submission);
        }
        let bytes = submission.entry.len() as u64;
        match self.admit(&submission, sifted) {
            Ok(Admission::New) if bytes > sifted.entry_max => {
                submission.answer.send(Err(self.never(bytes)));
            }
            Ok(Admission::New) => {
                sifted.add(&submission);
                return Some(submission);
            }
            Err(AppendError::Disk(reason)) => {
                sifted.fault = Some(reason);
                return Some(submission);
            }
            Ok(Admission::Again(nth)) => sifted.repeats.push((nth, submission.answer)),
            Ok(Admission::Known(receipt)) => submission.answer.send(Ok(receipt)),
            Err(error) => submission.answer.send(Err(error)),
        }
        None
    }

    /// Leaves in the batch what there is room for: all of it, or what comes before the first that
    /// does not fit, since one behind that could be of its order key.
    fn fit(&mut self, batch: &mut Batch) {
        // Records that are known need no room.
        let roomy = batch.candidates.is_empty() || self.has_room(batch.bytes);
        if roomy || self.make_room(0, batch.bytes).is_ok() {
            return;
        }
        let sizes = batch.candidates.iter().map(|candidate| candidate.entry.len() as u64);
        let ends = sizes.scan(0, |end, bytes| {
            *end += bytes;
            Some(*end)
        });
        let ends: Vec<u64> = ends.collect();
        let fitting = ends.partition_point(|end| self.make_room(0, *end).is_ok());
        let before = fitting.checked_sub(1).map_or(0, |last| ends[last]);
        let Some(end) = ends.get(fitting) else { return };
        if let Err(error) = self.make_room(before, end - before) {
            self.note_refusal(before, end - before);
            batch.cut(fitting, before, error);
        }
    }

    /// Decides whether a record is new.
    fn admit(&self, submission: &Submission, sifted: &Sifted) -> Result<Admission, AppendError> {
        let Some(print) = submission.print.filter(|_| !submission.flags.has(Flags::REPLAY)) else {
            return Ok(Admission::New);
        };
        if let Some((known, nth)) = sifted.ids.get(print.id()) {
            return match *known == print {
                true => Ok(Admission::Again(*nth)),
                false => Err(reused(&self.receipt(submission, *nth))),
            };
        }
        let receipt = |lane: usize, position: u64| {
            let lane = &self.lanes[lane];
            let (stream, seq) = lane.numbering().number(position);
            let lane = lane.name.clone();
            Receipt { lane, stream, seq, duplicate: true, ..self.receipt(submission, 0) }
        };
        match self.ids.seen(&print).map_err(|e| AppendError::Disk(e.to_string()))? {
            Seen::New => Ok(Admission::New),
            Seen::Pending => {
                Err(AppendError::Disk("another lane is storing the same id; try again".into()))
            }
            Seen::Same { lane, position } => Ok(Admission::Known(receipt(lane, position))),
            Seen::Other { lane, position } => Err(reused(&receipt(lane, position))),
        }
    }

    fn receipt(&self, submission: &Submission, nth: usize) -> Receipt {
        self.numbered().receipt(nth, submission.id.clone(), submission.key.clone())
    }

    /// Where the next group will stand.
    fn numbered(&self) -> Numbered {
        let newest = self.lane.numbering().newest();
        Numbered { lane: self.lane.name.clone(), newest, first: self.tail.next() }
    }

    fn store(
        &mut self,
        batch: Batch,
        turn: Option<MutexGuard<'_, ()>>,
    ) -> Result<Committed, Failed> {
        let numbered = self.numbered();
        if batch.candidates.is_empty() {
            return Ok(batch.stored(numbered));
        }
        let prints = batch.candidates.iter().map(|candidate| candidate.print);
        let numbers = prints.zip(numbered.first..);
        let mut rows = Vec::with_capacity(batch.candidates.len());
        rows.extend(numbers.filter_map(|(print, position)| Some((print?, position))));
        self.lane.note_clock(numbered.first);
        let before = self.ids.begin(self.lane.index, &rows);
        drop(turn);
        let result = self.tail.append(&batch.candidates);
        self.ids.finish(self.lane.index, &rows, before, result.is_ok());
        match result {
            Ok(()) => {
                self.tell_unwritten();
                self.lane.touch();
                self.gate.took(self.lane.index, batch.bytes, batch.full.is_none());
                Ok(batch.stored(numbered))
            }
            Err(error) => {
                if let Some(sealed) = self.tail.take_abandoned() {
                    self.unwritten.push(sealed);
                }
                self.tell_unwritten();
                Err(batch.fail(error))
            }
        }
    }

    /// Closes a full segment and writes the table of its ids.
    pub(super) fn rotate(&mut self, force: bool) {
        let Some(sealed) = self.tail.seal(force) else {
            return self.write_ids();
        };
        self.unwritten.push(sealed);
        self.tell_unwritten();
        self.write_ids();
    }

    fn write_ids(&mut self) {
        let written = self.unwritten.write(&self.ids, self.lane.index, self.clock.now_ms());
        if let Err(error) = written
            && self.faults.note("ids", Instant::now()).is_some()
        {
            tracing::warn!(%error, "a table of ids could not be written; it is tried again");
        }
        self.tell_unwritten();
    }

    /// Segments stay until their ids are written. The open one counts too: between its sealing and
    /// the writing of its ids the keeper could remove it, and a crash would forget them.
    fn tell_unwritten(&self) {
        let first = self.unwritten.keeps().into_iter().chain(self.tail.open_first()).min();
        self.lane.keep_from(first.unwrap_or(u64::MAX));
    }
}

fn reused(by: &Receipt) -> AppendError {
    AppendError::IdReused { id: by.id.clone(), lane: by.lane.clone(), seq: by.seq }
}

/// What the app is told of an error of the disk.
fn refusal(error: &io::Error) -> AppendError {
    match is_full(error) {
        true => AppendError::Full(error.to_string()),
        false => AppendError::Disk(error.to_string()),
    }
}
