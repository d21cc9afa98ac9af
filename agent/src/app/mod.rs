//! The agent as a whole: the one place that knows all parts and how they hang together.
//!
//! `lower` is what stays when the configuration changes, `upper` what is ended and begun anew;
//! `core` holds both, `change` leads from one configuration to another, `reload` is why.

mod accepted;
mod access;
mod admin;
mod attended;
mod began;
mod beside;
mod budget;
mod centre;
mod certificates;
mod change;
mod choice;
mod core;
mod doors;
mod entrance;
mod far;
mod front;
mod inquiry;
mod keys;
mod limits;
mod listen_http;
mod lower;
mod meter;
mod network;
mod own;
mod pace;
mod reload;
mod report;
mod standing;
mod start;
mod storage;
mod task;
mod upper;
mod written;

use std::sync::Arc;
use std::time::Duration;

use spillway_protocol::record::RecordId;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::control::reload::Wish;
use crate::control::{self, Desk};
use crate::drain;
use crate::intake::{self, socket::SocketFile};
use crate::known_time::KnownTime;
use crate::open_files::OpenFiles;
use crate::queue::OpenError;
pub use accepted::last_accepted;
pub use centre::probe as probe_centre;
pub use choice::Choice;
pub use far::{UpstreamError, upstream};
pub use inquiry::{last_active, stopped_desk};
use lower::Lower;
use reload::Reloader;
pub use storage::{inspect_queue, keys, open_queue, open_queue_to_commit};

/// Time that requests in flight get when the agent stops.
const GRACE: Duration = Duration::from_secs(10);
/// How often the newest time that was learned is written down.
const REMEMBER_EVERY: Duration = Duration::from_secs(600);
/// The same while nothing is taken in or sent: an idle agent leaves the disk alone.
const REMEMBER_IDLE: Duration = Duration::from_secs(6 * 3600);

/// Why the agent cannot start. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The queue.
    #[error(transparent)]
    Queue(#[from] OpenError),
    /// The way to RocketMQ.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A socket.
    #[error(transparent)]
    Socket(#[from] intake::socket::BindError),
    /// The intake over TCP.
    #[error(transparent)]
    ListenHttp(#[from] listen_http::BindError),
    /// The MQ HTTP front.
    #[error(transparent)]
    Front(#[from] front::BindError),
    /// The admin address.
    #[error(transparent)]
    Admin(#[from] admin::BindError),
    /// The way to the centre.
    #[error(transparent)]
    Centre(#[from] centre::ClientError),
}

/// A running agent.
pub struct Agent {
    lower: Arc<Lower>,
    reloader: Reloader,
    servers: Vec<JoinHandle<()>>,
    /// The queue cannot be opened any more.
    lost: CancellationToken,
    /// Those that are the agent's own are removed when it is gone.
    _sockets: [Option<SocketFile>; 2],
}

impl Agent {
    /// The same as `GET /v1/status`.
    pub fn status(&self) -> spillway_protocol::local::status::Status {
        self.lower.report.status()
    }

    /// Takes the configuration's file as it is now; what is wrong with it is logged and shown.
    pub async fn reload(&self) {
        tracing::info!("asked to read the configuration again");
        let reloader = self.reloader.clone();
        // It is not broken off where whoever waits for it is told to stop.
        let reloading = tokio::spawn(async move { reloader.reload(Wish::default()).await });
        match reloading.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "the configuration is not read again"),
            Err(error) => tracing::error!(%error, "the reload failed"),
        }
    }

    /// Waits until the drain has failed, which it never should, or the queue is lost: without them
    /// nothing leaves or is stored.
    pub async fn failed(&self) {
        let drain = async {
            if self.lower.drain.ended().await == drain::Ended::Stopped {
                std::future::pending().await
            }
        };
        tokio::select! {
            biased;
            () = self.lost.cancelled() => {}
            () = drain => {}
        }
    }

    /// Refuses new records, lets what is under way finish within a grace time, and syncs.
    pub async fn stop(self) {
        let lower = self.lower;
        lower.stop.cancel();
        let mut core = match self.reloader.core.try_lock() {
            Ok(core) => core,
            // What another configuration waits for need not take as long.
            Err(_) => {
                lower.drain.halt(GRACE).await;
                self.reloader.core.lock().await
            }
        };
        core.stop(GRACE).await;
        for mut server in self.servers {
            match timeout(GRACE, &mut server).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a part of the agent had ended before"),
                // A client that never ends its request must not keep the queue from closing.
                Err(_) => server.abort(),
            }
        }
        if let Some(admin) = core.upper.admin.take() {
            admin.stop().await;
        }
        let budget_file = core.upper.budget_file.clone();
        let (queue, stored) = (lower.queue.clone(), lower.drain.count());
        let close = move || {
            budget_file.save(&stored);
            queue.close();
        };
        if tokio::task::spawn_blocking(close).await.is_err() {
            tracing::error!("the queue could not be closed; what was acknowledged is safe");
        }
    }
}

/// Ids in the order of time, so that they compress and sort well.
fn fresh_id() -> RecordId {
    RecordId::from(Uuid::now_v7())
}

/// Writes down what time it was, as it is learned; seldom while the queue, whose changes are
/// `changed`, rests.
async fn remember(
    mut known: KnownTime,
    mut changed: watch::Receiver<u64>,
    stop: CancellationToken,
) {
    loop {
        let ended = timeout(REMEMBER_EVERY, stop.cancelled()).await.is_ok();
        let busy = changed.has_changed().unwrap_or(true);
        changed.mark_unchanged();
        let slack = if busy || ended { Duration::ZERO } else { REMEMBER_IDLE };
        let write = move || {
            known.save(slack);
            known
        };
        match tokio::task::spawn_blocking(write).await {
            Ok(written) if !ended => known = written,
            _ => return,
        }
    }
}

/// `part`; however it ends, `_ended` is dropped then.
async fn until_ended(part: impl Future<Output = ()>, _ended: DropGuard) {
    part.await;
}

async fn serve_desk(
    listener: tokio::net::UnixListener,
    files: OpenFiles,
    desk: Desk,
    stop: CancellationToken,
) {
    let stopped = async move { stop.cancelled().await };
    if let Err(error) = control::serve(listener, files, desk, stopped).await {
        tracing::error!(%error, "the control socket ended");
    }
}
