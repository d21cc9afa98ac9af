//! HTTP/1.1 to an agent over one of its Unix sockets.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use spillway_protocol::local::Refusal;
use tokio::net::UnixStream;

use super::{Exit, Failure};

/// An agent that does not answer within this time is taken for stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection.
pub(super) struct Client {
    sender: SendRequest<Full<Bytes>>,
    socket: String,
}

/// An answer of whatever status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Client {
    /// Connects to the agent at `socket`, which `option` would name.
    pub(super) async fn connect(socket: &Path, option: &str) -> Result<Self, Failure> {
        let stream = UnixStream::connect(socket).await;
        let stream = stream.map_err(|error| unreachable(socket, option, &error))?;
        Self::over(stream, socket.display().to_string()).await
    }

    /// The same over a connection that is there; `socket` is its name in messages.
    pub(super) async fn over(stream: UnixStream, socket: String) -> Result<Self, Failure> {
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| lost(&socket, &error))?;
        // Ends with the connection; what went wrong comes out of the request.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, socket })
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        self.request(Method::GET, path, "application/json", Bytes::new()).await
    }

    pub(super) async fn post(
        &mut self,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        self.request(Method::POST, path, content_type, body).await
    }

    /// The body of a good answer that may not end.
    pub(super) async fn open(&mut self, path: &str) -> Result<Incoming, Failure> {
        let request = built(Method::GET, path, "application/json", Bytes::new())?;
        let exchange = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        let answered = tokio::time::timeout(PATIENCE, exchange).await;
        let response = answered.map_err(|_| silent(&self.socket))?;
        let response = response.map_err(|error| lost(&self.socket, &error))?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let status = response.status().as_u16();
        let body =
            response.into_body().collect().await.map_err(|error| lost(&self.socket, &error))?;
        let answer = Answer { status, body: body.to_bytes() };
        Err(Failure::new(exit_of(status), answer.refusal()))
    }

    /// The same for what takes its time: only the agent's end ends it.
    pub(super) async fn post_long(&mut self, path: &str, body: Bytes) -> Result<Answer, Failure> {
        let request = built(Method::POST, path, "application/json", body)?;
        let answer = self.exchange(request).await;
        answer.map_err(|error| lost(&self.socket, &error))
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let request = built(method, path, content_type, body)?;
        match tokio::time::timeout(PATIENCE, self.exchange(request)).await {
            Ok(answer) => answer.map_err(|error| lost(&self.socket, &error)),
            Err(_) => Err(silent(&self.socket)),
        }
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer { status, body })
    }
}

fn built(
    method: Method,
    path: &str,
    content_type: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Failure> {
    let uri = path.parse::<Uri>().map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    Request::builder()
        .method(method)
        .uri(uri)
        .header(http::header::HOST, "localhost")
        .header(http::header::CONTENT_TYPE, content_type)
        .body(Full::new(body))
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

fn silent(socket: &str) -> Failure {
    let message = format!(
        "{socket}: no answer for {} s; what was sent may or may not have been taken",
        PATIENCE.as_secs()
    );
    Failure::new(Exit::TryAgain, message)
}

impl Answer {
    /// The JSON of a good answer, or the refusal as a failure.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let text = self.good()?;
        serde_json::from_slice(text).map_err(|error| {
            let message = format!("the agent's answer is not what this version expects: {error}");
            Failure::new(Exit::Unreachable, message)
        })
    }

    /// The body of a good answer, or the refusal as a failure.
    pub(super) fn good(&self) -> Result<&[u8], Failure> {
        match self.status {
            200..=299 => Ok(&self.body),
            status => Err(Failure::new(exit_of(status), self.refusal())),
        }
    }

    fn refusal(&self) -> String {
        #[derive(Deserialize)]
        struct Body {
            error: Refusal,
        }
        match serde_json::from_slice::<Body>(&self.body) {
            Ok(body) => super::human::line(&body.error.to_string()),
            Err(_) => format!("the agent answered with status {}", self.status),
        }
    }
}

/// What a refusal's status means to a shell.
pub(super) fn exit_of(status: u16) -> Exit {
    match status {
        200..=299 => Exit::Done,
        403 => Exit::NotPermitted,
        408 | 409 | 429 | 503 | 507 => Exit::TryAgain,
        400..=499 => Exit::Refused,
        _ => Exit::Unreachable,
    }
}

fn unreachable(socket: &Path, option: &str, error: &std::io::Error) -> Failure {
    let denied = |whom: &str| {
        let message = format!(
            "{}: this user may not connect: {error}; run this as root, or as {whom}",
            socket.display()
        );
        Failure::new(Exit::NotPermitted, message)
    };
    let (exit, remedy) = match error.kind() {
        ErrorKind::PermissionDenied if option == "--control" => {
            return denied("the agent's own user");
        }
        ErrorKind::PermissionDenied => return denied("a user whom the socket's mode admits"),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            (Exit::Unreachable, format!("start the agent, or name its socket with {option} PATH"))
        }
        _ => (Exit::Unreachable, format!("name the agent's socket with {option} PATH")),
    };
    let message = format!("{}: no agent answers: {error}; {remedy}", socket.display());
    Failure::new(exit, message)
}

fn lost(socket: &str, error: &hyper::Error) -> Failure {
    let message = format!("{socket}: the agent ended the connection: {error}; see its log");
    Failure::new(Exit::Unreachable, message)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A client of one that takes two minutes to answer.
    async fn slow() -> Client {
        let (near, mut far) = UnixStream::pair().unwrap();
        tokio::spawn(async move {
            far.read_u8().await.unwrap();
            tokio::time::sleep(2 * PATIENCE).await;
            far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.unwrap();
        });
        Client::over(near, "the socket".to_owned()).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_its_time_is_waited_for_and_nothing_else_is() {
        let said = slow().await.post_long("/", Bytes::new()).await.unwrap();
        assert_eq!(said.good().unwrap(), b"done");
        let failure = slow().await.post("/", "text/plain", Bytes::new()).await.unwrap_err();
        assert_eq!(failure.exit, Exit::TryAgain);
    }
}
