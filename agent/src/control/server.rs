//! HTTP over the control socket.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::{IncomingStream, Listener};
use serde::{Deserialize, Serialize};
use spillway_protocol::local::{Code, Refusal};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinError;
use tokio::time::sleep;

use super::api::{Action, Begin, Look, Page, Purge, Resend};
use super::desk::Desk;
use super::reload::Wish;
use super::tail;
use crate::open_files::OpenFiles;
use crate::why::Question;

/// How long to wait when there are no more files for connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `desk` on `listener` until `stop` is done; requests under way are finished.
pub async fn serve(
    listener: UnixListener,
    files: OpenFiles,
    desk: Desk,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let service = router(desk).into_make_service_with_connect_info::<Peer>();
    axum::serve(Bounded(listener, files), service).with_graceful_shutdown(stop).await
}

/// Serves `desk` on one connection, until it is dropped.
pub async fn serve_one(stream: UnixStream, desk: Desk) -> std::io::Result<()> {
    let service = router(desk).into_make_service_with_connect_info::<Peer>();
    axum::serve(One(Some(stream)), service).await
}

fn router(desk: Desk) -> axum::Router {
    axum::Router::new()
        .route("/v1/queue", get(lanes))
        .route("/v1/queue/{lane}", get(waiting))
        .route("/v1/queue/{lane}/purge", post(purge_waiting))
        .route("/v1/verify", get(overall))
        .route("/v1/verify/{lane}", get(check))
        .route("/v1/dead", get(letters))
        .route("/v1/dead/{number}", get(letter))
        .route("/v1/dead/replay", post(replay))
        .route("/v1/dead/purge", post(purge))
        .route("/v1/dead/accept/{lane}", post(accept))
        .route("/v1/resend", post(resend))
        .route("/v1/reload", post(reload))
        .route("/v1/upgrade", get(upgrade).post(commit))
        .route("/v1/tail", get(tail))
        .route("/v1/why", get(why))
        .route("/v1/admin", get(door))
        .fallback(async || answer::<()>(Err(not_found())))
        .with_state(desk)
}

/// A listener that leaves files for the queue.
struct Bounded(UnixListener, OpenFiles);

impl Listener for Bounded {
    type Io = UnixStream;
    type Addr = ();

    async fn accept(&mut self) -> (UnixStream, ()) {
        loop {
            let refused = match self.0.accept().await {
                Ok((stream, _)) if self.1.admit(&stream) => return (stream, ()),
                Ok(_) => None,
                Err(error) => Some(error.to_string()),
            };
            refused.iter().for_each(|reason| self.1.refuse(reason));
            sleep(ACCEPT_PAUSE).await;
        }
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A listener to which nobody else comes.
struct One(Option<UnixStream>);

impl Listener for One {
    type Io = UnixStream;
    type Addr = ();

    async fn accept(&mut self) -> (UnixStream, ()) {
        match self.0.take() {
            Some(stream) => (stream, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Who is at the other end, as the kernel says.
#[derive(Debug, Clone, Copy)]
struct Peer {
    uid: Option<u32>,
}

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|peer| peer.uid()) }
    }
}

impl Connected<IncomingStream<'_, One>> for Peer {
    fn connect_info(stream: IncomingStream<'_, One>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|peer| peer.uid()) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Show {
    #[serde(default)]
    body: bool,
}

async fn lanes(State(desk): State<Desk>) -> Response {
    blocking(move || Ok(desk.lanes())).await
}

async fn waiting(
    State(desk): State<Desk>,
    Path(lane): Path<String>,
    page: Result<Query<Page>, QueryRejection>,
) -> Response {
    blocking(move || desk.waiting(&lane, &query(page)?)).await
}

async fn purge_waiting(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(lane): Path<String>,
    purge: Result<Json<Purge>, JsonRejection>,
) -> Response {
    blocking(move || {
        let purge = json(purge)?;
        let done = desk.purge_waiting(&lane, &purge)?;
        if !purge.dry_run {
            tracing::info!(
                uid = peer.uid,
                lane,
                count = done.count,
                ?purge,
                "operator: queue purge"
            );
        }
        Ok(done)
    })
    .await
}

async fn overall(State(desk): State<Desk>) -> Response {
    blocking(move || desk.overall()).await
}

async fn check(
    State(desk): State<Desk>,
    Path(lane): Path<String>,
    from: Result<Query<Begin>, QueryRejection>,
) -> Response {
    blocking(move || desk.check(&lane, query(from)?.from)).await
}

async fn letters(State(desk): State<Desk>, look: Result<Query<Look>, QueryRejection>) -> Response {
    blocking(move || desk.letters(query(look)?)).await
}

async fn letter(
    State(desk): State<Desk>,
    Path(number): Path<String>,
    show: Result<Query<Show>, QueryRejection>,
) -> Response {
    blocking(move || {
        let number = number.parse().map_err(|_| not_found())?;
        desk.letter(number, query(show)?.body)
    })
    .await
}

async fn replay(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    action: Result<Json<Action>, JsonRejection>,
) -> Response {
    blocking(move || {
        let action = json(action)?;
        let done = desk.replay(action.clone())?;
        note(peer, "replay", &action, done.count);
        Ok(done)
    })
    .await
}

async fn purge(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    action: Result<Json<Action>, JsonRejection>,
) -> Response {
    blocking(move || {
        let action = json(action)?;
        let done = desk.purge(action.clone())?;
        note(peer, "purge", &action, done.count);
        Ok(done)
    })
    .await
}

async fn accept(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(lane): Path<String>,
) -> Response {
    blocking(move || {
        let accepted = desk.accept(&lane)?;
        tracing::info!(uid = peer.uid, lane, held = accepted.accepted, "operator: dead accept");
        Ok(accepted)
    })
    .await
}

async fn resend(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    wish: Result<Json<Resend>, JsonRejection>,
) -> Response {
    blocking(move || {
        let wish = json(wish)?;
        let resent = desk.resend(&wish)?;
        tracing::info!(uid = peer.uid, ?resent, "operator: resend");
        Ok(resent)
    })
    .await
}

/// It goes on though whoever asked may be gone.
async fn reload(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    wish: Result<Json<Wish>, JsonRejection>,
) -> Response {
    let begun = json(wish).and_then(|wish| {
        tracing::info!(uid = peer.uid, ?wish, "operator: reload");
        desk.reload(wish)
    });
    match begun {
        Ok(reloading) => match tokio::spawn(reloading).await {
            Ok(result) => answer(result),
            Err(error) => broken(&error),
        },
        Err(refusal) => answer::<()>(Err(refusal)),
    }
}

async fn upgrade(State(desk): State<Desk>) -> Response {
    blocking(move || desk.upgrade()).await
}

async fn commit(State(desk): State<Desk>, ConnectInfo(peer): ConnectInfo<Peer>) -> Response {
    blocking(move || {
        let done = desk.commit()?;
        let (was, level) = (done.was, done.format.level);
        tracing::info!(uid = peer.uid, was, level, "operator: upgrade --commit");
        Ok(done)
    })
    .await
}

async fn tail(
    State(desk): State<Desk>,
    wish: Result<Query<tail::Wish>, QueryRejection>,
) -> Response {
    match query(wish).and_then(|wish| desk.tail(&wish)) {
        Ok(lines) => {
            let kind = [(CONTENT_TYPE, "application/x-ndjson")];
            (kind, Body::from_stream(lines)).into_response()
        }
        Err(refusal) => answer::<()>(Err(refusal)),
    }
}

async fn why(
    State(desk): State<Desk>,
    question: Result<Query<Question>, QueryRejection>,
) -> Response {
    blocking(move || desk.why(&query(question)?)).await
}

async fn door(State(desk): State<Desk>, ConnectInfo(peer): ConnectInfo<Peer>) -> Response {
    tracing::info!(uid = peer.uid, "operator: admin url");
    blocking(move || desk.door()).await
}

/// What an operator did stays in the log; looking does not.
fn note(peer: Peer, what: &str, action: &Action, count: u64) {
    if !action.dry_run {
        let filter = &action.filter;
        tracing::info!(uid = peer.uid, count, ?filter, "operator: dead {what}");
    }
}

async fn blocking<T: Serialize + Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => answer(result),
        Err(error) => broken(&error),
    }
}

fn broken(error: &JoinError) -> Response {
    tracing::error!(%error, "a control request failed");
    let message = "the agent failed at this request; its log says why";
    answer::<()>(Err(Refusal::new(Code::DiskFailed, message)))
}

fn answer<T: Serialize>(result: Result<T, Refusal>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(refusal) => {
            let status = StatusCode::from_u16(refusal.code.status());
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, Json(serde_json::json!({ "error": refusal }))).into_response()
        }
    }
}

fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    let refused = |error: QueryRejection| Refusal::new(Code::BadRecord, error.body_text());
    query.map(|Query(value)| value).map_err(refused)
}

fn json<T>(json: Result<Json<T>, JsonRejection>) -> Result<T, Refusal> {
    let refused = |error: JsonRejection| Refusal::new(Code::Malformed, error.body_text());
    json.map(|Json(value)| value).map_err(refused)
}

fn not_found() -> Refusal {
    Refusal::new(Code::NotFound, "there is nothing at this path; see spillway queue and dead")
}
