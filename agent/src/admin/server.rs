//! HTTP over the admin address.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt;
use hyper_util::service::TowerToHyperService;
use spillway_protocol::local::Refusal;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::guard::Denied;
use super::live::{Live, VIEWERS_MAX};
use super::looks::Looks;
use super::{Guard, Observed, metrics, page};
use crate::intake::serving::{Patience, Reception, Seats, User, Wire, converse, say, whole_answer};
use crate::open_files::OpenFiles;

/// Most connections at a time: some scrapers and some people.
const CONNECTIONS_MAX: usize = 32;
/// When a connection without a request is closed.
const PATIENCE: Patience =
    Patience { head_max: Duration::from_secs(30), idle_max: Duration::from_secs(60) };
/// Longest time without progress while an answer is not read.
const STALL_MAX: Duration = Duration::from_secs(20);
/// Time that requests under way get when the agent stops.
const GRACE: Duration = Duration::from_secs(2);
/// Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
const NOT_FOUND: &str =
    "there is nothing here; there are / (the status page), /metrics, /healthz and /readyz\n";

#[derive(Clone)]
struct Admin {
    looks: Looks,
    live: Arc<Live>,
    stop: CancellationToken,
}

impl Admin {
    fn new(agent: Arc<dyn Observed>, stop: CancellationToken) -> Self {
        let looks = Looks::at(agent);
        Self { live: Arc::new(Live::new(looks.clone())), looks, stop }
    }
}

/// Serves `listener` until `stop`, and answers to those whom `guard` lets in how `agent` stands.
pub async fn serve(
    listener: TcpListener,
    guard: Guard,
    agent: Arc<dyn Observed>,
    files: OpenFiles,
    stop: CancellationToken,
) {
    let admin = Admin::new(agent, stop.clone());
    let live = admin.live.clone();
    let service = TowerToHyperService::new(router(guard, admin));
    let reception = Reception {
        seats: Seats::new(CONNECTIONS_MAX),
        grace: GRACE,
        files,
        user: |_: &TcpStream| User::Unknown,
        admit: |_: &TcpStream| Ok(()),
        session: |stream, (), seat| {
            let (service, stop) = (service.clone(), stop.clone());
            async move {
                let wire = Wire::plain(stream, STALL_MAX);
                converse(wire, service, PATIENCE, &seat, stop).await;
            }
        },
        turn_away: |stream, refusal: Refusal| async move {
            let text = whole_answer(503, "text/plain", Some(1), &refusal.message);
            say(stream, text.as_bytes()).await;
        },
    };
    tokio::join!(reception.receive(listener, &stop), live.keep(&stop));
}

fn router(guard: Guard, admin: Admin) -> Router {
    Router::new()
        .route("/events", get(events))
        .route("/metrics", get(scrape))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(page_file)
        .layer(from_fn_with_state(Arc::new(guard), guarded))
        .with_state(admin)
}

async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let checked = guard.check(method, uri, headers).and_then(|()| match uri.path() {
        path if page::is_file(path) => Ok(()),
        _ => guard.check_token(headers),
    });
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(denied) => refused(denied),
    };
    let fixed = [
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refused(denied: Denied) -> Response {
    let mut response = (denied.status(), format!("{denied}\n")).into_response();
    let extra = match denied {
        Denied::Method => Some((ALLOW, "GET, HEAD")),
        Denied::Token => Some((WWW_AUTHENTICATE, "Bearer")),
        Denied::Host | Denied::Origin => None,
    };
    if let Some((name, value)) = extra {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn page_file(uri: Uri) -> Response {
    page::file(uri.path()).unwrap_or_else(|| (StatusCode::NOT_FOUND, NOT_FOUND).into_response())
}

async fn events(State(admin): State<Admin>) -> Response {
    match admin.live.watched(admin.stop) {
        Some(looks) => {
            let body = Body::from_stream(looks.map(Ok::<_, Infallible>));
            ([(CONTENT_TYPE, "text/event-stream")], body).into_response()
        }
        None => {
            let text = format!("{VIEWERS_MAX} people watch already; close a page, or try later\n");
            (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], text).into_response()
        }
    }
}

async fn scrape(State(admin): State<Admin>) -> Response {
    match admin.looks.status().await {
        Ok(status) => ([(CONTENT_TYPE, TEXT_FORMAT)], metrics::text(&status)).into_response(),
        Err(fault) => (StatusCode::SERVICE_UNAVAILABLE, fault).into_response(),
    }
}

async fn healthz(State(admin): State<Admin>) -> Response {
    if let Some(what) = admin.looks.agent().stuck() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{what}\n")).into_response();
    }
    match admin.looks.status().await {
        Ok(_) => "ok\n".into_response(),
        Err(fault) => (StatusCode::SERVICE_UNAVAILABLE, fault).into_response(),
    }
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let why = match admin.looks.refuses().await {
        Ok(None) => return "ok\n".into_response(),
        Ok(Some(why)) => format!("no records are taken in: {why}\n"),
        Err(fault) => fault.to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

#[cfg(test)]
mod tests;
