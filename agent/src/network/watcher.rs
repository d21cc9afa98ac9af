//! The loop: a change, a moment for those that come with it, a question.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;

use super::event::{self, Event};
use super::socket::Changes;
use super::way::Way;

/// A cable brings a device, addresses and routes, one after the other.
const SETTLE: Duration = Duration::from_millis(100);
/// Events that nobody has taken yet.
const WAITING: usize = 8;

/// Tells how the way to the addresses that `addresses` names changes; the first event, at once, is
/// that there is none, if so. Where the kernel may not be listened to, it says so once and ends.
/// Must be called within a tokio runtime.
pub fn watch(
    addresses: impl Fn() -> Vec<IpAddr> + Send + Sync + 'static,
) -> impl Stream<Item = Event> + Send + Unpin {
    let (events, stream) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = events.closed() => {}
            Err(error) = listen(&addresses, &events) => tracing::warn!(
                %error,
                "the kernel does not tell of network changes; they are found by attempts alone"
            ),
        }
    });
    ReceiverStream::new(stream)
}

async fn listen(
    addresses: &(impl Fn() -> Vec<IpAddr> + Send + Sync),
    events: &mpsc::Sender<Event>,
) -> io::Result<()> {
    let changes = Changes::open()?;
    let mut way = Way::find(&addresses())?;
    if let Way::None(reason) = &way {
        let _ = events.send(Event::Gone(reason.clone())).await;
    }
    loop {
        changes.next().await?;
        sleep(SETTLE).await;
        let found = match Way::find(&addresses()) {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "the kernel cannot be asked for a way; the next change is");
                continue;
            }
        };
        if let Some(event) = event::between(&way, &found) {
            tracing::debug!(?event, "the network changed");
            let _ = events.send(event).await;
        }
        way = found;
    }
}
