//! Reads lines, submits them in order, and hands on their answers in order.

use std::collections::{HashSet, VecDeque};
use std::mem::replace;

use bytes::Bytes;
use futures::FutureExt;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use spillway_protocol::local::json::{self, KnownKey, LINE_MAX};
use spillway_protocol::local::{Code, Level, Receipt, Refusal, Request};
use spillway_protocol::record::{IdOrigin, Record, RecordId};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::answers::Writer;
use super::chains::{Chain, Chains};
use super::lines::{Line, Lines};
use crate::intake::admission::{Held, RECORD_BYTES, overloaded};
use crate::intake::verdict::{Proven, Reaching, stalled, stopping, verdict};
use crate::intake::{Intake, LaneInfo};
use crate::queue::{Answered, Answers, Place, Tag};

/// Most lines without an answer yet; beyond it the disk is waited for, never the client.
const PENDING_MAX: usize = 4096;

/// A line without an answer yet, in the order of the lines.
struct Slot {
    /// What it costs; nothing, if it was refused at once.
    held: Held,
    state: State,
}

enum State {
    Storing(Waiting),
    /// On disk, and to reach RocketMQ, too.
    Reaching(Reaching),
    Settled(Result<Receipt, Refusal>),
    Refused {
        refusal: Refusal,
        times: u64,
    },
}

/// A record that waits for the disk.
struct Waiting {
    came: Instant,
    level: Level,
    chain: Chain,
    /// The app's own.
    id: Option<RecordId>,
}

/// What those that are pending have waited for.
enum Event {
    Stored(Vec<Answered>),
    Reached(Result<Receipt, Refusal>),
    /// The disk has not answered in time.
    Stalled,
}

pub(super) struct Pump {
    intake: Intake,
    stop: CancellationToken,
    answers: Writer,
    lines: Lines,
    /// For the line under way.
    line_held: Held,
    pending: VecDeque<Slot>,
    /// The first of them is the nth slot of the request.
    first: u64,
    /// No slot before this one waits for the disk.
    storing_from: u64,
    /// From the disk, by the number of the slot.
    stored: Answers,
    /// What the pending hold.
    pending_bytes: usize,
    /// The apps' own ids among those that wait for the disk.
    pending_ids: HashSet<RecordId>,
    chains: Chains,
    /// Everything from here on is refused with this.
    closed: Option<Refusal>,
}

impl Pump {
    pub(super) fn new(intake: Intake, stop: CancellationToken, answers: Writer) -> Self {
        Self {
            line_held: intake.budget.empty(),
            intake,
            stop,
            answers,
            lines: Lines::new(LINE_MAX),
            pending: VecDeque::new(),
            first: 0,
            storing_from: 0,
            stored: Answers::default(),
            pending_bytes: 0,
            pending_ids: HashSet::new(),
            chains: Chains::default(),
            closed: None,
        }
    }

    /// Runs until the request has ended and every line has its answer. A request that breaks off
    /// ends the answers too; of its last, unfinished line nothing is stored.
    pub(super) async fn run(mut self, first: Bytes, mut body: Incoming) {
        self.take(first).await;
        let idle_max = self.intake.options.idle_max;
        loop {
            let waiting = !self.pending.is_empty();
            let next = tokio::select! {
                biased;
                event = self.event(), if waiting => {
                    self.note(event);
                    continue;
                }
                next = timeout(idle_max, body.frame()) => next,
            };
            match next {
                Ok(Some(Ok(frame))) => self.take(frame.into_data().unwrap_or_default()).await,
                Ok(None) => break,
                Ok(Some(Err(error))) => return tracing::debug!(%error, "an NDJSON body broke off"),
                Err(_) => return tracing::debug!("an NDJSON body stopped coming"),
            }
        }
        if let Some(line) = self.lines.finish() {
            self.line(line).await;
        }
        self.settle_all().await;
        self.answers.finish();
    }

    async fn take(&mut self, chunk: Bytes) {
        self.lines.push(chunk);
        while let Some(line) = self.lines.next() {
            self.line(line).await;
        }
        if !self.line_held.try_resize(self.lines.kept_bytes()) {
            self.settle_all().await;
            if !self.line_held.try_resize(self.lines.kept_bytes()) {
                self.lines.give_up();
                self.line_held.resize(0);
            }
        }
    }

    async fn line(&mut self, line: Line) {
        if matches!(&line, Line::Whole(text) if text.iter().all(u8::is_ascii_whitespace)) {
            return;
        }
        self.reap();
        self.check_room().await;
        match (&self.closed, line) {
            (Some(refusal), _) => self.refuse(refusal.clone()),
            (None, Line::NoRoom) => self.close(overloaded()),
            (None, Line::TooLong) => {
                let message = format!(
                    "has more than {LINE_MAX} bytes; send it alone, as application/octet-stream"
                );
                self.chains.bar_unread(None, KnownKey::Unknown);
                self.refuse(Refusal::of("line", Code::TooLarge, message));
            }
            (None, Line::Whole(text)) => self.record(&text).await,
        }
    }

    /// Closes the request where nothing more can be taken. What follows is not read any more, so
    /// nobody can tell which of it would come after a refused one in some order.
    async fn check_room(&mut self) {
        // An answer that has come is smaller than one that is to come.
        while !self.has_room() && !self.pending.is_empty() {
            self.progress().await;
        }
        if self.closed.is_none() {
            if self.stop.is_cancelled() {
                self.closed = Some(stopping());
            } else if !self.has_room() {
                let message = "too many answers wait to be read; read them, and send this line \
                               and those behind it again";
                self.closed = Some(Refusal::new(Code::Overloaded, message));
            }
        }
    }

    fn has_room(&self) -> bool {
        self.answers.has_room(self.pending.len() + 1)
    }

    fn close(&mut self, refusal: Refusal) {
        self.refuse(refusal.clone());
        self.closed = Some(refusal);
    }

    async fn record(&mut self, text: &Bytes) {
        // The body is copied once, and once more where it is escaped.
        let Some(decoding) = self.hold(text.len() * 2 + RECORD_BYTES).await else {
            return self.close(overloaded());
        };
        let proven = match json::parse(text) {
            Ok(request) => self.prove(request),
            Err(bad) => Err((bad.refusal, bad.lane, bad.order_key)),
        };
        match proven {
            Ok(proven) => self.submit(proven, decoding).await,
            Err((refusal, lane, key)) => {
                let lane = self.intake.lane(lane.as_deref()).ok();
                self.chains.bar_unread(lane.as_ref(), key);
                self.refuse(refusal);
            }
        }
    }

    /// The record, or what a refused one was of: those behind it in its order are not attempted.
    fn prove(&self, mut request: Request) -> Result<Proven, (Refusal, Option<String>, KnownKey)> {
        if let Err(refusal) = self.intake.route(&mut request) {
            return Err((refusal, request.lane, KnownKey::Unknown));
        }
        let lane = request.lane.clone();
        let key = request.draft.order_key.clone().map_or(KnownKey::None, KnownKey::Key);
        self.intake.prove(request).map_err(|refusal| (refusal, lane, key))
    }

    async fn submit(&mut self, proven: Proven, mut held: Held) {
        let Proven { lane, record, level } = proven;
        let chain = Chain::new(&lane, record.order_key.as_ref());
        // Of those before it in its order all must be known that is.
        self.reap();
        if self.chains.bars(&chain) {
            self.chains.bar(chain);
            return self.refuse(not_attempted());
        }
        if let Err(refusal) = self.intake.rights().charge() {
            self.chains.bar(chain);
            return self.refuse(refusal);
        }
        // Those behind it in its order must know what becomes of it.
        let wait = chain.is_bound() && self.may_be_refused_alone(&lane, &record);
        held.resize(record.size_bytes() + RECORD_BYTES);
        let id = (record.id_origin == IdOrigin::App).then(|| record.id.clone());
        self.pending_ids.extend(id.clone());
        self.pending_bytes += held.bytes();
        let nth = self.first + self.pending.len() as u64;
        let tag = Tag { correlation: nth, bytes: held.bytes() };
        let waiting = Waiting { came: Instant::now(), level, chain, id };
        self.pending.push_back(Slot { held, state: State::Storing(waiting) });
        self.intake.queue.submit_to(&lane.name, record, &self.stored, tag);
        while wait && matches!(self.state(nth), Some(State::Storing(_))) {
            self.progress().await;
        }
        while self.pending.len() > PENDING_MAX
            || self.pending_bytes > self.intake.budget.max_bytes() / 4
        {
            self.progress().await;
        }
    }

    /// Whether the queue may refuse the record and take those behind it: it may know the id already, or
    /// the record may be too large for the lane. Its other refusals meet those behind it as well.
    fn may_be_refused_alone(&self, lane: &LaneInfo, record: &Record) -> bool {
        let is_known = |id: &RecordId| {
            self.pending_ids.contains(id) || self.intake.queue.find_id(id) != Place::Unknown
        };
        // An entry has a little beside the record.
        let expected_bytes = record.size_bytes().saturating_mul(2) as u64 + RECORD_BYTES as u64;
        (record.id_origin == IdOrigin::App && is_known(&record.id))
            || expected_bytes > self.intake.queue.largest_entry(&lane.name)
    }

    /// Holds `bytes`, waiting for this request's own records to reach the disk if need be.
    async fn hold(&mut self, bytes: usize) -> Option<Held> {
        loop {
            match self.intake.budget.try_hold(bytes) {
                Some(held) => return Some(held),
                None if self.pending.is_empty() => return None,
                None => self.progress().await,
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        match self.pending.back_mut().map(|slot| &mut slot.state) {
            None => self.answers.refuse(refusal, 1),
            Some(State::Refused { refusal: same, times }) if *same == refusal => *times += 1,
            Some(_) => {
                let (held, state) =
                    (self.intake.budget.empty(), State::Refused { refusal, times: 1 });
                self.pending.push_back(Slot { held, state });
            }
        }
    }

    /// Notes what has been answered already.
    fn reap(&mut self) {
        if let Some(answers) = self.stored.next().now_or_never() {
            self.note(Event::Stored(answers));
        }
        while let Some(State::Reaching(reaching)) = self.state(self.first) {
            let Some(answer) = reaching.now_or_never() else { return };
            self.note(Event::Reached(answer));
        }
    }

    async fn settle_all(&mut self) {
        while !self.pending.is_empty() {
            self.progress().await;
        }
    }

    async fn progress(&mut self) {
        let event = self.event().await;
        self.note(event);
    }

    /// What happens next to those that are pending; never, if there are none. All wait for the disk
    /// at the same time: only then is it known which may not be followed, and their memory free.
    async fn event(&mut self) -> Event {
        let oldest = self.storing_since();
        let commit_by = oldest.unwrap_or_else(Instant::now) + self.intake.options.commit_max;
        let reached = match self.pending.front_mut().map(|slot| &mut slot.state) {
            Some(State::Reaching(reaching)) => reaching.left_future(),
            _ => std::future::pending().right_future(),
        };
        tokio::select! {
            biased;
            answers = self.stored.next(), if oldest.is_some() => Event::Stored(answers),
            answer = reached => Event::Reached(answer),
            () = sleep_until(commit_by), if oldest.is_some() => Event::Stalled,
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Stored(answers) => {
                for (tag, answer) in answers {
                    self.settle(tag.correlation, verdict(answer));
                }
            }
            Event::Stalled => self.settle(self.storing_from, Err(stalled())),
            Event::Reached(answer) => {
                if let Some(state @ State::Reaching(_)) = self.state(self.first) {
                    *state = State::Settled(answer);
                }
            }
        }
        self.hand_on();
    }

    /// What the disk says of the nth slot, if that still waits for it; from then on it costs no more
    /// than its answer.
    fn settle(&mut self, nth: u64, answer: Result<Receipt, Refusal>) {
        let answer = self.intake.own_receipt(answer);
        let Some(state @ State::Storing(_)) = self.state(nth) else { return };
        let before = replace(state, State::Settled(answer.clone()));
        let State::Storing(Waiting { came, level, chain, id }) = before else { return };
        if let Some(id) = id {
            self.pending_ids.remove(&id);
        }
        let reaching = match answer {
            Ok(receipt) => (level == Level::Broker)
                .then(|| self.intake.deliver(receipt, came, self.stop.clone())),
            Err(_) => {
                self.chains.bar(chain);
                None
            }
        };
        let Some(slot) = self.slot(nth) else { return };
        if let Some(reaching) = reaching {
            slot.state = State::Reaching(reaching);
        }
        let before = slot.held.bytes();
        slot.held.resize(RECORD_BYTES);
        self.pending_bytes -= before - RECORD_BYTES;
    }

    /// Hands on the answers that are there, as far as their order allows.
    fn hand_on(&mut self) {
        let is_there =
            |slot: &mut Slot| matches!(slot.state, State::Settled(_) | State::Refused { .. });
        while let Some(slot) = self.pending.pop_front_if(is_there) {
            self.first += 1;
            self.pending_bytes -= slot.held.bytes();
            match slot.state {
                State::Settled(answer) => self.answers.put(answer),
                State::Refused { refusal, times } => self.answers.refuse(refusal, times),
                State::Storing(_) | State::Reaching(_) => {}
            }
        }
    }

    fn slot(&mut self, nth: u64) -> Option<&mut Slot> {
        self.pending.get_mut(usize::try_from(nth.checked_sub(self.first)?).ok()?)
    }

    fn state(&mut self, nth: u64) -> Option<&mut State> {
        self.slot(nth).map(|slot| &mut slot.state)
    }

    /// When the oldest came of those that wait for the disk.
    fn storing_since(&mut self) -> Option<Instant> {
        self.storing_from = self.storing_from.max(self.first);
        loop {
            if let State::Storing(waiting) = self.state(self.storing_from)? {
                return Some(waiting.came);
            }
            self.storing_from += 1;
        }
    }
}

fn not_attempted() -> Refusal {
    let message = "belongs to an order in which an earlier line was refused; send this one again \
                   after that one";
    Refusal::of("order_key", Code::NotAttempted, message)
}
