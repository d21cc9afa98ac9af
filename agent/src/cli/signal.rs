//! How a command that runs until it is told to stop is told.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears SIGTERM and SIGINT from the moment it is made: one that comes while the command still
/// starts stops it in good order, too.
pub(super) struct Stop(Option<[Signal; 2]>);

impl Stop {
    /// Begins to listen. Without the means to hear signals, the system ends the process by itself.
    pub(super) fn listen() -> Self {
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        match signals {
            (Ok(terminate), Ok(interrupt)) => Self(Some([terminate, interrupt])),
            _ => Self(None),
        }
    }

    /// Returns once told to stop.
    pub(super) async fn told(&mut self) {
        let Some([terminate, interrupt]) = &mut self.0 else {
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// Hears SIGHUP from the moment it is made.
pub(super) struct Reload(Option<Signal>);

impl Reload {
    /// Begins to listen.
    pub(super) fn listen() -> Self {
        Self(signal(SignalKind::hangup()).ok())
    }

    /// Returns once told to read the configuration again.
    pub(super) async fn told(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_before_anybody_waits_is_not_lost() {
        let mut stop = Stop::listen();
        let own = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &own]).status();
        assert!(sent.unwrap().success());
        stop.told().await;
    }
}
