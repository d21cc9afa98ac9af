//! Group commit: one thread a lane gathers what all sessions brought since the last sync, gives
//! numbers, makes it durable, and only then answers. While a sync runs the next group gathers, so
//! that a lone record waits for one sync and a crowd shares one.

use std::io;
use std::mem::take;
use std::sync::{Arc, MutexGuard};

use spillway_protocol::message::Flags;
use spillway_protocol::record::LaneName;
use tokio::time::Instant;

use super::answers::Answers;
use super::api::{AppendError, Receipt};
use super::chain::{Newest, Tail};
use super::gather::Gatherer;
use super::ids::{ByIdHash, Ids, Print, Seen, Unwritten, is_full};
use super::inbox::{Group, Inbox};
use super::lane::Lane;
use super::limits::Gate;
use super::submission::{Answer, Submission};
use crate::allocator;
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
    /// The receipts of the records that were stored.
    stored: Vec<(Receipt, Answer)>,
    /// Those that are the same as the nth of these.
    repeats: Vec<(usize, Answer)>,
    /// Those behind them for which there was no room.
    refused: Option<Failed>,
}

impl Committed {
    /// Says so to everybody, and returns those that are to be refused.
    pub(super) fn acknowledge(self) -> Option<Failed> {
        for (first, answer) in self.repeats {
            let receipt = Receipt { duplicate: true, ..self.stored[first].0.clone() };
            answer.send(Ok(receipt));
        }
        // Woken once all is said: else the first answers would be taken while the others come.
        let left =
            self.stored.into_iter().filter_map(|(receipt, answer)| answer.leave(Ok(receipt)));
        let woken: Vec<Answers> = left.collect();
        woken.iter().for_each(Answers::wake);
        self.refused
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
#[derive(Default)]
struct Batch {
    candidates: Vec<Submission>,
    /// App-given ids among them.
    ids: ByIdHash<(Print, usize)>,
    /// The same record twice in one group: it is answered with the first.
    repeats: Vec<(usize, Answer)>,
    /// What there was no room for.
    full: Option<Failed>,
    /// Of the candidates.
    bytes: u64,
}

impl Batch {
    fn into_answers(self) -> impl Iterator<Item = Answer> {
        let repeats = self.repeats.into_iter().map(|(_, answer)| answer);
        let full = self.full.into_iter().flat_map(|full| full.answers);
        self.candidates.into_iter().map(|candidate| candidate.answer).chain(repeats).chain(full)
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

    fn add(&mut self, submission: Submission) {
        let nth = self.candidates.len();
        self.bytes += submission.entry.len() as u64;
        self.ids.extend(submission.print.map(|print| (*print.id(), (print, nth))));
        self.candidates.push(submission);
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
    pub(super) fn run(mut self, inbox: &Inbox) {
        let mut gatherer = Gatherer::new(inbox);
        while let Some(group) = gatherer.next() {
            let (records, begun) = (group.len(), std::time::Instant::now());
            match self.commit(group) {
                Ok(committed) => {
                    gatherer.committed(records, begun.elapsed());
                    if let Some(full) = committed.acknowledge() {
                        full.refuse(gatherer.rest(), &mut self.faults);
                    }
                }
                // What was submitted since must fail too: of one order key, a later record may
                // not be stored before an earlier one that its app will bring again.
                Err(failed) => failed.refuse(gatherer.rest(), &mut self.faults),
            }
        }
        self.rotate(true);
    }

    /// Stores a group, of which the caller then answers each.
    pub(super) fn commit(&mut self, group: Group) -> Result<Committed, Failed> {
        self.rotate(false);
        let mut batch = Batch::default();
        let ids = self.ids.clone();
        let turn = group.iter().any(|submission| submission.print.is_some()).then(|| ids.turn());
        let mut group = group.into_iter();
        while let Some(submission) = group.next() {
            match self.admit(&submission, &batch) {
                Ok(Admission::New) => batch.add(submission),
                Ok(Admission::Again(nth)) => batch.repeats.push((nth, submission.answer)),
                Ok(Admission::Known(receipt)) => submission.answer.send(Ok(receipt)),
                // Not this record alone: one behind it could be of its order key.
                Err(AppendError::Disk(reason)) => {
                    let rest = std::iter::once(submission).chain(group);
                    let answers = batch.into_answers().chain(rest.map(|s| s.answer)).collect();
                    return Err(Failed { error: io::Error::other(reason), answers });
                }
                Err(error) => submission.answer.send(Err(error)),
            }
        }
        self.fit(&mut batch);
        self.store(batch, turn)
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
    fn admit(&self, submission: &Submission, batch: &Batch) -> Result<Admission, AppendError> {
        let Some(print) = submission.print.filter(|_| !submission.flags.has(Flags::REPLAY)) else {
            return Ok(Admission::New);
        };
        if let Some((known, nth)) = batch.ids.get(print.id()) {
            let position = self.tail.next() + *nth as u64;
            return match *known == print {
                true => Ok(Admission::Again(*nth)),
                false => Err(reused(&self.receipt(submission, position))),
            };
        }
        let receipt = |lane: usize, position: u64| {
            let lane = &self.lanes[lane];
            let (stream, seq) = lane.numbering().number(position);
            let lane = lane.name.clone();
            Receipt { lane, stream, seq, duplicate: true, ..self.receipt(submission, position) }
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

    fn receipt(&self, submission: &Submission, position: u64) -> Receipt {
        receipt(&self.lane.name, self.lane.numbering().newest(), submission, position)
    }

    fn store(
        &mut self,
        batch: Batch,
        turn: Option<MutexGuard<'_, ()>>,
    ) -> Result<Committed, Failed> {
        let Batch { candidates, repeats, full: refused, bytes, .. } = batch;
        let (mut rows, mut entries, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        let newest = self.lane.numbering().newest();
        for (mut submission, position) in candidates.into_iter().zip(self.tail.next()..) {
            rows.extend(submission.print.map(|print| (print, position)));
            entries.push(take(&mut submission.entry));
            let receipt = receipt(&self.lane.name, newest, &submission, position);
            stored.push((receipt, submission.answer));
        }
        if stored.is_empty() {
            return Ok(Committed { stored, repeats, refused });
        }
        self.lane.note_clock(self.tail.next());
        let before = self.ids.begin(self.lane.index, &rows);
        drop(turn);
        let result = self.tail.append(&entries);
        self.ids.finish(self.lane.index, &rows, before, result.is_ok());
        match result {
            Ok(()) => {
                self.tell_unwritten();
                self.lane.touch();
                self.gate.took(self.lane.index, bytes, refused.is_none());
                Ok(Committed { stored, repeats, refused })
            }
            Err(error) => {
                if let Some(sealed) = self.tail.take_abandoned() {
                    self.unwritten.push(sealed);
                }
                self.tell_unwritten();
                let stored = stored.into_iter().map(|(_, answer)| answer);
                let repeats = repeats.into_iter().map(|(_, answer)| answer);
                let refused = refused.into_iter().flat_map(|full| full.answers);
                Err(Failed { error, answers: stored.chain(repeats).chain(refused).collect() })
            }
        }
    }

    /// Closes a full segment and writes the table of its ids.
    pub(super) fn rotate(&mut self, force: bool) {
        let Some(sealed) = self.tail.seal(force) else {
            return self.write_ids();
        };
        // Its megabytes are free now.
        allocator::trim();
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

fn receipt(lane: &LaneName, newest: Newest, submission: &Submission, position: u64) -> Receipt {
    Receipt {
        id: submission.id.clone(),
        key: submission.key.clone(),
        lane: lane.clone(),
        stream: newest.stream,
        seq: position.saturating_sub(newest.base),
        duplicate: false,
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
