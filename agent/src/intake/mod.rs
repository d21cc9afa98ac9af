//! The intake socket: local apps hand over records, and are answered once those are on disk.
//!
//! One Unix socket ([`socket`]), two dialects told apart by the first bytes (`listener`): HTTP/1.1
//! with JSON (`http`, `ndjson`) and binary frames (`binary`); and, where configured, the same HTTP on
//! loopback (`tcp`) and the MQ HTTP API there (`front`). Who may use the socket, and for what, `clients` says. Every request
//! is proven (`verdict`) and handed to [`Intaking`], which the queue stands behind. What clients can make the agent hold,
//! bodies being received, records waiting for the disk, answers nobody reads, is counted against
//! one budget ([`admission`]); beyond it they are refused and asked to come back.

pub mod admission;
pub(crate) mod bearer;
mod binary;
mod body;
mod clients;
#[cfg(test)]
mod fake;
mod front;
mod http;
mod listener;
mod ndjson;
mod queued;
mod routing;
mod rules;
mod seats;
pub mod socket;
mod tcp;
#[cfg(test)]
mod tests;
mod verdict;
mod wire;

use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures::future::BoxFuture;
use spillway_protocol::local::Refusal;
use spillway_protocol::local::status::Status;
use spillway_protocol::message::StreamId;
use spillway_protocol::record::{LaneName, MessageKey, Record, RecordId, Topic};

pub use self::front::{Front, FrontOptions, Instance, serve_mq_http};
pub use self::listener::serve;
pub use self::queued::{LaneTable, Queued};
pub use self::rules::Rules;
pub use self::tcp::{Tcp, serve_tcp};

/// How the intake serves HTTP, for the admin listener: one set of limits on connections, heads
/// and stalls.
pub(crate) mod serving {
    pub(crate) use super::http::{Patience, converse, whole_answer};
    pub(crate) use super::listener::{Reception, say};
    pub(crate) use super::seats::{Seats, User};
    pub(crate) use super::wire::Wire;
}

use self::admission::Budget;
use self::clients::{Guest, Peer};
use self::rules::InForce;
use self::seats::Seats;
use crate::attendance::{Register, Visit};
use crate::open_files::OpenFiles;
use crate::queue::{Answers, AppendError, Ordering, Place, Receipt, Tag};

/// Resolves once the record is on disk, or will not be.
pub type Storing = BoxFuture<'static, Result<Receipt, AppendError>>;

/// What the intake needs of the agent. `submit`, `lanes` and `stream` never block, `find_id` only
/// for a look at the disk, the others are asked where blocking is allowed.
pub trait Intaking: Send + Sync + 'static {
    /// Takes a record, in the order of the calls per lane. When storing fails because of the disk,
    /// what was submitted to the lane after it and before the failure was reported must fail too:
    /// order keys rely on it.
    fn submit(&self, lane: &LaneName, record: Record) -> Storing;

    /// The same for one of many, which `answers` gathers the answers of.
    fn submit_to(&self, lane: &LaneName, record: Record, answers: &Answers, tag: Tag) {
        let (storing, answers) = (self.submit(lane, record), answers.clone());
        tokio::spawn(async move { answers.put(tag, storing.await) });
    }

    /// The lanes that apps may use, in the order of the configuration; one of them is the default.
    fn lanes(&self) -> Arc<[LaneInfo]>;

    /// The stream that new records are numbered in.
    fn stream(&self) -> StreamId;

    /// A record of this lane is refused for good, and none behind it for its sake, where it is encoded
    /// in more bytes. May ask the file system.
    fn largest_entry(&self, lane: &LaneName) -> u64;

    /// Where the record with the app's own id is.
    fn find_id(&self, id: &RecordId) -> Place;

    /// Where the record with this number is.
    fn find_seq(&self, lane: &LaneName, stream: StreamId, seq: u64) -> Place;

    /// KEYS of the record with this number, while it is stored.
    fn key_of(&self, lane: &LaneName, stream: StreamId, seq: u64) -> Option<MessageKey>;

    /// Ends once the record with this number does not wait any more: whether RocketMQ has it.
    fn settled(&self, lane: &LaneName, stream: StreamId, seq: u64) -> BoxFuture<'static, bool>;

    /// The agent's state.
    fn status(&self) -> Status;
}

/// A lane as the intake sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneInfo {
    /// Name.
    pub name: LaneName,
    /// Topic of records that name none; over the MQ HTTP API it chooses the lane.
    pub topic: Topic,
    /// Takes records that name no lane.
    pub default: bool,
    /// Which records wait for each other.
    pub ordering: Ordering,
}

/// How the intake behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most connections at a time.
    pub connections_max: usize,
    /// Which connections may be open beside what the agent needs itself.
    pub files: OpenFiles,
    /// What may change while connections are open.
    pub rules: Rules,
    /// Where it is noted which clients are connected.
    pub register: Option<Register>,
    /// A connection over TCP without a request that brings a token for this long is closed.
    pub stranger_max: Duration,
    /// A connection that has not brought the head of a request for this long is closed; after its
    /// first request that counts from the first byte of the next one, and may take twice as long.
    pub head_max: Duration,
    /// A connection without a further request for this long is closed, and so is one whose NDJSON
    /// line does not come on. One of frames may rest for as long as it likes.
    pub idle_max: Duration,
    /// Longest pause within a body or frame.
    pub pause_max: Duration,
    /// Longest time for the body of one record.
    pub body_max: Duration,
    /// Longest time without any progress while the client does not read its answers.
    pub stall_max: Duration,
    /// Longest wait for the disk before a record is answered with 503.
    pub commit_max: Duration,
    /// Longest wait for RocketMQ where a record asks for it, from when it came; then it is answered
    /// with the level reached.
    pub broker_max: Duration,
    /// Time that requests under way get when the agent stops.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 256,
            files: OpenFiles::default(),
            rules: Rules::default(),
            register: None,
            stranger_max: Duration::from_secs(30),
            head_max: Duration::from_secs(30),
            idle_max: Duration::from_secs(300),
            pause_max: Duration::from_secs(30),
            body_max: Duration::from_secs(600),
            stall_max: Duration::from_secs(60),
            commit_max: Duration::from_secs(30),
            broker_max: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

/// Who uses an [`Intake`].
#[derive(Debug, Clone)]
enum Who {
    /// Somebody who has proved it by other means.
    Trusted,
    /// A process of this machine, if the system says which.
    Peer(Option<Peer>),
    /// Whoever brought this client's token.
    Holder(Arc<Guest>),
}

/// The intake, to one connection, with what that one may. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    queue: Arc<dyn Intaking>,
    options: Arc<Options>,
    rules: Arc<RwLock<Arc<InForce>>>,
    /// Who is at the other end, of a connection of the socket.
    peer: Who,
    budget: Budget,
    /// At the socket.
    seats: Seats,
    fresh_id: Arc<dyn Fn() -> RecordId + Send + Sync>,
}

impl Intake {
    /// An intake before `queue`, that may everything; the socket's connections get what is theirs.
    /// `fresh_id` draws the ids of records that bring none; they must be
    /// unique (the agent's are UUIDv7).
    pub fn new(
        queue: Arc<dyn Intaking>,
        options: Options,
        fresh_id: impl Fn() -> RecordId + Send + Sync + 'static,
    ) -> Self {
        Self {
            queue,
            budget: Budget::new(options.rules.memory_bytes),
            seats: Seats::new(options.connections_max),
            rules: InForce::first(&options),
            peer: Who::Trusted,
            options: Arc::new(options),
            fresh_id: Arc::new(fresh_id),
        }
    }

    /// The same for a connection of the socket.
    ///
    /// # Errors
    /// It is a stranger's.
    fn of(&self, peer: impl FnOnce() -> std::io::Result<Peer>) -> Result<Self, Refusal> {
        let known = Self { peer: Who::Peer(peer().ok()), ..self.clone() };
        known.rights().may_enter()?;
        Ok(known)
    }

    /// Notes that this connection is there, where somebody wants to know.
    fn visit(&self) -> Option<Visit> {
        self.in_force().clients.visit(&self.rights())
    }

    /// Whether a user who has no connection to the socket would get none.
    pub fn is_full(&self) -> bool {
        self.seats.is_full()
    }

    /// What clients make the agent hold at this moment.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}
