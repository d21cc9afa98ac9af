//! A client's connection: gives back the bytes that were read to tell the dialect, and ends when
//! the client neither reads its answers nor sends anything for too long.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::seats::Pulse;

pub(crate) struct Wire<S = UnixStream> {
    stream: S,
    first: Bytes,
    stall_max: Duration,
    progress: Instant,
    stall: Option<Pin<Box<Sleep>>>,
    pulse: Option<Pulse>,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Http,
    Binary,
    Unknown,
}

impl Wire {
    /// Waits for the first byte and tells the dialect by it; `None` if the client went.
    pub(super) async fn new(
        mut stream: UnixStream,
        stall_max: Duration,
    ) -> io::Result<Option<(Self, Dialect)>> {
        let mut first = [0];
        if stream.read(&mut first).await? == 0 {
            return Ok(None);
        }
        let dialect = match first[0] {
            0 => Dialect::Binary,
            // Methods are upper-case; a line end before the request line is forgiven.
            b'A'..=b'Z' | b'\r' | b'\n' => Dialect::Http,
            _ => Dialect::Unknown,
        };
        let wire = Self { first: Bytes::copy_from_slice(&first), ..Self::plain(stream, stall_max) };
        Ok(Some((wire, dialect)))
    }
}

impl<S> Wire<S> {
    /// A connection on which only one dialect is spoken.
    pub(crate) fn plain(stream: S, stall_max: Duration) -> Self {
        let progress = Instant::now();
        Self { stream, first: Bytes::new(), stall_max, progress, stall: None, pulse: None }
    }

    /// The same, with `pulse` told when bytes come in.
    pub(crate) fn heard_by(self, pulse: Pulse) -> Self {
        Self { pulse: Some(pulse), ..self }
    }

    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            self.progress = Instant::now();
            self.stall = None;
            return polled;
        }
        loop {
            let deadline = self.progress + self.stall_max;
            let stall = self.stall.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            match stall.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if Instant::now() >= deadline => {
                    let message = "the client does not read its answers";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
                }
                // It was set before the last byte came in.
                Poll::Ready(()) => self.stall = None,
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let n = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first[..n]);
            self.first.advance(n);
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() {
            self.progress = Instant::now();
            if let Some(pulse) = &self.pulse {
                pulse.hear();
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
