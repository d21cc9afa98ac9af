//! Accepting connections: telling the dialect, and turning away what is too much.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use spillway_protocol::local::{Code, Refusal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::admission::{CONNECTION_BYTES, overloaded};
use super::clients::Peer;
use super::seats::{Seat, Seats, User};
use super::wire::{Dialect, Wire};
use super::{Intake, binary, http};
use crate::attendance::Visit;
use crate::open_files::OpenFiles;

/// How long telling may take.
const TURNED_AWAY_TIME_MAX: Duration = Duration::from_secs(2);
/// What is read of a client that is turned away, so that it comes to read why.
const LINGER_BYTES: usize = 8 * 1024 * 1024;
/// How long to wait when there are no more files for connections: others stay in the backlog.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `listener` until `stop`; then no connection is accepted any more, requests under way
/// are finished within the grace time, and further ones are refused. Returns when all have ended.
pub async fn serve(listener: UnixListener, intake: Intake, stop: CancellationToken) {
    serve_peers(listener, intake, stop, Peer::of).await;
}

/// The same, where `peer` says who is at the other end.
pub(super) async fn serve_peers(
    listener: UnixListener,
    intake: Intake,
    stop: CancellationToken,
    peer: impl Fn(&UnixStream) -> io::Result<Peer>,
) {
    let reception = Reception {
        seats: intake.seats.clone(),
        grace: intake.options.grace,
        files: intake.options.files.clone(),
        user: |stream: &UnixStream| peer(stream).map_or(User::Unknown, Peer::user),
        admit: |stream: &UnixStream| intake.of(|| peer(stream)),
        session: |stream, intake, seat| session(stream, intake, seat, stop.clone()),
        turn_away,
    };
    reception.receive(listener, &stop).await;
}

/// Where connections come in.
pub(crate) trait Door {
    type Stream: AsFd;

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
pub(crate) struct Reception<U, A, S, T> {
    /// Of those that are served at a time.
    pub(crate) seats: Seats,
    /// Time that they get when the agent stops.
    pub(crate) grace: Duration,
    /// Which may be open.
    pub(crate) files: OpenFiles,
    /// Whose a connection is.
    pub(crate) user: U,
    /// What a connection may, or why it is not served.
    pub(crate) admit: A,
    /// Serves one, on its place.
    pub(crate) session: S,
    /// Tells one why it is not served.
    pub(crate) turn_away: T,
}

impl<U, A, S, T> Reception<U, A, S, T> {
    /// Accepts until `stop`, then waits for the sessions to end.
    pub(crate) async fn receive<D, R, F, G>(self, door: D, stop: &CancellationToken)
    where
        D: Door,
        U: Fn(&D::Stream) -> User,
        A: Fn(&D::Stream) -> Result<R, Refusal>,
        S: Fn(D::Stream, R, Seat) -> F,
        T: Fn(D::Stream, Refusal) -> G,
        F: Future<Output = ()> + Send + 'static,
        G: Future<Output = ()> + Send + 'static,
    {
        let mut sessions = JoinSet::new();
        let mut turned_away = JoinSet::new();
        let told = self.seats.for_turned_away();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = sessions.join_next(), if !sessions.is_empty() => report(ended),
                Some(ended) = turned_away.join_next(), if !turned_away.is_empty() => report(ended),
                accepted = door.next() => match accepted {
                    Ok(stream) if !self.files.admit(&stream) => {
                        drop(stream);
                        sleep(ACCEPT_PAUSE).await;
                    }
                    Ok(stream) => match self.judge(&stream) {
                        Ok((rights, seat)) => {
                            sessions.spawn((self.session)(stream, rights, seat));
                        }
                        Err(refusal) => if let Ok(seat) = told.take((self.user)(&stream)) {
                            turned_away.spawn(on_place(seat, (self.turn_away)(stream, refusal)));
                        }
                    },
                    Err(error) => {
                        self.files.refuse(&error.to_string());
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

    /// Strangers take no place of those who are known.
    fn judge<C, R>(&self, stream: &C) -> Result<(R, Seat), Refusal>
    where
        U: Fn(&C) -> User,
        A: Fn(&C) -> Result<R, Refusal>,
    {
        let rights = (self.admit)(stream)?;
        let seat = self.seats.take((self.user)(stream));
        Ok((rights, seat.inspect_err(|_| self.files.count_refused())?))
    }
}

/// Tells one who is turned away, until somebody else has his place.
async fn on_place(seat: Seat, telling: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = telling => {}
        () = seat.leave.cancelled() => {}
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

async fn session(stream: UnixStream, intake: Intake, seat: Seat, stop: CancellationToken) {
    let Some(_held) = intake.budget.try_hold(CONNECTION_BYTES) else {
        return turn_away(stream, overloaded()).await;
    };
    let wire = Wire::new(stream, intake.options.stall_max);
    let known = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        known = timeout(intake.options.head_max, wire) => known,
        () = seat.leave.cancelled() => return,
    };
    // Who says nothing is not there.
    match known {
        Ok(Ok(Some((wire, Dialect::Http)))) => {
            let visit = intake.visit();
            let orderly = Box::pin(http::serve(wire, intake, &seat, stop.clone())).await;
            end(visit, orderly && !stop.is_cancelled() && !seat.leave.is_cancelled());
        }
        Ok(Ok(Some((wire, Dialect::Binary)))) => {
            let visit = intake.visit();
            let orderly = Box::pin(binary::serve(wire, intake, &seat, stop.clone())).await;
            end(visit, orderly && !stop.is_cancelled() && !seat.leave.is_cancelled());
        }
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

/// A connection that the agent ends, or that broke off, was not closed by its client.
fn end(visit: Option<Visit>, orderly: bool) {
    if let Some(visit) = visit.filter(|_| orderly) {
        visit.close();
    }
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
pub(crate) async fn say<S>(mut stream: S, text: &[u8])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let told = async {
        stream.write_all(text).await?;
        stream.shutdown().await?;
        // Closing with unread bytes would take the answer away from the client.
        let mut rest = vec![0; 16 * 1024];
        let mut seen = 0;
        while seen < LINGER_BYTES {
            match stream.read(&mut rest).await? {
                0 => break,
                bytes => seen += bytes,
            }
        }
        Ok::<_, io::Error>(())
    };
    // The client may be gone already.
    let _ = timeout(TURNED_AWAY_TIME_MAX, told).await;
}
