//! A target as hyper's pooling client dials it.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::{ByteStream, DialError, Target};

/// Dials one target, whatever address a request names.
#[derive(Clone)]
pub struct Connector {
    target: Arc<Target>,
    deadline: Duration,
}

impl Connector {
    /// Each connection has to stand within `deadline`.
    pub fn new(target: Arc<Target>, deadline: Duration) -> Self {
        Self { target, deadline }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn ByteStream>>;
    type Error = DialError;
    type Future = BoxFuture<'static, Result<Self::Response, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { target, deadline } = self.clone();
        async move { target.dial_within(deadline).await.map(TokioIo::new) }.boxed()
    }
}
