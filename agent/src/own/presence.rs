//! Status events of the link: see [`spillway_protocol::presence`].
//!
//! A session begins when the link comes up and ends when it goes. It is on disk before its
//! `connect` is, and until its `tcpclean` is: whatever kills the agent, the next life reports the
//! end, with the last time at which the session was known to live.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use spillway_protocol::presence::{EventType, client_id};
use spillway_protocol::record::Topic;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::RETRY;
use super::post::{Number, Post};
use super::session::{Session, SessionFile};
use crate::clock::WallClock;
use crate::drain::Connection;

/// How exactly the end of a session is known that a crash ended.
pub(super) const ALIVE_EVERY: Duration = Duration::from_secs(60);
/// Time that a goodbye gets to leave.
pub(super) const PARTING: Duration = Duration::from_secs(5);

/// This gateway's address on the way to the far end, or `0.0.0.0`.
pub type Address = Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>;

/// See the module.
pub struct Presence {
    post: Post,
    topic: Topic,
    client_id: String,
    file: SessionFile<Session>,
    address: Address,
    connection: watch::Receiver<Connection>,
    clock: Arc<dyn WallClock>,
    open: Option<Session>,
}

impl Presence {
    /// Events of `connection` to `topic`, as a client of `group`. The open session is kept in
    /// `data_dir`.
    pub fn new(
        post: Post,
        (topic, group): (Topic, &str),
        data_dir: &Path,
        address: Address,
        connection: watch::Receiver<Connection>,
        clock: Arc<dyn WallClock>,
    ) -> Self {
        let client_id = client_id(group, post.gateway());
        let file = SessionFile::new(data_dir.join("session"), post.level());
        Self { post, topic, client_id, file, address, connection, clock, open: None }
    }

    /// Reports until stopped, then says goodbye.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        if let Some((session, alive_ms)) = self.file.load() {
            // A clock may have been set back.
            let at_ms = alive_ms.max(session.connected_ms);
            self.end(&session, at_ms, &stop).await;
        }
        let mut known = Connection::default();
        loop {
            let now = *self.connection.borrow_and_update();
            if !now.up || now.session != known.session {
                self.lost(&stop).await;
            }
            if now.up && self.open.is_none() {
                self.begin(&stop).await;
            }
            known = now;
            let pause = if now.up && self.open.is_none() { RETRY } else { ALIVE_EVERY };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = self.connection.changed() => if changed.is_err() { break },
                () = sleep(pause) => self.live(),
            }
        }
        self.part().await;
    }

    async fn begin(&mut self, stop: &CancellationToken) {
        let client_ip = (self.address)().await;
        let session = Session {
            topic: self.topic.clone(),
            client_id: self.client_id.clone(),
            channel_id: self.post.fresh_channel(),
            client_ip,
            connected_ms: self.clock.now_ms(),
        };
        if let Err(error) = self.file.open(&session, session.connected_ms) {
            return tracing::warn!(%error, "presence: the session could not be noted; it is tried again");
        }
        let connected_ms = session.connected_ms;
        if session.tell(&self.post, EventType::Connect, connected_ms, stop).await.is_some() {
            self.open = Some(session);
        }
    }

    /// The link is gone, or was for a moment.
    async fn lost(&mut self, stop: &CancellationToken) {
        if let Some(session) = self.open.take() {
            self.end(&session, self.clock.now_ms(), stop).await;
        }
    }

    /// Reports the end of a session. What cannot be stored before the agent stops, its next life
    /// reports.
    async fn end(&self, session: &Session, at_ms: u64, stop: &CancellationToken) -> Option<Number> {
        let number = session.tell(&self.post, EventType::TcpClean, at_ms, stop).await?;
        if let Err(error) = self.file.close() {
            tracing::warn!(%error, "presence: the end of the session is reported again");
        }
        Some(number)
    }

    /// The session lives.
    fn live(&self) {
        if self.open.is_some()
            && let Err(error) = self.file.alive(self.clock.now_ms())
        {
            tracing::debug!(%error, "presence: the session's time could not be noted");
        }
    }

    /// Says goodbye, as far as the link allows.
    async fn part(mut self) {
        let Some(session) = self.open.take() else { return };
        let (now_ms, up) = (self.clock.now_ms(), self.connection.borrow().up);
        // Cancelled: one try each.
        let stop = CancellationToken::new();
        stop.cancel();
        let goodbye = session.tell(&self.post, EventType::Disconnect, now_ms, &stop).await;
        let end = self.end(&session, now_ms, &stop).await;
        let numbers: Vec<Number> = [goodbye, end].into_iter().flatten().collect();
        if up && !self.post.left_within(&numbers, PARTING).await {
            tracing::info!("presence: the goodbye leaves after the next start");
        }
    }
}
