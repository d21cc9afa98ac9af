//! A cable between a gateway and a server on this machine, which can be cut, may be long, and
//! counts what it carries.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// What has gone through.
#[derive(Debug, Default)]
struct Meter {
    bytes: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
}

/// See the module. Dropped, it is cut for good.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    whole: watch::Sender<bool>,
    meter: Arc<Meter>,
    task: JoinHandle<()>,
}

impl Relay {
    /// A whole one to `port` of 127.0.0.1.
    pub async fn start(port: u16) -> Self {
        Self::between((Ipv4Addr::LOCALHOST.into(), 0), port, Duration::ZERO).await
    }

    /// From `near` to `port` of 127.0.0.1; bytes take `delay` each way.
    pub async fn between(near: (IpAddr, u16), port: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind(near).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (whole, state) = watch::channel(true);
        let meter = Arc::<Meter>::default();
        let shared = meter.clone();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (state, meter) = (state.clone(), shared.clone());
                tokio::spawn(async move {
                    meter.connections.fetch_add(1, Relaxed);
                    meter.open.fetch_add(1, Relaxed);
                    carry(near, port, delay, state, &meter.bytes).await;
                    meter.open.fetch_sub(1, Relaxed);
                });
            }
        });
        Self { port: own, whole, meter, task }
    }

    /// Its near end on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes carried so far, both ways: what TCP carries, without its own headers.
    pub fn bytes(&self) -> u64 {
        self.meter.bytes.load(Relaxed)
    }

    /// Connections so far, and those that are open.
    pub fn connections(&self) -> (u64, u64) {
        (self.meter.connections.load(Relaxed), self.meter.open.load(Relaxed))
    }

    /// Ends all connections; new ones end at once.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets new connections through.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    near: TcpStream,
    port: u16,
    delay: Duration,
    mut whole: watch::Receiver<bool>,
    count: &AtomicU64,
) {
    if !*whole.borrow_and_update() {
        return;
    }
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_out, near_in), (far_out, far_in)) = (near.into_split(), far.into_split());
    let both = async {
        let (out, back) =
            (along(near_out, far_in, delay, count), along(far_out, near_in, delay, count));
        tokio::join!(out, back)
    };
    tokio::select! {
        biased;
        _ = whole.wait_for(|whole| !whole) => {}
        _ = both => {}
    }
}

/// Brings bytes from one end to the other, each `delay` after it came.
async fn along(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
    count: &AtomicU64,
) {
    let (underway, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let depart = async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            count.fetch_add(length as u64, Relaxed);
            let bytes = buffer[..length].to_vec();
            if underway.send((Instant::now() + delay, bytes)).await.is_err() {
                break;
            }
        }
    };
    let arrive = async move {
        while let Some((at, bytes)) = arriving.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(depart, arrive);
}
