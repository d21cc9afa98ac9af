//! A record as the agent accepts it: every part parsed once and valid for ever.
//!
//! The limits are RocketMQ's (proxy 5.5.0 and the MQ HTTP API, whichever is narrower), so that a
//! record that was accepted can be sent and can be read by unchanged SDKs.
//!
//! [`Draft`] is what came in, unproven; [`Draft::parse`] makes a [`Record`] of it or says which
//! field is wrong, how, and what would be right.

mod draft;
mod name;
pub mod property;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use draft::Draft;
pub use name::{LaneName, MessageKey, OrderKey, RecordId, Tag, Topic, xml_carries};
pub use property::{Properties, RESERVED_NAMES, START_DELIVER_TIME};

/// Largest body, in bytes (RocketMQ: 4 MiB).
pub const BODY_MAX: usize = 4 * 1024 * 1024;
/// Largest body over HTTP that XML 1.0 cannot carry and that therefore travels as base64.
pub const BODY_MAX_BASE64: usize = 3 * 1024 * 1024;

/// Whose id a record carries; only the app's own ids are de-duplicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdOrigin {
    /// The app gave it: the same id again is the same record.
    App,
    /// The agent drew it at intake.
    Agent,
}

/// One accepted record. Fields left out by the app are `None` and take the lane's value at send.
///
/// It is stored in this order (see [`crate::codec`]); another order is another format version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Identity, the handle for exactly-once at the far side.
    pub id: RecordId,
    /// Who chose [`Record::id`].
    pub id_origin: IdOrigin,
    /// RocketMQ's KEYS; the id where the app gave none.
    pub key: Option<MessageKey>,
    /// Topic; the lane's where the app gave none.
    pub topic: Option<Topic>,
    /// Tag; the lane's where the app gave none.
    pub tag: Option<Tag>,
    /// Records of one order key stay in order.
    pub order_key: Option<OrderKey>,
    /// The app's own properties.
    pub properties: Properties,
    /// Payload, 1 byte to [`BODY_MAX`].
    pub body: Bytes,
}

impl Record {
    /// KEYS as sent: the app's key, else the id.
    pub fn message_key(&self) -> &str {
        self.key.as_ref().map_or(self.id.as_str(), MessageKey::as_str)
    }

    /// What the record costs in memory and towards byte limits: its texts and its body.
    pub fn size_bytes(&self) -> usize {
        let texts = self.id.as_str().len()
            + self.key.as_ref().map_or(0, |v| v.as_str().len())
            + self.topic.as_ref().map_or(0, |v| v.as_str().len())
            + self.tag.as_ref().map_or(0, |v| v.as_str().len())
            + self.order_key.as_ref().map_or(0, |v| v.as_str().len());
        texts + self.properties.size_bytes() + self.body.len()
    }
}

/// What is wrong with a field of a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nothing where something is needed.
    Empty,
    /// Longer than the field may be.
    TooLong,
    /// A character that RocketMQ's transports do not carry there.
    Character,
    /// A name that RocketMQ or the agent keeps for itself.
    Reserved,
    /// Too many of them.
    TooMany,
    /// Not in the form the field has (base64, JSON type, number).
    Form,
}

/// A draft was refused: which field, why, and what would be right. Nothing was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{field}: {message}")]
pub struct RecordError {
    /// The field as the app named it, such as `id` or `properties.unit`.
    pub field: String,
    /// The kind of fault.
    pub fault: Fault,
    /// One sentence for a person.
    pub message: String,
}

impl RecordError {
    /// An error for `field`.
    pub fn new(field: impl Into<String>, fault: Fault, message: impl Into<String>) -> Self {
        Self { field: field.into(), fault, message: message.into() }
    }
}
