//! What was stored beside a newer agent's folder: taken over at the start, in the lanes that keep
//! an order before anything new is taken in, in the others while records come and go.

use std::sync::Arc;
use std::time::Duration;

use spillway_protocol::record::LaneName;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Order};
use crate::queue::{Options, Queue, Takeover};

/// Pause before what could not be taken over is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Opens what lies beside `queue`, and takes over the lanes with an order.
pub(super) async fn begin(config: &Config, queue: &Queue, options: Options) -> Vec<Arc<Takeover>> {
    let ordered = config.lanes.iter().filter(|lane| lane.order != Order::None);
    let ordered: Vec<LaneName> = ordered.map(|lane| lane.name.clone()).collect();
    let queue = queue.clone();
    let opening = move || {
        let all = Takeover::open_all(&queue, &options);
        let mut opened = Vec::new();
        for (folder, takeover) in all {
            let folder = folder.display();
            match takeover {
                Ok(takeover) => {
                    let waiting = takeover.waited();
                    tracing::warn!(%folder, waiting, "records were stored beside; they are taken over");
                    if let Err(error) = takeover.lanes(|lane| ordered.contains(lane), &|| true) {
                        tracing::error!(%folder, %error, "not all is taken over yet");
                    }
                    opened.push(Arc::new(takeover));
                }
                Err(error) => tracing::error!(%folder, %error, "it cannot be taken over"),
            }
        }
        opened
    };
    spawn_blocking(opening).await.unwrap_or_default()
}

/// Takes over the rest until nothing is left, or the agent stops.
pub(super) async fn finish(takeovers: Vec<Arc<Takeover>>, stop: CancellationToken) {
    for takeover in takeovers {
        while !stop.is_cancelled() && !rest(takeover.clone(), stop.clone()).await {
            if timeout(AGAIN, stop.cancelled()).await.is_ok() {
                return;
            }
        }
    }
}

/// Whether nothing is left.
async fn rest(takeover: Arc<Takeover>, stop: CancellationToken) -> bool {
    let work = move || {
        let folder = takeover.folder().display();
        let go_on = || !stop.is_cancelled();
        match takeover.lanes(|_| true, &go_on).and_then(|()| takeover.finish()) {
            Ok(()) => tracing::info!(%folder, "all is taken over, and the folder is removed"),
            Err(_) if stop.is_cancelled() => {}
            Err(error) => {
                tracing::error!(%folder, %error, "not all is taken over yet");
                return false;
            }
        }
        true
    };
    spawn_blocking(work).await.unwrap_or(true)
}
