//! Connections and requests: accept, read, dispatch, answer or cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::faults::Faults;
use super::keys::Keys;
use super::operation::{self, Done};
use super::store::{Store, StoreError};
use super::{BrokerOptions, admin};
use crate::mq_http::{Answers, Dates, REQUEST_MAX, check_digest};

/// What all connections share.
pub(super) struct Server {
    pub(super) options: BrokerOptions,
    pub(super) store: Store,
    pub(super) faults: Faults,
    pub(super) keys: Keys,
    pub(super) stop: watch::Receiver<bool>,
    answers: Answers,
}

/// The connection ends here without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut on request")]
pub(super) struct Cut;

impl Server {
    pub(super) fn new(
        options: BrokerOptions,
        address: SocketAddr,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, StoreError> {
        let store = Store::open(&options)?;
        let faults = Faults::new(options.faults.clone(), options.seed);
        let keys = Keys::new(&options.access_keys);
        let answers = Answers::new(format!("http://{address}"), Arc::clone(&options.clock));
        Ok(Self { options, store, faults, keys, stop, answers })
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.options.clock.now_ms()
    }

    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
        let (parts, body) = request.into_parts();
        // A body that ends early belongs to a connection that has ended too.
        let body = match Limited::new(body, REQUEST_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return Err(Cut),
        };
        if parts.uri.path().starts_with("/_") {
            return Ok(admin::handle(self, &parts, &body));
        }
        let latency = self.faults.latency();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let passed = self
            .keys
            .check(&parts, Dates::Near(self.now_ms()))
            .and_then(|()| check_digest(&parts, &body));
        let done = match passed {
            Ok(()) => operation::run(self, &parts, &body).await,
            Err(refusal) => Err(refusal),
        };
        match done {
            Ok(Done::Answer(status, xml)) => Ok(self.answers.xml(status, xml)),
            Ok(Done::Cut) => Err(Cut),
            Err(refusal) => Ok(self.answers.refusal(&refusal)),
        }
    }
}

/// Ends when the broker is told to stop.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the broker is gone, which is as good a reason.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Accepts connections until told to stop, then lets requests under way end.
pub(super) async fn accept(
    listener: TcpListener,
    server: Arc<Server>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&server)));
                }
                // Out of file descriptors, most likely; the next connection may do better.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, server: Arc<Server>) {
    let mut stop = server.stop.clone();
    // Without it only latency suffers.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { server.handle(request).await }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // How a connection ends is the client's business: it sees an answer or a cut.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = stopped(&mut stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
