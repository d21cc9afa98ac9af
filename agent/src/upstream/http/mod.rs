//! The MQ HTTP API as an [`Upstream`]: one signed POST per message, many in flight over
//! kept-alive connections, no redirects, no proxy but the configured one and no retries of its
//! own (hyper's pool may send once more what has provably not left). The one repeat is a request whose *date* was refused: it is signed again with the
//! server's time, since a refused date stored nothing and may be this clock's fault.

mod answer;
mod failure;
mod inspect;
mod request;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::Full;
use hyper_util::client::legacy as client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use spillway_protocol::dial::{
    Carried, CertificateTime, Connector, Dialer, Target, TargetError, TlsError, tls,
};
use spillway_protocol::message::{Message, xml_safe};
use spillway_protocol::record::Topic;
use spillway_protocol::rocketmq::http::publish::Publish;
use spillway_protocol::rocketmq::http::resource;
use spillway_protocol::rocketmq::http::xml::escaped_len;
use spillway_protocol::rocketmq::skew::Skew;
use tokio::sync::watch;

use super::access::{Access, Grip};
use super::unanswered::Unanswered;
use super::{CredentialsSource, Finding, KeysView, Outcome, Scope, Upstream};
use crate::clock::WallClock;
use crate::config::{self, Endpoint};
use answer::Answer;
use request::Signed;

/// Longest wait for a connection, name resolution and TLS included.
pub use spillway_protocol::dial::CONNECT_DEADLINE;

/// Longest time one send may take beyond the time that the bytes take.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(15);
/// Request line, headers (the signature among them) and the XML around a message.
const HEADERS_BYTES: usize = 600;
/// An idle connection is closed after this, before the server or a NAT forgets it.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// The upstream cannot be built as configured.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No endpoint is configured.
    #[error("upstream.endpoint is missing; set it to https://host:port")]
    NoEndpoint,
    /// The HTTP API signs every request.
    #[error(
        "upstream.access_key_id and access_key_secret are missing; transport \"http\" signs every request"
    )]
    NoCredentials,
    /// TLS cannot be set up.
    #[error("upstream.tls.{part}: {0}", part = .0.part())]
    Tls(#[from] TlsError),
    /// The endpoint cannot be dialled.
    #[error("upstream.endpoint {0}")]
    Target(#[from] TargetError),
}

/// See [`CONNECT_DEADLINE`] and [`REQUEST_DEADLINE`].
struct Deadlines {
    connect: Duration,
    request: Duration,
}

type Client = client::Client<Connector, Full<Bytes>>;

/// A way to RocketMQ over the MQ HTTP API.
pub struct HttpUpstream {
    /// Its connections go with it.
    client: RwLock<Client>,
    endpoint: Endpoint,
    target: Arc<Target>,
    dialer: Dialer,
    instance: Option<String>,
    access: Access,
    clock: Arc<dyn WallClock>,
    skew: Skew,
    /// By which certificates are judged; without TLS it learns nothing.
    time: CertificateTime,
    deadlines: Deadlines,
    unanswered: Unanswered,
}

/// A client without connections.
fn client(target: &Arc<Target>, connect: Duration) -> Client {
    client::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_MAX)
        .build(Connector::new(Arc::clone(target), connect))
}

impl HttpUpstream {
    /// Builds it from `[upstream]`; opens no connection yet.
    pub fn new(upstream: &config::Upstream, clock: Arc<dyn WallClock>) -> Result<Self, BuildError> {
        Self::with_time(upstream, clock, CertificateTime::default(), Carried::default())
    }

    /// The same; certificates have to be good at `time`, which learns from the server, and what
    /// connections carry is counted at `carried`.
    pub fn with_time(
        upstream: &config::Upstream,
        clock: Arc<dyn WallClock>,
        time: CertificateTime,
        carried: Carried,
    ) -> Result<Self, BuildError> {
        let deadlines = Deadlines { connect: CONNECT_DEADLINE, request: REQUEST_DEADLINE };
        Self::with_deadlines(upstream, clock, time, deadlines, carried)
    }

    fn with_deadlines(
        upstream: &config::Upstream,
        clock: Arc<dyn WallClock>,
        time: CertificateTime,
        deadlines: Deadlines,
        carried: Carried,
    ) -> Result<Self, BuildError> {
        let endpoint = upstream.endpoints.first().ok_or(BuildError::NoEndpoint)?.clone();
        if upstream.access.keys.is_empty() && upstream.access.command.is_none() {
            return Err(BuildError::NoCredentials);
        }
        let tls = match endpoint.tls {
            true => Some(Arc::new(tls::client_config(&upstream.tls, &time)?)),
            false => None,
        };
        let dialer = Dialer::new(upstream.proxy.clone()).counting(carried);
        let target = Arc::new(Target::new(&endpoint, tls.as_ref(), &dialer)?);
        Ok(Self {
            client: RwLock::new(client(&target, deadlines.connect)),
            endpoint,
            target,
            dialer,
            instance: upstream.namespace.clone(),
            access: Access::new(&upstream.access),
            clock,
            skew: Skew::default(),
            time,
            deadlines,
            unanswered: Unanswered::default(),
        })
    }

    /// Access keys are read again from `source`, refused ones at once. Must be called within a
    /// tokio runtime.
    #[must_use]
    pub fn reading_credentials(self, source: CredentialsSource) -> Self {
        self.access.read_from(source);
        self
    }

    /// Publishes `message`; `publish` is its request.
    async fn publish(&self, message: &Message, publish: &Publish<'_>) -> Outcome {
        let resource = resource::publish(message.topic.as_str(), self.instance.as_deref());
        let key = match self.access.key().await {
            Ok(Some(key)) => key,
            Ok(None) => return failure::no_credentials(),
            Err(outcome) => return outcome,
        };
        let outcome = match self.exchange(&key, "POST", &resource, publish.to_xml()).await {
            Ok(Exchanged::Answered(answer)) => answer.outcome(&message.body),
            Ok(Exchanged::DateRefused(answer)) => {
                Outcome::Misconfigured { scope: Scope::Link, code: "clock", reason: answer.words() }
            }
            Err(outcome) => outcome,
        };
        self.access.judge(Some(&key), &message.topic, outcome).await
    }

    /// One request and its answer, signed again once if its date was refused.
    async fn exchange(
        &self,
        key: &Grip,
        method: &'static str,
        resource: &str,
        body: String,
    ) -> Result<Exchanged, Outcome> {
        let body = bytes::Bytes::from(body);
        let load = self.unanswered.load(body.len());
        let deadline = load.deadline(self.deadlines.request);
        let both = async {
            let (first, signed_ms) = self.attempt(key, method, resource, body.clone()).await?;
            if !first.refuses_date(signed_ms) {
                return Ok(Exchanged::Answered(first));
            }
            let (second, signed_ms) = self.attempt(key, method, resource, body).await?;
            Ok(match second.refuses_date(signed_ms) {
                true => Exchanged::DateRefused(second),
                false => Exchanged::Answered(second),
            })
        };
        match tokio::time::timeout(deadline, both).await {
            Ok(exchanged) => exchanged,
            Err(_) => Err(failure::deadline(deadline)),
        }
    }

    /// Signs with the server's time, sends, and takes in the server's clock from the answer.
    async fn attempt(
        &self,
        key: &Grip,
        method: &'static str,
        resource: &str,
        body: bytes::Bytes,
    ) -> Result<(Answer, u64), Outcome> {
        let signed_ms = self.skew.server_ms(self.clock.now_ms());
        let signed = Signed::new(method, resource, &key.credentials, signed_ms);
        let request = signed.into_request(&self.endpoint, body);
        let request = request.map_err(|e| failure::unsendable(&e))?;
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner).clone();
        let response = client.request(request).await.map_err(|e| failure::outcome(&e))?;
        let answer = Answer::read(response).await.map_err(|e| failure::cut(&e))?;
        if let Some(server_ms) = answer.trusted_date_ms() {
            self.skew.observe(self.clock.now_ms(), server_ms);
            if self.endpoint.tls {
                self.time.learn(server_ms / 1_000);
            }
        }
        Ok((answer, signed_ms))
    }
}

/// How an exchange ended that brought an answer.
enum Exchanged {
    /// With an answer to judge.
    Answered(Answer),
    /// The date was refused although it came from the server's own clock.
    DateRefused(Answer),
}

impl Upstream for HttpUpstream {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        async move {
            let Some(message) = message.clone().into_xml_safe() else {
                return failure::beyond_http();
            };
            match Publish::of(&message) {
                Ok(publish) => self.publish(&message, &publish).await,
                Err(error) => Outcome::Rejected {
                    code: "not_xml".to_owned(),
                    reason: error.to_string(),
                    own: true,
                },
            }
        }
        .boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        let dialled = self.target.dial_within(self.deadlines.connect);
        dialled.map(|dialled| dialled.map(drop).map_err(|e| failure::not_dialled(&e))).boxed()
    }

    fn inspect<'a>(&'a self, topic: &'a Topic, ordered: bool) -> BoxFuture<'a, Vec<Finding>> {
        inspect::inspect(self, topic, ordered).boxed()
    }

    fn inspect_keys<'a>(&'a self, topic: &'a Topic) -> BoxFuture<'a, Vec<Finding>> {
        inspect::keys(self, topic).boxed()
    }

    fn keys(&self) -> Option<KeysView> {
        Some(self.access.view())
    }

    fn key_changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.access.changes())
    }

    fn wire_bytes(&self, message: &Message) -> usize {
        let body = match std::str::from_utf8(&message.body) {
            Ok(text) if xml_safe(&message.body) => escaped_len(text),
            _ => message.body.len().div_ceil(3) * 4,
        };
        message.size_bytes() - message.body.len() + body + HEADERS_BYTES
    }

    fn clock_offset_s(&self) -> Option<i64> {
        self.skew.offset_s()
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.dialer.addresses()
    }

    fn reconnect(&self) {
        let fresh = client(&self.target, self.deadlines.connect);
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }
}
