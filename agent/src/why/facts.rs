//! What the sentences are made of. Times are seconds, rounded up where they are still to come.

use serde::Serialize;
use spillway_protocol::local::status::{AccessKeys, Degraded, Freshness, Hold, Link, Pace, Rates};

/// The agent as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Gateway {
    /// Its id.
    pub gateway: String,
    /// No agent runs: only what lies on disk is known.
    pub stopped: Option<Stopped>,
    /// The link; unknown while no agent runs.
    pub link: Option<Link>,
    /// The far end is reached and answers no record: what goes wrong with them.
    pub mute: Option<String>,
    /// The mistake that holds the whole link.
    pub hold: Option<Hold>,
    /// How the access keys stand, where there are any.
    pub access_keys: Option<AccessKeys>,
    /// What the pace allows.
    pub pace: Pace,
    /// What went in and out lately.
    pub rates: Rates,
    /// `[drain]`'s upper bounds.
    pub bounds: Bounds,
    /// `[budget]`, if there is one.
    pub budget: Option<Budget>,
    /// First send after a start or an outage.
    pub first_send_in_s: Option<u64>,
    /// Until everything is drained at the present rate; unknown if never.
    pub drained_in_s: Option<u64>,
    /// How the configuration stands, where something is to be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    /// Records that wait in all lanes.
    pub waiting: u64,
}

/// An agent that does not run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stopped {
    /// When it last wrote down how it stands: at its stop, and every few minutes before.
    pub active_ago_s: Option<u64>,
}

/// `[drain]`'s upper bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// `records_per_second`.
    pub records_per_second: Option<u32>,
    /// `bytes_per_second`.
    pub bytes_per_second: u64,
}

/// `[budget]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// The bound.
    pub bytes_per_day: u64,
    /// The part of it that is kept for lanes of the first priority.
    pub reserve: u64,
    /// Until the count begins anew.
    pub resets_in_s: u64,
}

/// A lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Lane {
    /// Name.
    pub name: String,
    /// Records that wait.
    pub waiting: u64,
    /// Age of the oldest of them.
    pub oldest_age_s: Option<u64>,
    /// `order = "lane"` without bundles.
    pub one_at_a_time: bool,
    /// A record that is refused is dead once a later one of its topic has passed.
    pub buries: bool,
    /// It may use what `[budget]` keeps for lanes of the first priority.
    pub is_first: bool,
    /// What holds it, apart from the link.
    pub hold: Option<Hold>,
    /// Which of its records that holds.
    pub held_part: Part,
    /// Others of it leave meanwhile.
    pub others_leave: bool,
    /// The next probe of what is held.
    pub asked_in_s: Option<u64>,
    /// Nothing of its topic leaves for so long.
    pub paused_s: Option<u64>,
    /// This gateway's turn after the end of a day's `[budget]`.
    pub rests_s: Option<u64>,
    /// First send after a start or an outage, which comes sooner for priority lanes.
    pub first_send_in_s: Option<u64>,
    /// What of today's bytes it may use is used.
    pub budget_stopped: bool,
    /// Id of a key that the agent does not have and the next record needs.
    pub missing_key: Option<String>,
    /// Why it refuses new records.
    pub full: Option<String>,
    /// Records that it gave up, by the end they came to.
    pub given_up: GivenUp,
    /// `when_full = "drop-oldest"`.
    pub drops_oldest: bool,
    /// It has rules of `degrade`.
    pub degrades: bool,
    /// How it gives way.
    pub degraded: Option<Degraded>,
    /// Order keys held on their own.
    pub held_keys: u64,
    /// The first record of one of them.
    pub held_key: Option<Head>,
    /// Records that failed and wait for another try.
    pub failed: u64,
    /// The oldest record, if it failed.
    pub failure: Option<Head>,
    /// Live records and backlog.
    pub freshness: Option<Freshness>,
    /// Lanes of smaller priority in which a backlog waits.
    pub behind_lanes: Vec<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// Records that a lane gave up, of all time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct GivenUp {
    /// Too old.
    pub expired: u64,
    /// At a limit, or purged.
    pub dropped: u64,
    /// Lost to a damaged file.
    pub damaged: u64,
}

/// Records of a lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// All of them, or those of the lane's own topic.
    #[default]
    Lane,
    /// Only those that name another topic.
    OtherTopics,
    /// Those of the topic that the record asked after names.
    OneTopic,
}

/// A record that holds up others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Head {
    /// Number in stream and lane.
    pub seq: u64,
    /// Id.
    pub id: Option<String>,
    /// What went wrong with it.
    pub failure: Option<Failure>,
    /// Its next try.
    pub again_in_s: Option<u64>,
}

/// What went wrong with a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The broker's code, `unknown` or `connection`.
    pub code: String,
    /// Words.
    pub reason: String,
    /// How often.
    pub tries: u32,
}

/// A record that was accepted here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Id, where it is known.
    pub id: Option<String>,
    /// Lane.
    pub lane: String,
    /// Stream, 8 hex digits.
    pub stream: String,
    /// It is the stream of new records.
    pub present_stream: bool,
    /// Number in stream and lane.
    pub seq: u64,
    /// Age, where it is known.
    pub age_s: Option<u64>,
    /// What became of it.
    pub lot: Lot,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lot {
    /// It is in the queue.
    Waiting(Waiting),
    /// RocketMQ has it.
    Delivered {
        /// A copy is kept for a resend.
        kept: bool,
    },
    /// It is in the dead letters.
    Dead(Letter),
    /// It will never be sent; why, where that is still known.
    GivenUp(Option<Loss>),
    /// It is not here any more: delivered, or given up longer ago than is remembered.
    Forgotten,
}

/// A record that waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Records of its lane that wait before it.
    pub ahead: u64,
    /// Since when a request with it is under way.
    pub sending_s: Option<u64>,
    /// What went wrong with it.
    pub failure: Option<Failure>,
    /// Its next try, if it failed.
    pub again_in_s: Option<u64>,
    /// The record of its order that has to leave first.
    pub behind: Option<Head>,
    /// It is part of its lane's backlog, before which live records leave.
    pub backlog: bool,
}

/// A dead letter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// Its handle.
    pub number: u64,
    /// The broker's code.
    pub code: String,
    /// Its words.
    pub reason: String,
    /// Since when.
    pub died_ago_s: u64,
}

/// Why a record was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// At a limit.
    Dropped,
    /// Too old for its lane.
    Expired,
    /// Of so many, one is kept.
    Thinned(u32),
    /// By an operator, from the dead letters.
    Purged,
    /// It lay in a damaged file.
    Damaged,
}

/// What is here of one key, in one lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// As it was asked for.
    pub key: String,
    /// Lane.
    pub lane: String,
    /// Records of it that wait.
    pub waiting: u64,
    /// There may be more: the search was ended.
    pub at_least: bool,
    /// Its dead letters in this lane.
    pub dead: u64,
    /// The first of those that wait; else the newest dead letter; else the newest that is settled.
    pub first: Record,
}
