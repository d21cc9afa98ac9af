//! Connections and requests: accept, read, dispatch, answer or cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use spillway_protocol::rocketmq::http::{CONTENT_TYPE, REQUEST_ID_HEADER, VERSION, VERSION_HEADER};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::faults::Faults;
use super::operation::{self, Done};
use super::refusal::Refusal;
use super::store::{Store, StoreError};
use super::{BrokerOptions, admin, gate};

/// Largest request that is read: the largest body with every character escaped fivefold.
const REQUEST_MAX: usize = 24 * 1024 * 1024;

/// What all connections share.
pub(super) struct Server {
    pub(super) options: BrokerOptions,
    pub(super) store: Store,
    pub(super) faults: Faults,
    pub(super) stop: watch::Receiver<bool>,
    address: SocketAddr,
    requests: AtomicU64,
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
        Ok(Self { options, store, faults, stop, address, requests: AtomicU64::new(0) })
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
        let done = match gate::check(&parts, &body, &self.options.access_keys, self.now_ms()) {
            Ok(()) => operation::run(self, &parts, &body).await,
            Err(refusal) => Err(refusal),
        };
        match done {
            Ok(Done::Answer(status, xml)) => Ok(self.answer(status, xml, self.next_request_id())),
            Ok(Done::Cut) => Err(Cut),
            Err(refusal) => Ok(self.refuse(&refusal)),
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Response<Full<Bytes>> {
        let status = match refusal.retry_after_s {
            Some(_) if refusal.code.status() == 500 => 503,
            _ => refusal.code.status(),
        };
        let request_id = self.next_request_id();
        let xml = refusal.to_xml(&request_id, &format!("http://{}", self.address));
        let mut response = self.answer(status, xml, request_id);
        if let Some(seconds) = refusal.retry_after_s {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }

    fn next_request_id(&self) -> String {
        format!("{:024X}", self.requests.fetch_add(1, Ordering::Relaxed))
    }

    fn answer(&self, status: u16, xml: String, request_id: String) -> Response<Full<Bytes>> {
        let now = UNIX_EPOCH + Duration::from_millis(self.now_ms());
        let mut response = Response::builder()
            .status(status)
            .header(REQUEST_ID_HEADER, request_id)
            .header(VERSION_HEADER, VERSION)
            .header("date", httpdate::fmt_http_date(now));
        if !xml.is_empty() {
            response = response.header("content-type", CONTENT_TYPE);
        }
        response.body(Full::from(xml)).unwrap_or_else(|_| internal_error())
    }
}

/// All parts above are valid; should one ever not be, this is.
fn internal_error() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
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
