//! One connection: preamble, hello, frames.

use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{ConnectError, Options};
use crate::local::frame::{self, HELLO_FORMAT, Hello, HelloReply, PREAMBLE, VERSION};

/// How long the agent may take to say hello.
const HELLO_MAX: Duration = Duration::from_secs(10);

/// A connection on which the agent has said hello.
pub(super) struct Connection {
    pub(super) stream: UnixStream,
    pub(super) inbox: BytesMut,
}

impl Connection {
    pub(super) async fn open(path: &Path, options: &Options) -> Result<Self, ConnectError> {
        let stream = UnixStream::connect(path)
            .await
            .map_err(|source| ConnectError::Unreachable { path: path.to_owned(), source })?;
        let mut connection = Self { stream, inbox: BytesMut::new() };
        let reply = tokio::time::timeout(HELLO_MAX, connection.hello(&options.name)).await;
        let no_hello = |reason: String| ConnectError::NoHello { path: path.to_owned(), reason };
        match reply {
            Err(_) => Err(no_hello(format!("silence for {} s", HELLO_MAX.as_secs()))),
            Ok(Err(reason)) => Err(no_hello(reason)),
            Ok(Ok(HelloReply::Refused(refusal))) => {
                Err(ConnectError::Refused { path: path.to_owned(), refusal })
            }
            Ok(Ok(HelloReply::Welcome { version, .. })) if version == VERSION => Ok(connection),
            Ok(Ok(HelloReply::Welcome { version, .. })) => {
                Err(no_hello(format!("it chose version {version}, which was not offered")))
            }
        }
    }

    async fn hello(&mut self, name: &str) -> Result<HelloReply, String> {
        let hello = Hello { min: VERSION, max: VERSION, client: name.to_owned() };
        let mut out = PREAMBLE.to_vec();
        frame::put(HELLO_FORMAT, &hello, &mut out).map_err(|e| e.to_string())?;
        self.stream.write_all(&out).await.map_err(|e| e.to_string())?;
        loop {
            if let Some(content) = frame::take(&mut self.inbox).map_err(|e| e.to_string())? {
                return frame::read(HELLO_FORMAT, &content).map_err(|e| e.to_string());
            }
            match self.stream.read_buf(&mut self.inbox).await {
                Ok(0) => return Err("the connection was closed".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}
