//! Reads lines, submits them in order, and hands on their answers in order.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use futures::FutureExt;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use spillway_protocol::local::json::{self, JSON_MAX, KnownKey};
use spillway_protocol::local::{Code, Level, Receipt, Refusal, Request};
use spillway_protocol::record::{IdOrigin, RecordId};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::answers::Writer;
use super::chains::{Chain, Chains};
use super::lines::{Line, Lines};
use crate::intake::admission::{Held, RECORD_BYTES, overloaded};
use crate::intake::verdict::{Proven, Reaching, stalled, stopping, verdict};
use crate::intake::{Intake, Storing};
use crate::queue::Place;

/// Most lines without an answer yet; beyond it the disk is waited for, never the client.
const PENDING_MAX: usize = 4096;

/// A line's answer to come, in the order of the lines.
enum Slot {
    Storing {
        storing: Storing,
        deadline: Instant,
        chain: Chain,
        held: Held,
    },
    /// To reach RocketMQ, too.
    Reaching {
        reaching: Reaching,
        chain: Chain,
        bytes: usize,
    },
    Refused {
        refusal: Refusal,
        times: u64,
    },
}

pub(super) struct Pump {
    intake: Intake,
    stop: CancellationToken,
    answers: Writer,
    lines: Lines,
    /// For the line under way.
    line_held: Held,
    pending: VecDeque<Slot>,
    pending_bytes: usize,
    /// The apps' own ids among the pending.
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
            lines: Lines::new(JSON_MAX),
            pending: VecDeque::new(),
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
                answer = head(&mut self.pending), if waiting => {
                    self.settle_head(answer);
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
                    "has more than {JSON_MAX} bytes; send it alone, as application/octet-stream"
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
            self.settle_next().await;
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
        if self.chains.bars(&chain) {
            self.chains.bar(chain);
            return self.refuse(not_attempted());
        }
        if let Err(refusal) = self.intake.rights.charge() {
            self.chains.bar(chain);
            return self.refuse(refusal);
        }
        // Those behind it in its order must know what becomes of it.
        let wait = chain.is_bound() && self.may_be_refused(&record.id, record.id_origin);
        held.resize(record.size_bytes() + RECORD_BYTES);
        if record.id_origin == IdOrigin::App {
            self.pending_ids.insert(record.id.clone());
        }
        self.pending_bytes += held.bytes();
        let storing = self.intake.queue.submit(&lane.name, record);
        self.pending.push_back(match level {
            Level::Disk => {
                let deadline = Instant::now() + self.intake.options.commit_max;
                Slot::Storing { storing, deadline, chain, held }
            }
            Level::Broker => {
                let bytes = held.bytes();
                let reaching = self.intake.reach(storing, held, self.stop.clone());
                Slot::Reaching { reaching, chain, bytes }
            }
        });
        if wait {
            self.settle_all().await;
        }
        while self.pending.len() > PENDING_MAX
            || self.pending_bytes > self.intake.options.memory_bytes / 4
        {
            self.settle_next().await;
        }
    }

    /// Whether the queue may know the id already, so that it may refuse the record for it. Any
    /// other refusal of the queue meets the records behind it as well.
    fn may_be_refused(&self, id: &RecordId, origin: IdOrigin) -> bool {
        origin == IdOrigin::App
            && (self.pending_ids.contains(id) || self.intake.queue.find_id(id) != Place::Unknown)
    }

    /// Holds `bytes`, waiting for this request's own records to reach the disk if need be.
    async fn hold(&mut self, bytes: usize) -> Option<Held> {
        loop {
            match self.intake.budget.try_hold(bytes) {
                Some(held) => return Some(held),
                None if self.pending.is_empty() => return None,
                None => self.settle_next().await,
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        match self.pending.back_mut() {
            None => self.answers.refuse(refusal, 1),
            Some(Slot::Refused { refusal: same, times }) if *same == refusal => *times += 1,
            Some(_) => self.pending.push_back(Slot::Refused { refusal, times: 1 }),
        }
    }

    /// Hands on what has been answered already.
    fn reap(&mut self) {
        while let Some(slot) = self.pending.front_mut() {
            let answer = match slot {
                Slot::Refused { refusal, .. } => Err(refusal.clone()),
                Slot::Storing { storing, .. } => match storing.now_or_never() {
                    Some(answer) => verdict(answer),
                    None => return,
                },
                Slot::Reaching { reaching, .. } => match reaching.now_or_never() {
                    Some(answer) => answer,
                    None => return,
                },
            };
            self.settle_head(answer);
        }
    }

    async fn settle_all(&mut self) {
        while !self.pending.is_empty() {
            self.settle_next().await;
        }
    }

    async fn settle_next(&mut self) {
        let answer = head(&mut self.pending).await;
        self.settle_head(answer);
    }

    fn settle_head(&mut self, answer: Result<Receipt, Refusal>) {
        match self.pending.pop_front() {
            None => {}
            Some(Slot::Refused { refusal, times }) => self.answers.refuse(refusal, times),
            Some(Slot::Storing { chain, held, .. }) => {
                self.pending_bytes -= held.bytes();
                let answer = self.intake.own_receipt(answer);
                self.answer(chain, answer);
            }
            Some(Slot::Reaching { chain, bytes, .. }) => {
                self.pending_bytes -= bytes;
                self.answer(chain, answer);
            }
        }
        if self.pending.is_empty() {
            self.pending_ids.clear();
        }
    }

    fn answer(&mut self, chain: Chain, answer: Result<Receipt, Refusal>) {
        if answer.is_err() {
            self.chains.bar(chain);
        }
        self.answers.put(answer);
    }
}

/// What became of the first line that is pending; never, if there is none.
async fn head(pending: &mut VecDeque<Slot>) -> Result<Receipt, Refusal> {
    match pending.front_mut() {
        None => std::future::pending().await,
        Some(Slot::Refused { refusal, .. }) => Err(refusal.clone()),
        Some(Slot::Storing { storing, deadline, .. }) => match timeout_at(*deadline, storing).await
        {
            Ok(answer) => verdict(answer),
            Err(_) => Err(stalled()),
        },
        Some(Slot::Reaching { reaching, .. }) => reaching.await,
    }
}

fn not_attempted() -> Refusal {
    let message = "belongs to an order in which an earlier line was refused; send this one again \
                   after that one";
    Refusal::of("order_key", Code::NotAttempted, message)
}
