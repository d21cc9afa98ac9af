//! The gateway's own state as a record: messages to `[report] topic` with `sw_flags=report`, whose
//! body is the JSON of [`Report`].
//!
//! A gateway is online if a report, or any record of it, was stored at the broker within three
//! times `every_s`: by the broker's store time, since an agent cannot announce that its link is
//! gone, and its clock may be wrong. A report is made when it can be sent, so a gateway that comes
//! back after an outage sends one with its present state, not those of the outage.
//!
//! `accepted_seq` shows a missing tail: every number up to it was given to a record, so each is at
//! the far side, waits at the gateway, or has a [tombstone](crate::tombstone). It may be larger than
//! `accepted`: a replayed dead letter takes a new number and is not accepted again.

use serde::{Deserialize, Serialize};

use crate::local::status::LinkState;

/// The body of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Gateway id; the same as `sw_gw`.
    pub gateway: String,
    /// The stream that new records get, 8 hex digits. Two live ones of one gateway id are two
    /// machines (a clone).
    pub stream: String,
    /// Version of the agent.
    pub version: String,
    /// When it was started, ms since 1970 by the gateway's clock.
    pub started_ms: u64,
    /// When this was written, by the same clock.
    pub at_ms: u64,
    /// Whether that clock has been set since power-on.
    pub clock_set: bool,
    /// Seconds that the far end's clock is ahead of it; `null` where it has not told.
    pub clock_offset_s: Option<i64>,
    /// Seconds after which the next report is due at the latest, while the link is up.
    pub every_s: u64,
    /// The link.
    pub link: Link,
    /// Users' lanes, in the order of the configuration.
    pub lanes: Vec<Lane>,
    /// The lane `_agent`: what the agent sends of its own (reports, tombstones, presence), without
    /// this report. There in every report of an agent.
    pub own: Option<Lane>,
    /// The disk below the queue; `null` where it cannot be asked.
    pub disk: Option<Disk>,
}

/// The link as the gateway sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// State.
    pub state: LinkState,
    /// Since when, ms since 1970 by the gateway's clock.
    pub since_ms: u64,
}

/// Accounts of a lane. accepted = delivered + waiting + dead + expired + dropped + damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Name.
    pub name: String,
    /// The newest number of each stream that it knows, oldest stream first.
    pub streams: Vec<Stream>,
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
    /// Code of the lane's hold, if it is held.
    pub hold: Option<String>,
}

/// A stream of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its id, 8 hex digits.
    pub stream: String,
    /// The newest number that was accepted; 0 if none was.
    pub accepted_seq: u64,
}

/// The file system below the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Its size in bytes.
    pub total_bytes: u64,
    /// What the agent may still use of it.
    pub free_bytes: u64,
    /// What the queue and its dead letters use.
    pub queue_bytes: u64,
}

impl Report {
    /// As a message's body.
    ///
    /// # Errors
    /// None that can happen: text and numbers always have a JSON form.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// Reads a message's body. Fields that are not known are passed over.
    ///
    /// # Errors
    /// What in it is not a report.
    pub fn from_json(body: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_is_read_and_written_as_it_is() {
        let vector = include_str!("../vectors/report.json").trim_end();
        let report = Report::from_json(vector.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(report.to_json().unwrap()).unwrap(), vector);
        assert_eq!(report.link.state, LinkState::Ramping);
        assert_eq!(report.lanes[0].streams[1].accepted_seq, 42);
        let lane = &report.lanes[0];
        let ended = lane.delivered + lane.dead + lane.expired + lane.dropped + lane.damaged;
        assert_eq!(lane.accepted, lane.waiting + ended);
    }
}
