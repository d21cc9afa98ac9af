//! What the agent makes of a record for RocketMQ: the lane's defaults filled in, and its own
//! properties added. Short names, since they cost on every record:
//!
//! | property | meaning |
//! |---|---|
//! | `sw_id` | the record's id, where it differs from KEYS |
//! | `sw_gw` | gateway id |
//! | `sw_lane` | lane |
//! | `sw_st` | stream, 8 hex digits |
//! | `sw_seq` | number, without gaps per gateway, stream and lane, from 1 |
//! | `sw_at` | accepted, ms since 1970; `~` before it while the clock was not set |
//! | `sw_n` | only with the flag `bundle`: how many records are in it, see [`crate::bundle`] |
//! | `sw_flags` | comma-joined: `resend`, `replay`, `base64`, `bundle`, `tombstone`, `report`, `answer` |

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::record::{
    BODY_MAX_BASE64, LaneName, OrderKey, Record, RecordId, Tag, Topic, xml_carries,
};

/// Longest order key that travels as itself: a gRPC message group has fewer than 64 bytes.
const ORDER_KEY_MAX: usize = 63;

/// Stream id: drawn when the data folder is made, renewed when the host under it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl std::str::FromStr for StreamId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u32::from_str_radix(text, 16).map(Self)
    }
}

/// What `sw_flags` says of a record, whatever the transport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Sent again from the dead letters.
    pub const REPLAY: Self = Self(1);
    /// The agent's own: see [`crate::tombstone`].
    pub const TOMBSTONE: Self = Self(2);
    /// The agent's own: see [`crate::report`].
    pub const REPORT: Self = Self(4);
    /// A delivered record sent again under its old number, since it was asked for.
    pub const RESEND: Self = Self(8);
    /// The agent's own: see [`crate::control::Answer`].
    pub const ANSWER: Self = Self(16);

    /// As a queue stores it; bits that no flag has are kept for those to come.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// From what [`Flags::bits`] said.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// These and `more`.
    #[must_use]
    pub fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    /// Whether all of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Their words in `sw_flags`, in its order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (Self::RESEND, "resend"),
            (Self::REPLAY, "replay"),
            (Self::TOMBSTONE, "tombstone"),
            (Self::REPORT, "report"),
            (Self::ANSWER, "answer"),
        ];
        all.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

/// What the agent knows of a record beside what the app said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Gateway id.
    pub gateway: String,
    /// Lane.
    pub lane: LaneName,
    /// Stream.
    pub stream: StreamId,
    /// Number in stream and lane, from 1.
    pub seq: u64,
    /// When it was accepted, ms since 1970 by this machine's clock.
    pub accepted_ms: u64,
    /// Whether that clock had been set.
    pub clock_set: bool,
    /// What it is beside an app's record.
    pub flags: Flags,
}

/// What the lane adds where the record is silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults<'a> {
    /// Topic of the lane.
    pub topic: &'a Topic,
    /// Tag of the lane.
    pub tag: Option<&'a Tag>,
}

/// A message as either transport sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic.
    pub topic: Topic,
    /// Tag.
    pub tag: Option<Tag>,
    /// The record's id; gRPC sends it as message id, so that every repeat carries the same.
    pub id: RecordId,
    /// KEYS; several are joined by a space.
    pub key: String,
    /// Sharding key (HTTP) or message group (gRPC), already in the form RocketMQ takes.
    pub order_key: Option<String>,
    /// The app's properties and the agent's, in the order they are sent.
    pub properties: Vec<(String, String)>,
    /// Payload.
    pub body: Bytes,
}

impl Message {
    /// Composes the message of `record`. `order_key` is what the lane's order asks for: the
    /// record's own, the gateway's id, or none.
    pub fn compose(
        record: &Record,
        stamp: &Stamp,
        defaults: &Defaults<'_>,
        order_key: Option<&str>,
    ) -> Self {
        let mut properties: Vec<(String, String)> =
            record.properties.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let mut add = |name: &str, value: String| properties.push((name.to_owned(), value));
        if record.message_key() != record.id.as_str() {
            add("sw_id", record.id.to_string());
        }
        add("sw_gw", stamp.gateway.clone());
        add("sw_lane", stamp.lane.to_string());
        add("sw_st", stamp.stream.to_string());
        add("sw_seq", stamp.seq.to_string());
        add("sw_at", format!("{}{}", if stamp.clock_set { "" } else { "~" }, stamp.accepted_ms));
        let mut message = Self {
            topic: record.topic.as_ref().unwrap_or(defaults.topic).clone(),
            tag: record.tag.as_ref().or(defaults.tag).cloned(),
            id: record.id.clone(),
            key: record.message_key().to_owned(),
            order_key: order_key.map(|key| fit_order_key(key).into_owned()),
            properties,
            body: record.body.clone(),
        };
        stamp.flags.names().for_each(|flag| message.add_flag(flag));
        message
    }

    /// The message as XML 1.0 can carry it: a body that it cannot goes as base64, flagged in
    /// `sw_flags`. `None` if it would then be larger than RocketMQ takes.
    pub fn into_xml_safe(mut self) -> Option<Self> {
        if xml_safe(&self.body) {
            return Some(self);
        }
        if self.body.len() > BODY_MAX_BASE64 {
            return None;
        }
        self.body = STANDARD.encode(&self.body).into();
        self.add_flag("base64");
        Some(self)
    }

    fn add_flag(&mut self, flag: &str) {
        match self.properties.iter_mut().find(|(name, _)| name == "sw_flags") {
            Some((_, flags)) => *flags = format!("{flags},{flag}"),
            None => self.properties.push(("sw_flags".to_owned(), flag.to_owned())),
        }
    }

    /// Bytes of everything that is sent, without the transport's own framing.
    pub fn size_bytes(&self) -> usize {
        let properties: usize = self.properties.iter().map(|(n, v)| n.len() + v.len() + 2).sum();
        self.body.len() + properties + self.key.len() + self.topic.as_str().len()
    }
}

/// Whether XML 1.0 carries the body as text.
pub fn xml_safe(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| text.chars().all(xml_carries))
}

/// An order key as RocketMQ takes it: itself where it fits, else the first 32 hex digits of its
/// SHA-256.
pub fn fit_order_key(key: &str) -> Cow<'_, str> {
    let fits = key.len() <= ORDER_KEY_MAX && OrderKey::travels(key);
    if fits {
        return Cow::Borrowed(key);
    }
    let digest = Sha256::digest(key.as_bytes());
    Cow::Owned(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Draft;

    fn record(draft: Draft) -> Record {
        draft.parse(|| RecordId::parse("drawn").unwrap()).unwrap()
    }

    fn stamp() -> Stamp {
        Stamp {
            gateway: "gw-1".into(),
            lane: LaneName::parse("critical").unwrap(),
            stream: StreamId(0x00c0_ffee),
            seq: 42,
            accepted_ms: 1_700_000_000_123,
            clock_set: true,
            flags: Flags::NONE,
        }
    }

    fn compose(draft: Draft, stamp: &Stamp) -> Message {
        let topic = Topic::parse("ward").unwrap();
        Message::compose(&record(draft), stamp, &Defaults { topic: &topic, tag: None }, None)
    }

    fn property<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
        message.properties.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    #[test]
    fn the_agents_properties_are_the_documented_ones() {
        let draft = Draft { key: Some("patient-7".into()), body: "x".into(), ..Draft::default() };
        let message = compose(draft, &stamp());
        for (name, value) in [
            ("sw_id", "drawn"),
            ("sw_gw", "gw-1"),
            ("sw_lane", "critical"),
            ("sw_st", "00c0ffee"),
            ("sw_seq", "42"),
            ("sw_at", "1700000000123"),
        ] {
            assert_eq!(property(&message, name), Some(value));
        }
        assert_eq!(property(&message, "sw_flags"), None);
    }

    #[test]
    fn an_id_that_is_the_key_is_not_sent_twice_and_an_unset_clock_is_marked() {
        let unset = Stamp { clock_set: false, flags: Flags::REPLAY, ..stamp() };
        let message = compose(Draft { body: "x".into(), ..Draft::default() }, &unset);
        assert_eq!(property(&message, "sw_id"), None);
        assert_eq!(property(&message, "sw_at"), Some("~1700000000123"));
        assert_eq!(property(&message, "sw_flags"), Some("replay"));
    }

    #[test]
    fn flags_are_joined_by_commas_in_one_order() {
        let own = Stamp { flags: Flags::TOMBSTONE.with(Flags::REPLAY), ..stamp() };
        let message = compose(Draft { body: vec![0].into(), ..Draft::default() }, &own);
        assert_eq!(property(&message, "sw_flags"), Some("replay,tombstone"));
        let safe = message.into_xml_safe().unwrap();
        assert_eq!(property(&safe, "sw_flags"), Some("replay,tombstone,base64"));
        assert_eq!(Flags::from_bits(own.flags.bits()), own.flags);
    }

    #[test]
    fn what_xml_cannot_carry_goes_as_flagged_base64() {
        let binary = compose(Draft { body: vec![0, 159, 1].into(), ..Draft::default() }, &stamp());
        let safe = binary.into_xml_safe().unwrap();
        assert_eq!((&safe.body[..], property(&safe, "sw_flags")), (&b"AJ8B"[..], Some("base64")));
        let text =
            compose(Draft { body: "a ]]> <b> \r\n 🩺".into(), ..Draft::default() }, &stamp());
        assert_eq!(text.clone().into_xml_safe(), Some(text));
        let large = compose(
            Draft { body: vec![0; BODY_MAX_BASE64 + 1].into(), ..Draft::default() },
            &stamp(),
        );
        assert_eq!(large.into_xml_safe(), None);
    }

    #[test]
    fn an_order_key_travels_as_itself_or_as_a_hash() {
        assert_eq!(fit_order_key("bed-12"), "bed-12");
        assert_eq!(fit_order_key(&"x".repeat(63)).len(), 63);
        assert_eq!(fit_order_key("bed 12: left").len(), 32);
        assert_eq!(fit_order_key(&"x".repeat(64)).len(), 32);
        assert_ne!(fit_order_key("a b"), fit_order_key("a  b"));
    }
}
