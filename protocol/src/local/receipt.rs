//! The acknowledgement of a record.

use serde::{Deserialize, Serialize};

use super::status::RecordState;
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
    /// KEYS as it will be sent; of a repeat, the first one's is what is sent, which this may not be.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<RecordState>,
}

impl Receipt {
    /// `{"id","key","lane","seq","level"}`, for a repeat with `"duplicate":true`; no line end.
    pub fn to_json(&self) -> String {
        self.json(None)
    }

    /// The same with `"state"`: what has become of the record.
    pub fn to_json_with(&self, state: RecordState) -> String {
        self.json(Some(state))
    }

    fn json(&self, state: Option<RecordState>) -> String {
        let answer = Answer {
            id: self.id.as_str(),
            key: self.key.as_str(),
            lane: self.lane.as_str(),
            seq: self.seq,
            level: self.level,
            duplicate: self.duplicate,
            state,
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
        let expired = repeat.replace('}', ",\"state\":\"expired\"}");
        assert_eq!(receipt.to_json_with(RecordState::Expired), expired);
    }
}
