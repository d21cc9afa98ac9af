//! `GET /v1/status`, the same that `spillway status --json` prints.

use serde::{Deserialize, Serialize};

/// The agent's state at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Gateway id.
    pub gateway: String,
    /// Stream id, 8 hex digits.
    pub stream: String,
    /// Version of the agent.
    pub version: String,
    /// Process id, so that a repeated start is seen.
    pub pid: u32,
    /// Seconds since the agent started.
    pub uptime_s: u64,
    /// Where the configuration came from and how it stands.
    pub configuration: Configuration,
    /// The link to RocketMQ.
    pub link: Link,
    /// Lanes in the order of the configuration.
    pub lanes: Vec<Lane>,
    /// The lane of the agent's own records, where it has any; in no other figure here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Lane>,
    /// What the centre asks of this gateway, where that is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// Damaged segments that were put aside, in no other figure here.
    #[serde(default)]
    pub quarantine: Quarantine,
    /// The format of the data folder; all zero from agents before it was told.
    #[serde(default)]
    pub format: Format,
    /// What went in and out lately.
    pub rates: Rates,
    /// Bytes on the wire today, and the day's bound; absent from agents before they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// What the pace allows, and why; absent from agents before it was told.
    #[serde(default)]
    pub pace: Pace,
    /// Files and connections that are open; absent from agents before it was told.
    #[serde(default)]
    pub open_files: Files,
    /// The access keys to RocketMQ; absent where none is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_keys: Option<AccessKeys>,
    /// Seconds until the backlog is drained at the present rate; `null` when that cannot be said.
    pub drained_in_s: Option<u64>,
    /// Seconds until the first send after a start or an outage is due; `null` when nothing waits for it.
    pub first_send_in_s: Option<u64>,
    /// Seconds the server's clock is ahead of this machine's; `null` until a server answered.
    pub clock_offset_s: Option<i64>,
}

/// Files and connections of the agent's process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// How many are open; `null` where the system does not tell.
    pub open: Option<u64>,
    /// How many may be; `null` without a bound.
    pub max: Option<u64>,
    /// Connections that were turned away or not accepted: too many were open, or the rest is kept
    /// for the queue.
    pub refused: u64,
}

/// How the access keys to RocketMQ stand: by their numbers in the configuration, from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeys {
    /// The one in use; `null` where all are refused, or there is none yet.
    pub in_use: Option<u32>,
    /// How many there are.
    pub of: u32,
    /// Those that were refused when they were last tried.
    pub refused: Vec<u32>,
    /// Seconds until the one in use ends, where that is known.
    pub expires_in_s: Option<u64>,
    /// Why they could not be read again, or brought, the last time.
    pub fault: Option<String>,
}

/// What lies in `quarantine/`: the agent removes the oldest where it becomes too much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Segments.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// The format of the data folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// The level that the queue's folder is written at: agents that know it can read the folder.
    pub level: u32,
    /// The newest level that this agent can write.
    pub newest: u32,
    /// What a newer agent wrote in the data folder, if anything: nothing of it is touched.
    pub newer: Option<NewerFile>,
    /// Where the queue lies meanwhile, if not in the data folder itself.
    pub folder: Option<String>,
    /// Folders of an earlier time like this whose records were not taken over yet.
    pub beside: Vec<String>,
}

/// A file whose version this agent does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewerFile {
    /// Its path.
    pub file: String,
    /// Its version.
    pub version: u32,
}

/// Bytes of this day on the wire, both ways, as counted below TLS, with an estimate of what TCP and
/// IP add. `bytes_today` is `overhead` and the bytes of all `lanes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// All of them.
    pub bytes_today: u64,
    /// The part of them that is estimated: headers of TCP and IP.
    pub headers_today: u64,
    /// The bound of `[budget]`; `null` where there is none.
    pub bytes_per_day: Option<u64>,
    /// Bytes of the bound that are kept for lanes of the first priority.
    pub reserve: Option<u64>,
    /// What no lane caused: connections, handshakes, probes, heartbeats, pulls.
    pub overhead: u64,
    /// All lanes, those of the agent too; each by what its requests cost.
    pub lanes: Vec<LaneBudget>,
    /// When the count begins anew, ms since 1970 by this machine's clock.
    pub resets_at: u64,
    /// The same in seconds from now.
    pub resets_in_s: u64,
}

/// A lane's part of [`Budget`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneBudget {
    /// Name.
    pub name: String,
    /// Bytes on the wire today, those of failed attempts too.
    pub bytes_today: u64,
    /// Records delivered today.
    pub delivered_today: u64,
    /// The one divided by the other; `null` before the first.
    pub bytes_per_record: Option<u64>,
    /// Nothing more of it leaves today: what is left is too little, or not for it.
    pub stopped: bool,
}

/// State of `[control]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Seconds since the centre's page was last pulled, changed or not; `null` before the first.
    pub pulled_ago_s: Option<u64>,
    /// Requests on it that are not done.
    pub open: u64,
    /// Why the last pull was no good, if it was not.
    pub fault: Option<String>,
}

/// State of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The file.
    pub file: String,
    /// `"in force"`, or what is wrong with it.
    pub state: String,
    /// What is wrong, each with its place, key, and what would be right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// Settings that are in force from the agent's next start on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_restart: Vec<String>,
    /// On trial: seconds until the former one comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_left_s: Option<u64>,
}

/// State of the link. Which one it is decides what an operator does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Records flow.
    Online,
    /// Back after an outage: rate is growing.
    Ramping,
    /// One attempt is under way to see whether the far end answers.
    Probing,
    /// The far end cannot be reached; the next probe is scheduled.
    Offline,
    /// An operator's mistake stops all lanes (credentials); the reason says which.
    Held,
    /// There is no `[upstream]`.
    Unconfigured,
    /// The day's bytes are used up.
    Budget,
}

impl LinkState {
    /// Every state there is.
    pub const ALL: [Self; 7] = [
        Self::Online,
        Self::Ramping,
        Self::Probing,
        Self::Offline,
        Self::Held,
        Self::Unconfigured,
        Self::Budget,
    ];

    /// Its word, which is also what stands in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Ramping => "ramping",
            Self::Probing => "probing",
            Self::Offline => "offline",
            Self::Held => "held",
            Self::Unconfigured => "unconfigured",
            Self::Budget => "budget",
        }
    }
}

/// The link to RocketMQ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// State.
    pub state: LinkState,
    /// Since when, in seconds.
    pub since_s: u64,
    /// Since when, ms since 1970 by this machine's clock.
    pub since: u64,
    /// Why, for a person; empty when online.
    pub reason: String,
    /// Seconds until the next attempt, while offline.
    pub next_attempt_in_s: Option<u64>,
}

/// Accounts and state of a lane. accepted = delivered + waiting + dead + expired + dropped + damaged.
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
    /// Age of the oldest waiting record, in seconds.
    pub oldest_age_s: Option<u64>,
    /// Bytes of the waiting records.
    pub live_bytes: u64,
    /// Bytes of the lane's files.
    pub disk_bytes: u64,
    /// Why the lane is held, if it is.
    pub hold: Option<Hold>,
    /// Order keys held on their own, in a lane ordered by key.
    pub held_keys: u64,
    /// The last refusal or failure, for a person.
    pub last_error: Option<String>,
    /// What would make a waiting lane drain faster, if its own settings slow it.
    #[serde(default)]
    pub hint: Option<String>,
    /// How live records and backlog stand, in a lane with `freshness`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    /// The rule of `degrade` that was last applied, and what it cost since the agent started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Degraded>,
    /// What its files may take up; absent where nothing bounds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The configuration does not name it any more: nothing is taken for it, what waits is sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
}

/// How a lane stands to its bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The most bytes of files: its quota, or its share of the disk.
    pub bytes: u64,
    /// Bytes of its files, but for those that are only kept for a resend.
    pub used: u64,
    /// Why new records are refused, while they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<String>,
}

/// How a lane with `freshness` stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// What live records are to leave within, ms.
    pub goal_ms: u64,
    /// Age of the oldest live record that waits, ms.
    pub oldest_live_ms: Option<u64>,
    /// Records that wait as backlog.
    pub backlog: u64,
}

/// What a rule of `degrade` does to a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// The rule as written, such as `backlog 6h: drop-oldest`; of several in force the last.
    pub rule: String,
    /// Since when it is in force, in seconds; `null` when none is any more.
    pub since_s: Option<u64>,
    /// Whether nothing leaves the lane because of it.
    pub paused: bool,
    /// Records that rules dropped since the agent started.
    pub dropped: u64,
}

/// Why nothing leaves a lane although the link is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Code such as `topic_missing`, `topic_type`, `credentials`, `refused`, `dead_letters_full`.
    pub code: String,
    /// The broker's words.
    pub reason: String,
    /// What puts it right.
    pub remedy: String,
    /// Since when, in seconds.
    pub since_s: u64,
}

/// What went in and out over the last minute, per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Records accepted.
    pub accepted_per_s: f64,
    /// Records delivered.
    pub delivered_per_s: f64,
    /// Body bytes delivered.
    pub delivered_bytes_per_s: f64,
}

/// How fast records may leave, and why no faster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Records per second that the gateway produces by itself: the unit of its pace.
    pub own_rate_per_s: f64,
    /// The multiple of it that may leave now.
    pub share: f64,
    /// Records per second that may leave now; `null` without a bound on records.
    pub allowed_per_s: Option<f64>,
    /// Bytes per second that may leave, by `[drain] bytes_per_second`; `null` from an agent that does
    /// not say.
    #[serde(default)]
    pub allowed_bytes_per_s: Option<u64>,
    /// How much later answers come than on a quiet line.
    pub queue_delay_ms: u64,
    /// Part of the requests that the broker refused for want of capacity, over the last seconds.
    pub reject_share: f64,
    /// Seconds for which the broker asked for a pause; `null` without one.
    pub paused_s: Option<u64>,
    /// This gateway's place in a fleet's return: how long after it its first sends begin.
    pub slot_s: u64,
    /// What limits the pace, for a person.
    pub reason: String,
}

/// Where one record is, as `GET /v1/records/{id}` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordStatus {
    /// State.
    pub state: RecordState,
    /// Lane, where known.
    pub lane: Option<String>,
    /// Stream, where known.
    pub stream: Option<String>,
    /// Number in the stream and lane, where known.
    pub seq: Option<u64>,
}

/// Where one record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordState {
    /// In the queue.
    Waiting,
    /// RocketMQ has it.
    Delivered,
    /// In the local dead letters.
    Dead,
    /// Given up because of its age.
    Expired,
    /// Given up at a limit, or purged.
    Dropped,
    /// Never seen, or older than the window.
    Unknown,
}
