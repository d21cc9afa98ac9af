//! The far end: one trait over both transports, and what its answers mean.

mod access;
pub mod grpc;
pub mod http;
mod outcome;
mod unanswered;

use std::net::IpAddr;

use futures::future::BoxFuture;
use spillway_protocol::message::Message;
use spillway_protocol::record::Topic;
use tokio::sync::watch;

pub use access::{CredentialsSource, Key, KeysView, Reading};
pub use outcome::{Outcome, Scope};

/// A way to RocketMQ. It keeps connections, signs, and sorts answers; it never retries: every
/// attempt is the drain's decision and spends the drain's tokens.
pub trait Upstream: Send + Sync + 'static {
    /// Sends one message and says what became of it. Ends within the transport's deadline.
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome>;

    /// Sends several messages of one topic, of which none has an order key, and says what became
    /// of all of them: they are delivered only if each is. A transport without batches sends them
    /// one after the other, up to the first that fails.
    fn send_batch<'a>(&'a self, messages: &'a [Message]) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let mut last = String::new();
            for message in messages {
                match self.send(message).await {
                    Outcome::Delivered { message_id } => last = message_id,
                    failed => return failed,
                }
            }
            Outcome::Delivered { message_id: last }
        })
    }

    /// Whether the far end can be reached at all, without publishing: a connection and, with TLS,
    /// a handshake.
    fn probe(&self) -> BoxFuture<'_, Result<(), String>>;

    /// What `check --connect` reports of one topic: its state where the transport can ask.
    fn inspect<'a>(&'a self, topic: &'a Topic, ordered: bool) -> BoxFuture<'a, Vec<Finding>>;

    /// What `check --connect` reports of each access key, where there are several.
    fn inspect_keys<'a>(&'a self, _topic: &'a Topic) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async { Vec::new() })
    }

    /// How the access keys stand; `None` where none is needed.
    fn keys(&self) -> Option<KeysView> {
        None
    }

    /// Counts how often other access keys were read: what was refused may pass now.
    fn key_changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// Seconds by which the server's clock is ahead of this machine's, once known.
    fn clock_offset_s(&self) -> Option<i64>;

    /// Bytes that `message` costs on its way out, about: with escaping, framing and headers, but
    /// without TLS and TCP.
    fn wire_bytes(&self, message: &Message) -> usize {
        message.size_bytes() + 300
    }

    /// Told when records begin or cease to flow, so that gRPC heartbeats only meanwhile.
    fn flowing(&self, _flowing: bool) {}

    /// Addresses to which this machine needs a route, of the proxy where there is one; empty
    /// before they are known.
    fn addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    /// Nothing will be sent for long: connections without requests under way are closed.
    fn close(&self) {
        self.reconnect();
    }

    /// The way that connections took is gone: what is sent from now on takes new ones. Requests
    /// under way keep theirs.
    fn reconnect(&self) {}
}

/// One line of the doctor's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, such as `clock` or `topic ward-critical`.
    pub subject: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What was seen, and what to do about it.
    pub detail: String,
}

/// How a finding stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Cannot be asked over this transport, or works with a drawback.
    Note,
    /// Will keep records from leaving.
    Bad,
}
