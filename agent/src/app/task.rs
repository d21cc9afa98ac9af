//! A part of the agent that runs by itself until it is stopped.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Time that a part gets to end.
const GRACE: Duration = Duration::from_secs(12);

/// See the module.
pub(super) struct Task {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Task {
    /// Starts what `part` makes of the token that stops it.
    pub(super) fn spawn<F>(part: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        Self { running: tokio::spawn(part(stop.clone())), stop }
    }

    /// Tells it to end, and waits until it has.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        match timeout(GRACE, &mut self.running).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a part of the agent had ended before"),
            // A client that never ends its request must not keep the others waiting.
            Err(_) => self.running.abort(),
        }
    }
}
