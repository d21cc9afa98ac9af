//! What the benchmarks share: the real binary as a child process, load on its socket, the plain
//! file that intake is compared with, and figures as tables.
//!
//! Reference and subject take turns within one run, round by round, and a ratio is formed within
//! a round: what else the machine does meets both. Tables show medians, and in brackets the
//! smallest and the largest round.

pub mod agent;
pub mod broker;
pub mod centre;
pub mod engine;
pub mod far;
pub mod figure;
pub mod fleet;
pub mod flushes;
pub mod folder;
pub mod frames;
pub mod http;
pub mod load;
pub mod machine;
pub mod nats;
pub mod packs;
pub mod peer;
pub mod process;
pub mod pump;
pub mod queue;
pub mod raw;
pub mod record;
pub mod redis;
pub mod relay;
pub mod rivals;
pub mod sink;
pub mod space;
pub mod tonic_loop;

/// What a server of a benchmark prints once it serves.
pub const READY: &str = "ready";

/// Why a benchmark cannot go on.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
