//! A [`Feed`] over the MQ HTTP API.
//!
//! Receives are long polls of up to 30 s and 16 messages. The broker decides how long a message
//! stays out of sight (5 min, in ordered mode 1 min), and there is no way to change that: a
//! message that is not acknowledged comes again after it, also while a slow handler still has it.
//! In ordered mode what is out holds up its sharding key.
//!
//! At Aliyun a group has to exist, and begins where it was made to; at `spillway broker` it comes
//! into being on first use and begins at the oldest message.

mod answer;
mod messages;
mod request;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use self::answer::Answer;
use self::request::Request;
use super::clock::ServerClock;
use super::{
    Access, AckFailure, BuildError, Credentials, Delivery, Feed, FeedError, Nature, Receipt,
    Subscription, SystemClock, WallClock, endpoint,
};
use crate::dial::{CertificateTime, http_client, tls};
use crate::rocketmq::http::{ack, resource};

/// Longest wait for a connection, name resolution and TLS included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Longest time of a request, beyond what the server was asked to wait.
const REQUEST_DEADLINE: Duration = Duration::from_secs(15);
/// An idle connection is closed after this, before the server or a NAT forgets it.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Messages of one receive, and handles of one acknowledgement.
const COUNT_MAX: u8 = 16;
/// Longest long poll, in seconds.
const WAIT_MAX_S: u64 = 30;

/// See the module.
pub struct HttpFeed {
    client: reqwest::Client,
    origin: String,
    instance: Option<String>,
    credentials: Credentials,
    subscription: Subscription,
    clock: ServerClock,
}

impl HttpFeed {
    /// Prepares the way; nothing is connected before the first use.
    ///
    /// # Errors
    /// What of `access` is missing or cannot be used.
    pub fn new(access: &Access, subscription: &Subscription) -> Result<Self, BuildError> {
        Self::with_clock(access, subscription, Arc::new(SystemClock))
    }

    /// The same by another clock than the machine's.
    ///
    /// # Errors
    /// As [`HttpFeed::new`].
    pub fn with_clock(
        access: &Access,
        subscription: &Subscription,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, BuildError> {
        let endpoints = endpoint::all(access)?;
        let [endpoint] = &endpoints[..] else {
            let problem = "is one of several, and the HTTP API has one".to_owned();
            return Err(BuildError::Endpoint { text: access.endpoints.join(" "), problem });
        };
        let credentials = access.credentials.clone().ok_or(BuildError::NoCredentials)?;
        let tls = if endpoint.tls {
            tls::client_config(&access.tls, &CertificateTime::default())?
        } else {
            tls::no_tls()?
        };
        let client = http_client(tls)
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_DEADLINE)
            .pool_idle_timeout(IDLE_MAX)
            .user_agent(concat!("spillway-consumer/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            client,
            origin: endpoint.url(),
            instance: access.instance.clone(),
            credentials,
            subscription: subscription.clone(),
            clock: ServerClock::new(clock),
        })
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, FeedError> {
        let subscription = &self.subscription;
        let wait_s = wait.as_millis().div_ceil(1_000).min(u128::from(WAIT_MAX_S));
        let consume = resource::Consume {
            topic: &subscription.topic,
            instance: self.instance.as_deref(),
            group: &subscription.group,
            tag: subscription.tag.as_deref(),
            count: u8::try_from(max).unwrap_or(COUNT_MAX).clamp(1, COUNT_MAX),
            wait_s: u8::try_from(wait_s).unwrap_or(0),
            orderly: subscription.ordered,
        };
        let request = Request { method: "GET", resource: &consume.resource(), body: String::new() };
        let deadline = REQUEST_DEADLINE + Duration::from_secs(consume.wait_s.into());
        let answer = self.exchange(request, deadline).await?;
        answer.messages(&subscription.topic, self.clock.now_ms())
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<Vec<AckFailure>, FeedError> {
        let Subscription { topic, group, .. } = &self.subscription;
        let resource = resource::ack(topic, self.instance.as_deref(), group);
        let handles: Vec<&str> = receipts.iter().map(|receipt| receipt.handle.as_str()).collect();
        let body = ack::request_xml(&handles);
        let request = Request { method: "DELETE", resource: &resource, body };
        self.exchange(request, REQUEST_DEADLINE).await?.ack_failures(receipts)
    }

    /// One request and its answer, signed again by the server's clock if its date was refused.
    async fn exchange(
        &self,
        request: Request<'_>,
        deadline: Duration,
    ) -> Result<Answer, FeedError> {
        let both = async {
            let (first, signed_ms) = self.attempt(&request).await?;
            match first.refuses_date(signed_ms) {
                true => self.attempt(&request).await.map(|(second, _)| second),
                false => Ok(first),
            }
        };
        let silence =
            || FeedError::Link(format!("no whole answer within {} s", deadline.as_secs()));
        tokio::time::timeout(deadline, both).await.unwrap_or_else(|_| Err(silence()))
    }

    async fn attempt(&self, request: &Request<'_>) -> Result<(Answer, u64), FeedError> {
        let signed_ms = self.clock.now_ms();
        let signed = request.sign(&self.client, &self.origin, &self.credentials, signed_ms);
        let response = signed.send().await.map_err(|error| request::failure(&error))?;
        let answer = Answer::read(response).await?;
        if let Some(server_ms) = answer.trusted_date_ms() {
            self.clock.observe(server_ms);
        }
        Ok((answer, signed_ms))
    }
}

impl Feed for HttpFeed {
    fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Vec<Delivery>, FeedError>> {
        self.receive(max, wait).boxed()
    }

    fn ack<'a>(
        &'a self,
        receipts: &'a [Receipt],
    ) -> BoxFuture<'a, Result<Vec<AckFailure>, FeedError>> {
        self.ack(receipts).boxed()
    }

    fn postpone<'a>(
        &'a self,
        _: &'a Receipt,
        _: Duration,
    ) -> BoxFuture<'a, Result<Option<Receipt>, FeedError>> {
        futures::future::ready(Ok(None)).boxed()
    }

    fn nature(&self) -> Nature {
        Nature {
            receive_max: COUNT_MAX.into(),
            ack_max: COUNT_MAX.into(),
            invisible: None,
            receive_can_be_given_up: false,
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        futures::future::ready(()).boxed()
    }
}
