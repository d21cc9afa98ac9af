//! HTTP/1.1, mostly over a Unix socket, written by hand: the tests see the bytes that apps see.

use std::io;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

/// An answer, as far as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Head as it came.
    pub head: String,
    /// Body without its chunks' lengths.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        let text = || String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", text()))
    }

    /// The body's whole lines: what was cut off within a line was not said.
    pub fn lines(&self) -> Vec<String> {
        let whole = self.body.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        String::from_utf8_lossy(&self.body[..whole]).lines().map(str::to_owned).collect()
    }
}

/// `GET path`.
pub async fn get(socket: &Path, path: &str) -> io::Result<Answer> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    exchange(socket, request.as_bytes()).await
}

/// `POST path` with a body.
pub async fn post(socket: &Path, path: &str, kind: &str, body: &[u8]) -> io::Result<Answer> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    );
    exchange(socket, &[head.as_bytes(), body].concat()).await
}

/// Sends a whole request that asks for `connection: close` and reads until the other end closes
/// or breaks off; an error only if nothing of an answer came.
pub async fn exchange(socket: &Path, request: &[u8]) -> io::Result<Answer> {
    exchange_on(UnixStream::connect(socket).await?, request).await
}

/// The same on a connection that is already there.
pub async fn exchange_on(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
) -> io::Result<Answer> {
    stream.write_all(request).await?;
    let mut bytes = Vec::new();
    // What came before the other end was killed counts.
    let ended = stream.read_to_end(&mut bytes).await;
    match parse(&bytes) {
        Some(answer) => Ok(answer),
        None => Err(ended.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = &bytes[end + 4..];
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body) } else { body.to_vec() };
    Some(Answer { status, head, body })
}

/// The content of whole and broken chunks.
fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&rest[..at]).ok();
        let Some(length) = length.and_then(|hex| usize::from_str_radix(hex, 16).ok()) else {
            break;
        };
        rest = &rest[at + 2..];
        body.extend_from_slice(&rest[..length.min(rest.len())]);
        rest = rest.get(length + 2..).unwrap_or_default();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_and_a_broken_one_counts_as_far_as_it_came() {
        assert_eq!(unchunk(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), b"abcde");
        assert_eq!(unchunk(b"3\r\nabc\r\n5\r\nde"), b"abcde");
        assert_eq!(unchunk(b"3\r\nabc\r\n5"), b"abc");
    }

    #[test]
    fn a_line_that_was_cut_off_was_not_said() {
        let answer = Answer { status: 200, head: String::new(), body: b"one\ntw".to_vec() };
        assert_eq!(answer.lines(), ["one"]);
    }
}
