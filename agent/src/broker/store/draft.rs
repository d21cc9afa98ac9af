//! A publish request checked against MQ's rules, before it is stored.

use spillway_protocol::record::{BODY_MAX, RESERVED_NAMES, Tag};
use spillway_protocol::rocketmq::http::delay;
use spillway_protocol::rocketmq::http::properties::{self, KEYS, SHARDING_KEY, Sorted};
use spillway_protocol::rocketmq::http::publish::Publish;

use super::Stored;
use crate::mq_http::Refusal;

/// Most bytes of custom properties.
const PROPERTIES_MAX: usize = 16 * 1024;

/// A message that may be stored.
#[derive(Debug)]
pub(in crate::broker) struct Draft {
    pub(in crate::broker) body: String,
    tag: Option<String>,
    properties: Vec<(String, String)>,
    start_deliver_ms: Option<u64>,
}

impl Draft {
    /// Checks size, tag, properties and delay.
    pub(in crate::broker) fn check(
        publish: Publish<'static>,
        now_ms: u64,
    ) -> Result<Self, Refusal> {
        let properties = match publish.properties.as_ref() {
            "" => Vec::new(),
            text => properties::split(text)?,
        };
        let mut draft = Self {
            body: publish.body.into_owned(),
            tag: publish.tag.map(std::borrow::Cow::into_owned),
            properties,
            start_deliver_ms: None,
        };
        if draft.body.len() > BODY_MAX {
            return Err(Refusal::argument("the body is larger than 4 MiB"));
        }
        if draft.tag.as_deref().is_some_and(|tag| Tag::parse(tag).is_err()) {
            return Err(Refusal::argument("the tag is longer than 64 bytes or holds | or *"));
        }
        let sorted = Sorted::of(&draft.properties)?;
        check_custom(&sorted.custom)?;
        let delay = |text| delay::parse(text, draft.body.len(), now_ms);
        draft.start_deliver_ms = sorted.start_deliver.map(delay).transpose()?;
        Ok(draft)
    }

    /// KEYS, or nothing.
    pub(in crate::broker) fn key(&self) -> &str {
        self.property(KEYS).unwrap_or_default()
    }

    fn property(&self, name: &str) -> Option<&str> {
        let pair = self.properties.iter().find(|(n, _)| n == name);
        pair.map(|(_, value)| value.as_str())
    }

    pub(super) fn stored(self, offset: u64, message_id: String, publish_ms: u64) -> Stored {
        Stored {
            offset,
            message_id,
            publish_ms,
            key: self.property(KEYS).map(str::to_owned),
            order_key: self.property(SHARDING_KEY).map(str::to_owned),
            tag: self.tag,
            properties: self.properties,
            start_deliver_ms: self.start_deliver_ms,
            body: self.body,
        }
    }
}

fn check_custom(custom: &[(&str, &str)]) -> Result<(), Refusal> {
    if let Some((name, _)) = custom.iter().find(|(name, _)| RESERVED_NAMES.contains(name)) {
        return Err(Refusal::argument(format!("{name} is RocketMQ's own property")));
    }
    let bytes: usize = custom.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > PROPERTIES_MAX {
        return Err(Refusal::argument("the custom properties are larger than 16 KiB"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_767_225_600_000;

    fn refused(body: &str, tag: &str, properties: &str) -> Option<String> {
        let publish = Publish {
            body: body.to_owned().into(),
            tag: (!tag.is_empty()).then(|| tag.to_owned().into()),
            properties: properties.to_owned().into(),
        };
        Draft::check(publish, NOW_MS).err().map(|refusal| refusal.message)
    }

    #[test]
    fn what_mq_takes_passes() {
        assert_eq!(refused("x", "", ""), None);
        assert_eq!(refused("x", "T", "KEYS:a b|__SHARDINGKEY:s|unit:°C|"), None);
        assert_eq!(refused(&"x".repeat(BODY_MAX), "", ""), None);
    }

    #[test]
    fn what_mq_refuses_is_refused_with_its_reason() {
        let long = format!("a:{}|b:{}", "x".repeat(8192), "x".repeat(8192));
        let far = format!("__STARTDELIVERTIME:{}", NOW_MS + 41 * 24 * 3_600_000);
        let soon = format!("__STARTDELIVERTIME:{NOW_MS}");
        for (body, tag, properties, words) in [
            (&*"x".repeat(BODY_MAX + 1), "", "", "4 MiB"),
            ("x", "a|b", "", "tag"),
            ("x", "", "a:1|a:2", "twice"),
            ("x", "", "broken", "one name and one value"),
            ("x", "", "UNIQ_KEY:1", "RocketMQ's own"),
            ("x", "", "__TransCheckT:30", "transactions"),
            ("x", "", &long, "16 KiB"),
            ("x", "", &far, "40 days"),
            ("x", "", "__STARTDELIVERTIME:soon", "ms since 1970"),
            (&*"x".repeat(delay::BODY_MAX + 1), "", &soon, "64 KiB"),
        ] {
            let message = refused(body, tag, properties).unwrap();
            assert!(message.contains(words), "{message}");
        }
    }
}
