//! An answer as it is kept until it is read: about 30 bytes where the agent drew the id.

use serde::{Deserialize, Serialize};
use spillway_protocol::local::{Level, Receipt, Refusal};
use spillway_protocol::message::StreamId;
use spillway_protocol::record::{LaneName, MessageKey, RecordId};

/// More than the answer of a stored record has here.
pub(super) const ANSWER_BYTES: usize = 320;
/// Version byte; answers never outlive the process.
pub(super) const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Stored {
        seq: u64,
        lane: LaneName,
        id: Id,
        /// Where it is not the id.
        key: Option<MessageKey>,
        duplicate: bool,
        level: Level,
    },
    Refused {
        refusal: Refusal,
        times: u64,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) enum Id {
    Uuid([u8; 16]),
    Text(RecordId),
}

impl Id {
    fn new(id: RecordId) -> Self {
        match uuid::Uuid::try_parse(id.as_str()) {
            Ok(uuid) if uuid.to_string() == id.as_str() => Self::Uuid(uuid.into_bytes()),
            _ => Self::Text(id),
        }
    }

    fn into_text(self) -> Option<RecordId> {
        match self {
            Self::Uuid(bytes) => RecordId::parse(uuid::Uuid::from_bytes(bytes).to_string()).ok(),
            Self::Text(id) => Some(id),
        }
    }
}

impl Answer {
    pub(super) fn stored(receipt: Receipt) -> Self {
        let key = (receipt.key.as_str() != receipt.id.as_str()).then_some(receipt.key);
        Self::Stored {
            seq: receipt.seq,
            lane: receipt.lane,
            id: Id::new(receipt.id),
            key,
            duplicate: receipt.duplicate,
            level: receipt.level,
        }
    }

    /// The line of JSON, if it is of a stored record.
    pub(super) fn into_line(self) -> Option<String> {
        let Answer::Stored { seq, lane, id, key, duplicate, level } = self else {
            return None;
        };
        let id = id.into_text()?;
        let key = match key {
            Some(key) => key,
            None => MessageKey::parse(id.as_str()).ok()?,
        };
        let receipt = Receipt {
            id,
            key,
            lane,
            stream: StreamId(0), // Not part of the line.
            seq,
            level,
            duplicate,
        };
        Some(receipt.to_json() + "\n")
    }
}
