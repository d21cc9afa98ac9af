//! All that the agent listens on, opened at its start before anything else: what is in the way there
//! is the clearest sign of another agent.

use std::os::fd::OwnedFd;

use tokio::net::{TcpListener, UnixListener};

use super::{StartError, admin, front, listen_http};
use crate::config::Listen;
use crate::intake::socket::{self, SocketFile};
use crate::service::Handed;

/// Sections whose address cannot be listened on, and why.
pub(super) type Faults = Vec<(&'static str, String)>;

/// See the module.
pub(super) struct Doors {
    pub(super) intake: UnixListener,
    pub(super) control: UnixListener,
    pub(super) http: Option<TcpListener>,
    /// The one that was passed for it: it is the service manager's for as long as the agent runs.
    pub(super) handed_http: Option<OwnedFd>,
    pub(super) front: Option<TcpListener>,
    pub(super) admin: Option<TcpListener>,
    /// Those that are the agent's own are removed when this is dropped.
    pub(super) files: [Option<SocketFile>; 2],
}

impl Doors {
    /// Takes the sockets that the service manager has `handed` over, else opens those that are
    /// configured. `resilient`: an address that cannot be listened on is left out and named.
    pub(super) async fn open(
        listen: &Listen,
        handed: Handed,
        resilient: bool,
    ) -> Result<(Self, Faults), StartError> {
        let mut faults = Vec::new();
        let (intake, file) = socket::open(handed.intake, &listen.socket, listen.mode).await?;
        let handed_http = handed.http;
        let twin = listen_http::twin(handed_http.as_ref());
        let http = listen_http::bind(listen.http.as_ref(), twin).await;
        let front = front::bind(listen.mq_http.as_ref()).await;
        let admin = admin::bind(listen.admin.as_ref()).await;
        let mut left_out = |section, error: StartError| match resilient {
            true => {
                faults.push((section, error.to_string()));
                Ok(None)
            }
            false => Err(error),
        };
        let http = http.or_else(|error| left_out("listen.http", error.into()))?;
        let front = front.or_else(|error| left_out("listen.mq_http", error.into()))?;
        let admin = admin.or_else(|error| left_out("listen.admin", error.into()))?;
        let (control, control_file) = socket::open(handed.control, &listen.control, 0o600).await?;
        let files = [file, control_file];
        Ok((Self { intake, control, http, handed_http, front, admin, files }, faults))
    }
}
