//! All that the agent listens on, opened at its start before anything else: what is in the way there
//! is the clearest sign of another agent.

use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{StartError, admin, front, listen_http};
use crate::clock::WallClock;
use crate::config::{Config, Listen};
use crate::intake::socket::{self, SocketFile};
use crate::intake::{self, Intake};
use crate::service::Handed;

/// See the module.
pub(super) struct Doors {
    pub(super) intake: UnixListener,
    pub(super) control: UnixListener,
    pub(super) tcp: TcpDoors,
    pub(super) admin: Option<TcpListener>,
    /// Those that are the agent's own are removed when this is dropped.
    pub(super) files: [Option<SocketFile>; 2],
}

/// Where records come in over TCP.
pub(super) struct TcpDoors {
    http: Option<TcpListener>,
    front: Option<TcpListener>,
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
        let tcp = TcpDoors { http, front };
        Ok(Self { intake, control, tcp, admin, files: [file, control_file] })
    }
}

impl TcpDoors {
    /// Serves them before `intake` until `stop`.
    pub(super) fn serve(
        self,
        config: &Config,
        intake: &Intake,
        clock: &Arc<dyn WallClock>,
        stop: &CancellationToken,
    ) -> Vec<JoinHandle<()>> {
        let http = self.http.zip(listen_http::before(config, intake));
        let http = http.map(|(door, http)| intake::serve_tcp(door, http, stop.clone()));
        let front = self.front.zip(front::before(config, intake, clock));
        let front = front.map(|(door, front)| intake::serve_mq_http(door, front, stop.clone()));
        http.map(tokio::spawn).into_iter().chain(front.map(tokio::spawn)).collect()
    }
}
