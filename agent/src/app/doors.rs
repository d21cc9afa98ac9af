//! All that the agent listens on, opened at its start before anything else: what is in the way there
//! is the clearest sign of another agent.

use tokio::net::{TcpListener, UnixListener};

use super::{StartError, admin, front, listen_http};
use crate::config::Listen;
use crate::intake::socket::{self, SocketFile};
use crate::service::Handed;

/// See the module.
pub(super) struct Doors {
    pub(super) intake: UnixListener,
    pub(super) control: UnixListener,
    pub(super) http: Option<TcpListener>,
    pub(super) front: Option<TcpListener>,
    pub(super) admin: Option<TcpListener>,
    /// Those that are the agent's own are removed when this is dropped.
    pub(super) files: [Option<SocketFile>; 2],
}

impl Doors {
    /// Takes the sockets that the service manager has `handed` over, else opens those that are
    /// configured.
    pub(super) async fn open(listen: &Listen, handed: Handed) -> Result<Self, StartError> {
        let (intake, file) = socket::open(handed.intake, &listen.socket, listen.mode).await?;
        let http = listen_http::bind(listen.http.as_ref(), handed.http).await?;
        let front = front::bind(listen.mq_http.as_ref()).await?;
        let admin = admin::bind(listen.admin.as_ref()).await?;
        let (control, control_file) = socket::open(handed.control, &listen.control, 0o600).await?;
        Ok(Self { intake, control, http, front, admin, files: [file, control_file] })
    }
}
