//! The client's task: it owns the connection and the records without an answer.

use std::path::PathBuf;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::backlog::{Backlog, Item};
use super::backoff::Backoff;
use super::connection::Connection;
use super::{AppendError, ConnectError, Options};
use crate::local::frame::{self, ToClient, VERSION};
use crate::local::{Code, Receipt, Refusal};

/// Bytes copied ahead of the socket.
const OUT_BYTES: usize = 128 * 1024;
/// Room for answers at each read.
const IN_BYTES: usize = 16 * 1024;

pub(super) struct Driver {
    path: PathBuf,
    options: Options,
    backoff: Backoff,
    backlog: Backlog,
    commands: mpsc::UnboundedReceiver<(u64, Item)>,
    /// Some client may still submit.
    open: bool,
}

/// Why a conversation ended.
enum End {
    /// Nobody wants anything any more.
    Done,
    /// The connection is of no use any more.
    Lost(String),
}

impl Driver {
    pub(super) fn new(
        path: PathBuf,
        options: Options,
        backoff: Backoff,
        backlog: Backlog,
        commands: mpsc::UnboundedReceiver<(u64, Item)>,
    ) -> Self {
        Self { path, options, backoff, backlog, commands, open: true }
    }

    pub(super) async fn run(mut self, first: Option<Connection>) {
        let mut connection = first;
        loop {
            let current = match connection.take() {
                Some(current) => current,
                None => match self.reconnect().await {
                    Some(current) => current,
                    None => return,
                },
            };
            self.backlog.reconnected();
            match self.converse(current).await {
                End::Done => return,
                End::Lost(reason) => tracing::debug!(path = %self.path.display(), reason, "lost"),
            }
            if !self.wait_for_turn().await {
                return;
            }
        }
    }

    /// Tries until the agent says hello; `None` when nobody wants it any more or it never will.
    async fn reconnect(&mut self) -> Option<Connection> {
        loop {
            match Connection::open(&self.path, &self.options).await {
                Ok(connection) => return Some(connection),
                Err(ConnectError::Refused { refusal, .. })
                    if refusal.code == Code::IncompatibleVersion =>
                {
                    self.give_up(refusal);
                    return None;
                }
                Err(error) => tracing::debug!(%error, "not connected"),
            }
            if !self.wait_for_turn().await {
                return None;
            }
        }
    }

    /// Waits before the next attempt, while records come in; false when nobody wants one.
    async fn wait_for_turn(&mut self) -> bool {
        let until = Instant::now() + self.backoff.next_wait();
        loop {
            if self.is_done() {
                return false;
            }
            tokio::select! {
                biased;
                () = sleep_until(until) => return true,
                command = self.commands.recv(), if self.open => self.take(command),
            }
        }
    }

    fn give_up(&mut self, refusal: Refusal) {
        self.commands.close();
        while let Ok((correlation, item)) = self.commands.try_recv() {
            self.backlog.add(correlation, item);
        }
        self.backlog.fail_all(&AppendError::Incompatible(refusal));
    }

    fn is_done(&self) -> bool {
        !self.open && self.backlog.is_unwanted()
    }

    fn take(&mut self, command: Option<(u64, Item)>) {
        match command {
            None => self.open = false,
            Some((correlation, item)) => self.backlog.add(correlation, item),
        }
        // What is there already travels in the same write.
        while let Ok((correlation, item)) = self.commands.try_recv() {
            self.backlog.add(correlation, item);
        }
    }

    async fn converse(&mut self, connection: Connection) -> End {
        let mut inbox = connection.inbox;
        let mut out = BytesMut::new();
        let (mut reader, mut writer) = connection.stream.into_split();
        let mut heard = Instant::now();
        while !self.is_done() {
            if !self.backlog.awaits_answers() {
                heard = Instant::now();
            }
            self.backlog.fill(&mut out, OUT_BYTES);
            inbox.reserve(IN_BYTES);
            let due = self.backlog.next_due();
            tokio::select! {
                biased;
                read = reader.read_buf(&mut inbox) => {
                    match read {
                        Ok(0) => return End::Lost("the agent closed the connection".to_owned()),
                        Err(error) => return End::Lost(error.to_string()),
                        Ok(_) => heard = Instant::now(),
                    }
                    if let Err(reason) = self.hear(&mut inbox) {
                        return End::Lost(reason);
                    }
                }
                written = writer.write_buf(&mut out), if !out.is_empty() => {
                    if let Err(error) = written {
                        return End::Lost(error.to_string());
                    }
                }
                command = self.commands.recv(), if self.open && out.len() < OUT_BYTES => {
                    self.take(command);
                }
                () = sleep_until(due.unwrap_or(heard)), if due.is_some() => self.backlog.wake(),
                () = sleep_until(heard + self.options.answer_max),
                    if self.backlog.awaits_answers() =>
                {
                    return End::Lost("no answer for too long".to_owned());
                }
            }
        }
        End::Done
    }

    /// Takes every whole frame off `inbox`; an error ends the connection.
    fn hear(&mut self, inbox: &mut BytesMut) -> Result<(), String> {
        while let Some(content) = frame::take(inbox).map_err(|e| e.to_string())? {
            match frame::read(VERSION, &content).map_err(|e| e.to_string())? {
                ToClient::Bye(refusal) => return Err(refusal.to_string()),
                ToClient::Answer { correlation, result } => {
                    self.backoff.reset();
                    self.answer(correlation, result.map(Receipt::from));
                }
            }
        }
        Ok(())
    }

    fn answer(&mut self, correlation: u64, result: Result<Receipt, Refusal>) {
        let later = result
            .as_ref()
            .err()
            .and_then(Refusal::retry_after_s)
            .filter(|_| self.options.wait_when_busy);
        match later {
            Some(seconds) => {
                let wait = self.backoff.spread(Duration::from_secs(seconds.into()));
                self.backlog.delay(correlation, wait);
            }
            None => self.backlog.settle(correlation, result.map_err(AppendError::Refused)),
        }
    }
}
