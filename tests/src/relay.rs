//! A cable between a gateway and a server on this machine, which can be cut, and may be long.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// See the module. Dropped, it is cut for good.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    whole: watch::Sender<bool>,
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
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, port, delay, state.clone()));
            }
        });
        Self { port: own, whole, task }
    }

    /// Its near end on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
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

async fn carry(near: TcpStream, port: u16, delay: Duration, mut whole: watch::Receiver<bool>) {
    if !*whole.borrow_and_update() {
        return;
    }
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_out, near_in), (far_out, far_in)) = (near.into_split(), far.into_split());
    let both =
        async { tokio::join!(along(near_out, far_in, delay), along(far_out, near_in, delay)) };
    tokio::select! {
        biased;
        _ = whole.wait_for(|whole| !whole) => {}
        _ = both => {}
    }
}

/// Brings bytes from one end to the other, each `delay` after it came.
async fn along(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let (underway, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let depart = async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
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
