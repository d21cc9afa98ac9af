//! The one connection in use, and how the next is found.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use spillway_protocol::dial::{self, ByteStream, CertificateTime, Target};
use tokio::sync::{Mutex, watch};

use super::BuildError;
use super::connection::Connection;
use super::identity::Identity;
use crate::clock::WallClock;
use crate::config;

/// Access points and the connection to one of them.
pub(super) struct Pool {
    pub(super) identity: Arc<Identity>,
    targets: Vec<Target>,
    flowing: watch::Sender<bool>,
    slot: Mutex<Slot>,
    /// Rounds of dialling that failed, so that those who waited for one share its result.
    failures: AtomicU64,
}

#[derive(Default)]
struct Slot {
    current: Option<Arc<Connection>>,
    /// Target to begin with.
    next: usize,
    failure: String,
}

fn targets(upstream: &config::Upstream, time: &CertificateTime) -> Result<Vec<Target>, BuildError> {
    match upstream.endpoints.is_empty() {
        true => Err(BuildError::NoEndpoint),
        false => Ok(dial::targets(&upstream.endpoints, &upstream.tls, time)?),
    }
}

impl Pool {
    pub(super) fn new(
        upstream: &config::Upstream,
        client_id: String,
        clock: Arc<dyn WallClock>,
        time: CertificateTime,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            targets: targets(upstream, &time)?,
            identity: Arc::new(Identity::new(upstream, client_id, clock, time)?),
            flowing: watch::Sender::new(false),
            slot: Mutex::default(),
            failures: AtomicU64::new(0),
        })
    }

    pub(super) fn flowing(&self, flowing: bool) {
        self.flowing.send_replace(flowing);
    }

    /// The connection in use, or a new one.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, String> {
        let failures = self.failures.load(Ordering::Acquire);
        let mut slot = self.slot.lock().await;
        if let Some(connection) = slot.current.as_ref().filter(|c| c.is_usable()) {
            return Ok(Arc::clone(connection));
        }
        if self.failures.load(Ordering::Acquire) != failures {
            return Err(slot.failure.clone());
        }
        self.connect(&mut slot).await
    }

    /// A new connection, which becomes the one in use if there is none.
    pub(super) async fn probe(&self) -> Result<(), String> {
        let mut slot = self.slot.lock().await;
        match slot.current.as_ref().filter(|c| c.is_usable()) {
            None => self.connect(&mut slot).await.map(|_| ()),
            Some(_) => {
                let first = slot.next;
                drop(slot);
                self.dial(first).await.map(|_| ())
            }
        }
    }

    /// Has the next request open a connection of its own.
    pub(super) async fn retire(&self) {
        if let Some(connection) = &self.slot.lock().await.current {
            connection.retire();
        }
    }

    /// Takes the connection out of use.
    pub(super) fn take(&self) -> Option<Arc<Connection>> {
        self.slot.try_lock().ok()?.current.take()
    }

    async fn connect(&self, slot: &mut Slot) -> Result<Arc<Connection>, String> {
        if slot.current.take().is_some_and(|old| !old.wire.is_closed()) {
            // Given up for its silence: another access point may do better.
            slot.next += 1;
        }
        let connected = match self.dial(slot.next).await {
            Ok((index, stream)) => {
                slot.next = index;
                let flowing = self.flowing.subscribe();
                let identity = Arc::clone(&self.identity);
                Connection::open(&self.targets[index], stream, identity, flowing).await
            }
            Err(reason) => Err(reason),
        };
        match connected {
            Ok(connection) => {
                let connection = Arc::new(connection);
                slot.current = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(reason) => {
                slot.next += 1;
                slot.failure.clone_from(&reason);
                self.failures.fetch_add(1, Ordering::Release);
                Err(reason)
            }
        }
    }

    /// The first access point that answers, beginning with number `first`.
    async fn dial(&self, first: usize) -> Result<(usize, Box<dyn ByteStream>), String> {
        let mut reasons = Vec::new();
        for step in 0..self.targets.len() {
            let index = (first + step) % self.targets.len();
            match self.targets[index].dial().await {
                Ok(stream) => return Ok((index, stream)),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons.join("; "))
    }
}
