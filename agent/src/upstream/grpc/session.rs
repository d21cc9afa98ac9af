//! What keeps a connection's session alive beside the sends: settings on the telemetry stream,
//! heartbeats while records flow, and its end when none do for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use spillway_protocol::dial::wire::Wire;
use spillway_protocol::rocketmq::grpc::code::UNRECOGNIZED_CLIENT;
use spillway_protocol::rocketmq::grpc::v2;
use spillway_protocol::rocketmq::grpc::v2::messaging_service_client::MessagingServiceClient;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::identity::Identity;
use crate::upstream::unanswered::Unanswered;

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
const HEARTBEAT_DEADLINE: Duration = Duration::from_secs(10);
/// A connection without records is closed after this. TCP's keep-alives of so long cost about as
/// many bytes as a new connection with a resumed TLS session.
const IDLE_MAX: Duration = Duration::from_secs(20 * 60);
/// Before a telemetry stream is opened again that ended while its connection goes on.
const REOPEN_DELAY: Duration = Duration::from_secs(10);

/// One connection's session.
pub(super) struct Session {
    pub(super) client: MessagingServiceClient<Wire>,
    pub(super) settings: v2::TelemetryCommand,
    pub(super) wire: Wire,
    pub(super) unanswered: Unanswered,
    pub(super) identity: Arc<Identity>,
    pub(super) retired: Arc<AtomicBool>,
}

impl Session {
    /// Runs until the connection closes. `settled` fires, or is dropped, once the server has
    /// answered the first settings.
    pub(super) async fn run(self, flowing: watch::Receiver<bool>, settled: oneshot::Sender<()>) {
        let mut settled = Some(settled);
        while !self.wire.is_closed() {
            if let Err(status) = self.telemetry(flowing.clone(), &mut settled).await {
                tracing::debug!(%status, "telemetry stream ended");
            }
            settled = None;
            sleep(REOPEN_DELAY).await;
        }
    }

    /// One telemetry stream, and heartbeats for as long as it stands.
    async fn telemetry(
        &self,
        flowing: watch::Receiver<bool>,
        settled: &mut Option<oneshot::Sender<()>>,
    ) -> Result<(), tonic::Status> {
        // Room for the first settings and one repetition.
        let (commands, outbound) = mpsc::channel(2);
        let _ = commands.try_send(self.settings.clone());
        let request = self.identity.request(ReceiverStream::new(outbound));
        let answer = self.client.clone().telemetry(request).await?;
        let sighting = self.identity.sighting(answer.metadata());
        let mut inbound = answer.into_inner();
        let listen = async {
            // Whatever comes, the first word means that the settings have been read. The server's
            // wishes (its back-off, its checks of other clients' messages) do not concern a sender
            // with its own.
            while inbound.message().await?.is_some() {
                if let Some(settled) = settled.take() {
                    self.identity.trust(sighting.as_ref());
                    let _ = settled.send(());
                }
            }
            Ok(())
        };
        tokio::select! {
            biased;
            end = listen => end,
            () = self.heartbeats(flowing, commands) => Ok(()),
        }
    }

    /// Heartbeats while records flow. Ends with the upstream.
    async fn heartbeats(
        &self,
        mut flowing: watch::Receiver<bool>,
        commands: mpsc::Sender<v2::TelemetryCommand>,
    ) {
        while self.flows(&mut flowing).await {
            if self.heartbeat().await == Some(UNRECOGNIZED_CLIENT) {
                let _ = commands.try_send(self.settings.clone());
            }
            sleep(HEARTBEAT_INTERVAL).await;
        }
    }

    /// Waits until records flow; after long in vain the connection is closed.
    async fn flows(&self, flowing: &mut watch::Receiver<bool>) -> bool {
        match timeout(IDLE_MAX, flowing.wait_for(|flowing| *flowing)).await {
            Ok(flows) => flows.is_ok(),
            Err(_) => {
                tracing::debug!("no records for long: the gRPC connection is closed");
                self.retired.store(true, Ordering::Relaxed);
                // A send that was faster ends by itself, and the next idle time comes.
                if self.unanswered.is_empty() {
                    self.wire.close();
                }
                false
            }
        }
    }

    /// One heartbeat and the code of its answer.
    async fn heartbeat(&self) -> Option<i32> {
        let request =
            v2::HeartbeatRequest { group: None, client_type: v2::ClientType::Producer.into() };
        let before = self.wire.answers();
        let mut client = self.client.clone();
        let call = client.heartbeat(self.identity.request(request));
        match timeout(HEARTBEAT_DEADLINE, call).await {
            Ok(answer) => answer.ok()?.into_inner().status.map(|status| status.code),
            Err(_) => {
                // Sends under way have their own deadlines, which count the bytes ahead.
                let silent = self.wire.answers() == before;
                if silent && self.unanswered.is_empty() {
                    self.retired.store(true, Ordering::Relaxed);
                }
                None
            }
        }
    }
}
