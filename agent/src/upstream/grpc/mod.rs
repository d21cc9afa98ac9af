//! RocketMQ 5 over gRPC.
//!
//! One HTTP/2 connection at a time to one of the configured access points; the addresses that
//! routes name are ignored, since behind NAT they lead nowhere and the proxy forwards anyway.
//! A connection begins with a telemetry stream and the producer's settings ([`session`]), carries
//! any number of sends side by side, and is given up when it is closed or stays silent beyond a
//! deadline ([`connection`]). What an answer means is decided in [`answer`].
//!
//! There is no HTTP/2 keep-alive: RocketMQ's proxy punishes pings with a GOAWAY. TCP keep-alive,
//! deadlines and heartbeats do its work.

mod answer;
mod connection;
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod pool;
mod route;
mod session;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use spillway_protocol::dial::{Carried, CertificateTime, TargetError, wire};
use spillway_protocol::message::Message;
use spillway_protocol::record::{START_DELIVER_TIME, Topic};
use spillway_protocol::rocketmq::grpc::{request, v2};
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::Code;

use self::connection::Connection;
use self::pool::Pool;
use super::access::{self, Grip};
use super::{CredentialsSource, Finding, KeysView, Outcome, Upstream};
use crate::clock::WallClock;
use crate::config;

/// Beyond the time that the bytes take.
const SEND_DEADLINE: Duration = Duration::from_secs(20);
/// Frames, system properties and, once HTTP/2 has compressed them, headers of one send.
const HEADERS_BYTES: usize = 200;
/// For calls that carry next to nothing.
const ASK_DEADLINE: Duration = Duration::from_secs(15);
/// What the goodbye may take.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);

/// The upstream configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Nothing to connect to.
    #[error("upstream has no endpoint; name at least one in upstream.endpoint")]
    NoEndpoint,
    /// An endpoint cannot be dialled.
    #[error("upstream.{setting}{0}", setting = setting(.0))]
    Target(#[from] TargetError),
    /// A configured text cannot travel as a header.
    #[error("{0} holds characters that cannot travel in a header; use plain ASCII")]
    Header(&'static str),
}

/// The setting behind a target's fault.
fn setting(error: &TargetError) -> String {
    match error {
        TargetError::Endpoint(_) => "endpoint ".to_owned(),
        TargetError::Tls(error) => format!("tls.{}: ", error.part()),
    }
}

/// RocketMQ 5 over gRPC. Has to be used inside a tokio runtime.
pub struct GrpcUpstream {
    pool: Arc<Pool>,
}

impl GrpcUpstream {
    /// Prepares the way described by `upstream`; nothing is connected before the first use.
    /// `client_id` stays the same for the life of the process, since the server keeps memory
    /// for every id it has seen.
    pub fn new(
        upstream: &config::Upstream,
        client_id: String,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, BuildError> {
        let (time, carried) = (CertificateTime::default(), Carried::default());
        Self::with_time(upstream, client_id, clock, time, carried)
    }

    /// The same; certificates have to be good at `time`, which learns from the server, and what
    /// connections carry is counted at `carried`.
    pub fn with_time(
        upstream: &config::Upstream,
        client_id: String,
        clock: Arc<dyn WallClock>,
        time: CertificateTime,
        carried: Carried,
    ) -> Result<Self, BuildError> {
        Ok(Self { pool: Arc::new(Pool::new(upstream, client_id, clock, time, carried)?) })
    }

    /// Access keys are read again from `source`, refused ones at once.
    #[must_use]
    pub fn reading_credentials(self, source: CredentialsSource) -> Self {
        self.pool.identity.access.read_from(source);
        self
    }

    async fn deliver(&self, key: Option<&Grip>, messages: &[Message]) -> Outcome {
        // A connection that was closed before the request left it costs no attempt.
        let mut reconnects = 1;
        loop {
            let connection = match self.pool.connection().await {
                Ok(connection) => connection,
                Err(reason) => return Outcome::LinkDown { reason },
            };
            match self.deliver_on(&connection, key, messages).await {
                None if reconnects > 0 => reconnects -= 1,
                None => {
                    let reason = format!("{} closes every connection", connection.address);
                    return Outcome::LinkDown { reason };
                }
                Some(outcome) => return outcome,
            }
        }
    }

    /// `None` if the connection turned out closed and nothing was sent.
    async fn deliver_on(
        &self,
        connection: &Connection,
        key: Option<&Grip>,
        messages: &[Message],
    ) -> Option<Outcome> {
        let identity = &self.pool.identity;
        let request =
            request::send(messages, identity.namespace(), identity.host(), identity.now_ms());
        let load = connection.unanswered.load(messages.iter().map(Message::size_bytes).sum());
        let deadline = load.deadline(SEND_DEADLINE);
        let mut client = connection.client();
        let call = client.send_message(identity.request_by(key, request));
        let silence = connection.wire.answers();
        match timeout(deadline, call).await {
            Ok(Ok(response)) => {
                identity.learn_clock(&response, response.get_ref().status.as_ref());
                if answer::wants_new_session(response.get_ref()) {
                    connection.retire();
                }
                Some(answer::outcome(response.get_ref(), messages.len()))
            }
            Ok(Err(status)) if wire::not_sent(&status) => None,
            Ok(Err(status)) => {
                if status.code() == Code::Unauthenticated {
                    // Whoever checks signatures is RocketMQ; perhaps it was the date.
                    identity.trust(identity.sighting(status.metadata()).as_ref());
                }
                let outcome = answer::failure(&status);
                connection.learn_from(&outcome);
                Some(outcome)
            }
            Err(_) => {
                connection.retire_if_silent_since(silence);
                let reason = format!("no answer within {} s", deadline.as_secs());
                Some(Outcome::Unknown { reason, link: true })
            }
        }
    }

    async fn ask_route(
        &self,
        key: Option<&Grip>,
        topic: &str,
    ) -> Result<v2::QueryRouteResponse, String> {
        let connection = self.pool.connection().await?;
        let identity = &self.pool.identity;
        let request = v2::QueryRouteRequest {
            topic: Some(request::resource(identity.namespace(), topic)),
            endpoints: Some(connection.access_point.clone()),
        };
        let mut client = connection.client();
        match timeout(ASK_DEADLINE, client.query_route(identity.request_by(key, request))).await {
            Ok(Ok(response)) => {
                identity.learn_clock(&response, response.get_ref().status.as_ref());
                Ok(response.into_inner())
            }
            Ok(Err(status)) => Err(answer::words(&status)),
            Err(_) => Err(format!("no answer within {} s", ASK_DEADLINE.as_secs())),
        }
    }
}

impl Upstream for GrpcUpstream {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        self.send_batch(std::slice::from_ref(message))
    }

    fn send_batch<'a>(&'a self, messages: &'a [Message]) -> BoxFuture<'a, Outcome> {
        async move {
            if let Some(refused) = messages.iter().find_map(uncarried) {
                return refused;
            }
            let access = &self.pool.identity.access;
            let key = match access.key().await {
                Ok(key) => key,
                Err(outcome) => return outcome,
            };
            self.pool.begin_by(key.as_ref()).await;
            let outcome = self.deliver(key.as_ref(), messages).await;
            match messages.first() {
                Some(first) => access.judge(key.as_ref(), &first.topic, outcome).await,
                None => outcome,
            }
        }
        .boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        self.pool.probe().boxed()
    }

    fn inspect<'a>(&'a self, topic: &'a Topic, ordered: bool) -> BoxFuture<'a, Vec<Finding>> {
        async move {
            match self.pool.identity.access.key().await {
                Ok(key) => {
                    let answer = self.ask_route(key.as_ref(), topic.as_str()).await;
                    vec![route::finding(topic, ordered, answer)]
                }
                Err(outcome) => access::finding(&outcome).into_iter().collect(),
            }
        }
        .boxed()
    }

    fn inspect_keys<'a>(&'a self, topic: &'a Topic) -> BoxFuture<'a, Vec<Finding>> {
        async move {
            let access = &self.pool.identity.access;
            let mut asked = Vec::new();
            for key in access.all() {
                self.pool.begin_by(Some(&key)).await;
                let answer = self.ask_route(Some(&key), topic.as_str()).await;
                asked.push((key, route::of_key(answer)));
            }
            access::findings(access, asked)
        }
        .boxed()
    }

    fn keys(&self) -> Option<KeysView> {
        let view = self.pool.identity.access.view();
        let needed = view.of > 0 || view.fault.is_some();
        needed.then_some(view)
    }

    fn key_changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.pool.identity.access.changes())
    }

    fn clock_offset_s(&self) -> Option<i64> {
        self.pool.identity.clock_offset_s()
    }

    fn wire_bytes(&self, message: &Message) -> usize {
        message.size_bytes() + HEADERS_BYTES
    }

    fn flowing(&self, flowing: bool) {
        self.pool.flowing(flowing);
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.pool.dialer.addresses()
    }

    fn reconnect(&self) {
        self.pool.reconnect();
    }

    fn close(&self) {
        self.pool.reconnect();
        // Its session ends with the last that holds it.
        drop(self.pool.take());
    }
}

/// A time of delivery was taken in for the MQ HTTP API, and the transport changed since. As a mere
/// property it would be ignored in silence.
fn uncarried(message: &Message) -> Option<Outcome> {
    let delayed = message.properties.iter().any(|(name, _)| name == START_DELIVER_TIME);
    delayed.then(|| Outcome::Rejected {
        code: "delay".to_owned(),
        reason: format!("{START_DELIVER_TIME} is kept over transport = \"http\" only"),
        // The change of transport may have been a mistake.
        own: false,
    })
}

impl Drop for GrpcUpstream {
    /// Tells the server, if it can be told at once.
    fn drop(&mut self) {
        let (Some(connection), Ok(runtime)) =
            (self.pool.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let goodbye = self.pool.identity.request(v2::NotifyClientTerminationRequest::default());
        runtime.spawn(async move {
            let mut client = connection.client();
            let _ = timeout(GOODBYE_DEADLINE, client.notify_client_termination(goodbye)).await;
        });
    }
}
