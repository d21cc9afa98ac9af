//! What the centre asks of this gateway (`[control]`): its page is pulled while the link is up,
//! and delivered records are sent again as it says.
//!
//! - `schedule`: when it is pulled
//! - `pull`: how: one small request, answered with little or with "unchanged"
//! - `book`: what of it is done, on disk: each request once, so many records a day
//! - `worker`: does it, in parts, so that what waits to be sent again stays little
//!
//! Nothing is done that the centre did not sign for this gateway.

mod board;
mod book;
mod probe;
mod pull;
mod schedule;
#[cfg(test)]
mod tests;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use spillway_protocol::control::{OpenError, Page, PublicKey};
use spillway_protocol::record::LaneName;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::WallClock;
use crate::config::Control;
use crate::drain::Connection;
use crate::logs::Repeated;
use crate::own::Answers;
use crate::queue::Queue;
use book::Old;
use pull::{PullError, Pulled, Puller};
use schedule::Schedule;
use worker::Worker;

pub use board::Board;
pub use probe::probe;
pub use pull::{BuildError, Client};

/// Who works for whom.
pub struct Means {
    /// This gateway's id.
    pub gateway: String,
    /// Where what is done is noted.
    pub data_dir: PathBuf,
    /// Whose records are sent again.
    pub queue: Queue,
    /// The lane of those.
    pub into: LaneName,
    /// Where answers go, if anywhere.
    pub answers: Option<Answers>,
    /// Whether the link is up.
    pub connection: watch::Receiver<Connection>,
    /// Where it is shown how it stands.
    pub board: Board,
    /// Wall time.
    pub clock: Arc<dyn WallClock>,
    /// Draws the jitter.
    pub seed: u64,
}

/// The centre's hand in this agent, at work.
pub struct Centre {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// A page is not for this gateway to work on.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error("nothing of what was pulled is done: {0}")]
    Open(#[from] OpenError),
    #[error(
        "nothing of what was pulled is done: it is the page of gateway {0:?}; see that [control] \
         url leads to this gateway's"
    )]
    Other(String),
    #[error("nothing of what was pulled is done: {0}")]
    Old(#[from] Old),
}

impl Centre {
    /// Starts it. Must be called within a tokio runtime.
    pub fn start(config: Control, client: Client, means: Means) -> Self {
        let stop = CancellationToken::new();
        let schedule = Schedule::new(config.every, means.connection.clone(), means.seed);
        let puller = Puller::new(client);
        let (gateway, board) = (means.gateway.clone(), means.board.clone());
        let worker = Worker::new(means, config.records_per_day, stop.clone());
        let key = config.public_key;
        let run =
            Run { schedule, puller, worker, key, gateway, board, faults: Repeated::default() };
        Self { task: tokio::spawn(run.run(stop.clone())), stop }
    }

    /// Ends it after the part that it is at. The queue must still run.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "what the centre asks had ended before");
        }
    }
}

struct Run {
    schedule: Schedule,
    puller: Puller,
    worker: Worker,
    key: PublicKey,
    gateway: String,
    board: Board,
    faults: Repeated,
}

impl Run {
    async fn run(mut self, stop: CancellationToken) {
        self.worker.load().await;
        loop {
            let pull = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.schedule.due() => true,
                () = self.worker.room() => false,
            };
            if !pull {
                self.worker.part().await;
                self.board.open(self.worker.open_count());
                continue;
            }
            let pulled = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                pulled = self.puller.pull() => pulled,
            };
            self.learn(pulled);
        }
    }

    fn learn(&mut self, pulled: Result<Pulled, PullError>) {
        let Err(error) = pulled.map_err(PageError::from).and_then(|pulled| self.take(pulled))
        else {
            self.board.pulled();
            self.board.open(self.worker.open_count());
            return self.schedule.pulled();
        };
        self.schedule.failed();
        let text = error.to_string();
        if let Some(times_before) = self.faults.note(&text, Instant::now()) {
            tracing::warn!(times_before, "the centre's page: {text}");
        }
        self.board.failed(text);
    }

    fn take(&mut self, pulled: Pulled) -> Result<(), PageError> {
        let Pulled::New { body, etag } = pulled else {
            return Ok(());
        };
        let page = judged(&self.key, &self.gateway, &body)?;
        self.worker.take(page)?;
        self.puller.keep(etag);
        Ok(())
    }
}

/// The page in `body`, if the centre made it for this gateway.
fn judged(key: &PublicKey, gateway: &str, body: &[u8]) -> Result<Page, PageError> {
    let page = key.open(body)?;
    match page.gateway == gateway {
        true => Ok(page),
        false => Err(PageError::Other(page.gateway)),
    }
}
