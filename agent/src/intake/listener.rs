//! Accepting connections: telling the dialect, and turning away what is too much.

use std::io;
use std::time::Duration;

use spillway_protocol::local::{Code, Refusal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::admission::{CONNECTION_BYTES, overloaded};
use super::wire::{Dialect, Wire};
use super::{Intake, binary, http};

/// Most connections that are being told why they are turned away; others are just closed.
const TURNED_AWAY_MAX: usize = 64;
/// How long telling may take.
const TURNED_AWAY_TIME_MAX: Duration = Duration::from_secs(2);
/// How long to wait when the system has no more files for connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `listener` until `stop`; then no connection is accepted any more, requests under way
/// are finished within the grace time, and further ones are refused. Returns when all have ended.
pub async fn serve(listener: UnixListener, intake: Intake, stop: CancellationToken) {
    let reception = Reception {
        connections_max: intake.options.connections_max,
        grace: intake.options.grace,
        session: |stream| session(stream, intake.clone(), stop.clone()),
        turn_away: |stream| turn_away(stream, too_many()),
    };
    reception.receive(listener, &stop).await;
}

/// Where connections come in.
pub(super) trait Door {
    type Stream;

    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// What becomes of connections.
pub(super) struct Reception<S, T> {
    /// Most that are served at a time.
    pub(super) connections_max: usize,
    /// Time that they get when the agent stops.
    pub(super) grace: Duration,
    /// Serves one.
    pub(super) session: S,
    /// Tells one why it is not served.
    pub(super) turn_away: T,
}

impl<S, T> Reception<S, T> {
    /// Accepts until `stop`, then waits for the sessions to end.
    pub(super) async fn receive<D, F, G>(self, door: D, stop: &CancellationToken)
    where
        D: Door,
        S: Fn(D::Stream) -> F,
        T: Fn(D::Stream) -> G,
        F: Future<Output = ()> + Send + 'static,
        G: Future<Output = ()> + Send + 'static,
    {
        let mut sessions = JoinSet::new();
        let mut turned_away = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = sessions.join_next(), if !sessions.is_empty() => report(ended),
                Some(ended) = turned_away.join_next(), if !turned_away.is_empty() => report(ended),
                accepted = door.next() => match accepted {
                    Ok(stream) if sessions.len() < self.connections_max => {
                        sessions.spawn((self.session)(stream));
                    }
                    Ok(stream) if turned_away.len() < TURNED_AWAY_MAX => {
                        turned_away.spawn((self.turn_away)(stream));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
        drop(door);
        let all = async {
            while let Some(ended) = sessions.join_next().await {
                report(ended);
            }
        };
        if timeout(self.grace, all).await.is_err() {
            tracing::warn!(left = sessions.len(), "connections were cut after the grace time");
        }
    }
}

/// A session that fails takes nobody with it.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a session failed; the others go on");
    }
}

async fn session(stream: UnixStream, intake: Intake, stop: CancellationToken) {
    let Some(_held) = intake.budget.try_hold(CONNECTION_BYTES) else {
        return turn_away(stream, overloaded()).await;
    };
    let wire = Wire::new(stream, intake.options.stall_max);
    let known = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        known = timeout(intake.options.idle_max, wire) => known,
    };
    match known {
        Ok(Ok(Some((wire, Dialect::Http)))) => Box::pin(http::serve(wire, intake, stop)).await,
        Ok(Ok(Some((wire, Dialect::Binary)))) => Box::pin(binary::serve(wire, intake, stop)).await,
        Ok(Ok(Some((wire, Dialect::Unknown)))) => {
            let message = "this is neither HTTP nor a frame of the agent's own client";
            let refusal = Refusal::new(Code::Malformed, message);
            tell(wire, Dialect::Unknown, refusal).await;
        }
        Ok(Ok(None)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection broke off at once"),
        Err(_) => tracing::debug!("a connection said nothing"),
    }
}

pub(super) fn too_many() -> Refusal {
    let message = "too many connections are open; close some, or come back later";
    Refusal::new(Code::Overloaded, message)
}

/// Says why, in the client's dialect, and closes.
async fn turn_away(stream: UnixStream, refusal: Refusal) {
    let telling = async {
        if let Ok(Some((wire, dialect))) = Wire::new(stream, TURNED_AWAY_TIME_MAX).await {
            tell(wire, dialect, refusal).await;
        }
    };
    // Whoever does not listen is closed without a word.
    let _ = timeout(TURNED_AWAY_TIME_MAX, telling).await;
}

async fn tell(wire: Wire, dialect: Dialect, refusal: Refusal) {
    let text = match dialect {
        Dialect::Binary => binary::turned_away(refusal),
        Dialect::Http | Dialect::Unknown => http::turned_away(&refusal).into_bytes(),
    };
    say(wire, &text).await;
}

/// Writes all of `text` and closes.
pub(super) async fn say<S>(mut stream: S, text: &[u8])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let told = async {
        stream.write_all(text).await?;
        stream.shutdown().await?;
        // Closing with unread bytes would take the answer away from the client: read some.
        let mut rest = [0; 4096];
        for _ in 0..16 {
            if stream.read(&mut rest).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    // The client may be gone already.
    let _ = timeout(TURNED_AWAY_TIME_MAX, told).await;
}
