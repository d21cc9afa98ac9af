//! What connections have carried: counted below TLS, so that handshakes, the CONNECT to a proxy,
//! frames and repetitions are all in it; and an estimate of what TCP and IP add.
//!
//! The estimate: [`PACKET_BYTES`] for each segment, and the same for every second one as its
//! acknowledgement. Each read and each write is taken as full segments of [`SEGMENT_BYTES`] and a
//! last one. A connection costs [`OPENING_BYTES`] when it is tried, [`CLOSING_BYTES`] for its end as
//! soon as it stands, and two packets for each whole minute in which it was quiet, since quiet
//! connections are tested that often. TCP's own repetitions and the questions for names are not in it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::dialer::TCP_KEEPALIVE;

/// Payload of a full segment on most paths.
const SEGMENT_BYTES: u64 = 1448;
/// Headers of IPv4 and TCP with its time stamps; over IPv6 it is 20 more.
const PACKET_BYTES: u64 = 52;
/// SYN, its answer, and the answer to that.
const OPENING_BYTES: u64 = 180;
/// Both sides' FIN and what acknowledges them.
const CLOSING_BYTES: u64 = 4 * PACKET_BYTES;

/// What TCP and IP add to `bytes` that are written or read at once.
pub fn headers_bytes(bytes: u64) -> u64 {
    let segments = bytes.div_ceil(SEGMENT_BYTES);
    (segments + segments.div_ceil(2)) * PACKET_BYTES
}

/// What TCP needs to test a connection that is quiet for so long.
pub fn quiet_bytes(quiet: Duration) -> u64 {
    quiet.as_secs() / TCP_KEEPALIVE.as_secs() * 2 * PACKET_BYTES
}

/// What has been carried so far, both ways, by all connections of one [`Carried`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// To establish connections, and to keep and end them: what no request caused.
    pub setup_bytes: u64,
    /// All else.
    pub traffic_bytes: u64,
    /// The part of both that is estimated: headers of TCP and IP.
    pub headers_bytes: u64,
    /// Connections that were ready for requests.
    pub opened: u64,
    /// Those of them that have ended.
    pub ended: u64,
}

/// A count of bytes; clones share it. It only grows.
#[derive(Debug, Clone, Default)]
pub struct Carried {
    counts: Arc<Counts>,
    /// All that is counted through this handle counts as setup.
    aside: bool,
}

#[derive(Debug, Default)]
struct Counts {
    setup: AtomicU64,
    traffic: AtomicU64,
    headers: AtomicU64,
    opened: AtomicU64,
    ended: AtomicU64,
}

impl Carried {
    /// What has been carried so far.
    pub fn read(&self) -> Reading {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { setup, traffic, headers, opened, ended } = &*self.counts;
        Reading {
            setup_bytes: of(setup),
            traffic_bytes: of(traffic),
            headers_bytes: of(headers),
            opened: of(opened),
            ended: of(ended),
        }
    }

    /// The same count for connections that carry no records: whatever they carry is setup.
    #[must_use]
    pub fn aside(&self) -> Self {
        Self { counts: Arc::clone(&self.counts), aside: true }
    }

    /// A connection is tried.
    pub(super) fn opening(&self) {
        self.add(0, OPENING_BYTES, true);
    }

    fn add(&self, bytes: u64, headers: u64, setup: bool) {
        let Counts { setup: before, traffic, headers: all, .. } = &*self.counts;
        let part = if setup { before } else { traffic };
        part.fetch_add(bytes + headers, Ordering::Relaxed);
        all.fetch_add(headers, Ordering::Relaxed);
    }
}

/// A connection whose bytes are counted.
#[derive(Debug)]
pub(super) struct Counted<S> {
    stream: S,
    carried: Carried,
    established: bool,
    /// When it last carried something.
    carried_at: Instant,
}

impl<S> Counted<S> {
    pub(super) fn new(stream: S, carried: Carried) -> Self {
        carried.add(0, CLOSING_BYTES, true);
        Self { stream, carried, established: false, carried_at: Instant::now() }
    }

    /// What it carries from now on was caused by requests.
    pub(super) fn establish(&mut self) {
        if !self.carried.aside {
            self.established = true;
            self.carried.counts.opened.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(&mut self, bytes: usize) {
        if bytes > 0 {
            self.note_quiet();
            let bytes = bytes as u64;
            self.carried.add(bytes, headers_bytes(bytes), !self.established);
        }
    }

    /// The tests of a quiet connection.
    fn note_quiet(&mut self) {
        let now = Instant::now();
        let quiet = now.duration_since(self.carried_at);
        self.carried_at = now;
        if quiet >= TCP_KEEPALIVE {
            self.carried.add(0, quiet_bytes(quiet), true);
        }
    }
}

impl<S> Drop for Counted<S> {
    fn drop(&mut self) {
        self.note_quiet();
        let ended = u64::from(self.established);
        self.carried.counts.ended.fetch_add(ended, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.count(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.count(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, parts))?;
        self.count(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn both_ways_are_counted_and_the_beginning_is_told_apart() {
        let (near, mut far) = duplex(64 * 1024);
        let carried = Carried::default();
        carried.opening();
        let mut counted = Counted::new(near, carried.clone());
        counted.write_all(&[0; 10]).await.unwrap();
        let headers = OPENING_BYTES + CLOSING_BYTES + 2 * PACKET_BYTES;
        let setup_bytes = 10 + headers;
        let begun = Reading { setup_bytes, headers_bytes: headers, ..Reading::default() };
        assert_eq!(carried.read(), begun);

        counted.establish();
        let parts = [IoSlice::new(&[1; 1000]), IoSlice::new(&[2; 1000])];
        assert_eq!(counted.write_vectored(&parts).await.unwrap(), 2000);
        far.write_all(&[3; 5]).await.unwrap();
        counted.read_buf(&mut Vec::new()).await.unwrap();
        // Two segments and what acknowledges them; one, and its acknowledgement.
        let (traffic, headers) = (2005, (3 + 2) * PACKET_BYTES);
        let then = carried.read();
        assert_eq!(then.setup_bytes, setup_bytes);
        assert_eq!(then.traffic_bytes, traffic + headers);
        assert_eq!(then.headers_bytes, begun.headers_bytes + headers);
        assert_eq!((then.opened, then.ended), (1, 0));

        tokio::time::advance(Duration::from_secs(125)).await;
        drop(counted);
        let end = carried.read();
        assert_eq!(end.setup_bytes, setup_bytes + 2 * 2 * PACKET_BYTES);
        assert_eq!((end.opened, end.ended), (1, 1));
    }

    #[tokio::test]
    async fn what_carries_no_records_is_setup_to_its_end() {
        let (near, _far) = duplex(64);
        let carried = Carried::default();
        let mut counted = Counted::new(near, carried.aside());
        counted.establish();
        counted.write_all(&[0; 10]).await.unwrap();
        let setup_bytes = 10 + 2 * PACKET_BYTES + CLOSING_BYTES;
        let headers_bytes = setup_bytes - 10;
        let wanted = Reading { setup_bytes, headers_bytes, ..Reading::default() };
        assert_eq!(carried.read(), wanted);
    }

    #[test]
    fn headers_are_those_of_full_segments_and_half_as_many_acknowledgements() {
        let packets = |bytes| headers_bytes(bytes) / PACKET_BYTES;
        let bytes = [0, 1, 1448, 1449, 4 * 1448];
        assert_eq!(bytes.map(packets), [0, 2, 2, 3, 6]);
    }
}
