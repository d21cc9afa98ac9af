//! Answers between the disk and a client that may read them much later: a few dozen bytes each,
//! equal refusals in a row counted instead of kept, and written as JSON only when they are read.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use spillway_protocol::codec;
use spillway_protocol::local::{Receipt, Refusal};

use super::compact::{ANSWER_BYTES, Answer, FORMAT};
use crate::intake::admission::{Budget, Held};

/// Bytes of answers that are kept in one piece.
const BLOCK_BYTES: usize = 4096;
/// Bytes of JSON written at a time.
const FRAME_BYTES: usize = 32 * 1024;
struct State {
    blocks: VecDeque<Vec<u8>>,
    open: Vec<u8>,
    /// The last answer, while it repeats.
    run: Option<(Refusal, u64)>,
    held: Held,
    end: Option<End>,
    reader: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Broken,
}

type Shared = Arc<Mutex<State>>;

/// Where answers are put, in order.
pub(super) struct Writer {
    state: Shared,
    max_bytes: usize,
}

/// The answers as a response's body.
pub(crate) struct AnswerBody {
    state: Shared,
    block: Vec<u8>,
    at: usize,
    run: Option<(String, u64)>,
}

/// Room for about `max_bytes` of answers, counted against `budget`.
pub(super) fn channel(budget: &Budget, max_bytes: usize) -> (Writer, AnswerBody) {
    let state = Arc::new(Mutex::new(State {
        blocks: VecDeque::new(),
        open: Vec::new(),
        run: None,
        held: budget.empty(),
        end: None,
        reader: None,
    }));
    let writer = Writer { state: Arc::clone(&state), max_bytes };
    let body = AnswerBody { state, block: Vec::new(), at: 0, run: None };
    (writer, body)
}

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Whether `count` more answers fit.
    pub(super) fn has_room(&self, count: usize) -> bool {
        lock(&self.state).held.bytes() + count * ANSWER_BYTES <= self.max_bytes
    }

    /// Puts one record's answer.
    pub(super) fn put(&self, answer: Result<Receipt, Refusal>) {
        match answer {
            Ok(receipt) => self.with(|state| state.store(receipt)),
            Err(refusal) => self.refuse(refusal, 1),
        }
    }

    /// Puts the same refusal for `times` records.
    pub(super) fn refuse(&self, refusal: Refusal, times: u64) {
        self.with(|state| match &mut state.run {
            Some((same, count)) if *same == refusal => *count += times,
            _ => {
                state.close_run();
                state.run = Some((refusal, times));
            }
        });
    }

    /// There are no more answers.
    pub(super) fn finish(self) {
        self.with(|state| state.end = Some(End::Whole));
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        if let Some(reader) = state.reader.take() {
            drop(state);
            reader.wake();
        }
    }
}

impl Drop for Writer {
    /// Without [`Writer::finish`] the client must not take what it has for all.
    fn drop(&mut self) {
        self.with(|state| state.end = state.end.or(Some(End::Broken)));
    }
}

impl State {
    fn store(&mut self, receipt: Receipt) {
        self.close_run();
        self.append(&Answer::stored(receipt));
    }

    fn close_run(&mut self) {
        if let Some((refusal, times)) = self.run.take() {
            self.append(&Answer::Refused { refusal, times });
        }
    }

    fn append(&mut self, answer: &Answer) {
        if self.open.capacity() == 0 {
            self.open.reserve_exact(BLOCK_BYTES);
        }
        if let Err(error) = codec::encode_into(FORMAT, answer, &mut self.open) {
            // Texts and numbers: there is no reason for this. The client sees a broken answer.
            tracing::error!(%error, "an answer could not be kept");
            self.end = Some(End::Broken);
        }
        if self.open.len() + ANSWER_BYTES > BLOCK_BYTES {
            self.blocks.push_back(std::mem::take(&mut self.open));
        }
        self.count();
    }

    fn count(&mut self) {
        let blocks: usize = self.blocks.len() * BLOCK_BYTES;
        self.held.resize(blocks + self.open.capacity());
    }

    /// The oldest answers, in the form that they are kept in.
    fn take_block(&mut self) -> Option<Vec<u8>> {
        if self.blocks.is_empty() && self.open.is_empty() {
            self.close_run();
        }
        let block = self.blocks.pop_front().or_else(|| {
            let open = std::mem::take(&mut self.open);
            (!open.is_empty()).then_some(open)
        });
        self.count();
        block
    }
}

impl AnswerBody {
    /// Writes the next answers as JSON lines to `out`, until it is long enough or there are none.
    fn write(&mut self, out: &mut String) {
        while out.len() < FRAME_BYTES {
            if let Some((line, times)) = &mut self.run {
                out.push_str(line);
                *times -= 1;
                if *times == 0 {
                    self.run = None;
                }
            } else if self.at < self.block.len() {
                self.read_one(out);
            } else {
                match lock(&self.state).take_block() {
                    Some(block) => (self.block, self.at) = (block, 0),
                    None => return,
                }
            }
        }
    }

    fn read_one(&mut self, out: &mut String) {
        match codec::decode::<Answer>(FORMAT, &self.block[self.at..]) {
            Ok((answer, used)) => {
                self.at += used;
                match answer {
                    Answer::Refused { refusal, times } if times > 0 => {
                        self.run = Some((refusal.to_json() + "\n", times));
                    }
                    Answer::Refused { .. } => {}
                    stored => out.push_str(&stored.into_line().unwrap_or_default()),
                }
            }
            Err(error) => {
                tracing::error!(%error, "kept answers could not be read");
                self.at = self.block.len();
                lock(&self.state).end = Some(End::Broken);
            }
        }
    }
}

/// The agent broke off in the midst of its answers.
#[derive(Debug, thiserror::Error)]
#[error("the answers broke off")]
pub(crate) struct BrokeOff;

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        let mut out = String::new();
        loop {
            self.write(&mut out);
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
            let mut state = lock(&self.state);
            let more = !state.open.is_empty() || !state.blocks.is_empty() || state.run.is_some();
            match state.end {
                _ if more => {}
                Some(End::Whole) => return Poll::Ready(None),
                Some(End::Broken) => return Poll::Ready(Some(Err(BrokeOff))),
                None => {
                    state.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use http_body_util::BodyExt;
    use spillway_protocol::local::{Code, Level};
    use spillway_protocol::message::StreamId;
    use spillway_protocol::record::{LaneName, MessageKey, RecordId};

    fn receipt(seq: u64, id: &str, key: &str) -> Receipt {
        Receipt {
            id: RecordId::parse(id).unwrap(),
            key: MessageKey::parse(key).unwrap(),
            lane: LaneName::parse("critical").unwrap(),
            stream: StreamId(0),
            seq,
            level: Level::Disk,
            duplicate: seq.is_multiple_of(2),
        }
    }

    async fn read_all(body: AnswerBody) -> String {
        let bytes = body.collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn answers_come_out_as_they_went_in() {
        let budget = Budget::new(1 << 20);
        let (writer, body) = channel(&budget, 1 << 20);
        let mut expected = String::new();
        for seq in 1..500 {
            let id = match seq % 3 {
                0 => uuid::Uuid::from_u128(u128::from(seq)).to_string(),
                // Not as we write a UUID: must come back as it is.
                1 => uuid::Uuid::from_u128(u128::from(seq)).to_string().replace('-', ""),
                _ => format!("id-{seq}"),
            };
            let receipt = receipt(seq, &id, if seq % 5 == 0 { "other" } else { &id });
            expected += &(receipt.to_json() + "\n");
            writer.put(Ok(receipt));
        }
        let refusal = Refusal::of("id", Code::IdReused, "used");
        writer.put(Err(refusal.clone()));
        expected += &(refusal.to_json() + "\n");
        writer.finish();
        assert_eq!(read_all(body).await, expected);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[tokio::test]
    async fn a_million_equal_refusals_need_no_memory_and_are_all_told() {
        let budget = Budget::new(1 << 20);
        let (writer, body) = channel(&budget, 1 << 20);
        let refusal = Refusal::new(Code::Overloaded, "x");
        for _ in 0..1_000_000 {
            writer.refuse(refusal.clone(), 1);
        }
        assert_eq!(budget.used_bytes(), 0);
        writer.finish();
        assert_eq!(read_all(body).await.lines().count(), 1_000_000);
    }

    #[test]
    fn an_answer_is_small_and_room_ends() {
        let budget = Budget::new(1 << 20);
        let (writer, _body) = channel(&budget, 64 * 1024);
        let mut count = 0;
        while writer.has_room(1) {
            count += 1;
            let id = uuid::Uuid::from_u128(count).to_string();
            writer.put(Ok(receipt(1, &id, &id)));
        }
        assert!(count > 1_500, "{count}");
        assert!(budget.used_bytes() <= 64 * 1024);
    }

    #[tokio::test]
    async fn an_answer_is_there_at_once_and_a_lost_writer_is_an_error() {
        let budget = Budget::new(1 << 20);
        let (writer, mut body) = channel(&budget, 1 << 20);
        assert!(body.frame().now_or_never().is_none());
        writer.put(Ok(receipt(1, "a", "a")));
        assert!(body.frame().await.unwrap().unwrap().is_data());
        drop(writer);
        assert!(body.frame().await.unwrap().is_err());
    }
}
