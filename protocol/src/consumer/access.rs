//! Where RocketMQ is, who asks, and for what.

use std::time::Duration;

use crate::dial::Tls;

/// How RocketMQ is reached.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// `https://host:port` or `http://host:port`; without a scheme TLS is meant, but not to this
    /// machine. gRPC takes several (the next is tried when one fails), HTTP one.
    pub endpoints: Vec<String>,
    /// Whether another machine than this one may be spoken to without TLS.
    pub plaintext: bool,
    /// Instance id (HTTP) or namespace (gRPC).
    pub instance: Option<String>,
    /// Access key. HTTP signs every request and cannot go without.
    pub credentials: Option<Credentials>,
    /// Whom to trust.
    pub tls: Tls,
}

/// An access key. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// STS token that goes with a temporary key.
    pub security_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What is received.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Topic.
    pub topic: String,
    /// Consumer group. HTTP brokers and ours make it on first use; see [`super::grpc`] for
    /// RocketMQ 5.
    pub group: String,
    /// Tags, joined by `||`; all messages without. All members of a group have to ask for the same.
    pub tag: Option<String>,
    /// Messages of one order key in order.
    pub ordered: bool,
    /// How long a received message stays out of sight unless acknowledged: gRPC, 10 s to 12 h. Over
    /// HTTP the broker decides (5 min, in order 1 min).
    pub invisible: Duration,
}

impl Subscription {
    /// All of `topic` for `group`, in no order, out of sight for a minute.
    pub fn new(topic: impl Into<String>, group: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            group: group.into(),
            tag: None,
            ordered: false,
            invisible: Duration::from_secs(60),
        }
    }
}

/// A wall clock. Monotonic time is tokio's.
pub trait WallClock: Send + Sync + 'static {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since_1970.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}
