//! From the interface's messages to deliveries.

use std::time::Duration;

use tokio::time::Instant;

use crate::consumer::{Delivery, Fault, Receipt};
use crate::rocketmq::grpc::v2;

/// A message that has just been received, and stays out of sight for `invisible`.
pub(super) fn delivery(message: v2::Message, invisible: Duration) -> Delivery {
    let system = message.system_properties.unwrap_or_default();
    let encoding = system.body_encoding();
    let receipt = Receipt {
        handle: system.receipt_handle.unwrap_or_default(),
        message_id: system.message_id.clone(),
        expires: Instant::now().checked_add(invisible),
    };
    let mut delivery = Delivery {
        topic: message.topic.map(|topic| topic.name).unwrap_or_default(),
        tag: system.tag.filter(|tag| !tag.is_empty()),
        keys: Some(system.keys.join(" ")).filter(|keys| !keys.is_empty()),
        message_id: system.message_id,
        order_key: system.message_group.filter(|group| !group.is_empty()),
        attempt: system.delivery_attempt.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
        born_ms: system.born_timestamp.as_ref().and_then(ms),
        stored_ms: system.store_timestamp.as_ref().and_then(ms),
        body: message.body,
        receipt,
        ..Delivery::default()
    };
    if encoding == v2::Encoding::Gzip {
        delivery.faults.push(Fault::Encoding("gzip"));
    }
    // Of an ordered message the proxy hands out the group as a property, too.
    let properties = message.user_properties.into_iter();
    delivery.read_properties(properties.filter(|(name, _)| !name.starts_with("__")));
    delivery
}

fn ms(timestamp: &prost_types::Timestamp) -> Option<u64> {
    let seconds = u64::try_from(timestamp.seconds).ok()?;
    let ms = u64::try_from(timestamp.nanos).ok()? / 1_000_000;
    seconds.checked_mul(1_000)?.checked_add(ms)
}

pub(super) fn proto_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rocketmq::grpc::request::resource;

    #[tokio::test(start_paused = true)]
    async fn a_message_is_read_with_its_system_properties() {
        let system = v2::SystemProperties {
            tag: Some("Sync".into()),
            keys: vec!["a".into(), "b".into()],
            message_id: "r-1".into(),
            born_timestamp: Some(prost_types::Timestamp { seconds: 7, nanos: 5_000_000 }),
            receipt_handle: Some("h".into()),
            delivery_attempt: Some(3),
            message_group: Some("bed-1".into()),
            ..v2::SystemProperties::default()
        };
        let message = v2::Message {
            topic: Some(resource(None, "ward")),
            user_properties: [("unit", "C"), ("__SHARDINGKEY", "bed-1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            system_properties: Some(system),
            body: vec![0, 159].into(),
        };
        let delivery = delivery(message, Duration::from_secs(10));
        assert_eq!((delivery.topic.as_str(), delivery.tag.as_deref()), ("ward", Some("Sync")));
        assert_eq!((delivery.keys.as_deref(), delivery.attempt), (Some("a b"), 3));
        assert_eq!((delivery.born_ms, delivery.stored_ms), (Some(7_005), None));
        assert_eq!(delivery.order_key.as_deref(), Some("bed-1"));
        let expires = Some(Instant::now() + Duration::from_secs(10));
        let receipt = Receipt { handle: "h".into(), message_id: "r-1".into(), expires };
        assert_eq!(delivery.receipt, receipt);
        assert_eq!(delivery.properties.keys().collect::<Vec<_>>(), ["unit"]);
        assert_eq!((&delivery.body[..], delivery.faults.len()), (&[0, 159][..], 0));
    }
}
