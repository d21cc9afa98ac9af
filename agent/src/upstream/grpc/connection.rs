//! One connection, from its first settings to its retirement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use spillway_protocol::dial::wire::Wire;
use spillway_protocol::dial::{ByteStream, Target};
use spillway_protocol::rocketmq::grpc::request;
use spillway_protocol::rocketmq::grpc::v2;
use spillway_protocol::rocketmq::grpc::v2::messaging_service_client::MessagingServiceClient;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::identity::Identity;
use super::session::Session;
use crate::upstream::Outcome;
use crate::upstream::unanswered::Unanswered;

/// How long the first sends wait for the server to have taken the settings. Apache's proxy does
/// not need them for sending; a hosted one may.
const SETTLE_DEADLINE: Duration = Duration::from_secs(3);
/// Answers carry no bodies.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
/// A full body and all that goes with it.
const REQUEST_MAX_BYTES: usize = 8 * 1024 * 1024;

/// A connection to one access point.
pub(super) struct Connection {
    /// For people.
    pub(super) address: String,
    /// For the server.
    pub(super) access_point: v2::Endpoints,
    pub(super) wire: Wire,
    /// Messages on their way.
    pub(super) unanswered: Unanswered,
    origin: http::Uri,
    retired: Arc<AtomicBool>,
    session: AbortHandle,
}

impl Connection {
    /// Opens a session on `stream`.
    pub(super) async fn open(
        target: &Target,
        stream: Box<dyn ByteStream>,
        identity: Arc<Identity>,
        flowing: watch::Receiver<bool>,
    ) -> Result<Self, String> {
        let wire = Wire::open(stream).await?;
        let access_point = request::endpoints(&target.endpoint.host, target.endpoint.port);
        let retired = Arc::new(AtomicBool::new(false));
        let unanswered = Unanswered::default();
        let session = Session {
            client: client(&wire, &target.origin),
            settings: request::producer_settings(access_point.clone(), identity.host()),
            wire: wire.clone(),
            unanswered: unanswered.clone(),
            identity,
            retired: Arc::clone(&retired),
        };
        let (settled, settling) = oneshot::channel();
        let session = tokio::spawn(session.run(flowing, settled)).abort_handle();
        let connection = Self {
            address: target.endpoint.authority(),
            access_point,
            wire,
            unanswered,
            origin: target.origin.clone(),
            retired,
            session,
        };
        let _ = timeout(SETTLE_DEADLINE, settling).await;
        // A refused client certificate shows only now, and so does a server without HTTP/2.
        match connection.wire.is_closed() {
            true => Err(format!("{}: {}", connection.address, connection.wire.end())),
            false => Ok(connection),
        }
    }

    pub(super) fn client(&self) -> MessagingServiceClient<Wire> {
        client(&self.wire, &self.origin)
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.retired.load(Ordering::Relaxed) && !self.wire.is_closed()
    }

    /// Gives the connection up; what is under way may finish.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Gives the connection up if nothing at all was answered since `answers` was read.
    pub(super) fn retire_if_silent_since(&self, answers: u64) {
        if self.wire.answers() == answers {
            self.retire();
        }
    }

    /// Gives the connection up if what answers is not RocketMQ: the next may lead elsewhere.
    pub(super) fn learn_from(&self, outcome: &Outcome) {
        if matches!(outcome, Outcome::LinkDown { .. } | Outcome::Stranger { .. }) {
            self.retire();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.session.abort();
    }
}

fn client(wire: &Wire, origin: &http::Uri) -> MessagingServiceClient<Wire> {
    MessagingServiceClient::with_origin(wire.clone(), origin.clone())
        .max_decoding_message_size(ANSWER_MAX_BYTES)
        .max_encoding_message_size(REQUEST_MAX_BYTES)
}
