//! One HTTP/2 connection, as tonic's generated client uses it.

use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tonic::body::Body;
use tower_service::Service;

use super::dial::ByteStream;

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum WireError {
    /// The connection or the stream broke.
    #[error("the connection broke: {0}")]
    Cut(String),
    /// A portal or a gateway answers in RocketMQ's place.
    #[error("HTTP {0} without gRPC; is this RocketMQ's proxy?")]
    NotGrpc(http::StatusCode),
}

/// A handle on the connection; clones share it, and it closes with the last of them.
#[derive(Clone)]
pub(super) struct Wire {
    sender: SendRequest<Body>,
}

impl Wire {
    /// Begins HTTP/2 on `stream`.
    pub(super) async fn open(stream: Box<dyn ByteStream>) -> Result<Self, String> {
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("HTTP/2: {}", chain(&error)))?;
        tokio::spawn(async move {
            let end = driver.await.map_or_else(|error| chain(&error), |()| "closed".to_owned());
            tracing::debug!(end, "gRPC connection ended");
        });
        Ok(Self { sender })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Service<Request<Body>> for Wire {
    type Response = Response<Incoming>;
    type Error = WireError;
    type Future = BoxFuture<'static, Result<Self::Response, WireError>>;

    /// Always ready: `call` says in better words that a connection is closed.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let sent = self.sender.try_send_request(request);
        async move {
            let response = sent.await.map_err(|e| WireError::Cut(chain(&e.into_error())))?;
            let content_type = response.headers().get(header::CONTENT_TYPE);
            let grpc = content_type.is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
            match response.status() {
                status if status.is_success() && grpc => Ok(response),
                status => Err(WireError::NotGrpc(status)),
            }
        }
        .boxed()
    }
}

/// An error with its causes, which for connections say more than the error itself.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}
