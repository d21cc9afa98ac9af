//! One connection, from its settings to its retirement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::identity::Identity;
use super::{CALL_DEADLINE, answer, messages};
use crate::consumer::{FeedError, Subscription};
use crate::dial::Target;
use crate::dial::wire::Wire;
use crate::rocketmq::grpc::v2::messaging_service_client::MessagingServiceClient;
use crate::rocketmq::grpc::{request, v2};

/// How long the server may take to echo the settings.
const SETTLE_DEADLINE: Duration = Duration::from_secs(10);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
const HEARTBEAT_DEADLINE: Duration = Duration::from_secs(10);
/// A route is asked again after this, so that a broker that was added is found.
const ROUTE_AGE: Duration = Duration::from_secs(60);
/// One message with a full body and all that goes with it.
const ANSWER_MAX_BYTES: usize = 16 * 1024 * 1024;
/// In a queue's permissions: it may be read from.
const READ: [i32; 2] = [2, 4];

/// A connection whose settings the server knows.
pub(super) struct Connection {
    address: String,
    access_point: v2::Endpoints,
    wire: Wire,
    origin: http::Uri,
    identity: Arc<Identity>,
    retired: Arc<AtomicBool>,
    session: AbortHandle,
    route: Mutex<Option<Route>>,
    next_queue: AtomicUsize,
}

/// One queue for each broker of the topic, and when that was asked.
struct Route {
    asked: Instant,
    queues: Vec<v2::MessageQueue>,
}

impl Connection {
    /// Dials, sends the settings, and waits until the server has echoed them.
    pub(super) async fn open(
        target: &Target,
        identity: Arc<Identity>,
        subscription: &Subscription,
    ) -> Result<Self, FeedError> {
        let address = target.endpoint.authority();
        let link = |reason: String| FeedError::Link(format!("{address}: {reason}"));
        let stream = target.dial().await.map_err(|error| FeedError::Link(error.to_string()))?;
        let wire = Wire::open(stream).await.map_err(link)?;
        let access_point = request::endpoints(&target.endpoint.host, target.endpoint.port);
        let retired = Arc::new(AtomicBool::new(false));
        let group = request::resource(identity.namespace(), &subscription.group);
        let session = Session {
            client: client(&wire, &target.origin),
            settings: settings(&identity, access_point.clone(), subscription),
            ordered: subscription.ordered,
            group: group.clone(),
            identity: Arc::clone(&identity),
        };
        let (settled, settling) = oneshot::channel();
        let ended = Arc::clone(&retired);
        let session = tokio::spawn(async move {
            session.run(settled).await;
            ended.store(true, Ordering::Relaxed);
        });
        let connection = Self {
            access_point,
            wire,
            origin: target.origin.clone(),
            identity,
            retired,
            session: session.abort_handle(),
            route: Mutex::default(),
            next_queue: AtomicUsize::new(0),
            address,
        };
        connection.settle(settling).await?;
        Ok(connection)
    }

    async fn settle(
        &self,
        settling: oneshot::Receiver<Result<(), FeedError>>,
    ) -> Result<(), FeedError> {
        let link = |reason: &str| FeedError::Link(format!("{}: {reason}", self.address));
        match timeout(SETTLE_DEADLINE, settling).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(link("the session ended before the settings were answered")),
            Err(_) => Err(link("the settings were not answered")),
        }
    }

    pub(super) fn client(&self) -> MessagingServiceClient<Wire> {
        client(&self.wire, &self.origin)
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.retired.load(Ordering::Relaxed) && !self.wire.is_closed()
    }

    /// The queue to ask next: the brokers of a topic take turns.
    pub(super) async fn queue(
        &self,
        topic: Option<v2::Resource>,
    ) -> Result<v2::MessageQueue, FeedError> {
        let mut route = self.route.lock().await;
        let known = match route.take().filter(|route| route.asked.elapsed() < ROUTE_AGE) {
            Some(known) => known,
            None => Route { queues: self.route(topic).await?, asked: Instant::now() },
        };
        let turn = self.next_queue.fetch_add(1, Ordering::Relaxed);
        let queue = known.queues.get(turn % known.queues.len().max(1)).cloned();
        *route = Some(known);
        queue.ok_or_else(unreadable)
    }

    async fn route(&self, topic: Option<v2::Resource>) -> Result<Vec<v2::MessageQueue>, FeedError> {
        let request = v2::QueryRouteRequest { topic, endpoints: Some(self.access_point.clone()) };
        let mut client = self.client();
        let call = client.query_route(self.identity.request(request));
        let call = async { call.await.map_err(|status| answer::failure(&status)) };
        let answer = self.watch(timeout(CALL_DEADLINE, call).await, CALL_DEADLINE)?;
        answer::plain(answer.get_ref().status.as_ref())?;
        self.identity.learn_clock(answer.metadata());
        let mut queues = answer.into_inner().message_queues;
        queues.retain(|queue| READ.contains(&queue.permission));
        let broker = |queue: &v2::MessageQueue| queue.broker.as_ref().map(|b| b.name.clone());
        queues.sort_by_key(broker);
        queues.dedup_by_key(|queue| broker(queue));
        match queues.is_empty() {
            true => Err(unreadable()),
            false => Ok(queues),
        }
    }

    /// Looks at how a call ended: a connection that is silent or has lost its session is given up.
    pub(super) fn watch<T>(
        &self,
        ended: Result<Result<T, FeedError>, Elapsed>,
        deadline: Duration,
    ) -> Result<T, FeedError> {
        let result = ended.unwrap_or_else(|_| {
            Err(FeedError::Link(format!("no answer within {} s", deadline.as_secs())))
        });
        if matches!(result, Err(FeedError::Link(_))) {
            self.retired.store(true, Ordering::Relaxed);
        }
        result
    }
}

fn unreadable() -> FeedError {
    FeedError::Refused("the topic has no queue to read".to_owned())
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.session.abort();
    }
}

fn client(wire: &Wire, origin: &http::Uri) -> MessagingServiceClient<Wire> {
    MessagingServiceClient::with_origin(wire.clone(), origin.clone())
        .max_decoding_message_size(ANSWER_MAX_BYTES)
}

/// The tags as the server filters by them.
pub(super) fn filter(subscription: &Subscription) -> v2::FilterExpression {
    let expression = subscription.tag.clone().unwrap_or_else(|| "*".to_owned());
    v2::FilterExpression { r#type: v2::FilterType::Tag.into(), expression }
}

fn settings(
    identity: &Identity,
    access_point: v2::Endpoints,
    subscription: &Subscription,
) -> v2::TelemetryCommand {
    let entry = v2::SubscriptionEntry {
        topic: Some(request::resource(identity.namespace(), &subscription.topic)),
        expression: Some(filter(subscription)),
    };
    let subscribed = v2::Subscription {
        group: Some(request::resource(identity.namespace(), &subscription.group)),
        subscriptions: vec![entry],
        fifo: Some(subscription.ordered),
        long_polling_timeout: Some(messages::proto_duration(super::WAIT_MAX)),
        ..v2::Subscription::default()
    };
    let kind = v2::ClientType::SimpleConsumer;
    let subscribed = v2::settings::PubSub::Subscription(subscribed);
    request::settings(kind, access_point, &identity.host, subscribed)
}

/// The telemetry stream with the settings, and heartbeats for as long as it stands.
struct Session {
    client: MessagingServiceClient<Wire>,
    settings: v2::TelemetryCommand,
    group: v2::Resource,
    ordered: bool,
    identity: Arc<Identity>,
}

impl Session {
    /// Until the stream ends; then the connection is of no use, since the server forgets the
    /// settings. `settled` is told how the server took them.
    async fn run(self, settled: oneshot::Sender<Result<(), FeedError>>) {
        // Held to the end: the stream stands as long as its sender does.
        let (commands, outbound) = mpsc::channel(1);
        let _ = commands.try_send(self.settings.clone());
        let request = self.identity.request(ReceiverStream::new(outbound));
        let mut inbound = match self.client.clone().telemetry(request).await {
            Ok(answer) => {
                self.identity.learn_clock(answer.metadata());
                answer.into_inner()
            }
            Err(status) => {
                let _ = settled.send(Err(answer::failure(&status)));
                return;
            }
        };
        let mut settled = Some(settled);
        let listen = async {
            while let Ok(Some(command)) = inbound.message().await {
                if let Some(settled) = settled.take() {
                    let _ = settled.send(self.judge(&command));
                }
            }
        };
        tokio::select! {
            biased;
            () = listen => {}
            () = self.heartbeats() => {}
        }
        drop(commands);
    }

    /// How the server took the settings: refused, or echoed with what the group really is.
    fn judge(&self, command: &v2::TelemetryCommand) -> Result<(), FeedError> {
        let Some(v2::telemetry_command::Command::Settings(echoed)) = &command.command else {
            return command.status.as_ref().map_or(Ok(()), |status| answer::plain(Some(status)));
        };
        let in_order = match &echoed.pub_sub {
            Some(v2::settings::PubSub::Subscription(subscription)) => subscription.fifo(),
            _ => false,
        };
        if self.ordered && !in_order {
            let words = "the group hands messages out side by side, not in order; an operator has \
                         to run mqadmin updateSubGroup -g GROUP -o true";
            return Err(FeedError::Refused(words.to_owned()));
        }
        Ok(())
    }

    /// Heartbeats until the server stays silent or does not know this client any more.
    async fn heartbeats(&self) {
        loop {
            sleep(HEARTBEAT_INTERVAL).await;
            let heartbeat = v2::HeartbeatRequest {
                group: Some(self.group.clone()),
                client_type: v2::ClientType::SimpleConsumer.into(),
            };
            let mut client = self.client.clone();
            let call = client.heartbeat(self.identity.request(heartbeat));
            let Ok(Ok(answer)) = timeout(HEARTBEAT_DEADLINE, call).await else { return };
            if answer.get_ref().status.as_ref().is_some_and(answer::lost_session) {
                return;
            }
        }
    }
}
