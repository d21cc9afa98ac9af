//! The configuration as proven: every value here has passed every check.
//!
//! [`load()`] reads the file as it is written and reports every fault at once, with file, line, key,
//! what is wrong and what would be right. The rest of the agent sees only [`Config`].

mod access;
mod admin;
mod basic;
mod budget;
mod client;
mod company;
mod control;
mod degrade;
mod differences;
mod encryption;
mod environment;
mod fault;
mod front;
mod kept;
mod lane;
mod limits;
mod listen_http;
mod load;
mod merge;
mod nearest;
mod own;
#[cfg(test)]
mod reference;
mod route;
mod secret;
mod section;
mod template;
#[cfg(test)]
mod tests;
mod tree;
mod unit;
mod upstream;
mod written;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use spillway_protocol::control::PublicKey;
use spillway_protocol::record::{LaneName, Tag, Topic};

pub use spillway_protocol::bundle::Compress;
pub use spillway_protocol::dial::{Endpoint, Proxy, Tls};

pub use basic::{DATA_DIR, SOCKET, control_beside};
pub use differences::differences;
pub use encryption::EncryptionKey;
pub use fault::{ConfigError, Fault, Place, Warning};
pub use kept::{Kept, Revived};
pub use limits::{Share, WhenFull};
pub use load::{
    Loaded, STAND_IN, Surroundings, Unreadable, data_dir, listen, load, read, salvage,
    socket_fault, transport, unreadable,
};
pub use own::RESEND_LANE;
pub use template::Template;
pub use unit::{duration, size_bytes};
pub use written::{HIDDEN, Setting, Written, written};

/// A secret that no `Debug`, log or error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for signing.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Everything the agent was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[limits]`
    pub limits: Limits,
    /// `[listen]`
    pub listen: Listen,
    /// `[[client]]`, in the order written; with none, whoever reaches the socket may use it.
    pub clients: Vec<Client>,
    /// `[upstream]`; without it records are taken in and wait.
    pub upstream: Option<Upstream>,
    /// What records are taken in for: `upstream.transport`, also where no more of `[upstream]` can be used.
    pub transport: Transport,
    /// `[[lane]]`, in the order written, never empty.
    pub lanes: Vec<Lane>,
    /// Lanes of former configurations in which records may wait: they are sent, and none are taken.
    pub retired: Vec<Lane>,
    /// `[[route]]`, in the order written.
    pub routes: Vec<Route>,
    /// `[dead]`
    pub dead: Dead,
    /// `[drain]`
    pub drain: Drain,
    /// `[backoff]`
    pub backoff: Backoff,
    /// `[budget]`
    pub budget: Option<Budget>,
    /// `[report]`
    pub report: Option<Report>,
    /// `[presence]`
    pub presence: Option<Presence>,
    /// `[audit]`
    pub audit: Option<Audit>,
    /// `[control]`
    pub control: Option<Control>,
}

impl Config {
    /// The lane that takes records which name none.
    pub fn default_lane(&self) -> &Lane {
        self.lanes.iter().find(|lane| lane.default).unwrap_or(&self.lanes[0])
    }
}

/// `[gateway]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Id of this gateway, carried by every record.
    pub id: String,
    /// Where the queue lives.
    pub data_dir: PathBuf,
    /// Under which records are sealed on disk from now on.
    pub encryption_key: Option<EncryptionKey>,
    /// Under which they were.
    pub former_keys: Vec<EncryptionKey>,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes the agent may hold for records in flight, connections and answers.
    pub memory_bytes: u64,
    /// What the lanes' files may take up together.
    pub disk: Share,
    /// What is left free on the file system.
    pub keep_free: Share,
}

/// `[listen]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Intake socket.
    pub socket: PathBuf,
    /// Its mode, such as 0o660.
    pub mode: u32,
    /// Control socket, mode 0600.
    pub control: PathBuf,
    /// `[listen.http]`
    pub http: Option<ListenHttp>,
    /// `[listen.mq_http]`
    pub mq_http: Option<MqHttp>,
    /// `[listen.admin]`
    pub admin: Option<Admin>,
}

/// `[listen.http]`: the intake's HTTP for apps of this machine without Unix sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenHttp {
    /// A loopback address and a port.
    pub address: SocketAddr,
    /// Lets in whoever brings it, to all lanes; `None` where clients have tokens of their own.
    pub token: Option<Secret>,
}

/// `[listen.mq_http]`: the MQ HTTP API for apps on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqHttp {
    /// A loopback address and a port.
    pub address: SocketAddr,
    /// Ids of local access keys with their secrets, at least one, each id once.
    pub access_keys: Vec<(String, Secret)>,
}

/// `[listen.admin]`: metrics and health, for those who watch over the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// An address, which is loopback where there is no token, and a port.
    pub address: SocketAddr,
    /// What each request must bring.
    pub token: Option<Secret>,
    /// Names, in lower case, by which this machine may be asked beside its address.
    pub hosts: Vec<String>,
}

/// `[[client]]`: an app of this machine that may use the intake, known by its user, its token, or
/// both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Name, part of its client id in presence events.
    pub name: String,
    /// Its user, at the socket.
    pub uid: Option<u32>,
    /// Its (primary) group, where one user runs several clients.
    pub gid: Option<u32>,
    /// What its requests bring at [`ListenHttp`].
    pub token: Option<Secret>,
    /// Lanes that it may use, never empty; `None`: all.
    pub lanes: Option<Vec<LaneName>>,
    /// Whether it is told when it is connected.
    pub presence: bool,
    /// Most records that are taken from it, over all its connections.
    pub records_per_second: Option<NonZeroU32>,
}

/// Which wire leads to RocketMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// MQ HTTP API of ApsaraMQ for RocketMQ 4.x.
    Http,
    /// gRPC of RocketMQ 5.x.
    Grpc,
}

/// `[upstream]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Which wire.
    pub transport: Transport,
    /// One endpoint for HTTP (`https://host:port`), one or several for gRPC.
    pub endpoints: Vec<Endpoint>,
    /// `instance_id` (HTTP) or `namespace` (gRPC).
    pub namespace: Option<String>,
    /// Access keys; HTTP requires some.
    pub access: AccessKeys,
    /// TLS, for endpoints that use it.
    pub tls: Tls,
    /// The HTTP proxy on the way.
    pub proxy: Option<Proxy>,
}

/// Access keys, or where they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessKeys {
    /// In the order in which they are tried: the next where one is refused.
    pub keys: Vec<Credentials>,
    /// Files that they were read from.
    pub files: Vec<PathBuf>,
    /// The program that brings the key instead, an absolute path, and its arguments.
    pub command: Option<Vec<String>>,
}

impl From<Credentials> for AccessKeys {
    fn from(key: Credentials) -> Self {
        Self { keys: vec![key], ..Self::default() }
    }
}

/// An access key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
    /// STS token.
    pub security_token: Option<Secret>,
}

/// Which records of a lane wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// None.
    None,
    /// Those of one order key.
    Key,
    /// All.
    Lane,
}

/// What becomes of a record that the broker refuses for its own sake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnReject {
    /// It goes to the local dead letters.
    DeadLetter,
    /// It holds its lane (or its key).
    Hold,
}

/// `[[lane]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Name.
    pub name: LaneName,
    /// Topic of records that name none.
    pub topic: Topic,
    /// Tag of records that name none.
    pub tag: Option<Tag>,
    /// Smaller first.
    pub priority: u32,
    /// Share among lanes of one priority.
    pub weight: u32,
    /// Percent of the sends that lower priorities keep.
    pub min_share_percent: u32,
    /// Takes records that name no lane.
    pub default: bool,
    /// Order.
    pub order: Order,
    /// What becomes of refused records.
    pub on_reject: OnReject,
    /// Most bytes of its files; `None`: its share by weight.
    pub quota_bytes: Option<u64>,
    /// What becomes of new records when it is full.
    pub when_full: WhenFull,
    /// Several records leave in one message.
    pub bundle: Option<Bundle>,
    /// Several messages leave in one request (gRPC, without order).
    pub batch: Option<Batch>,
    /// Records that wait no longer than this leave before an older backlog (without order).
    pub freshness: Option<Duration>,
    /// `compress = "lz4"`: its records are compressed on disk.
    pub lz4: bool,
    /// When and how the lane gives way, in the order written.
    pub degrade: Vec<Degrade>,
    /// Age at which its records are given up.
    pub ttl: Option<Duration>,
}

/// A rule of `degrade`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degrade {
    /// Under which pressure.
    pub when: Pressure,
    /// What is done then.
    pub action: Action,
}

/// A pressure, and from where on it is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// The lane's files have this percentage of the bytes that they may have.
    Disk(u32),
    /// The lane's oldest waiting record waits for so long.
    Backlog(Duration),
    /// This percentage of the day's bytes is used up.
    Budget(u32),
}

/// What a rule of `degrade` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing leaves the lane while the pressure lasts.
    Pause,
    /// One in so many of the records under pressure is kept.
    Thin(u32),
    /// The oldest are dropped until the pressure is gone.
    DropOldest,
}

/// `bundle` of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Most records in one message.
    pub records: usize,
    /// Most bytes of them (bodies and texts) before they are compressed.
    pub bytes: usize,
    /// How long less than a bundle waits for more, while the link is up.
    pub linger: Duration,
    /// How they are compressed.
    pub compress: Compress,
}

/// `batch` of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Most messages in one request.
    pub records: usize,
}

/// `[[route]]`: what a record is given that does not say it itself, by its properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Properties a record must have, each with its value, or with any.
    pub when: Vec<(String, Option<String>)>,
    /// Lane; records that name another one do not go this way.
    pub lane: Option<LaneName>,
    /// Topic.
    pub topic: Option<Template>,
    /// Tag.
    pub tag: Option<Template>,
    /// Order key.
    pub order_key: Option<Template>,
}

/// `[dead]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Most bytes of dead letters.
    pub keep_bytes: u64,
    /// How long they are kept.
    pub keep_for: Duration,
    /// Beyond the bytes lanes are held instead (`Reject`), or the oldest letters go.
    pub when_full: WhenFull,
}

/// `[drain]`
#[derive(Debug, Clone, PartialEq)]
pub struct Drain {
    /// Careful pace (slow start); false: the numbers below alone.
    pub adaptive: bool,
    /// Upper bound; `None` = auto.
    pub records_per_second: Option<u32>,
    /// Upper bound in bytes.
    pub bytes_per_second: u64,
    /// Window of the first sends after an outage or a start; `None` = auto.
    pub reconnect_spread: Option<Duration>,
}

/// `[backoff]`: full jitter, U(0, min(max, initial * 2^attempt)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    /// Bound of the first wait.
    pub initial: Duration,
    /// Bound of every wait.
    pub max: Duration,
}

/// `[budget]`: bytes on the wire in a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Most bytes in a day, both ways, with all that is needed to carry records.
    pub bytes_per_day: u64,
    /// Percent of them that only the lanes of the first priority may use, below 100.
    pub reserve_percent: u32,
}

/// `[report]`: the gateway's own state, and its tombstones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Topic of both.
    pub topic: Topic,
    /// Longest time between two reports while the link is up.
    pub every: Duration,
}

/// `[presence]`: status events of the link, and of local clients that say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Their topic.
    pub topic: Topic,
    /// First part of the client id.
    pub client_group: String,
    /// A local client without a connection for so long is gone.
    pub linger: Duration,
}

/// `[audit]`: delivered records are kept, to be sent again when they are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Most bytes of them.
    pub keep_bytes: u64,
    /// Longest time.
    pub keep_for: Duration,
}

/// `[control]`: what the centre asks of this gateway, pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Where its page is.
    pub url: String,
    /// Longest time between two pulls while the link is up.
    pub every: Duration,
    /// Whose signature counts.
    pub public_key: PublicKey,
    /// PEM file of the only authorities to trust; system roots where it is absent.
    pub ca: Option<PathBuf>,
    /// Whether the way there leads through `[upstream] proxy`, where there is one. A page on this
    /// machine is always asked for directly.
    pub proxy: bool,
    /// Most records that are sent again in a day.
    pub records_per_day: u64,
}
