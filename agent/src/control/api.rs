//! What crosses the control socket.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/queue` | [`Lanes`] |
//! | `GET /v1/queue/{lane}` with [`Page`] | [`Waiting`] |
//! | `POST /v1/queue/{lane}/purge` with [`Purge`] | [`Done`] |
//! | `GET /v1/verify` | [`Overall`] |
//! | `GET /v1/verify/{lane}` with `from` | [`Checked`] |
//! | `GET /v1/dead` with [`Look`] | [`Letters`] |
//! | `GET /v1/dead/{number}` with `body` | [`Letter`] |
//! | `POST /v1/dead/replay`, `POST /v1/dead/purge` with [`Action`] | [`Done`] |
//! | `POST /v1/dead/accept/{lane}` | [`Accepted`] |
//! | `POST /v1/resend` with [`Resend`] | [`Resent`] |
//! | `POST /v1/reload` with [`Wish`](super::reload::Wish) | [`Reloaded`](super::reload::Reloaded) |
//! | `GET /v1/upgrade`, `POST /v1/upgrade` | [`Upgrade`] |
//! | `GET /v1/tail` with [`Wish`](super::tail::Wish) | [`Line`](super::tail::Line)s, until the client ends it |
//! | `GET /v1/admin` | [`Door`](super::Door), with the token of the status page |
//! | `GET /v1/why` with [`Question`](crate::why::Question) | [`Answers`](crate::why::Answers) |
//!
//! An error is answered as on the intake socket: `{"error": {"code", "field", "message"}}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
pub use spillway_protocol::local::status::{Format, NewerFile, Quarantine};

/// Most records in one answer.
pub const PAGE_MAX: usize = 1000;
/// Records in one answer where the request names no number.
pub const PAGE_DEFAULT: usize = 100;

/// The lanes in the order of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lanes {
    /// One for each.
    pub lanes: Vec<Lane>,
}

/// A lane's figures. accepted = delivered + waiting + dead + expired + dropped + damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Name.
    pub name: String,
    /// Acknowledged to apps.
    pub accepted: u64,
    /// Acknowledged by RocketMQ.
    pub delivered: u64,
    /// In the queue.
    pub waiting: u64,
    /// In the local dead letters.
    pub dead: u64,
    /// Given up because of their age.
    pub expired: u64,
    /// Given up at a limit or purged.
    pub dropped: u64,
    /// Lost to a damaged file.
    pub damaged: u64,
    /// Being sent at this moment.
    pub in_flight: u64,
    /// When the oldest waiting record was accepted, ms since 1970.
    pub oldest_accepted_ms: Option<u64>,
    /// Bytes of the waiting records.
    pub live_bytes: u64,
    /// Bytes of the lane's files.
    pub disk_bytes: u64,
    /// Id of a key that the agent does not have, for which the lane waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_key: Option<String>,
}

/// Which waiting records to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// First position to show; the oldest record where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Most records, [`PAGE_DEFAULT`] where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Whether to show bodies, keys and properties.
    #[serde(default)]
    pub body: bool,
}

/// Waiting records of one lane, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The records.
    pub records: Vec<Entry>,
    /// First and last position of what waits between them and cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Span>,
    /// The same of what waits between them and is sealed with a key that the agent does not have; and
    /// that key's id. Nothing of it is lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locked: Vec<(Span, String)>,
    /// Where the next page begins, if this one ended at its limit.
    pub next: Option<u64>,
}

/// Waiting records to be given up for good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// First and last position, of one or several ranges.
    #[serde(default)]
    pub ranges: Vec<Span>,
    /// All of the lane.
    #[serde(default)]
    pub all: bool,
    /// Only say how many it would be.
    #[serde(default)]
    pub dry_run: bool,
}

/// What can be said without reading all lanes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overall {
    /// Dead letters that can be read.
    pub letters: u64,
    /// Numbers of dead letters that cannot.
    pub letters_lost: Vec<u64>,
    /// How many dead letters are sealed with a key that the agent does not have, and its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letters_locked: Option<(u64, String)>,
    /// Saved states and tables of ids that are damaged, each of which has a substitute, and, where
    /// no agent runs, segments in which nothing is whole.
    pub damaged_files: Vec<String>,
    /// Damaged segments that were put aside.
    pub quarantine: Quarantine,
    /// What a newer agent wrote: it is not damaged, and nobody reads it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer: Option<NewerFile>,
}

/// Where to begin with a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// First position; the first that is stored where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
}

/// What was read of a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Records that can be read.
    pub records: u64,
    /// First and last position of what waits and cannot be read.
    pub lost: Vec<Span>,
    /// Records that are whole, and sealed with a key that the agent does not have, by that key's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub locked: BTreeMap<String, u64>,
    /// Where to go on, if this was not all.
    pub next: Option<u64>,
}

/// A waiting record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Place in the lane, growing.
    pub position: u64,
    /// The record.
    #[serde(flatten)]
    pub record: Record,
}

/// A record, its content only where it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Lane.
    pub lane: String,
    /// Stream, 8 hex digits.
    pub stream: String,
    /// Number in stream and lane.
    pub seq: u64,
    /// Identity.
    pub id: String,
    /// Its own topic, where it is not the lane's.
    pub topic: Option<String>,
    /// Its own tag, where it is not the lane's.
    pub tag: Option<String>,
    /// Length of the body.
    pub body_bytes: u64,
    /// When it was accepted, ms since 1970.
    pub accepted_ms: u64,
    /// Whether the clock had been set by then.
    pub clock_set: bool,
    /// Keys, properties and body, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// What an app wrote; it may be about people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// KEYS, where the app gave them.
    pub key: Option<String>,
    /// Order key.
    pub order_key: Option<String>,
    /// Properties.
    pub properties: BTreeMap<String, String>,
    /// The body, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body, if it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

/// Which dead letters are meant; what is left out does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// This one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Those of a lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// Those with this code, or with this in their reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Those that died at or after, ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// At most so many, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// What to show of dead letters; a query, so it repeats [`Filter`]'s names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// Those of a lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// Those with this code, or with this in their reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Those that died at or after, ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Only this number and later ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Most letters, [`PAGE_DEFAULT`] where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Whether to show bodies, keys and properties.
    #[serde(default)]
    pub body: bool,
}

/// Dead letters, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letters {
    /// The letters.
    pub letters: Vec<Letter>,
    /// Whether the limit left some out.
    pub more: bool,
    /// Where the next page begins, if there is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Handle.
    pub number: u64,
    /// The broker's code.
    pub code: String,
    /// Its words.
    pub reason: String,
    /// When it died, ms since 1970.
    pub died_ms: u64,
    /// Attempts that were charged.
    pub attempts: u32,
    /// The record.
    #[serde(flatten)]
    pub record: Record,
}

/// What to replay or purge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Which letters.
    #[serde(default)]
    pub filter: Filter,
    /// Only say how many it would be.
    #[serde(default)]
    pub dry_run: bool,
    /// All of them: purging without any filter needs it.
    #[serde(default)]
    pub all: bool,
}

/// What was replayed or purged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Letters.
    pub count: u64,
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Letters that were to be replayed, and that their lanes will not take as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
    /// Why only so many were replayed; the others are dead letters as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_off: Option<String>,
}

/// Letters that stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// So many.
    pub count: u64,
    /// Why the first of them.
    pub why: String,
}

/// The answer to `accept`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The lane.
    pub lane: String,
    /// Whether it was held for refusals until now.
    pub accepted: bool,
}

/// How the data folder stands, and what it was raised from just now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// Its format; the level is the one that it has now.
    #[serde(flatten)]
    pub format: Format,
    /// Why it cannot be committed.
    pub obstacle: Option<String>,
    /// The level before, where the request was to commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<u32>,
}

/// Most numbers of one request.
pub const RESEND_MAX: u64 = 100_000;

/// Delivered records to be sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resend {
    /// Lane they were accepted in.
    pub lane: String,
    /// Their stream, 8 hex digits; the present one where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// First number.
    pub from: u64,
    /// Last number; at most [`RESEND_MAX`] of them.
    pub to: u64,
}

/// First and last number.
pub type Span = (u64, u64);

/// What becomes of each number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resent {
    /// Lane.
    pub lane: String,
    /// Stream, 8 hex digits.
    pub stream: String,
    /// They will be sent again.
    pub sent: Vec<Span>,
    /// They have not left yet, and will.
    pub waiting: Vec<Span>,
    /// They are in the dead letters.
    pub dead: Vec<Span>,
    /// They were given up, or lost to damage.
    pub dropped: Vec<Span>,
    /// They were delivered, and are not kept any more.
    pub expired: Vec<Span>,
    /// No record ever had them.
    pub unknown: Vec<Span>,
}
