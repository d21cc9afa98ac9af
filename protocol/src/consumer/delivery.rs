//! One received message, read back into what the app handed over and where it came from.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::time::Instant;

use super::origin::{self, Origin};
use super::torn;
use super::trace::{TRACEPARENT, TraceContext};

/// A message as a handler gets it. The same for both transports; what one of them does not tell
/// is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Topic.
    pub topic: String,
    /// Tag.
    pub tag: Option<String>,
    /// KEYS; several are joined by a space.
    pub keys: Option<String>,
    /// The broker's id of the message (HTTP), or the sender's (gRPC; the agent takes the record's).
    pub message_id: String,
    /// Sharding key or message group: the record's order key, or its hash.
    pub order_key: Option<String>,
    /// How often the broker has handed the message to the group, this time included. It also
    /// counts deliveries that nobody charged, such as those of a consumer that was killed.
    pub attempt: u32,
    /// When it was sent, ms since 1970 by the sender's clock.
    pub born_ms: Option<u64>,
    /// When the broker stored it, ms since 1970 by the broker's clock.
    pub stored_ms: Option<u64>,
    /// The app's properties: neither the agent's (`sw_*`) nor RocketMQ's own are among them.
    pub properties: BTreeMap<String, String>,
    /// Payload as the app gave it: base64 that the agent put around it is undone.
    pub body: Bytes,
    /// Where it comes from; none if no Spillway made it, or its origin cannot be read (then
    /// [`Delivery::faults`] says why).
    pub origin: Option<Origin>,
    /// What is wrong with it. Such a message is delivered all the same, but for
    /// [`Fault::Unreadable`].
    pub faults: Vec<Fault>,
    /// `sw_id`, where it differs from KEYS.
    pub sw_id: Option<String>,
    /// It is a bundle of so many records (0 if it does not say so), which [`Delivery::unpack`]
    /// takes apart; its own body and id are none of theirs. A [`super::Handler`] never gets one,
    /// unless it cannot be unpacked: then [`Delivery::unreadable`] says why.
    pub packed: Option<u64>,
    /// What acknowledges this delivery.
    pub receipt: Receipt,
}

/// What acknowledges one delivery, until the message is handed out again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The broker's handle.
    pub handle: String,
    /// The message's id, which gRPC asks for beside it.
    pub message_id: String,
    /// From when on it is of no use, as far as that is known.
    pub expires: Option<Instant>,
}

/// Something wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A property of the agent's is missing or has no valid value.
    #[error("{property} is {}: {problem}", value.as_deref().unwrap_or("missing"))]
    Origin {
        /// Which.
        property: &'static str,
        /// What it says.
        value: Option<String>,
        /// What it should be.
        problem: &'static str,
    },
    /// The body is flagged as base64 but is none; it is delivered as it came.
    #[error("the body is flagged as base64 but is none: {0}")]
    Base64(String),
    /// The body does not have the digest that came with it.
    #[error("the body has another MD5 than the message says ({0})")]
    Digest(String),
    /// Its sender has compressed the body in a way that is not undone here; it is delivered as it
    /// came. The agent never does.
    #[error("the body is compressed ({0})")]
    Encoding(&'static str),
    /// The message cannot be read at all: over HTTP its XML is broken (its body is then the piece of
    /// the answer that held it), or the broker's sudden end has torn its properties. It goes to
    /// [`super::Handler::park`] at once.
    #[error("the message cannot be read: {0}")]
    Unreadable(String),
}

impl Delivery {
    /// The identity for de-duplication: `sw_id`, else KEYS, else the message id.
    pub fn id(&self) -> &str {
        let key = || self.keys.as_deref().filter(|keys| !keys.is_empty());
        self.sw_id.as_deref().or_else(key).unwrap_or(&self.message_id)
    }

    /// The W3C trace context that the app gave, unchanged.
    pub fn traceparent(&self) -> Option<&str> {
        self.properties.get(TRACEPARENT).map(String::as_str)
    }

    /// The same, read; none if the app gave none, or one that is not valid.
    pub fn trace_context(&self) -> Option<TraceContext> {
        self.traceparent().and_then(TraceContext::parse)
    }

    /// Whether the message has this flag (`resend`, `tombstone` ...) in `sw_flags`.
    pub fn flag(&self, name: &str) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.flag(name))
    }

    /// Why the message cannot be read, if it cannot.
    pub fn unreadable(&self) -> Option<&str> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::Unreadable(reason) => Some(reason.as_str()),
            _ => None,
        })
    }

    /// Takes in what the message says of itself: splits `properties` into the app's and the
    /// agent's, and undoes base64. The other fields are the transport's.
    pub fn read_properties(&mut self, properties: impl IntoIterator<Item = (String, String)>) {
        let (own, apps) =
            properties.into_iter().partition::<BTreeMap<_, _>, _>(|(name, _)| is_agents(name));
        self.properties = apps;
        self.sw_id = own.get("sw_id").filter(|id| !id.is_empty()).cloned();
        match Origin::read(|name| own.get(name).map(String::as_str)) {
            Ok(origin) => self.origin = origin,
            Err(fault) => self.faults.push(fault),
        }
        self.faults.extend(torn::fault(self, &own));
        // Asked of the property, not of the origin: a broken number is no reason for a wrong body.
        let flags = own.get("sw_flags").map_or("", String::as_str);
        let has = |name: &str| origin::split_flags(flags).any(|flag| flag == name);
        if has("base64") {
            self.undo_base64();
        }
        // One that does not say how many records it has is refused by the first that is read.
        let count = || own.get("sw_n").and_then(|count| count.parse().ok()).unwrap_or(0);
        self.packed = has("bundle").then(count);
    }

    fn undo_base64(&mut self) {
        match STANDARD.decode(&self.body) {
            Ok(body) => self.body = body.into(),
            Err(error) => self.faults.push(Fault::Base64(error.to_string())),
        }
    }
}

/// The agent's names; none of them can be an app's.
fn is_agents(name: &str) -> bool {
    name.starts_with("sw_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::StreamId;

    fn delivery(properties: &[(&str, &str)], body: &str) -> Delivery {
        let mut delivery = Delivery {
            body: body.to_owned().into(),
            message_id: "broker-1".into(),
            ..Delivery::default()
        };
        let owned = properties.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        delivery.read_properties(owned);
        delivery
    }

    const FULL: &[(&str, &str)] = &[
        ("sw_gw", "gw-1"),
        ("sw_lane", "critical"),
        ("sw_st", "00c0ffee"),
        ("sw_seq", "42"),
        ("sw_at", "~1700000000123"),
        ("sw_flags", "replay,base64,brandnew"),
        ("unit", "mmHg"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];

    #[test]
    fn the_origin_is_read_and_the_body_is_the_apps() {
        let delivery = delivery(FULL, "AJ8B");
        let origin = delivery.origin.as_ref().unwrap();
        assert_eq!((origin.gateway.as_str(), origin.lane.as_str()), ("gw-1", "critical"));
        assert_eq!((origin.stream, origin.seq), (StreamId(0x00c0_ffee), 42));
        assert_eq!((origin.accepted_ms, origin.clock_set), (1_700_000_000_123, false));
        assert!(delivery.flag("replay") && delivery.flag("brandnew") && !delivery.flag("resend"));
        assert_eq!(&delivery.body[..], [0, 159, 1]);
        assert_eq!(delivery.properties.keys().collect::<Vec<_>>(), ["traceparent", "unit"]);
        assert!(delivery.traceparent().unwrap().starts_with("00-4bf9"));
        assert!(delivery.trace_context().unwrap().sampled());
        assert!(delivery.faults.is_empty());
    }

    #[test]
    fn another_senders_message_has_no_origin_and_no_fault() {
        let delivery = delivery(&[("unit", "C")], "AJ8B");
        assert_eq!((delivery.origin.as_ref(), delivery.faults.len()), (None, 0));
        assert_eq!(&delivery.body[..], b"AJ8B");
        assert_eq!(delivery.id(), "broker-1");
    }

    #[test]
    fn a_broken_origin_is_a_fault_and_the_body_is_still_undone() {
        let mut broken = FULL.to_vec();
        broken[3] = ("sw_seq", "many");
        let delivery = delivery(&broken, "AJ8B");
        assert_eq!(delivery.origin, None);
        assert_eq!(&delivery.body[..], [0, 159, 1]);
        let text = delivery.faults[0].to_string();
        assert!(text.contains("sw_seq") && text.contains("many"), "{text}");
    }

    /// As `RocketMQ` 5.5.0 hands them out after a kill in the middle of a write.
    #[test]
    fn torn_properties_make_a_message_unreadable() {
        for (name, cut) in
            [("sw_seq", None), ("sw_at", Some("~17000\0\0\0")), ("unit", Some("m\0"))]
        {
            let mut torn = FULL.to_vec();
            torn.retain(|(n, _)| *n != name);
            torn.extend(cut.map(|value| (name, value)));
            let delivery = delivery(&torn, "AJ8B");
            assert!(delivery.unreadable().unwrap().contains("torn"), "{name}: {delivery:?}");
        }
        let mut keys = Delivery { keys: Some("r-3\0\0".into()), ..Delivery::default() };
        keys.read_properties([]);
        assert!(keys.unreadable().is_some());
    }

    #[test]
    fn a_body_that_is_no_base64_is_delivered_as_it_came() {
        let delivery = delivery(FULL, "not base64!");
        assert_eq!(&delivery.body[..], b"not base64!");
        assert!(matches!(delivery.faults[..], [Fault::Base64(_)]));
        assert!(delivery.origin.is_some());
    }

    #[test]
    fn the_id_is_sw_id_then_keys_then_the_message_id() {
        let mut named = delivery(&[("sw_id", "r-1")], "x");
        named.keys = Some("patient-7".into());
        assert_eq!(named.id(), "r-1");
        named.sw_id = None;
        assert_eq!(named.id(), "patient-7");
        named.keys = Some(String::new());
        assert_eq!(named.id(), "broker-1");
    }
}
