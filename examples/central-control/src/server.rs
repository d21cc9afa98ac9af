//! `GET /spillway/{gateway}.json`, with ETag.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::now_ms;
use super::pages::Pages;
use super::source::Source;

/// Serves until interrupted.
pub(crate) async fn serve<S: Source>(
    listener: TcpListener,
    pages: Arc<Pages<S>>,
) -> io::Result<()> {
    let interrupted = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "an interrupt will not be noticed");
            std::future::pending().await
        }
    };
    axum::serve(listener, router(pages)).with_graceful_shutdown(interrupted).await
}

fn router<S: Source>(pages: Arc<Pages<S>>) -> Router {
    Router::new().route("/spillway/{file}", get(page::<S>)).with_state(pages)
}

async fn page<S: Source>(
    State(pages): State<Arc<Pages<S>>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(gateway) = file.strip_suffix(".json") else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let sealed = match pages.page(gateway, now_ms()).await {
        Ok(sealed) => sealed,
        Err(error) => {
            tracing::error!(gateway, %error, "no page can be served");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
    let tag = (ETAG, sealed.etag.clone());
    if known.any(|known| known == sealed.etag) {
        return (StatusCode::NOT_MODIFIED, [tag]).into_response();
    }
    let kind = (CONTENT_TYPE, "application/json".to_owned());
    ([kind, tag, (CACHE_CONTROL, "no-cache".to_owned())], sealed.body).into_response()
}
