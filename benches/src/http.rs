//! HTTP/1.1 on one kept connection: to the agent's Unix socket, or to a broker on loopback.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use crate::Error;

/// A kept connection.
#[derive(Debug)]
pub struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    /// To a Unix socket.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn open(socket: &Path) -> Result<Self, Error> {
        Self::over(TokioIo::new(UnixStream::connect(socket).await?)).await
    }

    /// To a port of this machine.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn local(port: u16) -> Result<Self, Error> {
        Self::over(TokioIo::new(TcpStream::connect(("127.0.0.1", port)).await?)).await
    }

    async fn over(io: impl Read + Write + Send + Unpin + 'static) -> Result<Self, Error> {
        let (sender, connection) = handshake(io).await?;
        // Its errors are those of the requests.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self(sender))
    }

    /// What a path answers.
    ///
    /// # Errors
    /// If it is not 200.
    pub async fn get(&mut self, path: &str) -> Result<Bytes, Error> {
        self.send(Request::get(path).header("host", "localhost").body(Full::default())?).await
    }

    /// What the agent answers to records, a line for each.
    ///
    /// # Errors
    /// If it is not 200.
    pub async fn post_lines(&mut self, lines: Bytes) -> Result<Bytes, Error> {
        let request = Request::post("/v1/records")
            .header("host", "localhost")
            .header("content-type", "application/x-ndjson")
            .body(Full::new(lines))?;
        self.send(request).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Bytes, Error> {
        self.0.ready().await?;
        let response = self.0.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        match status.as_u16() {
            200 => Ok(body),
            _ => Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into()),
        }
    }
}
