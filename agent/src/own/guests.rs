//! Status events of the local clients that say so: see [`spillway_protocol::presence`].
//!
//! A session begins when a client's first connection comes and ends when [`Stay`] says that it is
//! gone, whether the link is up or not: events wait like any record. As with the gateway's own
//! session, it is on disk before its `connect` is, and until its `tcpclean` is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spillway_protocol::presence::{EventType, local_client_id};
use spillway_protocol::record::Topic;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::RETRY;
use super::post::{Number, Post};
use super::presence::{ALIVE_EVERY, PARTING};
use super::session::{Session, SessionFile};
use super::stay::Stay;
use crate::attendance::{Attendance, Register};
use crate::clock::WallClock;
use crate::drain::Connection;

/// Its sessions' file in the data folder.
const FILE: &str = "client-sessions";
/// A Unix socket has no address; this one says that the client is on the gateway itself.
const ADDRESS: &str = "127.0.0.1";

/// See the module.
pub struct Guests {
    post: Post,
    topic: Topic,
    linger: Duration,
    file: SessionFile<Vec<Session>>,
    attendance: watch::Receiver<BTreeMap<String, Attendance>>,
    connection: watch::Receiver<Connection>,
    clock: Arc<dyn WallClock>,
    guests: Vec<Guest>,
}

struct Guest {
    name: String,
    client_id: String,
    stay: Stay,
    open: Option<Session>,
}

impl Guests {
    /// Events of those of `names` in `register` to `topic`, as clients of `group`; who has had no connection
    /// for `linger` is gone. Open sessions are kept in `data_dir`.
    pub fn new(
        post: Post,
        (topic, group, linger): (Topic, &str, Duration),
        data_dir: &Path,
        (register, names): (&Register, &[String]),
        connection: watch::Receiver<Connection>,
        clock: Arc<dyn WallClock>,
    ) -> Self {
        let guest = |name: &String| Guest {
            name: name.clone(),
            client_id: local_client_id(group, post.gateway(), name),
            stay: Stay::default(),
            open: None,
        };
        let guests = names.iter().map(guest).collect();
        let file = SessionFile::new(data_dir.join(FILE), post.level());
        let attendance = register.watch();
        Self { post, topic, linger, file, attendance, connection, clock, guests }
    }

    /// Reports until stopped, then that all are cut off.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut alive_at = Instant::now() + ALIVE_EVERY;
        self.bury(&stop).await;
        while !self.guests.is_empty() {
            self.observe();
            self.end_due(&stop).await;
            let begun = self.begin(&stop).await;
            let due = self.guests.iter().filter_map(|guest| guest.stay.due(self.linger)).min();
            let retry = (!begun).then(|| Instant::now() + RETRY);
            let wake = [due, retry].into_iter().flatten().fold(alive_at, Instant::min);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = self.attendance.changed() => if changed.is_err() { break },
                () = sleep_until(wake) => {}
            }
            if Instant::now() >= alive_at {
                self.live();
                alive_at = Instant::now() + ALIVE_EVERY;
            }
        }
        self.part().await;
    }

    /// Ends what an earlier life has left open.
    async fn bury(&self, stop: &CancellationToken) {
        let Some((sessions, alive_ms)) = self.file.load() else { return };
        for session in &sessions {
            let at_ms = alive_ms.max(session.connected_ms);
            if session.tell(&self.post, EventType::TcpClean, at_ms, stop).await.is_none() {
                return;
            }
        }
        self.note();
    }

    fn observe(&mut self) {
        let (at, at_ms) = (Instant::now(), self.clock.now_ms());
        let seen = self.attendance.borrow_and_update().clone();
        for guest in &mut self.guests {
            let seen = seen.get(&guest.name).copied().unwrap_or_default();
            guest.stay.observe(seen, at, at_ms);
        }
    }

    async fn end_due(&mut self, stop: &CancellationToken) {
        let now = Instant::now();
        for index in 0..self.guests.len() {
            let guest = &mut self.guests[index];
            let due = guest.stay.due(self.linger).is_some_and(|due| due <= now);
            if due && (guest.open.is_none() || self.end(index, stop).await.is_some()) {
                self.guests[index].stay.end();
            }
        }
    }

    /// Reports the end of a guest's session. What cannot be stored before the agent stops, its
    /// next life reports.
    async fn end(&mut self, index: usize, stop: &CancellationToken) -> Option<Vec<Number>> {
        let guest = &mut self.guests[index];
        let session = guest.open.clone()?;
        let gone = guest.stay.gone();
        let at_ms = gone.map_or_else(|| self.clock.now_ms(), |gone| gone.at_ms);
        let mut numbers = Vec::new();
        if gone.is_some_and(|gone| gone.orderly) {
            numbers.push(session.tell(&self.post, EventType::Disconnect, at_ms, stop).await?);
        }
        numbers.push(session.tell(&self.post, EventType::TcpClean, at_ms, stop).await?);
        self.guests[index].open = None;
        self.note();
        Some(numbers)
    }

    /// Begins what is to begin; false if some of it has to be tried again.
    async fn begin(&mut self, stop: &CancellationToken) -> bool {
        for index in 0..self.guests.len() {
            let guest = &mut self.guests[index];
            if !guest.stay.is_here() || guest.open.is_some() {
                continue;
            }
            let session = Session {
                topic: self.topic.clone(),
                client_id: guest.client_id.clone(),
                channel_id: self.post.fresh_channel(),
                client_ip: ADDRESS.to_owned(),
                connected_ms: self.clock.now_ms(),
            };
            guest.open = Some(session.clone());
            if !self.note() {
                self.guests[index].open = None;
                return false;
            }
            let at_ms = session.connected_ms;
            if session.tell(&self.post, EventType::Connect, at_ms, stop).await.is_none() {
                return false;
            }
        }
        true
    }

    /// Notes which sessions are open; false if the disk does not take it.
    fn note(&self) -> bool {
        let open: Vec<Session> = self.guests.iter().filter_map(|g| g.open.clone()).collect();
        let noted = match open.is_empty() {
            true => self.file.close(),
            false => self.file.open(&open, self.clock.now_ms()),
        };
        if let Err(error) = &noted {
            tracing::warn!(%error, "presence: the clients' sessions could not be noted");
        }
        noted.is_ok()
    }

    fn live(&self) {
        if self.guests.iter().any(|guest| guest.open.is_some())
            && let Err(error) = self.file.alive(self.clock.now_ms())
        {
            tracing::debug!(%error, "presence: the sessions' time could not be noted");
        }
    }

    /// The agent goes, and with it everybody's connection.
    async fn part(mut self) {
        // Who has just gone by itself was not cut off.
        self.observe();
        // Cancelled: one try each.
        let stop = CancellationToken::new();
        stop.cancel();
        let mut numbers = Vec::new();
        for index in 0..self.guests.len() {
            numbers.extend(self.end(index, &stop).await.into_iter().flatten());
        }
        let up = self.connection.borrow().up;
        if up && !self.post.left_within(&numbers, PARTING).await {
            tracing::info!("presence: what ended with the agent is told after the next start");
        }
    }
}
