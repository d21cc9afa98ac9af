//! The page's stream: one look at the agent for all who watch, and none while nobody does, but for
//! one a minute that the plot is made of.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::history::History;
use super::looks::Looks;

/// Most who watch at a time.
pub(super) const VIEWERS_MAX: usize = 8;
/// How often they see the agent anew.
pub(super) const EVERY: Duration = Duration::from_secs(2);
/// How often it is looked at for the plot.
const HISTORY_EVERY: Duration = Duration::from_secs(60);
/// Least time between two looks, however often somebody comes and goes.
const APART: Duration = Duration::from_millis(500);

/// What all who watch share.
pub(super) struct Live {
    looks: Looks,
    history: Mutex<History>,
    /// The last look, while somebody watches.
    shown: watch::Sender<Option<Bytes>>,
    came: Notify,
    places: Arc<Semaphore>,
}

/// One who watches.
struct Viewer {
    shown: watch::Receiver<Option<Bytes>>,
    begun: bool,
    _place: OwnedSemaphorePermit,
}

impl Live {
    /// Over an agent that nobody watches yet.
    pub(super) fn new(looks: Looks) -> Self {
        Self {
            looks,
            history: Mutex::default(),
            shown: watch::Sender::new(None),
            came: Notify::new(),
            places: Arc::new(Semaphore::new(VIEWERS_MAX)),
        }
    }

    /// Looks until `stop`.
    pub(super) async fn keep(&self, stop: &CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.look_on() => {}
        }
    }

    async fn look_on(&self) {
        let mut last = Instant::now();
        self.look().await;
        loop {
            let watched = self.shown.receiver_count() > 0;
            if !watched {
                self.shown.send_replace(None);
            }
            let due = last + if watched { EVERY } else { HISTORY_EVERY };
            tokio::select! {
                biased;
                () = self.came.notified(), if !watched => sleep_until(last + APART).await,
                () = sleep_until(due) => {}
            }
            last = Instant::now();
            self.look().await;
        }
    }

    async fn look(&self) {
        let told = match self.looks.status().await {
            Ok(status) => {
                self.history().add(Instant::now(), &status);
                let agent = self.looks.agent();
                let (stuck, accepts) = (agent.stuck(), agent.accepts());
                let letters = agent.letters();
                let every_s = EVERY.as_secs();
                json!({"status": status, "letters": letters, "stuck": stuck, "accepts": accepts, "every_s": every_s})
            }
            Err(fault) => json!({ "fault": fault }),
        };
        if self.shown.receiver_count() > 0 {
            self.shown.send_replace(Some(event("state", &told)));
        }
    }

    /// What one more viewer sees, until `stop`: the history, then each look. `None`: too many do.
    pub(super) fn watched(
        &self,
        stop: CancellationToken,
    ) -> Option<impl Stream<Item = Bytes> + Send + use<>> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        let viewer = Viewer { shown: self.shown.subscribe(), begun: false, _place: place };
        self.came.notify_one();
        let history = event("history", &self.history().told(Instant::now()));
        let looks = stream::unfold(viewer, Viewer::next);
        Some(stream::iter([history]).chain(looks).take_until(stop.cancelled_owned()))
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Viewer {
    /// The newest look: one that reads slowly misses some.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            if self.begun {
                self.shown.changed().await.ok()?;
            }
            self.begun = true;
            let shown = self.shown.borrow_and_update().clone();
            if let Some(shown) = shown {
                return Some((shown, self));
            }
        }
    }
}

/// A server-sent event. JSON has no line end of its own.
fn event(name: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests;
