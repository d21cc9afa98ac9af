//! HTTP over the admin address.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::service::TowerToHyperService;
use spillway_protocol::local::Refusal;
use spillway_protocol::local::status::Status;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::guard::Denied;
use super::{Guard, Observed, metrics};
use crate::intake::serving::{Reception, Wire, converse, say, whole_answer};
use crate::open_files::OpenFiles;

/// Most connections at a time: some scrapers and some people.
const CONNECTIONS_MAX: usize = 32;
/// A connection without a request for this long is closed, also one whose head does not come.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Longest time without progress while an answer is not read.
const STALL_MAX: Duration = Duration::from_secs(20);
/// Time that requests under way get when the agent stops.
const GRACE: Duration = Duration::from_secs(2);
/// Most states that are being gathered at a time: each may hold a thread.
const LOOKS_MAX: usize = 4;
/// The state is gathered in milliseconds. What holds it up for so long holds up apps and the
/// drain, too.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
const NOT_FOUND: &str = "there is nothing here; there are /metrics, /healthz and /readyz\n";

#[derive(Clone)]
struct Admin {
    agent: Arc<dyn Observed>,
    looks: Arc<Semaphore>,
}

impl Admin {
    /// The agent's state; what is wrong where it does not come.
    async fn status(&self) -> Result<Status, &'static str> {
        let (agent, looks) = (self.agent.clone(), self.looks.clone());
        let gathered = async move {
            let place = looks.acquire_owned().await;
            let look = move || {
                // Kept until the look is over, though nobody may wait for it any more.
                let _place = place;
                agent.status()
            };
            tokio::task::spawn_blocking(look).await
        };
        match timeout(LOOK_MAX, gathered).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => {
                tracing::error!(%error, "the agent's state could not be gathered");
                Err("the agent's state cannot be gathered; its log says why\n")
            }
            Err(_) => Err("the agent's state does not come: queue or drain are stuck\n"),
        }
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
    let admin = Admin { agent, looks: Arc::new(Semaphore::new(LOOKS_MAX)) };
    let service = TowerToHyperService::new(router(guard, admin));
    let reception = Reception {
        connections_max: CONNECTIONS_MAX,
        grace: GRACE,
        files,
        admit: |_: &TcpStream| Ok(()),
        session: |stream, ()| {
            let (service, stop) = (service.clone(), stop.clone());
            async move {
                converse(Wire::plain(stream, STALL_MAX), service, IDLE_MAX, stop).await;
            }
        },
        turn_away: |stream, refusal: Refusal| async move {
            let text = whole_answer(503, "text/plain", Some(1), &refusal.message);
            say(stream, text.as_bytes()).await;
        },
    };
    reception.receive(listener, &stop).await;
}

fn router(guard: Guard, admin: Admin) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(async || (StatusCode::NOT_FOUND, NOT_FOUND))
        .layer(from_fn_with_state(Arc::new(guard), guarded))
        .with_state(admin)
}

async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let checked = guard.check(request.method(), request.uri(), request.headers());
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

async fn scrape(State(admin): State<Admin>) -> Response {
    match admin.status().await {
        Ok(status) => ([(CONTENT_TYPE, TEXT_FORMAT)], metrics::text(&status)).into_response(),
        Err(fault) => (StatusCode::SERVICE_UNAVAILABLE, fault).into_response(),
    }
}

async fn healthz(State(admin): State<Admin>) -> Response {
    if let Some(what) = admin.agent.stuck() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{what}\n")).into_response();
    }
    match admin.status().await {
        Ok(_) => "ok\n".into_response(),
        Err(fault) => (StatusCode::SERVICE_UNAVAILABLE, fault).into_response(),
    }
}

async fn readyz(State(admin): State<Admin>) -> Response {
    match admin.agent.accepts() {
        true => "ok\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "no records are taken in\n").into_response(),
    }
}

#[cfg(test)]
mod tests;
