//! What others say to the queue and hear from it.

use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spillway_protocol::message::{Stamp, StreamId};
use spillway_protocol::record::{LaneName, MessageKey, Record, RecordId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::cipher::{KeyId, Keys};
use super::limits::Limits;

/// Which records wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// None: any record may be leased.
    None,
    /// At most one in flight per order key; a deferred one keeps those behind it of the same key.
    Key,
    /// One in flight in the lane.
    Lane,
}

/// A lane, as the queue needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneOptions {
    /// Name; also its folder.
    pub name: LaneName,
    /// Order of its records.
    pub ordering: Ordering,
    /// Age at which its records are given up.
    pub ttl: Option<Duration>,
}

/// Records of one order that may be leased together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Most records.
    pub records: usize,
    /// Most bytes of them; the first may have more.
    pub bytes: usize,
}

impl Run {
    /// Each waits until the one before it is settled.
    pub const ONE: Self = Self { records: 1, bytes: 0 };
}

/// What could be leased of a lane from some position on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Front {
    /// The position after the lane's last one.
    pub end: u64,
    /// The first that could be leased now.
    pub first: Option<u64>,
    /// Stretches that were leased ahead of older records. Each costs a range in the saved state
    /// until what is before it is settled.
    pub stretches: usize,
}

/// How to open a queue.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it lives.
    pub data_dir: PathBuf,
    /// Gateway id, for stamps.
    pub gateway: String,
    /// A fingerprint of the host: another one begins a new stream.
    pub host: String,
    /// Lanes, in the order of the configuration.
    pub lanes: Vec<LaneOptions>,
    /// Payload at which a segment is closed; about what a lane costs in memory.
    pub segment_bytes: u64,
    /// How much all of it may take up.
    pub limits: Limits,
    /// Most bytes of dead letters.
    pub dead_keep_bytes: u64,
    /// Most bytes of records that may wait for the disk; beyond it they are refused at once. One
    /// record always may.
    pub waiting_bytes_max: usize,
    /// Somebody takes what [`Queue::untold`](super::Queue::untold) says; else only the newest of it
    /// is kept, for whoever will.
    pub tell: bool,
    /// Delivered records are kept for a resend.
    pub keep: Option<Keep>,
    /// What is done to records before they are written.
    pub packing: Packing,
    /// Seed of the stream id and of the segments' nonces: from the system, but fixed in tests.
    pub seed: u64,
}

/// What is done to records before they are written.
#[derive(Debug, Clone, Default)]
pub struct Packing {
    /// Lanes whose records are compressed with lz4.
    pub lz4: Vec<LaneName>,
    /// The keys under which all are sealed, if there is a current one, and opened.
    pub keys: Keys,
}

/// How much of what was delivered is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Bytes of files, of all lanes together.
    pub bytes: u64,
    /// Time since the last record of a segment was settled, ms.
    pub time_ms: u64,
}

/// What became of numbers that were to be sent again, as ranges, both ends included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resent {
    /// They will be sent.
    pub sent: Vec<(u64, u64)>,
    /// They have not been sent yet, and will be.
    pub waiting: Vec<(u64, u64)>,
    /// They are in the dead letters.
    pub dead: Vec<(u64, u64)>,
    /// They were given up, or lost to damage.
    pub dropped: Vec<(u64, u64)>,
    /// They were delivered, and are not kept any more.
    pub expired: Vec<(u64, u64)>,
    /// No record ever had them.
    pub unknown: Vec<(u64, u64)>,
}

/// What recovery found; for the log and `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records waiting in all lanes.
    pub waiting: u64,
    /// The data folder was made just now: a new installation.
    pub fresh: bool,
    /// Folders of lanes that the configuration does not name any more, with what waits there.
    pub orphans: Vec<(String, u64)>,
}

/// Why the queue could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two agents on one folder would destroy it.
    #[error(
        "{path}: another agent (pid {pid}) has it open; stop that one, or give this one its own [gateway] data_dir"
    )]
    Locked {
        /// The data folder.
        path: PathBuf,
        /// The other one's process id, as it noted it.
        pid: String,
    },
    /// A newer agent wrote it.
    #[error("{path}: its format {format} is newer than this agent; install the newer agent again")]
    Newer {
        /// The file that says so.
        path: PathBuf,
        /// The format found.
        format: u32,
    },
    /// Its records are to be sealed, and its format knows no keys yet.
    #[error(
        "{path}: [gateway] encryption_key needs format 2, and this folder has format {level}; run: spillway upgrade --commit"
    )]
    Uncommitted {
        /// The data folder.
        path: PathBuf,
        /// Its format.
        level: u32,
    },
    /// The disk or its permissions.
    #[error("{path}: {source}; {remedy}")]
    Io {
        /// What could not be used.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
        /// What to do.
        remedy: &'static str,
    },
}

/// The acknowledgement: the record is synced to disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Id, the app's or the agent's.
    pub id: RecordId,
    /// KEYS.
    pub key: MessageKey,
    /// Lane it lies in (the first one's, for a repeat).
    pub lane: LaneName,
    /// Stream.
    pub stream: StreamId,
    /// Number in stream and lane, from 1.
    pub seq: u64,
    /// The same id was accepted before; nothing was stored again.
    pub duplicate: bool,
}

/// Why a record was not stored. Nothing of it was kept.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    /// There is no such lane.
    #[error("no lane {lane}")]
    UnknownLane {
        /// The name asked for.
        lane: LaneName,
    },
    /// The id belongs to another body.
    #[error("id {id} was used for another body (lane {lane}, seq {seq})")]
    IdReused {
        /// The id.
        id: RecordId,
        /// Lane of the record that has it.
        lane: LaneName,
        /// Its number.
        seq: u64,
    },
    /// It takes more by itself than its lane may ever have: for good.
    #[error("too large for its lane: {0}")]
    TooLarge(String),
    /// Disk full: try again later.
    #[error("disk full: {0}")]
    Full(String),
    /// The disk fails or stalls: try again later.
    #[error("the disk failed: {0}")]
    Disk(String),
    /// The agent is stopping: try again later.
    #[error("the agent is stopping")]
    Stopping,
}

/// Resolves once the record is on disk, or refused.
#[derive(Debug)]
pub struct Ticket(pub(super) oneshot::Receiver<Result<Receipt, AppendError>>);

impl Ticket {
    /// Waits for the answer, blocking the thread.
    pub fn wait(self) -> Result<Receipt, AppendError> {
        self.0.blocking_recv().unwrap_or(Err(AppendError::Stopping))
    }
}

impl Future for Ticket {
    type Output = Result<Receipt, AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(AppendError::Stopping)))
    }
}

/// accepted = delivered + waiting + dead + expired + dropped + damaged, always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Acknowledged to apps.
    pub accepted: u64,
    /// Acknowledged by RocketMQ.
    pub delivered: u64,
    /// In the queue.
    pub waiting: u64,
    /// In the dead letters.
    pub dead: u64,
    /// Given up because of their age.
    pub expired: u64,
    /// Given up at a limit, or purged.
    pub dropped: u64,
    /// Lost to a damaged file.
    pub damaged: u64,
}

impl Accounts {
    /// Whether they add up.
    pub fn balanced(&self) -> bool {
        let ended = self.delivered + self.dead + self.expired + self.dropped + self.damaged;
        self.accepted == self.waiting + ended
    }
}

/// A lane in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneFigures {
    /// Its accounts.
    pub accounts: Accounts,
    /// When the oldest waiting record was accepted, ms since 1970, by the clock of then.
    pub oldest_accepted_ms: Option<u64>,
    /// How long it has waited; see [`Queue::oldest_age`](super::Queue::oldest_age).
    pub oldest_age: Option<Duration>,
    /// Bytes of the waiting records.
    pub live_bytes: u64,
    /// Bytes of its files.
    pub disk_bytes: u64,
    /// Leased at this moment.
    pub in_flight: u64,
    /// A waiting record was found to be sealed with this key, which is not here: nothing is lost, and
    /// nothing behind it leaves.
    pub missing_key: Option<KeyId>,
}

/// Why a record could not be moved to, or out of, the dead letters. It is where it was.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// `[dead] keep` is reached: replay or purge some.
    #[error(
        "the dead letters are full ({0} bytes are kept); replay or purge some, or raise [dead] keep"
    )]
    DeadFull(u64),
    /// The disk.
    #[error("the dead letters could not be written: {0}")]
    Disk(String),
}

/// What is wrong although waiting records were purged.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// The disk does not know it.
    #[error(
        "purged, but the disk could not note it yet; see that it works, since after a crash they \
         would wait again: {0}"
    )]
    Unsaved(String),
}

/// A waiting record, as `queue peek` shows it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Place in the lane, for going on from there.
    pub position: u64,
    /// The record.
    pub record: Record,
    /// What the agent knows of it.
    pub stamp: Stamp,
}

/// A dead letter.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Handle for show, replay, purge.
    pub number: u64,
    /// The record.
    pub record: Record,
    /// What the agent knows of it.
    pub stamp: Stamp,
    /// The broker's code.
    pub code: String,
    /// Its words.
    pub reason: String,
    /// When it was given up, ms since 1970.
    pub died_ms: u64,
    /// Charged attempts before that.
    pub attempts: u32,
}

/// Why a record will never be sent under its number. Stored in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fate {
    /// It became a dead letter.
    Dead,
    /// A dead letter, or a waiting record, was given up for good by an operator.
    Purged,
    /// A dead letter went into its lane again, under a new number.
    Replayed,
    /// It was lost to a damaged file.
    Damaged,
    /// It was given up at a limit.
    Dropped,
    /// It was given up so that one in so many is kept: of a range, the numbers that are
    /// multiples of this were not.
    Thinned(u32),
    /// It was older than its lane's `ttl`.
    Expired,
}

impl Fate {
    /// Whether it may have befallen a record in its lane.
    pub(super) fn is_of_a_lane(self) -> bool {
        self != Self::Replayed
    }
}

/// Numbers of a lane that were given up: all from `from` to `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Lane.
    pub lane: LaneName,
    /// Stream.
    pub stream: StreamId,
    /// First number.
    pub from: u64,
    /// Last number.
    pub to: u64,
    /// Why.
    pub fate: Fate,
    /// When the first of them was given up, ms since 1970.
    pub first_ms: u64,
    /// When the last of them was.
    pub last_ms: u64,
}

/// Which dead letters; an empty filter means all.
#[derive(Debug, Clone, Default)]
pub struct DeadFilter {
    /// This one.
    pub number: Option<u64>,
    /// Of this lane.
    pub lane: Option<LaneName>,
    /// With this code, or this in the reason; capitals or not.
    pub reason: Option<String>,
    /// Given up at or after, ms since 1970.
    pub since_ms: Option<u64>,
    /// Of this number or a later one.
    pub from: Option<u64>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// Where one record is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // lane, stream and number, in each
pub enum Place {
    /// In the queue.
    Waiting { lane: LaneName, stream: StreamId, seq: u64 },
    /// RocketMQ has it.
    Delivered { lane: LaneName, stream: StreamId, seq: u64 },
    /// In the dead letters.
    Dead { lane: LaneName, stream: StreamId, seq: u64 },
    /// Given up because of its age.
    Expired { lane: LaneName, stream: StreamId, seq: u64 },
    /// Purged from the dead letters, dropped at a limit, or lost to damage.
    Dropped { lane: LaneName, stream: StreamId, seq: u64 },
    /// Never seen, or older than the window.
    Unknown,
}

/// A record that was accepted in a lane, for who asks after it.
#[derive(Debug, Clone)]
pub struct Whereabouts {
    /// Lane.
    pub lane: LaneName,
    /// Its place there.
    pub position: u64,
    /// Stream.
    pub stream: StreamId,
    /// Number in stream and lane.
    pub seq: u64,
    /// What became of it.
    pub lot: Lot,
    /// How long ago it was accepted, while it is stored; see
    /// [`Queue::oldest_age`](super::Queue::oldest_age).
    pub age: Option<Duration>,
    /// The record, while it is stored.
    pub entry: Option<Entry>,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lot {
    /// It is in the queue.
    Waiting {
        /// What it waits for.
        turn: Turn,
        /// Records of its lane that wait before it.
        ahead: u64,
    },
    /// RocketMQ has it.
    Delivered {
        /// It is still stored here.
        stored: bool,
    },
    /// It is in the dead letters.
    Dead,
    /// It will never be sent; why, while that is known.
    GivenUp(Option<Fate>),
    /// It is not here any more: delivered, or given up longer ago than is remembered.
    Forgotten,
}

/// How far a walk through what is stored came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Walked {
    /// Positions that were read.
    pub looked: u64,
    /// It came to the end: the time sufficed, the disk did not fail, and nobody broke it off.
    pub whole: bool,
}

/// What a waiting record waits for, as far as its lane knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is in the drain's hands.
    Leased,
    /// It may be leased.
    Ready,
    /// It failed before: not before this moment.
    Deferred(Instant),
    /// The record at this place is of the same order and has to leave first.
    Behind(u64),
}
