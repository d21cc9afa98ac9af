//! The embedded broker, in the test's process: it keeps its messages over stops and starts.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spillway::broker::faults::Faults;
use spillway::broker::{Broker, BrokerOptions, Keys, StartError, Stored};
use spillway::clock::SystemClock;
use spillway::config::{Credentials, Secret, Transport};
use spillway::upstream::http::HttpUpstream;
use spillway_protocol::message::Message;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::arrival::Arrival;
use crate::gateway::PATIENCE;
use crate::{port, sample};

/// The instance that agents and apps name.
pub const INSTANCE: &str = "MQ_INST_1_abc";
/// An access key that the broker knows.
pub const KEY: &str = "test-key";
/// Its secret.
pub const SECRET: &str = "test/secret+";

/// See the module.
pub struct HttpBroker {
    folder: TempDir,
    port: u16,
    invisible: Option<Duration>,
    running: Option<Broker>,
}

impl HttpBroker {
    /// A running broker on a free port.
    pub async fn start() -> Self {
        Self::hiding_for(None).await
    }

    /// The same; what is received comes again after `invisible` instead of after minutes.
    pub async fn hiding_for(invisible: impl Into<Option<Duration>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let invisible = invisible.into();
        let mut broker = Self { folder, port: port::free(), invisible, running: None };
        broker.restart().await;
        broker
    }

    /// Starts it again after [`HttpBroker::stop`] or [`HttpBroker::kill`], on the same port.
    pub async fn restart(&mut self) {
        let keys = vec![(KEY.to_owned(), Secret::new(SECRET))];
        let listen = ([127, 0, 0, 1], self.port).into();
        let dir = Some(self.folder.path().to_owned());
        let mut options = BrokerOptions { dir, ..BrokerOptions::new(listen, keys) };
        if let Some(invisible) = self.invisible {
            (options.invisible, options.invisible_orderly) = (invisible, invisible);
        }
        self.running = Some(listening(options).await);
    }

    /// Stops it: requests under way are answered, then nobody listens.
    pub async fn stop(&mut self) {
        self.running.take().expect("the broker does not run").stop().await;
    }

    /// Cuts all connections, also those with a request under way; then nobody listens.
    pub async fn kill(&mut self) {
        drop(self.running.take().expect("the broker does not run"));
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// The switch of its faults; all of them end with a stop.
    pub fn faults(&self) -> Faults {
        self.running().faults()
    }

    /// The switch of its access keys; after a stop there is [`KEY`] alone.
    pub fn keys(&self) -> Keys {
        self.running().keys()
    }

    /// `http://address`, whether it runs or not.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The `[upstream]` that leads to it.
    pub fn upstream(&self) -> String {
        Self::upstream_by(&self.endpoint())
    }

    /// The same by way of a proxy's `http://address`.
    pub fn upstream_by(endpoint: &str) -> String {
        format!(
            "[upstream]\nendpoint = \"{endpoint}\"\ninstance_id = \"{INSTANCE}\"\n\
             access_key_id = \"{KEY}\"\naccess_key_secret = \"{SECRET}\"\n"
        )
    }

    /// How the examples find it.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("ROCKETMQ_ENDPOINT", format!("http://127.0.0.1:{}", self.port)),
            ("ROCKETMQ_INSTANCE_ID", INSTANCE.to_owned()),
            ("ALIBABA_ACCESS_KEY", KEY.to_owned()),
            ("ALIBABA_SECRET_KEY", SECRET.to_owned()),
        ]
    }

    /// Publishes messages without an agent, in their order.
    pub async fn publish(&self, messages: &[Message]) {
        let secret = Secret::new(SECRET);
        let credentials = Credentials { id: KEY.to_owned(), secret, security_token: None };
        let upstream =
            sample::upstream(Transport::Http, self.port, Some(INSTANCE), Some(credentials));
        let upstream = HttpUpstream::new(&upstream, Arc::new(SystemClock)).unwrap();
        sample::publish(&upstream, messages).await;
    }

    /// A topic's messages in their order.
    pub fn messages(&self, topic: &str) -> Vec<Arc<Stored>> {
        self.running().messages(Some(INSTANCE), topic)
    }

    /// The same as arrivals, of several topics.
    pub fn arrivals(&self, topics: &[&str]) -> Vec<Arrival> {
        let messages = topics.iter().flat_map(|topic| self.messages(topic));
        messages.map(|stored| Arrival::from(&*stored)).collect()
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    fn running(&self) -> &Broker {
        self.running.as_ref().expect("the broker does not run")
    }
}

/// A child that another thread forks holds a copy of the socket that was closed last, until it has
/// become its program: the port is free a moment later.
async fn listening(options: BrokerOptions) -> Broker {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Broker::start(options.clone()).await {
            Err(StartError::Listen { source, .. })
                if source.kind() == ErrorKind::AddrInUse && Instant::now() < deadline =>
            {
                sleep(Duration::from_millis(5)).await;
            }
            started => return started.unwrap(),
        }
    }
}
