//! One HTTP/2 connection, as tonic's generated client uses it.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::AbortHandle;
use tonic::body::Body;
use tower_service::Service;

use super::{ByteStream, chain};

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WireError {
    /// The connection was closed before the request left.
    #[error("the connection is closed")]
    NotSent,
    /// The connection or the stream broke after it left, or perhaps did.
    #[error("the connection broke: {0}")]
    Cut(String),
    /// What answered does not speak gRPC.
    #[error("{0}")]
    NotGrpc(String),
}

/// A handle on the connection; clones share it, and it closes with the last of them.
#[derive(Clone)]
pub struct Wire {
    sender: SendRequest<Body>,
    answers: Arc<AtomicU64>,
    end: Arc<OnceLock<String>>,
    driver: AbortHandle,
}

impl Wire {
    /// Begins HTTP/2 on `stream`.
    ///
    /// # Errors
    /// What the other side did not understand.
    pub async fn open(stream: Box<dyn ByteStream>) -> Result<Self, String> {
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("HTTP/2: {}", chain(&error)))?;
        let end = Arc::new(OnceLock::new());
        let noted = Arc::clone(&end);
        let driver = tokio::spawn(async move {
            let words = driver.await.map_or_else(|e| chain(&e), |()| "closed".to_owned());
            tracing::debug!(words, "gRPC connection ended");
            let _ = noted.set(words);
        });
        let driver = driver.abort_handle();
        Ok(Self { sender, end, driver, answers: Arc::default() })
    }

    /// Closes the connection, with all that is under way on it.
    pub fn close(&self) {
        self.driver.abort();
    }

    /// Whether requests can leave no more.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Answers so far: a call that sees none while it waits sits on a dead connection.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// How the connection ended, where it has.
    pub fn end(&self) -> &str {
        self.end.get().map_or("closed", String::as_str)
    }
}

impl Service<Request<Body>> for Wire {
    type Response = Response<Incoming>;
    type Error = WireError;
    type Future = BoxFuture<'static, Result<Self::Response, WireError>>;

    /// Always ready: `call` tells a closed connection apart, which tonic's text for readiness
    /// would not.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answers = Arc::clone(&self.answers);
        let sent = self.sender.try_send_request(request);
        async move {
            let response = sent.await.map_err(|mut error| match error.take_message() {
                Some(_) => WireError::NotSent,
                None => WireError::Cut(chain(&error.into_error())),
            })?;
            answers.fetch_add(1, Ordering::Relaxed);
            check(&response)?;
            Ok(response)
        }
        .boxed()
    }
}

/// Portals and gateways answer in other people's places.
fn check<B>(response: &Response<B>) -> Result<(), WireError> {
    let grpc = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if response.status().is_success() && grpc {
        return Ok(());
    }
    let reason = format!(
        "what answered is not RocketMQ (HTTP {} without gRPC): a captive portal or proxy on the way, \
         or a wrong endpoint",
        response.status()
    );
    Err(WireError::NotGrpc(reason))
}

/// The wire's own error inside a status, if it is one.
pub fn error_of(status: &tonic::Status) -> Option<&WireError> {
    status.source()?.downcast_ref()
}

/// Whether the request never left.
pub fn not_sent(status: &tonic::Status) -> bool {
    matches!(error_of(status), Some(WireError::NotSent))
}
