//! A message as it lies at a broker, whichever broker it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use spillway::broker::Stored;

use crate::rocketmq;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The record's id: `sw_id`, or KEYS.
    pub id: String,
    /// KEYS.
    pub key: String,
    /// Tag.
    pub tag: Option<String>,
    /// Sharding key or message group.
    pub order_key: Option<String>,
    /// `sw_lane`
    pub lane: String,
    /// `sw_st`
    pub stream: String,
    /// `sw_seq`
    pub seq: u64,
    /// Payload as the app gave it.
    pub body: Bytes,
    /// Queue and place in it; places can be compared within one queue.
    pub place: (i32, u64),
    /// When the broker stored it, ms since 1970.
    pub at_ms: u64,
}

impl Arrival {
    /// From what both brokers have.
    pub(crate) fn new<'a>(
        key: &str,
        tag: Option<&str>,
        order_key: Option<&str>,
        property: impl Fn(&str) -> Option<&'a str>,
        body: &[u8],
    ) -> Self {
        let own = |name: &str| property(name).unwrap_or_else(|| panic!("{key} has no {name}"));
        let flags = property("sw_flags").unwrap_or_default();
        let body = match flags.split(',').any(|flag| flag == "base64") {
            true => STANDARD.decode(body).unwrap(),
            false => body.to_vec(),
        };
        Self {
            id: property("sw_id").unwrap_or(key).to_owned(),
            key: key.to_owned(),
            tag: tag.map(str::to_owned),
            order_key: order_key.map(str::to_owned),
            lane: own("sw_lane").to_owned(),
            stream: own("sw_st").to_owned(),
            seq: own("sw_seq").parse().unwrap(),
            body: body.into(),
            place: (0, 0),
            at_ms: 0,
        }
    }
}

impl From<&Stored> for Arrival {
    fn from(stored: &Stored) -> Self {
        let arrival = Self::new(
            stored.key.as_deref().expect("KEYS"),
            stored.tag.as_deref(),
            stored.order_key.as_deref(),
            |name| stored.property(name),
            stored.body.as_bytes(),
        );
        Self { place: (0, stored.offset), at_ms: stored.publish_ms, ..arrival }
    }
}

impl From<&rocketmq::Stored> for Arrival {
    fn from(stored: &rocketmq::Stored) -> Self {
        let property = |name: &str| stored.properties.get(name).map(String::as_str);
        let arrival = Self::new(
            stored.keys.as_deref().expect("KEYS"),
            stored.tag.as_deref(),
            property("__SHARDINGKEY"),
            property,
            &stored.body,
        );
        assert_eq!(arrival.id, stored.message_id);
        let place = (stored.queue_id, u64::try_from(stored.offset).unwrap());
        Self { place, at_ms: stored.stored_ms, ..arrival }
    }
}
