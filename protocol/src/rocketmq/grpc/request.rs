//! Requests, made of this crate's own types.

use std::net::IpAddr;

use prost_types::{Duration, Timestamp};

use super::v2;
use crate::message::Message;

/// RUST in the interface's list of languages.
const LANGUAGE_RUST: i32 = 5;

/// A topic or group inside the caller's namespace.
pub fn resource(namespace: Option<&str>, name: &str) -> v2::Resource {
    v2::Resource {
        resource_namespace: namespace.unwrap_or_default().to_owned(),
        name: name.to_owned(),
    }
}

/// The address under which the caller reaches the server.
pub fn endpoints(host: &str, port: u16) -> v2::Endpoints {
    let scheme = match host.parse() {
        Ok(IpAddr::V4(_)) => v2::AddressScheme::IPv4,
        Ok(IpAddr::V6(_)) => v2::AddressScheme::IPv6,
        Err(_) => v2::AddressScheme::DomainName,
    };
    let address = v2::Address { host: host.to_owned(), port: i32::from(port) };
    v2::Endpoints { scheme: scheme.into(), addresses: vec![address] }
}

/// Messages to send: one, or a batch of one topic. A batch loses its order (the server then
/// ignores the group), so none of several may have an order key; and brokers before 5.3.4 give all
/// of it the first one's keys and properties.
///
/// The record's id is the message id, so every repeat carries the same one. `born_ms` is when it
/// is sent, in ms since 1970.
pub fn send(
    messages: &[Message],
    namespace: Option<&str>,
    born_host: &str,
    born_ms: u64,
) -> v2::SendMessageRequest {
    let one = |message: &Message| v2_message(message, namespace, born_host, born_ms);
    v2::SendMessageRequest { messages: messages.iter().map(one).collect() }
}

fn v2_message(
    message: &Message,
    namespace: Option<&str>,
    born_host: &str,
    born_ms: u64,
) -> v2::Message {
    let system = v2::SystemProperties {
        tag: message.tag.as_ref().map(|tag| tag.as_str().to_owned()),
        keys: message.key.split(' ').map(str::to_owned).collect(),
        message_id: message.id.to_string(),
        body_encoding: v2::Encoding::Identity.into(),
        message_type: message_type(message.order_key.is_some()).into(),
        born_timestamp: Some(timestamp(born_ms)),
        born_host: born_host.to_owned(),
        message_group: message.order_key.clone(),
        ..v2::SystemProperties::default()
    };
    v2::Message {
        topic: Some(resource(namespace, message.topic.as_str())),
        user_properties: message.properties.iter().cloned().collect(),
        system_properties: Some(system),
        body: message.body.clone(),
    }
}

/// The type that a topic must take for messages with or without an order key.
pub fn message_type(ordered: bool) -> v2::MessageType {
    if ordered { v2::MessageType::Fifo } else { v2::MessageType::Normal }
}

/// A producer's introduction on the telemetry stream.
pub fn producer_settings(access_point: v2::Endpoints, host: &str) -> v2::TelemetryCommand {
    let publishing = v2::Publishing { validate_message_type: true, ..v2::Publishing::default() };
    settings(
        v2::ClientType::Producer,
        access_point,
        host,
        v2::settings::PubSub::Publishing(publishing),
    )
}

/// Settings of a client of either kind.
pub fn settings(
    client_type: v2::ClientType,
    access_point: v2::Endpoints,
    host: &str,
    pub_sub: v2::settings::PubSub,
) -> v2::TelemetryCommand {
    let settings = v2::Settings {
        client_type: Some(client_type.into()),
        access_point: Some(access_point),
        request_timeout: Some(Duration { seconds: 3, nanos: 0 }),
        pub_sub: Some(pub_sub),
        user_agent: Some(v2::Ua {
            language: LANGUAGE_RUST,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: std::env::consts::OS.to_owned(),
            hostname: host.to_owned(),
        }),
    };
    v2::TelemetryCommand {
        status: None,
        command: Some(v2::telemetry_command::Command::Settings(settings)),
    }
}

fn timestamp(ms: u64) -> Timestamp {
    Timestamp {
        seconds: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(ms % 1_000).unwrap_or(0) * 1_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{RecordId, Tag, Topic};
    use prost::Message as _;

    fn message(order_key: Option<&str>) -> Message {
        Message {
            topic: Topic::parse("ward").unwrap(),
            tag: Some(Tag::parse("Sync").unwrap()),
            id: RecordId::parse("r-1").unwrap(),
            key: "patient-7".into(),
            order_key: order_key.map(str::to_owned),
            properties: vec![("sw_seq".into(), "42".into()), ("unit".into(), "mmHg".into())],
            body: vec![0, 159, 255].into(),
        }
    }

    #[test]
    fn a_message_keeps_all_it_has() {
        let request = send(&[message(Some("bed-1"))], Some("inst"), "gw", 1_700_000_000_123);
        let sent = &request.messages[0];
        assert_eq!(sent.topic, Some(resource(Some("inst"), "ward")));
        assert_eq!(sent.user_properties["sw_seq"], "42");
        assert_eq!(&sent.body[..], [0, 159, 255]);
        let system = sent.system_properties.as_ref().unwrap();
        assert_eq!((system.message_id.as_str(), system.tag.as_deref()), ("r-1", Some("Sync")));
        assert_eq!(system.keys, ["patient-7"]);
        assert_eq!(system.message_group.as_deref(), Some("bed-1"));
        assert_eq!(system.message_type(), v2::MessageType::Fifo);
        assert_eq!(
            system.born_timestamp,
            Some(Timestamp { seconds: 1_700_000_000, nanos: 123_000_000 })
        );
    }

    #[test]
    fn without_an_order_key_a_message_is_normal() {
        let request = send(&[message(None)], None, "gw", 0);
        let system = request.messages[0].system_properties.as_ref().unwrap();
        assert_eq!(system.message_type(), v2::MessageType::Normal);
        assert_eq!(system.message_group, None);
    }

    #[test]
    fn hosts_are_told_apart() {
        for (host, scheme) in [
            ("10.0.0.1", v2::AddressScheme::IPv4),
            ("::1", v2::AddressScheme::IPv6),
            ("mq.example", v2::AddressScheme::DomainName),
        ] {
            assert_eq!(endpoints(host, 8081).scheme(), scheme, "{host}");
        }
    }

    /// Field numbers on the wire, against bytes written by hand from the public interface.
    #[test]
    fn the_wire_is_the_public_interfaces() {
        let request = v2::SendMessageRequest {
            messages: vec![v2::Message {
                topic: Some(resource(None, "t")),
                user_properties: [("k".to_owned(), "v".to_owned())].into(),
                system_properties: Some(v2::SystemProperties {
                    message_id: "i".into(),
                    message_group: Some("g".into()),
                    ..v2::SystemProperties::default()
                }),
                body: vec![7].into(),
            }],
        };
        let by_hand: &[u8] = &[
            0x0A, 25, // messages = 1
            0x0A, 3, 0x12, 1, b't', // topic = 1 { name = 2 }
            0x12, 6, 0x0A, 1, b'k', 0x12, 1, b'v', // user_properties = 2
            0x1A, 7, 0x1A, 1, b'i', 0x8A, 0x01, 1, b'g', // message_id = 3, message_group = 17
            0x22, 1, 7, // body = 4
        ];
        assert_eq!(request.encode_to_vec(), by_hand);
    }
}
