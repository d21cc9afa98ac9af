//! `GET /v1/tail`: what happens to records, live, one JSON a line until somebody has seen enough.
//!
//! Looking costs the queue one entry in a bounded list for each event; records are read here, by
//! the watcher. What is more than a watcher wants in a second is counted, evenly spread.

mod budget;
mod shortened;
mod watch;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::api::Content;
use crate::queue::Left;
pub(super) use watch::{Lines, lines};
pub use watch::{Tailing, Topics};

/// Lines a second, unless the request says otherwise.
pub const LIMIT_DEFAULT: u32 = 100;
/// Most that a request may ask for.
pub const LIMIT_MAX: u32 = 10_000;

/// What to watch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Lanes, a comma between them; all that apps use where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lanes: Option<String>,
    /// Names of [`Kind`]s, a comma between them; all where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<String>,
    /// Most lines a second, [`LIMIT_DEFAULT`] where it is left out, [`LIMIT_MAX`] at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Whether to show bodies, keys and properties.
    #[serde(default)]
    pub body: bool,
}

/// What can happen to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is on disk, and its app was told so.
    Accepted,
    /// RocketMQ acknowledged it.
    Delivered,
    /// To the local dead letters.
    Dead,
    /// Given up because of its age.
    Expired,
    /// Given up at a limit, or purged.
    Dropped,
    /// Lost to a damaged file.
    Damaged,
}

/// All kinds, as they are written.
pub const KINDS: [(&str, Kind); 6] = [
    ("accepted", Kind::Accepted),
    ("delivered", Kind::Delivered),
    ("dead", Kind::Dead),
    ("expired", Kind::Expired),
    ("dropped", Kind::Dropped),
    ("damaged", Kind::Damaged),
];

impl From<Left> for Kind {
    fn from(left: Left) -> Self {
        match left {
            Left::Delivered => Self::Delivered,
            Left::Dead => Self::Dead,
            Left::Expired => Self::Expired,
            Left::Dropped => Self::Dropped,
            Left::Damaged => Self::Damaged,
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// Something happened.
    Event(Box<Event>),
    /// So many more happened than were shown, since the last such line; at most once a second.
    Skipped {
        /// Records, by what happened to them.
        skipped: BTreeMap<Kind, u64>,
    },
    /// The last line: the agent stops.
    Stopping {
        /// Always true.
        stopping: bool,
    },
}

/// What happened to a record, or to a run of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What.
    pub event: Kind,
    /// When, ms since 1970 by the gateway's clock.
    pub at_ms: u64,
    /// Lane.
    pub lane: String,
    /// Stream, 8 hex digits.
    pub stream: String,
    /// Number in stream and lane; the first one of a run.
    pub seq: u64,
    /// The last number of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq_to: Option<u64>,
    /// Of a run that was thinned, numbers that are multiples of this stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except_every: Option<u32>,
    /// Identity; left out of runs and of what cannot be read any more, as what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its own topic, else its lane's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Length of the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<u64>,
    /// `replay`, `resend`: it was here before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// The broker's code for a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many bytes of its beginning `content` has of a body that is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_shown: Option<u64>,
    /// Keys, properties and body, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}
