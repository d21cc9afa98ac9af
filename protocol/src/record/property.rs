//! The app's own message properties.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name::{UNCARRIED, spell, xml_carries};
use super::{Fault, RecordError};

/// Most properties an app may set: the proxy takes 128, and the agent adds its own.
pub const COUNT_MAX: usize = 112;
/// Most bytes of names and values together: the broker takes 16 KiB with key, tag and the agent's own.
pub const BYTES_MAX: usize = 14 * 1024;

/// Absolute time before which the broker hands out a message, ms since 1970. RocketMQ's own name,
/// so no app's property may have it; a record carries it through [`Properties::with_start_deliver`].
pub const START_DELIVER_TIME: &str = "__STARTDELIVERTIME";

/// Names that RocketMQ keeps for itself (`MessageConst` of the broker, and the HTTP API's own).
/// Also kept back: names that begin with `__` (RocketMQ's) or `sw_` (the agent's).
pub const RESERVED_NAMES: &[&str] = &[
    "KEYS",
    "TAGS",
    "WAIT",
    "DELAY",
    "RETRY_TOPIC",
    "REAL_TOPIC",
    "REAL_QID",
    "TRAN_MSG",
    "PGROUP",
    "MIN_OFFSET",
    "MAX_OFFSET",
    "BUYER_ID",
    "ORIGIN_MESSAGE_ID",
    "TRANSFER_FLAG",
    "CORRECTION_FLAG",
    "MQ2_FLAG",
    "RECONSUME_TIME",
    "MSG_REGION",
    "UNIQ_KEY",
    "EXTEND_UNIQ_INFO",
    "MAX_RECONSUME_TIMES",
    "CONSUME_START_TIME",
    "TRAN_PREPARED_QUEUE_OFFSET",
    "TRANSACTION_CHECK_TIMES",
    "CHECK_IMMUNITY_TIME_IN_SECONDS",
    "TRACE_ON",
    "TRACE_CONTEXT",
    "INSTANCE_ID",
    "CORRELATION_ID",
    "REPLY_TO_CLIENT",
    "PUSH_REPLY_TIME",
    "REPLY_MESSAGE_ARRIVE_TIME",
    "TTL",
    "CLUSTER",
    "MSG_TYPE",
    "INNER_MULTI_DISPATCH",
    "INNER_MULTI_QUEUE_OFFSET",
    "INNER_NUM",
    "INNER_BASE",
    "DUP_INFO",
    "TIMER_DELAY_SEC",
    "TIMER_DELIVER_MS",
    "TIMER_DELAY_MS",
    "TIMER_ENQUEUE_MS",
    "TIMER_DEQUEUE_MS",
    "TIMER_ROLL_TIMES",
    "TIMER_OUT_MS",
    "TIMER_DEL_UNIQKEY",
    "TIMER_DEL_MS",
    "BORN_HOST",
    "BORN_TIMESTAMP",
    "DLQ_ORIGIN_TOPIC",
    "DLQ_ORIGIN_MESSAGE_ID",
    "1ST_POP_TIME",
    "POP_CK",
    "POP_CK_OFFSET",
    "CRC32#",
    "POP_LITE",
];

/// Text to text, in the order of the names. Empty for most records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Proves names, values, their number and their size.
    pub fn parse(map: BTreeMap<String, String>) -> Result<Self, RecordError> {
        if map.len() > COUNT_MAX {
            let message =
                format!("are {}, at most {COUNT_MAX} travel beside the agent's own", map.len());
            return Err(RecordError::new("properties", Fault::TooMany, message));
        }
        map.iter().try_for_each(|(name, value)| check(name, value))?;
        let properties = Self(map);
        if properties.size_bytes() > BYTES_MAX {
            let message =
                format!("have {} bytes in all, at most {BYTES_MAX} fit", properties.size_bytes());
            return Err(RecordError::new("properties", Fault::TooLong, message));
        }
        Ok(properties)
    }

    /// The same with a time before which the broker hands out nothing, ms since 1970.
    pub fn with_start_deliver(mut self, at_ms: u64) -> Self {
        self.0.insert(START_DELIVER_TIME.to_owned(), at_ms.to_string());
        self
    }

    /// That time, where there is one.
    pub fn start_deliver_ms(&self) -> Option<u64> {
        self.get(START_DELIVER_TIME)?.parse().ok()
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of names and values.
    pub fn size_bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl TryFrom<BTreeMap<String, String>> for Properties {
    type Error = RecordError;

    /// What was stored: also a time of delivery, which no app gives as a property.
    fn try_from(mut map: BTreeMap<String, String>) -> Result<Self, RecordError> {
        let Some(at) = map.remove(START_DELIVER_TIME) else {
            return Self::parse(map);
        };
        let at_ms = at.parse().map_err(|_| {
            let field = format!("properties.{START_DELIVER_TIME}");
            RecordError::new(field, Fault::Form, "is not a number of ms since 1970")
        })?;
        Ok(Self::parse(map)?.with_start_deliver(at_ms))
    }
}

impl From<Properties> for BTreeMap<String, String> {
    fn from(properties: Properties) -> Self {
        properties.0
    }
}

fn check(name: &str, value: &str) -> Result<(), RecordError> {
    if name.is_empty() {
        return Err(RecordError::new("properties", Fault::Empty, "hold a property without a name"));
    }
    let field = || format!("properties.{}", name.chars().take(64).collect::<String>());
    if RESERVED_NAMES.contains(&name) || name.starts_with("__") || name.starts_with("sw_") {
        let message = "is a name that RocketMQ or the agent keeps for itself; choose another";
        return Err(RecordError::new(field(), Fault::Reserved, message));
    }
    if value.is_empty() {
        return Err(RecordError::new(
            field(),
            Fault::Empty,
            "has no value; leave the property out",
        ));
    }
    let carried = |c: &char| !c.is_control() && !UNCARRIED.contains(c) && xml_carries(*c);
    if let Some(c) = name.chars().find(|c| !carried(c) || c.is_whitespace()) {
        let message =
            format!("has {} in its name, which RocketMQ's transports do not carry", spell(c));
        return Err(RecordError::new(field(), Fault::Character, message));
    }
    if let Some(c) = value.chars().find(|c| !carried(c)) {
        let message =
            format!("has {} in its value, which RocketMQ's transports do not carry", spell(c));
        return Err(RecordError::new(field(), Fault::Character, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Properties, RecordError> {
        Properties::parse(pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect())
    }

    #[test]
    fn ordinary_properties_and_a_traceparent_pass() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let properties = parse(&[("unit", "°C indoor"), ("traceparent", trace)]).unwrap();
        assert_eq!(properties.get("traceparent"), Some(trace));
    }

    #[test]
    fn what_the_sdks_cannot_carry_is_refused_by_field_and_character() {
        let error = parse(&[("at", "12:00")]).unwrap_err();
        assert_eq!((error.field.as_str(), error.fault), ("properties.at", Fault::Character));
        assert!(error.message.contains("':'"));
        assert_eq!(parse(&[("a|b", "x")]).unwrap_err().fault, Fault::Character);
        assert_eq!(parse(&[("a", "x\ny")]).unwrap_err().fault, Fault::Character);
        assert_eq!(parse(&[("a", "")]).unwrap_err().fault, Fault::Empty);
    }

    #[test]
    fn reserved_names_are_refused() {
        for name in ["KEYS", "UNIQ_KEY", "__SHARDINGKEY", "sw_seq", "TRACE_CONTEXT"] {
            assert_eq!(parse(&[(name, "x")]).unwrap_err().fault, Fault::Reserved, "{name}");
        }
    }

    #[test]
    fn a_time_of_delivery_is_kept_in_storage_but_is_no_apps_property() {
        assert_eq!(parse(&[(START_DELIVER_TIME, "5")]).unwrap_err().fault, Fault::Reserved);
        let delayed = parse(&[("unit", "K")]).unwrap().with_start_deliver(5);
        let stored = serde_json::to_string(&delayed).unwrap();
        let read: Properties = serde_json::from_str(&stored).unwrap();
        assert_eq!((read.start_deliver_ms(), read.get("unit")), (Some(5), Some("K")));
        assert!(serde_json::from_str::<Properties>(&stored.replace("\"5\"", "\"soon\"")).is_err());
    }

    #[test]
    fn number_and_size_are_bounded() {
        let many = (0..=COUNT_MAX).map(|i| (format!("p{i}"), "x".to_owned())).collect();
        assert_eq!(Properties::parse(many).unwrap_err().fault, Fault::TooMany);
        let long = "x".repeat(BYTES_MAX);
        assert_eq!(parse(&[("p", &long)]).unwrap_err().fault, Fault::TooLong);
    }
}
