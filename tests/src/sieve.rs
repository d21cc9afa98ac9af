//! A proxy between agents and the MQ HTTP API that loses chosen messages for good: it answers their
//! publish as the broker would, and passes nothing on.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use bytes::{Buf, BytesMut};
use spillway_protocol::rocketmq::http::digest::body_md5;
use spillway_protocol::rocketmq::http::properties;
use spillway_protocol::rocketmq::http::publish::{Publish, Published};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// See the module. Dropped, it takes no more connections.
#[derive(Debug)]
pub struct Sieve {
    port: u16,
    left: Arc<Mutex<BTreeSet<String>>>,
    task: JoinHandle<()>,
}

impl Sieve {
    /// Leads to `port` of 127.0.0.1, and loses a message of each of these keys, once.
    pub async fn start(port: u16, keys: impl IntoIterator<Item = String>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let left = Arc::new(Mutex::new(keys.into_iter().collect()));
        let losing = left.clone();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, port, losing.clone()));
            }
        });
        Self { port: own, left, task }
    }

    /// `http://address` of its near end.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Keys of which no message has come.
    pub fn left(&self) -> BTreeSet<String> {
        self.left.lock().unwrap().clone()
    }
}

impl Drop for Sieve {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection: request by request, since nobody here pipelines.
async fn carry(near: TcpStream, port: u16, left: Arc<Mutex<BTreeSet<String>>>) -> io::Result<()> {
    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let (mut near, mut far) = (Wire::of(near), Wire::of(far));
    while let Some(request) = near.receive().await? {
        if let Some(answer) = lost(&request, &left) {
            near.stream.write_all(&answer).await?;
            continue;
        }
        far.stream.write_all(&request.bytes).await?;
        let Some(answer) = far.receive().await? else { break };
        near.stream.write_all(&answer.bytes).await?;
    }
    Ok(())
}

/// The answer to a publish that is not passed on.
fn lost(request: &Http, left: &Mutex<BTreeSet<String>>) -> Option<Vec<u8>> {
    let publish = Publish::parse(std::str::from_utf8(request.body()).ok()?).ok()?;
    let (_, key) = properties::split(&publish.properties)
        .ok()?
        .into_iter()
        .find(|(name, _)| name == "KEYS")?;
    left.lock().unwrap().remove(&key).then(|| {
        let body_md5 = Some(body_md5(publish.body.as_bytes()));
        let body = Published { message_id: format!("LOST-{key}"), body_md5 }.to_xml();
        let length = body.len();
        format!(
            "HTTP/1.1 201 Created\r\nx-mq-version: 2015-06-06\r\ncontent-type: text/xml\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    })
}

/// A request or an answer.
struct Http {
    bytes: Vec<u8>,
    head: usize,
}

impl Http {
    fn body(&self) -> &[u8] {
        &self.bytes[self.head..]
    }
}

/// One end's connection, and what came of the next message.
struct Wire {
    stream: TcpStream,
    ahead: BytesMut,
}

impl Wire {
    fn of(stream: TcpStream) -> Self {
        Self { stream, ahead: BytesMut::new() }
    }

    /// The next whole message; none at the end.
    async fn receive(&mut self) -> io::Result<Option<Http>> {
        loop {
            if let Some((head, whole)) = lengths(&self.ahead)
                && self.ahead.len() >= whole
            {
                return Ok(Some(Http { bytes: self.ahead.copy_to_bytes(whole).to_vec(), head }));
            }
            if self.stream.read_buf(&mut self.ahead).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Bytes of the head, and of head and body.
fn lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    Some((head, head + length.map_or(0, |length| length.trim().parse::<usize>().unwrap())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_whole_with_its_body() {
        let head = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(lengths(head), Some((head.len(), head.len() + 3)));
        assert_eq!(lengths(b"HTTP/1.1 204 No Content\r\n\r\n"), Some((27, 27)));
        assert_eq!(lengths(b"POST / HTTP/1.1\r\n"), None);
    }
}
