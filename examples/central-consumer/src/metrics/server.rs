//! `GET /metrics`.

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Told, text};

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, told: watch::Receiver<Told>) {
    let router = Router::new().route("/metrics", get(metrics)).with_state(told);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "metrics can be read no more");
    }
}

async fn metrics(State(told): State<watch::Receiver<Told>>) -> Response {
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, text::text(&told.borrow())).into_response()
}
