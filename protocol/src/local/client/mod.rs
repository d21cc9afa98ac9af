//! The async client of the binary dialect.
//!
//! [`Client::submit`] queues a record and returns at once, up to a window; [`Pending`] resolves when
//! the agent has answered, and says "stored" only then. Every record gets an id (UUIDv7) if the app
//! gave none; when the connection breaks, the client connects again, backing off with full jitter,
//! and sends what was not answered again **with the same id**, in order, so that the agent knows
//! the repeats. Such a receipt says `duplicate` if the first attempt had been stored.
//!
//! Records are sent in the order of the calls. A record that is refused does not stop the next
//! ones: an app whose order must survive refusals waits for each answer of an order key.
//!
//! [`Client::connect`] asks once, and fails where no agent answers: for tools, and apps that want to know.
//! An app that may start before the agent, as after a boot, takes [`Client::lazy`], which goes on trying.

mod backlog;
mod backoff;
mod connection;
mod driver;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::backlog::{Backlog, Item};
use self::backoff::Backoff;
use self::connection::Connection;
use self::driver::Driver;
use super::frame::{self, Append, ToAgent};
use super::{Code, Level, Receipt, Refusal, Request};
use crate::record::Draft;

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// When records are answered. Those that ask for [`Level::Broker`] wait 30 s at most: then
    /// their receipts say what was reached. `answer_max` has to be longer.
    pub level: Level,
    /// Most records without an answer, at least 1.
    pub window: u32,
    /// Most bytes of frames without an answer; a larger single frame still goes, alone.
    pub window_bytes: u32,
    /// Take refusals that ask for a retry (429, 503, 507) as "later": wait and send again.
    pub wait_when_busy: bool,
    /// Bound of the first wait before a new connection.
    pub backoff_initial: Duration,
    /// Bound of every wait before a new connection.
    pub backoff_max: Duration,
    /// Silence, while records wait for answers, after which the connection counts as broken.
    pub answer_max: Duration,
    /// Seed of the jitter; drawn from the system where there is none.
    pub seed: Option<u64>,
    /// The app's name, for the agent's log.
    pub name: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            level: Level::Disk,
            window: 256,
            window_bytes: 8 * 1024 * 1024,
            wait_when_busy: false,
            backoff_initial: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
            answer_max: Duration::from_secs(60),
            seed: None,
            name: "spillway-protocol".to_owned(),
        }
    }
}

/// Why the agent could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there.
    #[error("{path}: {source}; is the agent running, and may this user write to its socket?")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The connection ended before the agent said hello.
    #[error("{path}: the agent did not say hello: {reason}")]
    NoHello {
        /// The socket.
        path: PathBuf,
        /// What was seen instead.
        reason: String,
    },
    /// The agent is there, but takes no client now, or not this version of it.
    #[error("{path}: {refusal}")]
    Refused {
        /// The socket.
        path: PathBuf,
        /// The agent's words.
        refusal: Refusal,
    },
}

/// Why a record has no receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The agent refused it. [`Refusal::retry_after_s`] says when to try again, if that helps.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The agent that came back speaks no version of this client's. The record may be stored.
    #[error("the agent no longer speaks this client's version, so the outcome is unknown: {0}")]
    Incompatible(Refusal),
    /// The client's task ended (its runtime is going down). The record may be stored.
    #[error("the client ended before the answer came; send the record again with the same id")]
    Gone,
}

/// A connection to the agent that mends itself. Cheap to clone; clones share the window.
#[derive(Debug, Clone)]
pub struct Client {
    commands: mpsc::UnboundedSender<(u64, Item)>,
    next: Arc<AtomicU64>,
    records: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    bytes_max: u32,
    level: Level,
}

/// The answer to come. Dropping it does not take the record back.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<Receipt, AppendError>>);

impl Future for Pending {
    type Output = Result<Receipt, AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(AppendError::Gone)))
    }
}

impl Client {
    /// Connects to the agent's socket, with the default options.
    ///
    /// # Errors
    /// As of [`Client::connect_with`]. An app that may start before the agent takes [`Client::lazy`].
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::connect_with(path, Options::default()).await
    }

    /// Connects with `options`. Only this first connection is tried once: one that is lost later mends
    /// itself.
    ///
    /// # Errors
    /// The agent cannot be reached now, does not answer within 10 s, or refuses this client.
    pub async fn connect_with(
        path: impl AsRef<Path>,
        options: Options,
    ) -> Result<Self, ConnectError> {
        let first = Connection::open(path.as_ref(), &options).await?;
        Ok(Self::start(path.as_ref(), options, Some(first)))
    }

    /// A client that connects when the agent comes up, however late: it tries as after a lost connection,
    /// and records wait in its window, in memory, until then. Why it could not connect is logged at
    /// `debug`; an app that wants to give up bounds its wait for the answer. Must be called within a
    /// tokio runtime.
    pub fn lazy(path: impl AsRef<Path>, options: Options) -> Self {
        Self::start(path.as_ref(), options, None)
    }

    fn start(path: &Path, options: Options, first: Option<Connection>) -> Self {
        let (commands, inbox) = mpsc::unbounded_channel();
        let bytes_max = options.window_bytes.max(1);
        let client = Self {
            commands,
            next: Arc::new(AtomicU64::new(1)),
            records: Arc::new(Semaphore::new(options.window.max(1) as usize)),
            bytes: Arc::new(Semaphore::new(bytes_max as usize)),
            bytes_max,
            level: options.level,
        };
        let backoff = Backoff::new(&options);
        let driver = Driver::new(path.to_owned(), options, backoff, Backlog::default(), inbox);
        tokio::spawn(driver.run(first));
        client
    }

    /// Stores one record and waits for the answer. `lane`: the default lane where there is none.
    pub async fn append(&self, draft: Draft, lane: Option<&str>) -> Result<Receipt, AppendError> {
        self.submit(draft, lane).await?.await
    }

    /// Waits for room in the window, queues the record, and returns the answer to come.
    pub async fn submit(&self, draft: Draft, lane: Option<&str>) -> Result<Pending, AppendError> {
        let correlation = self.next.fetch_add(1, Ordering::Relaxed);
        let frame = encode(correlation, draft, lane, self.level)?;
        let cost = u32::try_from(frame.len()).map_or(self.bytes_max, |n| n.min(self.bytes_max));
        let room = (
            Arc::clone(&self.records).acquire_owned().await,
            Arc::clone(&self.bytes).acquire_many_owned(cost).await,
        );
        let (Ok(record), Ok(bytes)) = room else {
            return Err(AppendError::Gone);
        };
        let (reply, answer) = oneshot::channel();
        let item = Item::new(frame, reply, (record, bytes));
        self.commands.send((correlation, item)).map_err(|_| AppendError::Gone)?;
        Ok(Pending(answer))
    }
}

fn encode(
    correlation: u64,
    mut draft: Draft,
    lane: Option<&str>,
    level: Level,
) -> Result<Bytes, Refusal> {
    draft.id.get_or_insert_with(|| uuid::Uuid::now_v7().to_string());
    let request = Request { draft, lane: lane.map(str::to_owned), level };
    let message = ToAgent::Append(Append::new(correlation, request));
    let mut out = Vec::new();
    frame::put(frame::VERSION, &message, &mut out)
        .map_err(|error| Refusal::of("body", Code::TooLarge, format!("does not fit: {error}")))?;
    Ok(out.into())
}

#[cfg(test)]
mod tests;
