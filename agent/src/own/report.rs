//! When the gateway's state is reported. What it is, [`Compose`] knows.
//!
//! A report is written when it can be sent: the link is up, and no earlier one waits. So the
//! newest replaces the older ones by these never having been written: none waits through an
//! outage but one that the outage overtook, no number is given up, and what arrives first after
//! an outage is the present state.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use spillway_protocol::message::Flags;
use spillway_protocol::record::Topic;
use spillway_protocol::report::Report;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::RETRY;
use super::post::{Letter, Number, Post};
use crate::drain::Connection;

/// Writes down how the gateway is at this moment. May block.
pub type Compose = Arc<dyn Fn() -> Report + Send + Sync>;

/// Part of the interval by which reports of a fleet drift apart.
const JITTER: f64 = 0.1;
/// Between two looks at whether the last one has left.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub struct Reporting {
    pub(super) post: Post,
    pub(super) topic: Topic,
    every: Duration,
    compose: Compose,
    connection: watch::Receiver<Connection>,
    rng: StdRng,
    /// The newest one that was written.
    last: Option<Number>,
}

impl Reporting {
    /// To `topic`, at least `every` so often while `connection` is up. `seed` draws the jitter.
    pub fn new(
        post: Post,
        (topic, every): (Topic, Duration),
        compose: Compose,
        connection: watch::Receiver<Connection>,
        seed: u64,
    ) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { post, topic, every, compose, connection, rng, last: None }
    }

    /// Reports until stopped: soon after the start, then after a part of the interval, so that
    /// gateways that were started together do not report together, then once in each.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.report() => {}
        }
    }

    async fn report(&mut self) {
        let post = self.post.clone();
        let waiting = spawn_blocking(move || post.waiting(Flags::REPORT)).await;
        self.last = waiting.unwrap_or_default();
        let mut next = self.every.mul_f64(self.rng.random::<f64>());
        loop {
            self.sendable().await;
            let written = self.write().await;
            if !written {
                sleep(RETRY).await;
                continue;
            }
            sleep(next).await;
            next = self.every.mul_f64(1.0 - JITTER * self.rng.random::<f64>());
        }
    }

    /// Resolves once a report would leave soon.
    async fn sendable(&mut self) {
        loop {
            if self.connection.wait_for(|connection| connection.up).await.is_err() {
                // The drain is gone: nothing will leave any more.
                std::future::pending().await
            }
            if !self.last.is_some_and(|last| self.post.waits(last)) {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn write(&mut self) -> bool {
        let compose = self.compose.clone();
        let body = spawn_blocking(move || compose().to_json()).await;
        let Ok(Ok(body)) = body else {
            tracing::error!("the report could not be written");
            return false;
        };
        let (topic, flags) = (self.topic.clone(), Flags::REPORT);
        match self.post.send(Letter { id: None, topic, tag: None, flags, body }).await {
            Ok(number) => {
                self.last = Some(number);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the report could not be stored");
                false
            }
        }
    }
}
