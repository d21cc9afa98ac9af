//! The intake over TCP that the configuration describes.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::sockopt;
use tokio::net::TcpListener;

use super::task::Task;
use crate::config::{ListenHttp, Secret};
use crate::intake::{self, Intake, Tcp};

/// Nobody can be listened to there.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken or not this machine's.
    #[error("[listen.http]: cannot listen on {address}: {source}; choose another port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The service manager passed something else.
    #[error(
        "[listen.http]: the service manager passed no listening TCP socket of this machine alone; give its socket unit ListenStream={address}"
    )]
    NotLoopback {
        /// The address that was to be.
        address: SocketAddr,
    },
}

/// Takes the socket that the service manager passed, or listens, if the configuration asks for it.
pub(super) async fn bind(
    settings: Option<&ListenHttp>,
    handed: Option<OwnedFd>,
) -> Result<Option<TcpListener>, BindError> {
    let Some(&ListenHttp { address, .. }) = settings else {
        return Ok(None);
    };
    match handed {
        Some(handed) => take(handed).map(Some).ok_or(BindError::NotLoopback { address }),
        None => {
            let listener = TcpListener::bind(address).await;
            listener.map(Some).map_err(|source| BindError::Listen { address, source })
        }
    }
}

/// The same socket, to be taken while the service manager's own is kept.
pub(super) fn twin(handed: Option<&OwnedFd>) -> Option<OwnedFd> {
    handed?.try_clone().ok()
}

fn take(handed: OwnedFd) -> Option<TcpListener> {
    sockopt::socket_acceptconn(&handed).ok().filter(|listens| *listens)?;
    let listener = std::net::TcpListener::from(handed);
    listener.set_nonblocking(true).ok()?;
    let loopback = listener.local_addr().ok()?.ip().is_loopback();
    loopback.then(|| TcpListener::from_std(listener).ok())?
}

/// The address, and what serves it.
pub(super) struct HttpDoor {
    pub(super) address: SocketAddr,
    tcp: Arc<Tcp>,
    task: Task,
}

impl HttpDoor {
    /// Serves what `listener` brings.
    pub(super) fn open(listener: TcpListener, settings: &ListenHttp, intake: &Intake) -> Self {
        let ListenHttp { address, token } = settings;
        let token = token.as_ref().map(Secret::reveal);
        let tcp = Arc::new(Tcp::new(intake.clone(), *address, token));
        let served = tcp.clone();
        let task = Task::spawn(|stop| intake::serve_tcp(listener, served, stop));
        Self { address: *address, tcp, task }
    }

    /// Another token, at the same address.
    pub(super) fn change(&self, settings: &ListenHttp) {
        self.tcp.change(settings.token.as_ref().map(Secret::reveal));
    }

    /// Closes the address once what is under way is answered.
    pub(super) async fn close(self) {
        self.task.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ListenHttp {
        ListenHttp { address: "127.0.0.1:9466".parse().unwrap(), token: None }
    }

    #[tokio::test]
    async fn what_the_service_manager_passed_is_taken_if_it_listens_on_this_machine_alone() {
        let passed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = passed.local_addr().unwrap().port();
        let taken = bind(Some(&settings()), Some(passed.into())).await.unwrap().unwrap();
        assert_eq!(taken.local_addr().unwrap().port(), port);
        // Given up and taken again: the service manager listens there all the time.
        let passed = OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        for _ in 0..2 {
            let taken = bind(Some(&settings()), twin(Some(&passed))).await.unwrap().unwrap();
            let address = taken.local_addr().unwrap();
            let (reached, accepted) =
                tokio::join!(tokio::net::TcpStream::connect(address), taken.accept());
            assert_eq!(reached.unwrap().local_addr().unwrap(), accepted.unwrap().1);
        }
        let open = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let (unix, _) = std::os::unix::net::UnixStream::pair().unwrap();
        for wrong in [OwnedFd::from(open), OwnedFd::from(unix)] {
            let error = bind(Some(&settings()), Some(wrong)).await.unwrap_err();
            assert!(error.to_string().contains("ListenStream=127.0.0.1:9466"), "{error}");
        }
    }
}
