//! `spillway why`: one sentence why something has not left, and one about what would help. Pure:
//! [`facts`] in, sentences out.
//!
//! - [`facts`]: everything the sentences are made of; shown as they are with `--json`
//! - `cause`: what keeps records here, the outermost first: agent, link, lane
//! - `pace`: why they leave no faster
//! - `link`, `lane`, `record`, `key`: one answer each

mod cause;
pub mod facts;
mod failure;
mod key;
mod lane;
mod link;
mod loss;
mod pace;
mod record;
mod words;

use serde::{Deserialize, Serialize};

pub use key::answer as key;
pub use lane::answer as lane;
pub use link::answer as link;
pub use record::answer as record;

/// What is asked after. With nothing, the link and every lane in which something waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// A lane, an id or a key: the first that there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// A record's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A record's key, or an order key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What a [`Question`] found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// At least one.
    pub answers: Vec<Answer>,
    /// What else has this name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Kind>,
}

/// Two sentences about one thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// About what.
    pub subject: Subject,
    /// The same as `why`, for programs.
    pub state: State,
    /// Why it has not left.
    pub why: String,
    /// What would help.
    pub help: String,
    /// What both are made of.
    pub facts: serde_json::Value,
}

/// What an answer is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What it is.
    pub kind: Kind,
    /// Its name; of the link, the gateway's id.
    pub name: String,
}

/// What can be asked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The agent and its link.
    Link,
    /// A lane.
    Lane,
    /// A record, by its id.
    Id,
    /// Records, by their key or order key.
    Key,
}

/// What keeps something here, or where it is instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing waits.
    Idle,
    /// No agent runs.
    Stopped,
    /// There is no `[upstream]`.
    Unconfigured,
    /// The far end cannot be reached.
    Offline,
    /// An attempt is under way.
    Probing,
    /// Something has to be put right first: link, lane or topic.
    Held,
    /// The day's bytes are used.
    Budget,
    /// This gateway's turn to send has not come yet.
    Turn,
    /// The broker asked for a pause.
    Throttled,
    /// A rule of `degrade` lets it wait.
    Degraded,
    /// A record of the same order has to leave first.
    Order,
    /// It failed, and is tried again.
    Retry,
    /// It is being sent.
    Sending,
    /// Records leave, at a pace.
    Leaving,
    /// It has left.
    Delivered,
    /// It is in the dead letters.
    Dead,
    /// It was given up at a limit, or by an operator.
    Dropped,
    /// It was older than its lane's `ttl`.
    Expired,
    /// It was given up so that one in several is kept.
    Thinned,
    /// It was lost to a damaged file.
    Damaged,
    /// It is not here any more: delivered, or given up longer ago than is remembered.
    Gone,
}

impl Answer {
    fn new(
        subject: (Kind, &str),
        state: State,
        (why, help): (String, String),
        facts: &impl Serialize,
    ) -> Self {
        Self {
            subject: Subject { kind: subject.0, name: subject.1.to_owned() },
            state,
            why: words::sentence(&why),
            help: words::sentence(&help),
            // What is asked is made of texts and numbers alone, which JSON can say.
            facts: serde_json::to_value(facts).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
