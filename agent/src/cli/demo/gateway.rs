//! The agent of the demo: this same binary, in a process of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use spillway_protocol::local::status::{Lane, LinkState, Status};
use tokio::time::{Instant, sleep};

use super::{ACCESS_KEY, SECRET, TOPIC};
use crate::cli::client::Client;
use crate::cli::{Exit, Failure};

/// How long any step may take.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// The process and its files.
pub(super) struct Gateway {
    folder: PathBuf,
    socket: PathBuf,
    process: Option<Child>,
}

impl Gateway {
    /// A gateway that keeps everything in `folder` and sends to the broker at `broker`.
    pub(super) fn new(folder: &Path, broker: SocketAddr) -> Result<Self, Failure> {
        let socket = folder.join("spillway.sock");
        let secret = folder.join("secret");
        let config = format!(
            r#"[gateway]
id = "ship-7"
data_dir = "{folder}/queue"
[listen]
socket = "{socket}"
[upstream]
transport = "http"
endpoint = "http://{broker}"
access_key_id = "{ACCESS_KEY}"
access_key_secret = {{ file = "{secret}" }}
[[lane]]
name = "readings"
topic = "{TOPIC}"
order = "key"
[drain]
adaptive = false
reconnect_spread = "500ms"
[backoff]
initial = "200ms"
max = "1s"
"#,
            folder = folder.display(),
            socket = socket.display(),
            secret = secret.display(),
        );
        std::fs::write(&secret, SECRET).map_err(failed)?;
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .map_err(failed)?;
        std::fs::write(folder.join("spillway.toml"), config).map_err(failed)?;
        Ok(Self { folder: folder.to_owned(), socket, process: None })
    }

    /// The intake socket.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Starts the agent and waits until it answers.
    pub(super) async fn start(&mut self) -> Result<(), Failure> {
        let log = File::options().create(true).append(true).open(self.folder.join("agent.log"));
        let child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(["run", "--config"])
            .arg(self.folder.join("spillway.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        self.process = Some(child);
        self.until("the agent answers", |_, _| true).await.map(drop)
    }

    /// Waits until the lane (and whether the link is down) are as `wanted`; returns how many
    /// readings were accepted, delivered and wait.
    pub(super) async fn until(
        &mut self,
        what: &str,
        wanted: impl Fn(&Lane, bool) -> bool,
    ) -> Result<(u64, u64, u64), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(status) = self.status().await
                && let Some(lane) = status.lanes.first()
                && wanted(
                    lane,
                    matches!(status.link.state, LinkState::Offline | LinkState::Probing),
                )
            {
                return Ok((lane.accepted, lane.delivered, lane.waiting));
            }
            sleep(POLL).await;
        }
        let log = std::fs::read_to_string(self.folder.join("agent.log")).unwrap_or_default();
        let seconds = PATIENCE.as_secs();
        let message = format!("waited {seconds} s in vain until {what}; the agent's log:\n{log}");
        Err(Failure::new(Exit::Failed, message))
    }

    async fn status(&self) -> Result<Status, Failure> {
        Client::connect(&self.socket, "--socket").await?.get("/v1/status").await?.json()
    }

    /// SIGKILL: no chance to save anything.
    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.kill().and_then(|()| process.wait()).map(drop).map_err(failed)
    }

    /// SIGTERM, as systemd stops it.
    pub(super) async fn stop(&mut self) -> Result<(), Failure> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let pid = process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().map_err(failed)?;
        let ended = tokio::task::spawn_blocking(move || process.wait()).await;
        ended.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?.map_err(failed)?;
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

fn failed(error: std::io::Error) -> Failure {
    Failure::new(Exit::TryAgain, format!("the demo's agent cannot be run: {error}"))
}
