//! An OTLP collector: a server that decodes the spans it is sent, and answers as it is told.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::gateway::PATIENCE;

/// A span, and what came with it.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// The span.
    pub span: Span,
    /// `service.name` of its sender.
    pub service: String,
    /// Head of its request, in lowercase.
    pub head: String,
}

impl Arrived {
    /// One of its attributes, as text; lists are joined by commas.
    pub fn attribute(&self, name: &str) -> Option<String> {
        attribute(&self.span.attributes, name)
    }

    /// Its ids in hex: the trace's, its own, its parent's.
    pub fn ids(&self) -> [String; 3] {
        [&self.span.trace_id, &self.span.span_id, &self.span.parent_span_id].map(|id| hex(id))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    Some(text(found.value.as_ref()?))
}

fn text(value: &AnyValue) -> String {
    match value.value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::ArrayValue(array) => {
            array.values.iter().map(text).collect::<Vec<_>>().join(",")
        }
        other => panic!("nobody sets {other:?}"),
    }
}

/// See the module.
pub struct Otlp {
    port: u16,
    seen: watch::Receiver<Vec<Arrived>>,
    task: JoinHandle<()>,
}

impl Otlp {
    /// One that takes what it is sent.
    pub async fn start() -> Self {
        Self::answering(true).await
    }

    /// One that takes requests and never answers them.
    pub async fn hanging() -> Self {
        Self::answering(false).await
    }

    async fn answering(answers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, seen) = watch::channel(Vec::new());
        let task = tokio::spawn(accept(listener, Arc::new(sender), answers));
        Self { port, seen, task }
    }

    /// What stands in `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The spans so far, in the order of their arrival.
    pub fn spans(&self) -> Vec<Arrived> {
        self.seen.borrow().clone()
    }

    /// Waits until so many are there.
    pub async fn until(&self, count: usize) -> Vec<Arrived> {
        let mut seen = self.seen.clone();
        let wait = seen.wait_for(|spans| spans.len() >= count);
        let enough = timeout(PATIENCE, wait).await.is_ok();
        assert!(enough, "not within {PATIENCE:?}: {count} spans; {:?}", self.spans());
        self.spans()
    }
}

impl Drop for Otlp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, seen: Arc<watch::Sender<Vec<Arrived>>>, answers: bool) {
    // They end with this.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(serve(stream, Arc::clone(&seen), answers));
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<watch::Sender<Vec<Arrived>>>, answers: bool) {
    let mut bytes = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut bytes).await {
        let decoded = ExportTraceServiceRequest::decode(&*body).expect("OTLP");
        seen.send_modify(|seen| seen.extend(spans(&head, decoded)));
        if !answers {
            return std::future::pending().await;
        }
        let right = head.starts_with("post /v1/traces http/1.1")
            && head.contains("content-type: application/x-protobuf");
        let status = if right { "200 OK" } else { "404 Not Found" };
        let kind = "content-type: application/x-protobuf";
        let answer = format!("HTTP/1.1 {status}\r\n{kind}\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next request: its head in lowercase, and its body. None at the end of the connection.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let whole = end + 4 + length.map_or(0, |length| length.parse::<usize>().unwrap());
            if bytes.len() >= whole {
                let body = bytes[end + 4..whole].to_vec();
                bytes.drain(..whole);
                return Some((head, body));
            }
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn spans(head: &str, request: ExportTraceServiceRequest) -> Vec<Arrived> {
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let named = resource.resource.and_then(|one| attribute(&one.attributes, "service.name"));
        let service = named.unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Arrived { span, service: service.clone(), head: head.to_owned() });
        }
    }
    spans
}
