//! The one connection in use, and how the next is found.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use spillway_protocol::dial::{self, ByteStream, Carried, CertificateTime, Dialer, Target};
use tokio::sync::{Mutex, watch};

use super::BuildError;
use super::connection::Connection;
use super::identity::Identity;
use crate::clock::WallClock;
use crate::config;
use crate::upstream::access::Grip;

/// Access points and the connection to one of them.
pub(super) struct Pool {
    pub(super) identity: Arc<Identity>,
    targets: Vec<Target>,
    pub(super) dialer: Dialer,
    /// Counts the ways: connections and dialling of an earlier one are given up.
    way: watch::Sender<u64>,
    flowing: watch::Sender<bool>,
    slot: Mutex<Slot>,
    /// Of the key that the last request was signed with.
    serial: AtomicU64,
    /// Rounds of dialling that failed, so that those who waited for one share its result.
    failures: AtomicU64,
}

#[derive(Default)]
struct Slot {
    current: Option<Arc<Connection>>,
    /// By which it went.
    way: u64,
    /// Target to begin with.
    next: usize,
    failure: String,
}

fn targets(
    upstream: &config::Upstream,
    time: &CertificateTime,
    dialer: &Dialer,
) -> Result<Vec<Target>, BuildError> {
    match upstream.endpoints.is_empty() {
        true => Err(BuildError::NoEndpoint),
        false => Ok(dial::targets(&upstream.endpoints, &upstream.tls, time, dialer)?),
    }
}

impl Pool {
    pub(super) fn new(
        upstream: &config::Upstream,
        client_id: String,
        clock: Arc<dyn WallClock>,
        time: CertificateTime,
        carried: Carried,
    ) -> Result<Self, BuildError> {
        let dialer = Dialer::new(upstream.proxy.clone()).counting(carried);
        Ok(Self {
            targets: targets(upstream, &time, &dialer)?,
            dialer,
            way: watch::Sender::new(0),
            identity: Arc::new(Identity::new(upstream, client_id, clock, time)?),
            flowing: watch::Sender::new(false),
            slot: Mutex::default(),
            serial: AtomicU64::new(0),
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
        if let Some(connection) = self.usable(&slot) {
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
        match self.usable(&slot) {
            None => self.connect(&mut slot).await.map(|_| ()),
            Some(_) => {
                let first = slot.next;
                drop(slot);
                self.dial(first).await.map(|_| ())
            }
        }
    }

    /// Requests are signed with this key from now on: the session of another one ends, and the
    /// next request opens a connection of its own.
    pub(super) async fn begin_by(&self, key: Option<&Grip>) {
        let serial = key.map_or(0, |key| key.serial);
        if self.serial.swap(serial, Ordering::Relaxed) == serial {
            return;
        }
        if let Some(connection) = &self.slot.lock().await.current {
            connection.retire();
        }
    }

    /// The same at once, and dialling that is under way ends.
    pub(super) fn reconnect(&self) {
        self.way.send_modify(|way| *way += 1);
    }

    fn usable<'a>(&self, slot: &'a Slot) -> Option<&'a Arc<Connection>> {
        slot.current.as_ref().filter(|c| c.is_usable() && slot.way == *self.way.borrow())
    }

    /// Takes the connection out of use.
    pub(super) fn take(&self) -> Option<Arc<Connection>> {
        self.slot.try_lock().ok()?.current.take()
    }

    async fn connect(&self, slot: &mut Slot) -> Result<Arc<Connection>, String> {
        let way = *self.way.borrow();
        let old = slot.current.take().filter(|_| slot.way == way);
        if old.is_some_and(|old| !old.wire.is_closed()) {
            // Given up for its silence: another access point may do better.
            slot.next += 1;
        }
        slot.way = way;
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
                self.dialer.turn();
                slot.failure.clone_from(&reason);
                self.failures.fetch_add(1, Ordering::Release);
                Err(reason)
            }
        }
    }

    /// The first access point that answers, beginning with number `first`.
    async fn dial(&self, first: usize) -> Result<(usize, Box<dyn ByteStream>), String> {
        let mut way = self.way.subscribe();
        tokio::select! {
            biased;
            _ = way.changed() => Err("the network changed while connecting".to_owned()),
            dialled = self.dial_in_turn(first) => dialled,
        }
    }

    async fn dial_in_turn(&self, first: usize) -> Result<(usize, Box<dyn ByteStream>), String> {
        let mut reasons = Vec::new();
        for step in 0..self.targets.len() {
            let index = (first + step) % self.targets.len();
            match self.targets[index].dial().await {
                Ok(stream) => return Ok((index, stream)),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(reasons.join("; "))
    }
}
