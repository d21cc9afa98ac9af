//! Binary frames on one connection: hello, then appends, answered in the order in which they are
//! stored. A client that does not read its answers is not read from either.

mod hello;

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use spillway_protocol::local::frame::{
    self, CORRELATION_BYTES, FrameError, LENGTH_BYTES, ToAgent, ToClient, VERSION,
};
use spillway_protocol::local::{Code, Level, Receipt, Refusal, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::hello::hello;
pub(super) use self::hello::turned_away;
use super::Intake;
use super::admission::{Held, overloaded};
use super::seats::{Pulse, Seat};
use super::verdict::{Proven, cost, stalled, stopping, verdict};
use super::wire::Wire;
use crate::queue::{Answered, Answers, Tag};

/// Most appends of one connection that wait for their answers; beyond it the client is not read from.
const PENDING_MAX: usize = 4096;
/// Answers that wait for the client, in bytes; beyond it the client is not read from.
const OUT_BYTES: usize = 128 * 1024;
/// Read at a time, and counted with the connection.
const IN_BYTES: usize = 16 * 1024;

type Answer = (u64, Result<Receipt, Refusal>);

/// Serves one connection until the client goes, or the agent stops; whether it ended as it should.
pub(super) async fn serve(
    mut wire: Wire,
    intake: Intake,
    seat: &Seat,
    stop: CancellationToken,
) -> bool {
    let pause_max = intake.options.pause_max;
    let greeted = tokio::select! {
        biased;
        greeted = timeout(pause_max, hello(&mut wire)) => greeted,
        // Somebody else has the place, and nothing was asked here yet.
        () = seat.leave.cancelled() => return false,
    };
    let ended = match greeted {
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        Ok(Err(error)) => Err(error),
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some(inbox))) => Session::new(intake, stop, inbox).run(&mut wire, seat).await,
    };
    let closed = ended.and(wire.shutdown().await);
    if let Err(error) = &closed {
        tracing::debug!(%error, "a binary connection broke off");
    }
    closed.is_ok()
}

/// It had rested for longer than any other of its user.
fn replaced() -> Refusal {
    let message = "the connections are used up, and this one made room for another user's";
    Refusal::new(Code::Overloaded, message)
}

fn broken(error: &FrameError) -> Refusal {
    let code = match error {
        FrameError::TooLong { .. } => Code::TooLarge,
        _ => Code::Malformed,
    };
    Refusal::new(code, error.to_string())
}

struct Session {
    intake: Intake,
    stop: CancellationToken,
    inbox: BytesMut,
    out: Vec<u8>,
    /// Bytes of `out` that the client has.
    sent: usize,
    /// Answers of appends that wait for the disk, how many those are, and what they cost meanwhile.
    storing: Answers,
    waiting: usize,
    held: Held,
    /// Appends that wait for RocketMQ.
    reaching: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// For the frame under way.
    frame_held: Option<Held>,
    /// Bytes of a refused frame that are still to come.
    skip: usize,
    /// No more is read: the client has said all, or broke the rules.
    deaf: bool,
    /// Why the agent ends the connection.
    last_word: Option<Refusal>,
    /// The client went in the midst of a frame, or had to be told to go.
    cut: bool,
    /// Nothing is under way.
    rests: bool,
    /// Last time something came in, or a record was stored.
    heard: Instant,
    stored: Instant,
    /// From when on the frame under way has been coming in.
    begun: Instant,
}

impl Session {
    fn new(intake: Intake, stop: CancellationToken, inbox: BytesMut) -> Self {
        Self {
            held: intake.budget.empty(),
            intake,
            stop,
            inbox,
            out: Vec::new(),
            sent: 0,
            last_word: None,
            cut: false,
            storing: Answers::default(),
            waiting: 0,
            reaching: FuturesUnordered::new(),
            frame_held: None,
            skip: 0,
            deaf: false,
            // Until the first look, so that an append behind the hello is news.
            rests: true,
            heard: Instant::now(),
            stored: Instant::now(),
            begun: Instant::now(),
        }
    }

    async fn run(mut self, wire: &mut Wire, seat: &Seat) -> io::Result<()> {
        let (mut reader, mut writer) = tokio::io::split(wire);
        self.take_frames();
        while !self.is_done() {
            self.inbox.reserve(IN_BYTES);
            let (waiting, reaching) = (self.waiting > 0, self.reaching.len());
            let pending = self.waiting + reaching;
            let wanted = !self.deaf && pending < PENDING_MAX && self.out.len() < OUT_BYTES;
            let part = wanted && (!self.inbox.is_empty() || self.skip > 0);
            let due = self.due();
            let rests = pending == 0 && !part && self.out.is_empty();
            self.show(&seat.pulse, rests);
            tokio::select! {
                biased;
                answers = self.storing.next(), if waiting => self.settle(answers),
                Some(answer) = self.reaching.next(), if reaching > 0 => self.answer(answer),
                read = reader.read_buf(&mut self.inbox), if wanted => match read? {
                    0 => {
                        self.cut = part;
                        self.deaf = true;
                    }
                    _ => {
                        self.heard = Instant::now();
                        self.take_frames();
                    }
                },
                written = writer.write(&self.out[self.sent..]), if !self.out.is_empty() => {
                    self.sent(written?);
                }
                () = self.stop.cancelled(), if !self.deaf => self.bye(stopping()),
                () = seat.leave.cancelled(), if !self.deaf => self.bye(replaced()),
                () = sleep_until(due), if part => {
                    self.bye(Refusal::new(Code::Timeout, "a frame stopped coming"));
                }
                () = sleep_until(self.stored + self.intake.options.commit_max), if waiting => {
                    self.give_up();
                    self.bye(stalled());
                }
            }
            // The first byte of a frame came in, if any did.
            if !part {
                self.begun = Instant::now();
            }
        }
        match self.cut {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(()),
        }
    }

    /// Until when the rest of the frame under way is waited for, or more of it, as for a body over HTTP.
    fn due(&self) -> Instant {
        let options = &self.intake.options;
        (self.heard + options.pause_max).min(self.begun + options.body_max)
    }

    /// Tells `pulse` whether it rests, when that changes.
    fn show(&mut self, pulse: &Pulse, rests: bool) {
        if rests == self.rests {
            return;
        }
        self.rests = rests;
        match rests {
            true => pulse.rest(),
            false => pulse.work(),
        }
    }

    /// Whether everything is said; the last word goes behind the last answer.
    fn is_done(&mut self) -> bool {
        if self.deaf && self.waiting == 0 && self.reaching.is_empty() {
            if let Some(refusal) = self.last_word.take() {
                self.put(&ToClient::Bye(refusal));
            }
            return self.out.is_empty();
        }
        false
    }

    fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
    }

    /// Takes every whole frame off the inbox.
    fn take_frames(&mut self) {
        while !self.deaf {
            let skipped = self.skip.min(self.inbox.len());
            self.inbox.advance(skipped);
            self.skip -= skipped;
            if self.skip > 0 {
                return;
            }
            match frame::take(&mut self.inbox) {
                Err(error) => self.bye(broken(&error)),
                Ok(Some(content)) => {
                    self.frame_held = None;
                    self.begun = Instant::now();
                    self.message(&content);
                }
                Ok(None) if self.has_room() => return,
                Ok(None) => {
                    if !self.skip_frame() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the frame under way may grow to its length in memory.
    fn has_room(&mut self) -> bool {
        let Ok(Some(bytes)) = frame::length(&self.inbox) else {
            return true;
        };
        if bytes > IN_BYTES && self.frame_held.is_none() {
            self.frame_held = self.intake.budget.try_hold(bytes);
            return self.frame_held.is_some();
        }
        true
    }

    /// Refuses the frame under way and passes over it; false if its correlation is still to come.
    fn skip_frame(&mut self) -> bool {
        let Ok(Some(bytes)) = frame::length(&self.inbox) else {
            return false;
        };
        let beginning = &self.inbox[LENGTH_BYTES..];
        match frame::correlation(VERSION, beginning) {
            None if beginning.len() < CORRELATION_BYTES => return false,
            None => {
                let message = "a frame begins with no append";
                self.bye(Refusal::new(Code::Malformed, message));
            }
            Some(correlation) => {
                self.skip = LENGTH_BYTES + bytes;
                self.answer((correlation, Err(overloaded())));
            }
        }
        true
    }

    fn message(&mut self, content: &Bytes) {
        match frame::read(VERSION, content) {
            Err(error) => self.bye(broken(&error)),
            Ok(ToAgent::Append(append)) => {
                let (correlation, request) = append.into_request();
                if let Err(refusal) = self.append(correlation, request) {
                    self.answer((correlation, Err(refusal)));
                }
            }
        }
    }

    fn append(&mut self, correlation: u64, request: Request) -> Result<(), Refusal> {
        let proven = self.intake.prove(request)?;
        if proven.level == Level::Broker {
            let (storing, held) = self.intake.submit(proven)?;
            let reaching = self.intake.reach(storing, held, self.stop.clone());
            self.reaching.push(reaching.map(move |answer| (correlation, answer)).boxed());
            return Ok(());
        }
        let (before, bytes) = (self.held.bytes(), cost(&proven.record));
        if !self.held.try_resize(before + bytes) {
            return Err(overloaded());
        }
        self.intake.rights().charge().inspect_err(|_| self.held.resize(before))?;
        if self.waiting == 0 {
            self.stored = Instant::now();
        }
        self.waiting += 1;
        let Proven { lane, record, .. } = proven;
        let tag = Tag { correlation, bytes };
        self.intake.queue.submit_to(&lane.name, record, &self.storing, tag);
        Ok(())
    }

    /// Passes on what became of records that waited for the disk.
    fn settle(&mut self, answers: Vec<Answered>) {
        self.stored = Instant::now();
        self.waiting -= answers.len();
        let bytes: usize = answers.iter().map(|(tag, _)| tag.bytes).sum();
        self.held.resize(self.held.bytes() - bytes);
        for (Tag { correlation, .. }, answer) in answers {
            let receipt = self.intake.own_receipt(verdict(answer));
            self.answer((correlation, receipt));
        }
    }

    /// Waits no longer for the disk.
    fn give_up(&mut self) {
        (self.storing, self.waiting) = (Answers::default(), 0);
        self.held.resize(0);
    }

    fn answer(&mut self, (correlation, result): Answer) {
        let result = result.map(Into::into);
        self.put(&ToClient::Answer { correlation, result });
    }

    /// Reads no more, and says why once what is pending is answered.
    fn bye(&mut self, refusal: Refusal) {
        self.deaf = true;
        self.cut = true;
        self.last_word = Some(refusal);
    }

    fn put(&mut self, message: &ToClient) {
        if let Err(error) = frame::put(VERSION, message, &mut self.out) {
            // Texts and numbers: there is no reason for this. The client asks again elsewhere.
            tracing::error!(%error, "an answer could not be written");
            self.deaf = true;
        }
    }
}
