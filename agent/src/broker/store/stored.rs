//! A stored message, in memory and as JSON.

use serde::{Deserialize, Serialize};

/// A stored message, as `/_topics/{topic}/messages` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Place in the topic, from 0.
    pub offset: u64,
    /// The broker's id.
    pub message_id: String,
    /// When it was published, ms since 1970.
    pub publish_ms: u64,
    /// KEYS.
    pub key: Option<String>,
    /// Sharding key.
    pub order_key: Option<String>,
    /// Tag.
    pub tag: Option<String>,
    /// All properties in the order sent, KEYS and the sharding key among them.
    pub properties: Vec<(String, String)>,
    /// Not handed out before, ms since 1970.
    pub start_deliver_ms: Option<u64>,
    /// Payload, in base64 where it is JSON.
    #[serde(rename = "body_base64", with = "as_base64")]
    pub body: String,
}

impl Stored {
    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        let pair = self.properties.iter().find(|(n, _)| n == name);
        pair.map(|(_, value)| value.as_str())
    }
}

/// A text as base64 in JSON, so that every body is readable whatever it holds.
mod as_base64 {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(text))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        let encoded = String::deserialize(from)?;
        let bytes = STANDARD.decode(encoded).map_err(D::Error::custom)?;
        String::from_utf8(bytes).map_err(D::Error::custom)
    }
}
