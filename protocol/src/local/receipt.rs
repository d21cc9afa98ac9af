//! The acknowledgement of a record.

use serde::{Deserialize, Serialize};

use crate::message::StreamId;
use crate::record::{LaneName, MessageKey, RecordId};

/// How far a record has come when it is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Synced to this machine's disk.
    #[default]
    Disk,
    /// RocketMQ has it.
    Broker,
}

/// The record is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The app's id, or the one drawn for it.
    pub id: RecordId,
    /// KEYS as it will be sent.
    pub key: MessageKey,
    /// Lane it lies in.
    pub lane: LaneName,
    /// Stream that `seq` counts in.
    pub stream: StreamId,
    /// Number in stream and lane, from 1.
    pub seq: u64,
    /// What was reached.
    pub level: Level,
    /// The same id and body were accepted before; this is the first one's number.
    pub duplicate: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    key: &'a str,
    lane: &'a str,
    seq: u64,
    level: Level,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl Receipt {
    /// `{"id","key","lane","seq","level"}`, for a repeat with `"duplicate":true`; no line end.
    pub fn to_json(&self) -> String {
        let answer = Answer {
            id: self.id.as_str(),
            key: self.key.as_str(),
            lane: self.lane.as_str(),
            seq: self.seq,
            level: self.level,
            duplicate: self.duplicate,
        };
        // Texts and a number: this cannot fail.
        serde_json::to_string(&answer).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_documented_names_and_duplicate_only_when_true() {
        let mut receipt = Receipt {
            id: RecordId::parse("r-1").unwrap(),
            key: MessageKey::parse("k").unwrap(),
            lane: LaneName::parse("critical").unwrap(),
            stream: StreamId(1),
            seq: 7,
            level: Level::Disk,
            duplicate: false,
        };
        let first = r#"{"id":"r-1","key":"k","lane":"critical","seq":7,"level":"disk"}"#;
        assert_eq!(receipt.to_json(), first);
        receipt.duplicate = true;
        let repeat =
            r#"{"id":"r-1","key":"k","lane":"critical","seq":7,"level":"disk","duplicate":true}"#;
        assert_eq!(receipt.to_json(), repeat);
    }
}
