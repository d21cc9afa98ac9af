//! A [`Feed`] over RocketMQ 5's gRPC, as a simple consumer.
//!
//! One HTTP/2 connection at a time to one of the access points. It begins with the settings on the
//! telemetry stream, and nothing is received before the server has echoed them: its proxy answers
//! an unknown client with 50001. Heartbeats keep the session; what breaks is opened again.
//!
//! **Groups are made beforehand.** 5.5.0's proxy refuses the settings of a group that does not
//! exist. A group without a stored offset begins at the oldest message only while the topic's
//! first one is still in the broker's memory, else at the end. So before the first receive an
//! operator makes the group and sets its offset to the oldest:
//! `mqadmin updateSubGroup -n NAMESRV -c CLUSTER -g GROUP -o false` (`-o true` for ordered mode,
//! without which messages of one message group are handed out side by side), then
//! `mqadmin resetOffsetByTime -n NAMESRV -g GROUP -t TOPIC -s 0`.
//!
//! The server gives a message up after the group's `retryMaxTimes` (16) and puts it on
//! `%DLQ%GROUP`. The [`super::Consumer`] parks long before, and renews what it holds, which is not
//! counted.

mod answer;
mod connection;
mod identity;
mod messages;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use self::connection::Connection;
use self::identity::Identity;
use super::endpoint;
use super::{
    Access, AckFailure, BuildError, Delivery, Feed, FeedError, Nature, Receipt, Subscription,
    SystemClock, WallClock,
};
use crate::dial::{self, CertificateTime, Dialer, Target};
use crate::rocketmq::grpc::{request, v2};

/// Messages of one receive, and entries of one acknowledgement.
const COUNT_MAX: usize = 32;
/// What the proxy clamps a long poll to.
const WAIT_MIN: Duration = Duration::from_secs(5);
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Longest time of a call, beyond what the server was asked to wait. The proxy refuses a poll whose
/// deadline does not leave it some time.
const CALL_DEADLINE: Duration = Duration::from_secs(15);
/// What the goodbye may take.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);
/// Who asks for a connection this soon after one failed shares that failure.
const FAILURE_SHARED: Duration = Duration::from_millis(300);
/// The broker takes no shorter time out of sight.
const INVISIBLE_MIN: Duration = Duration::from_secs(1);

/// See the module. Has to be used inside a tokio runtime.
pub struct GrpcFeed {
    targets: Vec<Target>,
    identity: Arc<Identity>,
    subscription: Subscription,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    current: Option<Arc<Connection>>,
    /// Target to begin with.
    next: usize,
    failure: Option<(Instant, FeedError)>,
}

impl GrpcFeed {
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
    /// As [`GrpcFeed::new`].
    pub fn with_clock(
        access: &Access,
        subscription: &Subscription,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            targets: dial::targets(
                &endpoint::all(access)?,
                &access.tls,
                &CertificateTime::default(),
                &Dialer::default(),
            )?,
            identity: Arc::new(Identity::new(access, clock)?),
            subscription: subscription.clone(),
            slot: Mutex::default(),
        })
    }

    /// The connection in use, or a new one to the first access point that takes it.
    async fn connection(&self) -> Result<Arc<Connection>, FeedError> {
        let mut slot = self.slot.lock().await;
        if let Some(connection) = slot.current.as_ref().filter(|c| c.is_usable()) {
            return Ok(Arc::clone(connection));
        }
        if let Some((at, error)) = &slot.failure
            && at.elapsed() < FAILURE_SHARED
        {
            return Err(error.clone());
        }
        slot.current = None;
        let mut failure = FeedError::Link("there is no endpoint".to_owned());
        for _ in 0..self.targets.len() {
            let target = &self.targets[slot.next % self.targets.len()];
            match Connection::open(target, Arc::clone(&self.identity), &self.subscription).await {
                Ok(connection) => {
                    let connection = Arc::new(connection);
                    slot.current = Some(Arc::clone(&connection));
                    slot.failure = None;
                    return Ok(connection);
                }
                Err(error) => failure = error,
            }
            slot.next += 1;
        }
        slot.failure = Some((Instant::now(), failure.clone()));
        Err(failure)
    }

    /// A request with the headers of a call made now, and its deadline as a header.
    fn request<T>(&self, message: T, deadline: Duration) -> tonic::Request<T> {
        let mut request = self.identity.request(message);
        request.set_timeout(deadline);
        request
    }

    fn group(&self) -> Option<v2::Resource> {
        Some(request::resource(self.identity.namespace(), &self.subscription.group))
    }

    fn topic(&self) -> Option<v2::Resource> {
        Some(request::resource(self.identity.namespace(), &self.subscription.topic))
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, FeedError> {
        let connection = self.connection().await?;
        let wait = wait.clamp(WAIT_MIN, WAIT_MAX);
        let deadline = wait + CALL_DEADLINE;
        let request = v2::ReceiveMessageRequest {
            group: self.group(),
            message_queue: Some(connection.queue(self.topic()).await?),
            filter_expression: Some(connection::filter(&self.subscription)),
            batch_size: i32::try_from(max.clamp(1, COUNT_MAX)).unwrap_or(1),
            invisible_duration: Some(messages::proto_duration(self.subscription.invisible)),
            auto_renew: false,
            long_polling_timeout: Some(messages::proto_duration(wait)),
        };
        let mut received = Vec::new();
        let read = async {
            let mut client = connection.client();
            let answer = client.receive_message(self.request(request, deadline)).await;
            let mut stream = answer.map_err(|status| answer::failure(&status))?.into_inner();
            let mut status = None;
            while let Some(part) = stream.message().await.map_err(|s| answer::failure(&s))? {
                match part.content {
                    Some(v2::receive_message_response::Content::Status(s)) => status = Some(s),
                    Some(v2::receive_message_response::Content::Message(message)) => {
                        received.push(messages::delivery(message, self.subscription.invisible));
                    }
                    _ => {}
                }
            }
            answer::received(status.as_ref())
        };
        let result = connection.watch(timeout(deadline, read).await, deadline);
        match result {
            // What has come has come.
            Err(error) if !received.is_empty() => tracing::debug!(%error, "cut short"),
            result => result?,
        }
        Ok(received)
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<Vec<AckFailure>, FeedError> {
        let connection = self.connection().await?;
        let entries = receipts.iter().map(|receipt| v2::AckMessageEntry {
            message_id: receipt.message_id.clone(),
            receipt_handle: receipt.handle.clone(),
        });
        let request = v2::AckMessageRequest {
            group: self.group(),
            topic: self.topic(),
            entries: entries.collect(),
        };
        let call = async {
            let mut client = connection.client();
            let answer = client.ack_message(self.request(request, CALL_DEADLINE)).await;
            let answer = answer.map_err(|status| answer::failure(&status))?;
            answer::ack_failures(receipts, answer.get_ref())
        };
        connection.watch(timeout(CALL_DEADLINE, call).await, CALL_DEADLINE)
    }

    async fn postpone(&self, receipt: &Receipt, by: Duration) -> Result<Receipt, FeedError> {
        let connection = self.connection().await?;
        let by = by.max(INVISIBLE_MIN);
        let request = v2::ChangeInvisibleDurationRequest {
            group: self.group(),
            topic: self.topic(),
            receipt_handle: receipt.handle.clone(),
            invisible_duration: Some(messages::proto_duration(by)),
            message_id: receipt.message_id.clone(),
        };
        let call = async {
            let mut client = connection.client();
            let request = self.request(request, CALL_DEADLINE);
            let answer = client.change_invisible_duration(request).await;
            let answer = answer.map_err(|status| answer::failure(&status))?.into_inner();
            answer::plain(answer.status.as_ref())?;
            Ok(Receipt {
                handle: answer.receipt_handle,
                message_id: receipt.message_id.clone(),
                expires: Some(Instant::now() + by),
            })
        };
        connection.watch(timeout(CALL_DEADLINE, call).await, CALL_DEADLINE)
    }

    /// Says goodbye on the connection in use, if there is one.
    async fn close(&self) {
        let Some(connection) = self.slot.lock().await.current.take() else { return };
        let goodbye = v2::NotifyClientTerminationRequest { group: self.group() };
        let mut client = connection.client();
        let call = client.notify_client_termination(self.request(goodbye, GOODBYE_DEADLINE));
        let _ = timeout(GOODBYE_DEADLINE, call).await;
    }
}

impl Feed for GrpcFeed {
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
        receipt: &'a Receipt,
        by: Duration,
    ) -> BoxFuture<'a, Result<Option<Receipt>, FeedError>> {
        async move { self.postpone(receipt, by).await.map(Some) }.boxed()
    }

    fn nature(&self) -> Nature {
        Nature {
            receive_max: COUNT_MAX,
            ack_max: COUNT_MAX,
            invisible: Some(self.subscription.invisible),
            receive_can_be_given_up: true,
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.close().boxed()
    }
}
