//! The admin listener that the configuration describes, and how the agent looks from there.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{StatVfsMountFlags, statvfs};
use spillway_protocol::local::status::Status;
use spillway_protocol::record::LaneName;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::report::Report;
use crate::admin::{self, Guard, Letters, Observed};
use crate::config;
use crate::intake::Intake;
use crate::open_files::OpenFiles;

/// The admin address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "[listen.admin]: cannot listen on {address}: {source}; choose another port, or an address of this machine"
)]
pub struct BindError {
    /// The address.
    address: SocketAddr,
    /// What the system says.
    source: std::io::Error,
}

/// Listens, if the configuration asks for it.
pub(super) async fn bind(
    settings: Option<&config::Admin>,
) -> Result<Option<TcpListener>, BindError> {
    let Some(&config::Admin { address, .. }) = settings else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await;
    listener.map(Some).map_err(|source| BindError { address, source })
}

/// The agent as seen from outside.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) report: Arc<Report>,
    intake: Intake,
    data_dir: PathBuf,
    /// The agent stops.
    pub(super) stop: CancellationToken,
    /// The intake has ended, as it should or not.
    pub(super) intake_ended: CancellationToken,
}

impl Seen {
    /// An agent with these.
    pub(super) fn new(
        report: &Arc<Report>,
        (intake, data_dir): (&Intake, &Path),
        stop: &CancellationToken,
        intake_ended: &CancellationToken,
    ) -> Self {
        let (stop, intake_ended) = (stop.clone(), intake_ended.clone());
        Self {
            report: report.clone(),
            intake: intake.clone(),
            data_dir: data_dir.to_owned(),
            stop,
            intake_ended,
        }
    }
}

impl Observed for Seen {
    fn status(&self) -> Status {
        self.report.status()
    }

    fn letters(&self) -> Vec<Letters> {
        self.report.letters()
    }

    fn stuck(&self) -> Option<String> {
        // From the stop on nobody counts any more.
        if let Some(silent) = self.report.silent().filter(|_| !self.stop.is_cancelled()) {
            let silent_s = silent.as_secs();
            return Some(format!("the queue's accounts have not been read for {silent_s} s"));
        }
        if let Some((lane, time)) = self.report.stalled() {
            return Some(stalled(&lane, time));
        }
        if let Some(time) = self.report.unkept() {
            return Some(format!("the queue's state has not been saved for {} s", time.as_secs()));
        }
        let time = self.report.unsent()?;
        Some(format!("what is to be sent has not been decided for {} s", time.as_secs()))
    }

    fn accepts(&self) -> bool {
        !self.stop.is_cancelled() && !self.intake_ended.is_cancelled()
    }

    fn refuses(&self) -> Option<String> {
        if self.stop.is_cancelled() {
            return Some("the agent is stopping".to_owned());
        }
        if self.intake_ended.is_cancelled() {
            return Some("the intake has ended; the log says why".to_owned());
        }
        if self.intake.is_full() {
            return Some("all connections to the socket are taken".to_owned());
        }
        if let Some((lane, time)) = self.report.stalled() {
            return Some(stalled(&lane, time));
        }
        read_only(&self.data_dir).or_else(|| self.report.closed())
    }
}

fn read_only(folder: &Path) -> Option<String> {
    let flags = statvfs(folder).ok()?.f_flag;
    let read_only = flags.contains(StatVfsMountFlags::RDONLY);
    read_only.then(|| format!("the file system of {} is mounted read-only", folder.display()))
}

fn stalled(lane: &LaneName, time: Duration) -> String {
    format!("records of lane {lane} have waited for the disk for {} s", time.as_secs())
}

/// A running listener. It outlives the other parts at the stop, to say that they stop.
pub(super) struct Admin {
    pub(super) settings: config::Admin,
    /// The same address, for a listener that follows this one.
    twin: Option<OwnedFd>,
    server: JoinHandle<()>,
    stop: CancellationToken,
}

impl Admin {
    /// Serves what `listener` brings.
    pub(super) fn start(
        listener: TcpListener,
        settings: &config::Admin,
        seen: Seen,
        files: OpenFiles,
    ) -> Self {
        let twin = listener.as_fd().try_clone_to_owned().ok();
        let config::Admin { address, token, hosts } = settings;
        let token = token.as_ref().map(config::Secret::reveal);
        let guard = Guard::new(*address, hosts.clone(), token);
        let stop = CancellationToken::new();
        let server =
            tokio::spawn(admin::serve(listener, guard, Arc::new(seen), files, stop.clone()));
        Self { settings: settings.clone(), twin, server, stop }
    }

    /// A listener on the same address, where `settings` have the same.
    pub(super) fn twin(&self, settings: &config::Admin) -> Option<TcpListener> {
        let twin = self.twin.as_ref().filter(|_| settings.address == self.settings.address)?;
        TcpListener::from_std(twin.try_clone().ok()?.into()).ok()
    }

    /// Closes the address once what is under way is answered, within the listener's grace.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.server.await {
            tracing::error!(%error, "the admin listener had ended before");
        }
    }
}
