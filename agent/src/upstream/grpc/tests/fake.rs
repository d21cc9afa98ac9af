//! A server in this process that answers as it is told.

use std::sync::{Arc, Mutex};

use futures::stream::BoxStream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use spillway_protocol::rocketmq::grpc::v2::messaging_service_server::{
    MessagingService, MessagingServiceServer,
};
use spillway_protocol::rocketmq::grpc::v2::{self, MessageType};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Request, Response, Status, Streaming};
use tower::ServiceExt;

/// What a send is answered with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reply {
    /// An entry with this code, under a top status of OK.
    Entry(i32, &'static str),
    /// A top status without entries.
    Top(i32, &'static str),
    /// A gRPC status.
    Grpc(Code),
    /// An HTML page with this HTTP status.
    Page(u16),
    /// Nothing, ever.
    Silence,
}

/// What has been received.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) order: Vec<&'static str>,
    pub(super) messages: Vec<v2::Message>,
    headers: http::HeaderMap,
}

impl Seen {
    pub(super) fn count(&self, what: &str) -> usize {
        self.order.iter().filter(|seen| **seen == what).count()
    }

    /// A header of the last send.
    pub(super) fn header(&self, name: &str) -> String {
        self.headers[name].to_str().unwrap().to_owned()
    }
}

struct Shared {
    seen: watch::Sender<Seen>,
    reply: Mutex<Reply>,
    settled: Mutex<bool>,
    connections: Mutex<Vec<AbortHandle>>,
}

impl Shared {
    fn note(&self, what: &'static str) {
        self.seen.send_modify(|seen| seen.order.push(what));
    }
}

/// The server and its knobs.
pub(super) struct Fake {
    pub(super) port: u16,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

impl Fake {
    pub(super) async fn start() -> Self {
        Self::start_on(0).await
    }

    pub(super) async fn start_on(port: u16) -> Self {
        Self::listen(port, None).await
    }

    pub(super) async fn start_tls(acceptor: TlsAcceptor) -> Self {
        Self::listen(0, Some(acceptor)).await
    }

    async fn listen(port: u16, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            seen: watch::Sender::default(),
            reply: Mutex::new(Reply::Entry(20_000, "OK")),
            settled: Mutex::new(false),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serve(stream, tls.clone(), Arc::clone(&accepting));
                let handle = tokio::spawn(serving).abort_handle();
                accepting.connections.lock().unwrap().push(handle);
            }
        });
        Self { port, shared, listener }
    }

    pub(super) fn reply(&self, reply: Reply) {
        *self.shared.reply.lock().unwrap() = reply;
    }

    pub(super) fn forget_settings(&self) {
        *self.shared.settled.lock().unwrap() = false;
    }

    pub(super) fn seen(&self) -> Seen {
        self.shared.seen.borrow().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections.lock().unwrap().len()
    }

    /// Cuts all connections; new ones are taken.
    pub(super) fn cut(&self) {
        self.shared.connections.lock().unwrap().iter().for_each(AbortHandle::abort);
    }

    /// Cuts all and takes none any more.
    pub(super) async fn stop(self) {
        self.listener.abort();
        let _ = self.listener.await;
        self.shared.connections.lock().unwrap().iter().for_each(AbortHandle::abort);
    }

    pub(super) async fn until(&self, what: &str, times: usize) {
        let mut seen = self.shared.seen.subscribe();
        seen.wait_for(|seen| seen.count(what) >= times).await.unwrap();
    }

    pub(super) async fn until_sent(&self, times: usize) {
        self.until("send", times).await;
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    match tls {
        None => serve_http2(stream, shared).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_http2(stream, shared).await;
            }
        }
    }
}

async fn serve_http2<S>(stream: S, shared: Arc<Shared>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let pages = Arc::clone(&shared);
    let service = MessagingServiceServer::from_arc(shared);
    let service = tower::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let reply = *pages.reply.lock().unwrap();
        let service = service.clone();
        async move {
            match reply {
                Reply::Page(status) if request.uri().path().ends_with("SendMessage") => {
                    let page = http::Response::builder().status(status);
                    Ok(page.body(tonic::body::Body::empty()).unwrap())
                }
                _ => service.oneshot(request).await,
            }
        }
    });
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await;
}

fn status(code: i32, message: &str) -> Option<v2::Status> {
    Some(v2::Status { code, message: message.to_owned() })
}

fn queue(accepts: MessageType, permission: i32) -> v2::MessageQueue {
    v2::MessageQueue {
        permission,
        accept_message_types: vec![accepts.into()],
        ..v2::MessageQueue::default()
    }
}

#[tonic::async_trait]
impl MessagingService for Shared {
    type TelemetryStream = BoxStream<'static, Result<v2::TelemetryCommand, Status>>;
    type ReceiveMessageStream = BoxStream<'static, Result<v2::ReceiveMessageResponse, Status>>;

    async fn query_route(
        &self,
        request: Request<v2::QueryRouteRequest>,
    ) -> Result<Response<v2::QueryRouteResponse>, Status> {
        let topic = request.into_inner().topic.unwrap_or_default().name;
        let (code, queues) = match topic.as_str() {
            "normal" => (20_000, vec![queue(MessageType::Normal, 4)]),
            "fifo" => (20_000, vec![queue(MessageType::Fifo, 4)]),
            "readonly" => (20_000, vec![queue(MessageType::Normal, 2)]),
            _ => (40_402, vec![]),
        };
        let response = v2::QueryRouteResponse { status: status(code, ""), message_queues: queues };
        Ok(Response::new(response))
    }

    async fn heartbeat(
        &self,
        _: Request<v2::HeartbeatRequest>,
    ) -> Result<Response<v2::HeartbeatResponse>, Status> {
        let code = if *self.settled.lock().unwrap() { 20_000 } else { 40_015 };
        self.note("heartbeat");
        Ok(Response::new(v2::HeartbeatResponse { status: status(code, "") }))
    }

    async fn send_message(
        &self,
        request: Request<v2::SendMessageRequest>,
    ) -> Result<Response<v2::SendMessageResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        let message = request.into_inner().messages.remove(0);
        let message_id = message.system_properties.clone().unwrap_or_default().message_id;
        self.seen.send_modify(|seen| {
            seen.order.push("send");
            seen.messages.push(message);
            seen.headers = headers;
        });
        let reply = *self.reply.lock().unwrap();
        let (top, entries) = match reply {
            Reply::Entry(code, text) => {
                let entry =
                    v2::SendResultEntry { status: status(code, text), message_id, offset: 0 };
                (status(20_000, "OK"), vec![entry])
            }
            Reply::Top(code, text) => (status(code, text), vec![]),
            Reply::Grpc(code) => return Err(Status::new(code, "as told")),
            Reply::Silence | Reply::Page(_) => std::future::pending().await,
        };
        Ok(Response::new(v2::SendMessageResponse { status: top, entries }))
    }

    async fn telemetry(
        &self,
        request: Request<Streaming<v2::TelemetryCommand>>,
    ) -> Result<Response<Self::TelemetryStream>, Status> {
        let mut inbound = request.into_inner();
        let first = inbound.message().await?;
        self.note("settings");
        *self.settled.lock().unwrap() = true;
        let seen = self.seen.clone();
        let replies = futures::stream::unfold((first, inbound), move |(next, mut inbound)| {
            let seen = seen.clone();
            async move {
                let command = match next {
                    Some(command) => command,
                    None => {
                        let command = inbound.message().await.ok()??;
                        seen.send_modify(|seen| seen.order.push("settings"));
                        command
                    }
                };
                Some((Ok(command), (None, inbound)))
            }
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn notify_client_termination(
        &self,
        _: Request<v2::NotifyClientTerminationRequest>,
    ) -> Result<Response<v2::NotifyClientTerminationResponse>, Status> {
        self.note("goodbye");
        let status = status(20_000, "");
        Ok(Response::new(v2::NotifyClientTerminationResponse { status }))
    }

    async fn receive_message(
        &self,
        _: Request<v2::ReceiveMessageRequest>,
    ) -> Result<Response<Self::ReceiveMessageStream>, Status> {
        Err(Status::unimplemented("a producer's server"))
    }

    async fn ack_message(
        &self,
        _: Request<v2::AckMessageRequest>,
    ) -> Result<Response<v2::AckMessageResponse>, Status> {
        Err(Status::unimplemented("a producer's server"))
    }

    async fn change_invisible_duration(
        &self,
        _: Request<v2::ChangeInvisibleDurationRequest>,
    ) -> Result<Response<v2::ChangeInvisibleDurationResponse>, Status> {
        Err(Status::unimplemented("a producer's server"))
    }
}
