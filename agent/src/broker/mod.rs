//! An embedded broker for development, `spillway demo` and tests: the MQ HTTP API on loopback.
//!
//! It checks what MQ checks (signature, date, XML, properties, limits), so that what works here
//! works there; where MQ's behaviour is not known it takes the stricter way. Topics and groups
//! come into being at first use and a new group starts at the oldest message. Messages live in
//! memory, or in a folder that outlives the process but, as a development broker's, is not synced.
//! Transactions are the one operation it refuses.
//!
//! On request it misbehaves: see [`faults`].
//!
//! Beside the API it answers, unsigned since it is on loopback only:
//! - `GET /_topics`: topics and how many messages each has
//! - `GET /_topics/{topic}/messages?ns={instance}`: its messages as JSON
//! - `GET`, `POST /_faults`: the [`faults::Plan`] in force, as JSON
//! - `GET /_keys`: ids of the access keys; `POST`: `{"grant": [{"id", "secret", "token": ["..", 3600]}],
//!   "revoke": ["id"]}`, of which all parts are optional, the token and its seconds too

mod admin;
pub mod faults;
mod keys;
mod operation;
mod query;
mod server;
mod store;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::{SystemClock, WallClock};
use crate::config::Secret;
use faults::{Faults, Plan};
use server::Server;
use store::TopicId;

pub use keys::Keys;
pub use store::{StoreError, Stored};

/// How long [`Broker::stop`] waits for requests under way.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What a broker is started with.
#[derive(Clone)]
pub struct BrokerOptions {
    /// Loopback address; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Access keys and their secrets at the start; requests under others are refused.
    pub access_keys: Vec<(String, Secret)>,
    /// Folder for messages and acknowledgements; memory only without.
    pub dir: Option<PathBuf>,
    /// Most messages kept per topic; beyond it the oldest go. No bound without.
    pub keep_messages: Option<usize>,
    /// How long a message handed out stays out of sight: MQ's 5 minutes.
    pub invisible: Duration,
    /// The same for ordered consumers: MQ's minute.
    pub invisible_orderly: Duration,
    /// Faults from the start.
    pub faults: Plan,
    /// Seed of what is left to chance among the faults.
    pub seed: u64,
    /// Wall clock, for dates and times.
    pub clock: Arc<dyn WallClock>,
}

impl BrokerOptions {
    /// Options with MQ's own times, in memory, without faults.
    pub fn new(listen: SocketAddr, access_keys: Vec<(String, Secret)>) -> Self {
        Self {
            listen,
            access_keys,
            dir: None,
            keep_messages: None,
            invisible: Duration::from_secs(300),
            invisible_orderly: Duration::from_secs(60),
            faults: Plan::default(),
            seed: 0,
            clock: Arc::new(SystemClock),
        }
    }
}

/// The broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It would be reachable from outside.
    #[error(
        "{0} is not a loopback address; the development broker listens on 127.0.0.1 or [::1] only"
    )]
    NotLoopback(SocketAddr),
    /// The address is taken or not this machine's.
    #[error("cannot listen on {address}: {source}; choose another port, or 0 for a free one")]
    Listen {
        /// Address asked for.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// The folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A running broker. Dropping it cuts every connection at once; [`Broker::stop`] is polite.
pub struct Broker {
    address: SocketAddr,
    server: Arc<Server>,
    stopping: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Broker {
    /// Starts a broker; it answers from the moment this returns.
    pub async fn start(options: BrokerOptions) -> Result<Self, StartError> {
        if !options.listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(options.listen));
        }
        let failed = |source| StartError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stopping, stop) = watch::channel(false);
        let server = Arc::new(Server::new(options, address, stop.clone())?);
        let task = tokio::spawn(server::accept(listener, Arc::clone(&server), stop));
        Ok(Self { address, server, stopping, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://address`, as an endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The switch of its faults.
    pub fn faults(&self) -> Faults {
        self.server.faults.clone()
    }

    /// The switch of its access keys.
    pub fn keys(&self) -> Keys {
        self.server.keys.clone()
    }

    /// The messages of a topic, the oldest first; none if it does not exist.
    pub fn messages(&self, instance: Option<&str>, topic: &str) -> Vec<Arc<Stored>> {
        self.server.store.list(&TopicId::new(instance, topic))
    }

    /// Stops: no new connections, requests under way are answered, waiting consumers get nothing.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        // Beyond the grace time the drop below cuts what is left.
        let _ = tokio::time::timeout(STOP_GRACE, &mut self.task).await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}
