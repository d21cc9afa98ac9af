//! The same work by different programs: records that are on disk before they are answered.

use std::path::Path;

use crate::agent::Setup;
use crate::engine::process::Process;
use crate::figure::Run;
use crate::flushes::Flushes;
use crate::load::Until;
use crate::nats::Nats;
use crate::record::Bodies;
use crate::redis::Streams;
use crate::{Error, frames, load};

/// Two connections, without a lane.
const TWO: [Option<&str>; 2] = [None, None];

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Rival {
    /// The agent, by the lean load.
    Spillway,
    /// The agent, by its client library.
    Client,
    /// SQLite behind the agent's socket.
    Sqlite,
    /// A sled key for each record behind the agent's socket.
    Sled,
    /// Redis Streams.
    Redis,
    /// NATS JetStream, a message at a time.
    Nats,
    /// NATS JetStream, atomic batches.
    NatsBatch,
}

impl Rival {
    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spillway => "Spillway, lean load",
            Self::Client => "Spillway, client library",
            Self::Sqlite => "SQLite WAL, synchronous = FULL, same socket and groups",
            Self::Sled => {
                "plain sled, a key per record, one flush + fdatasync per group, same socket"
            }
            Self::Redis => "Redis Streams, appendfsync always, pipelined",
            Self::Nats => "NATS JetStream, sync_interval: always, pipelined",
            Self::NatsBatch => "NATS JetStream, the same, atomic batches of what is outstanding",
        }
    }

    /// Starts it afresh in `folder`, runs the load on two connections, first to warm up, and
    /// says how often the disk was synced meanwhile.
    ///
    /// # Errors
    /// If it does not start or store.
    pub async fn turn(self, folder: &Path, work: &Work<'_>) -> Result<(Run, u64), Error> {
        let frames = |socket: &Path, until| {
            frames::load(socket, work.bodies, (work.outstanding, &TWO), until)
        };
        match self {
            Self::Spillway => {
                let agent = Setup::new(folder, 1).start()?;
                work.measured(|until| frames(agent.socket(), until))
            }
            Self::Client => {
                let agent = Setup::new(folder, 1).start()?;
                let both = 2 * work.outstanding;
                load::binary(agent.socket(), work.bodies, both, work.warm_up).await?;
                let before = work.flushes.count();
                let run = load::binary(agent.socket(), work.bodies, both, work.until).await?;
                Ok((run, work.flushes.count().saturating_sub(before)))
            }
            Self::Sqlite | Self::Sled => {
                let engine = if self == Self::Sqlite { "sqlite" } else { "sled" };
                let engine = Process::start(engine, folder)?;
                work.measured(|until| frames(engine.socket(), until))
            }
            Self::Redis => {
                let redis = Streams::start(folder);
                work.measured(|until| redis.load(work.bodies, work.outstanding, until))
            }
            Self::Nats | Self::NatsBatch => {
                let nats = Nats::start(folder)?;
                let batches = self == Self::NatsBatch;
                work.measured(|until| nats.load(work.bodies, work.outstanding, batches, until))
            }
        }
    }
}

/// What everybody is asked to do.
#[derive(Debug)]
pub struct Work<'a> {
    /// The records.
    pub bodies: &'a Bodies,
    /// Outstanding on each of two connections.
    pub outstanding: usize,
    /// How long before it counts.
    pub warm_up: Until,
    /// How long.
    pub until: Until,
    /// Counts the syncs.
    pub flushes: &'a Flushes,
}

impl Work<'_> {
    fn measured(&self, load: impl Fn(Until) -> Result<Run, Error>) -> Result<(Run, u64), Error> {
        load(self.warm_up)?;
        let (run, flushes) = self.flushes.during(|| load(self.until));
        Ok((run?, flushes))
    }
}
