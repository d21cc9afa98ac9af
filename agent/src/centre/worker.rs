//! Does what the page asks, one part after the other.

use std::sync::Arc;
use std::time::Duration;

use spillway_protocol::control::{Answer, Page, Request};
use spillway_protocol::message::StreamId;
use spillway_protocol::record::LaneName;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Means;
use super::book::{Book, BookFile, Old};
use crate::clock::WallClock;
use crate::logs::Repeated;
use crate::own::Answers;
use crate::queue::{Queue, Resent, SettleError};

/// Numbers that are looked at in one go.
const PART: u64 = 32;
/// A part begins only when fewer copies wait to be sent.
const WAITING_MAX: u64 = 128;
/// Or fewer bytes of them.
const WAITING_BYTES_MAX: u64 = 16 << 20;
/// Between two looks at whether there is room.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Pause after the disk failed.
const RETRY: Duration = Duration::from_secs(5);
/// Parts without a record to send after which the book is saved.
const SAVE_EVERY: u32 = 32;

/// See the module.
pub(super) struct Worker {
    gateway: String,
    queue: Queue,
    into: LaneName,
    answers: Option<Answers>,
    clock: Arc<dyn WallClock>,
    per_day: u64,
    file: BookFile,
    book: Book,
    page: Option<Page>,
    /// Parts since the book was saved.
    unsaved: u32,
    /// It is to be saved before anything else.
    save_due: bool,
    /// Nothing is begun before: the disk failed.
    not_before: Option<Instant>,
    /// The day of which it was said that it has no records left.
    put_off: Option<u64>,
    faults: Repeated,
    stop: CancellationToken,
}

impl Worker {
    pub(super) fn new(means: Means, per_day: u64, stop: CancellationToken) -> Self {
        Self {
            gateway: means.gateway,
            queue: means.queue,
            into: means.into,
            answers: means.answers,
            clock: means.clock,
            per_day,
            file: BookFile::new(&means.data_dir),
            book: Book::default(),
            page: None,
            unsaved: 0,
            save_due: false,
            not_before: None,
            put_off: None,
            faults: Repeated::default(),
            stop,
        }
    }

    /// Reads what earlier lives have done.
    pub(super) async fn load(&mut self) {
        let file = self.file.clone();
        self.book = spawn_blocking(move || file.load()).await.unwrap_or_default();
    }

    /// Turns to a page.
    pub(super) fn take(&mut self, page: Page) -> Result<(), Old> {
        self.save_due |= self.book.turn(&page)?;
        self.page = Some(page);
        Ok(())
    }

    /// Resolves when a part can be done: one is open, few copies wait, and the day has records
    /// left. May be dropped and asked for again.
    pub(super) async fn room(&mut self) {
        if !self.save_due && self.open().is_none() {
            // Until another page comes.
            std::future::pending().await
        }
        while !self.has_room() {
            sleep(LOOK_EVERY).await;
        }
    }

    fn has_room(&mut self) -> bool {
        if self.not_before.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        let figures = self.queue.figures(&self.into).unwrap_or_default();
        let few = figures.accounts.waiting < WAITING_MAX && figures.live_bytes < WAITING_BYTES_MAX;
        let left = self.book.left_today(self.clock.now_ms(), self.per_day) > 0;
        if !left && self.put_off != Some(self.book.day()) {
            let bound = self.per_day;
            tracing::warn!(bound, "no more records are sent again today; the rest waits");
            self.put_off = Some(self.book.day());
        }
        self.save_due || (few && left)
    }

    fn open(&self) -> Option<Request> {
        self.page.as_ref().and_then(|page| self.book.open(page)).cloned()
    }

    /// How many requests of the page are not done.
    pub(super) fn open_count(&self) -> u64 {
        self.page.as_ref().map_or(0, |page| self.book.open_all(page).count() as u64)
    }

    /// Does the next part. Not to be dropped before it ends.
    pub(super) async fn part(&mut self) {
        if let Err(error) = self.step().await {
            self.not_before = Some(Instant::now() + RETRY);
            if let Some(times_before) = self.faults.note(&error, Instant::now()) {
                tracing::warn!(error, times_before, "what the centre asks is tried again");
            }
        }
    }

    async fn step(&mut self) -> Result<(), String> {
        if self.save_due {
            return self.save().await;
        }
        let Some(request) = self.open() else { return Ok(()) };
        if self.book.progress(&request).is_none_or(|progress| !progress.is_done()) {
            self.send(&request).await?;
        }
        // Before the answer: that may have to wait for the disk.
        if self.save_due {
            self.save().await?;
        }
        self.answer(&request).await
    }

    async fn send(&mut self, request: &Request) -> Result<(), String> {
        let now_ms = self.clock.now_ms();
        let most = PART.min(self.book.left_today(now_ms, self.per_day));
        let place = place(request).filter(|(lane, _)| *lane != self.into);
        let newest = place.as_ref().map_or(0, |(lane, stream)| self.newest(lane, *stream));
        let Some((from, to)) = self.book.part(request, newest, most) else {
            self.book.refuse(request);
            self.save_due = true;
            return Ok(());
        };
        let resent = match place {
            Some((lane, stream)) => self.resend(lane, stream, (from, to)).await?,
            None => Resent { unknown: vec![(from, to)], ..Resent::default() },
        };
        self.book.note(request, to, &resent, now_ms);
        self.unsaved += 1;
        self.save_due |= !resent.sent.is_empty() || self.unsaved >= SAVE_EVERY;
        Ok(())
    }

    async fn resend(
        &self,
        lane: LaneName,
        stream: StreamId,
        (from, to): (u64, u64),
    ) -> Result<Resent, String> {
        let (queue, into) = (self.queue.clone(), self.into.clone());
        let resend = move || queue.resend(&into, &lane, stream, from, to);
        let resent = spawn_blocking(resend).await.map_err(|error| error.to_string())?;
        resent.map_err(|error: SettleError| error.to_string())
    }

    fn newest(&self, lane: &LaneName, stream: StreamId) -> u64 {
        let numbers = self.queue.newest_numbers(lane);
        numbers.into_iter().find(|(known, _)| *known == stream).map_or(0, |(_, newest)| newest)
    }

    /// Tells what could not be sent, if it is time.
    async fn answer(&mut self, request: &Request) -> Result<(), String> {
        let Some(progress) = self.book.progress(request) else { return Ok(()) };
        let (done, sent) = (progress.is_done(), progress.sent);
        if progress.wants_answer() {
            let answer = Answer {
                gateway: self.gateway.clone(),
                request: request.id.clone(),
                lane: request.lane.clone(),
                stream: request.stream.clone(),
                sent,
                unsent: progress.unsent.clone(),
            };
            if let Some(answers) = &self.answers
                && !answers.send(&answer, &self.stop).await
            {
                // Stopped: the next life answers.
                return Ok(());
            }
            tracing::info!(request = request.id, unsent = ?answer.unsent, "cannot all be sent");
            self.book.answered(request);
            self.save_due = true;
        }
        if done {
            tracing::info!(request = request.id, sent, "done what the centre asked for");
            self.save_due = true;
        }
        Ok(())
    }

    async fn save(&mut self) -> Result<(), String> {
        let (file, book) = (self.file.clone(), self.book.clone());
        let saved = spawn_blocking(move || file.save(&book)).await;
        let saved = saved.map_err(|error| error.to_string())?;
        saved.map_err(|error| format!("what is done cannot be noted: {error}"))?;
        (self.save_due, self.unsaved) = (false, 0);
        Ok(())
    }
}

/// Lane and stream as asked for; `None` if they can be nobody's.
fn place(request: &Request) -> Option<(LaneName, StreamId)> {
    Some((LaneName::parse(request.lane.as_str()).ok()?, request.stream.parse().ok()?))
}
