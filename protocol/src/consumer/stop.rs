//! When a program that consumes is to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// SIGTERM or Ctrl-C, for every consumer of a program.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens from now on. Has to be called inside a tokio runtime.
    ///
    /// # Errors
    /// The system lets nobody listen.
    pub fn on_signal() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (stop, asked) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping: what is in hand is finished");
            stop.send_replace(true);
        });
        Ok(Self(asked))
    }

    /// Waits until it is asked for.
    pub async fn asked(mut self) {
        // An error means that the sender is gone, which it is only after a signal.
        let _ = self.0.wait_for(|asked| *asked).await;
    }
}
