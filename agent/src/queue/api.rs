//! (Interface first; the implementation replaces this file.)
#![allow(missing_docs, clippy::todo, unused_variables)]

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use spillway_protocol::message::{Stamp, StreamId};
use spillway_protocol::record::{LaneName, MessageKey, Record, RecordId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::WallClock;

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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneOptions {
    pub name: LaneName,
    pub ordering: Ordering,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub data_dir: PathBuf,
    pub gateway: String,
    pub lanes: Vec<LaneOptions>,
    /// Payload at which a segment is sealed.
    pub segment_bytes: u64,
    pub dead_keep_bytes: u64,
}

/// What recovery found; for the log and `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    pub waiting: u64,
    pub damaged: u64,
    pub quarantined: Vec<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "{path}: another agent (pid {pid}) has it open; stop it, or give this one its own [gateway] data_dir"
    )]
    Locked { path: PathBuf, pid: String },
    #[error("{path}: {source}; {remedy}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
        remedy: &'static str,
    },
}

/// The acknowledgement: the record is synced to disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub id: RecordId,
    pub key: MessageKey,
    /// Lane it lies in (the first one's, for a repeat).
    pub lane: LaneName,
    pub stream: StreamId,
    /// Number in stream and lane, from 1.
    pub seq: u64,
    /// The same id was accepted before; nothing was stored again.
    pub duplicate: bool,
}

/// Why a record was not stored. Nothing of it was kept.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    #[error("no lane {lane}")]
    UnknownLane { lane: LaneName },
    /// The id belongs to another body (of the record with this lane and seq).
    #[error("id {id} was used for another body (lane {lane}, seq {seq})")]
    IdReused {
        id: RecordId,
        lane: LaneName,
        seq: u64,
    },
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

/// Resolves once the record is on disk.
pub struct Ticket(());

impl Future for Ticket {
    type Output = Result<Receipt, AppendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        todo!()
    }
}

/// accepted = delivered + waiting + dead + expired + dropped + damaged, always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accounts {
    pub accepted: u64,
    pub delivered: u64,
    pub waiting: u64,
    pub dead: u64,
    pub expired: u64,
    pub dropped: u64,
    pub damaged: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneFigures {
    pub accounts: Accounts,
    /// When the oldest waiting record was accepted, ms since 1970.
    pub oldest_accepted_ms: Option<u64>,
    pub live_bytes: u64,
    pub disk_bytes: u64,
    /// Leased at this moment.
    pub in_flight: u64,
}

/// A record handed to the drain. Dropping it is a free defer.
pub struct Lease {
    /// Place in the lane, growing; not what is sent (that is `stamp.seq`).
    pub position: u64,
    pub record: Record,
    pub stamp: Stamp,
    /// Charged attempts so far, in this process.
    pub attempts: u32,
}

impl Lease {
    pub fn lane(&self) -> &LaneName {
        todo!()
    }

    /// RocketMQ has it.
    pub fn ack(self) {
        todo!()
    }

    /// Back into the queue, not before `not_before`; `charged` counts an attempt. In an ordered
    /// lane those behind it (of its key) wait with it; in an unordered one the next lease is
    /// another record.
    pub fn defer(self, not_before: Option<Instant>, charged: bool) {
        todo!()
    }

    /// To the dead letters, synced there before it is settled here. Touches the disk: call where
    /// blocking is allowed. On an error the record stays in the queue (a free defer).
    pub fn dead_letter(self, code: &str, reason: &str) -> Result<(), SettleError> {
        todo!()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    #[error("the dead letters are full ({0} bytes kept)")]
    DeadFull(u64),
    #[error("the dead letters could not be written: {0}")]
    Disk(String),
}

/// A waiting record, as `queue peek` shows it.
#[derive(Debug, Clone)]
pub struct Entry {
    pub position: u64,
    pub record: Record,
    pub stamp: Stamp,
}

#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Handle for show, replay, purge.
    pub number: u64,
    pub record: Record,
    pub stamp: Stamp,
    pub code: String,
    pub reason: String,
    pub died_ms: u64,
    pub attempts: u32,
}

#[derive(Debug, Clone, Default)]
pub struct DeadFilter {
    pub number: Option<u64>,
    pub lane: Option<LaneName>,
    /// Code, or a part of the reason.
    pub reason: Option<String>,
    /// Died at or after, ms since 1970.
    pub since_ms: Option<u64>,
    pub limit: Option<usize>,
}

/// Where one record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Waiting {
        lane: LaneName,
        stream: StreamId,
        seq: u64,
    },
    Delivered {
        lane: LaneName,
        stream: StreamId,
        seq: u64,
    },
    Dead {
        lane: LaneName,
        stream: StreamId,
        seq: u64,
    },
    Dropped {
        lane: LaneName,
        stream: StreamId,
        seq: u64,
    },
    Unknown,
}

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue(Arc<()>);

impl Queue {
    /// Opens `options.data_dir` on sled: locks it, recovers, and starts a committer per lane.
    pub fn open(
        options: Options,
        clock: Arc<dyn WallClock>,
    ) -> Result<(Self, Recovery), OpenError> {
        todo!()
    }

    /// Takes a record in, in the order of calls per lane. Never blocks.
    pub fn submit(&self, lane: &LaneName, record: Record) -> Ticket {
        todo!()
    }

    /// Lanes in the order of the options.
    pub fn lanes(&self) -> Vec<LaneName> {
        todo!()
    }

    pub fn stream(&self) -> StreamId {
        todo!()
    }

    /// Up to `count` records that may be sent now, oldest first, of at most `bytes` in all (but
    /// always one). May read the disk (milliseconds): call where blocking is allowed.
    pub fn lease(&self, lane: &LaneName, count: usize, bytes: usize) -> Vec<Lease> {
        todo!()
    }

    /// When the earliest deferred record is due, if `lease` has nothing before that.
    pub fn next_due(&self, lane: &LaneName) -> Option<Instant> {
        todo!()
    }

    /// Changes whenever a record was accepted or settled.
    pub fn changed(&self) -> watch::Receiver<u64> {
        todo!()
    }

    pub fn figures(&self, lane: &LaneName) -> Option<LaneFigures> {
        todo!()
    }

    /// Waiting records from `from` (a position) on. Reads the disk.
    pub fn peek(&self, lane: &LaneName, from: u64, limit: usize) -> Vec<Entry> {
        todo!()
    }

    pub fn find_id(&self, id: &RecordId) -> Place {
        todo!()
    }

    pub fn find_seq(&self, lane: &LaneName, stream: StreamId, seq: u64) -> Place {
        todo!()
    }

    pub fn dead_list(&self, filter: &DeadFilter) -> Vec<DeadLetter> {
        todo!()
    }

    /// Appends what matches to its lane again (flag `replay`) and settles the dead letter.
    pub fn dead_replay(&self, filter: &DeadFilter) -> Result<u64, SettleError> {
        todo!()
    }

    /// Gives up what matches: dead - n, dropped + n.
    pub fn dead_purge(&self, filter: &DeadFilter) -> Result<u64, SettleError> {
        todo!()
    }

    /// Refuses further records, commits what was submitted, writes the state. Blocks.
    pub fn close(&self) {
        todo!()
    }
}
