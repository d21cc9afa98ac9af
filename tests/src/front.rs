//! The agent's MQ HTTP front as an app sees it that signs for itself.

use spillway_protocol::rocketmq::http::publish::Publish;
use spillway_protocol::rocketmq::http::resource;
use spillway_protocol::rocketmq::http::sign::{Signable, authorization};
use spillway_protocol::rocketmq::http::{CONTENT_TYPE, VERSION};
use tokio::net::TcpStream;

use crate::{http, port};

/// The local access key.
pub const KEY: &str = "local-app";
/// Its secret.
pub const SECRET: &str = "local/secret+";
/// What the signature covers; the front does not compare it with the clock.
const DATE: &str = "Thu, 07 Mar 2024 18:49:58 GMT";

/// The front of one gateway.
#[derive(Debug, Clone, Copy)]
pub struct Front {
    port: u16,
}

impl Front {
    /// A front that is to listen on a free port.
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        Self { port: port::free() }
    }

    /// The `[listen.mq_http]` that makes an agent listen there; to stand before any section.
    pub fn settings(&self) -> String {
        format!(
            "listen.mq_http.address = \"127.0.0.1:{}\"\n\
             listen.mq_http.access_keys = [{{ id = \"{KEY}\", secret = \"{SECRET}\" }}]\n",
            self.port
        )
    }

    /// `http://address`, which is all that an app changes.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Publishes; `None` if no whole answer came.
    pub async fn publish(&self, topic: &str, message: &Publish<'_>) -> Option<http::Answer> {
        let (resource, xml) = (resource::publish(topic, None), message.to_xml());
        let signable = Signable {
            method: "POST",
            content_md5: "",
            content_type: CONTENT_TYPE,
            date: DATE,
            mq_headers: &[("x-mq-version", VERSION)],
            resource: &resource,
        };
        let request = format!(
            "POST {resource} HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ndate: {DATE}\r\n\
             content-type: {CONTENT_TYPE}\r\nx-mq-version: {VERSION}\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{xml}",
            authorization(KEY, &signable.signature(SECRET)),
            xml.len(),
        );
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        http::exchange_on(stream, request.as_bytes()).await.ok()
    }
}
