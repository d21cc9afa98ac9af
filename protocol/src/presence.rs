//! Who is connected, in the words of ApsaraMQ for MQTT: its status events, which a rule there
//! exports to a RocketMQ topic, so that what reads those reads a gateway's too.
//!
//! The message's tag is the event's type, its body the JSON of [`Event`]:
//!
//! ```json
//! {"eventType":"connect","clientId":"GID_gateways@@@gw-0042","channelId":"0f…","clientIp":"10.0.0.7","time":1700000000123}
//! ```
//!
//! Events may come late, in any order and more than once. So nobody may go by their times, nor by
//! the last one: a *channel* is live from its `connect` until its `tcpclean`, whichever comes
//! first; a client is online while any of its channels is live. `disconnect` only says that the
//! end was meant.

use serde::{Deserialize, Serialize};

use crate::record::{RecordError, Tag};

/// Between the group and the device in a client id.
pub const SEPARATOR: &str = "@@@";

/// Between the gateway and a local client of it in a client id: no gateway's id holds it.
pub const LOCAL_SEPARATOR: char = ':';

/// What happened to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// It was opened.
    Connect,
    /// Its client said goodbye; a `tcpclean` follows.
    Disconnect,
    /// It is gone, with or without goodbye.
    TcpClean,
}

impl EventType {
    /// As in tag and body.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::TcpClean => "tcpclean",
        }
    }

    /// The message's tag.
    ///
    /// # Errors
    /// None: each of these words is a tag.
    pub fn tag(self) -> Result<Tag, RecordError> {
        Tag::parse(self.as_str())
    }
}

/// A status event: the message's body. Fields that it does not know are passed over when it is
/// read (newer servers add some).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// What happened.
    pub event_type: EventType,
    /// Client group, [`SEPARATOR`] and gateway id; for a local client of that gateway, then
    /// [`LOCAL_SEPARATOR`] and its name.
    pub client_id: String,
    /// The channel it happened to: another one for each time the client was connected.
    pub channel_id: String,
    /// The client's address as it knows it, perhaps with a port; `0.0.0.0` where it does not.
    pub client_ip: String,
    /// When, ms since 1970 by the client's clock.
    pub time: u64,
}

impl Event {
    /// Group and device of the client id, if it has both.
    pub fn client(&self) -> Option<(&str, &str)> {
        self.client_id.split_once(SEPARATOR)
    }

    /// As a message's body.
    ///
    /// # Errors
    /// None that can happen: text and numbers always have a JSON form.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// Reads a message's body.
    ///
    /// # Errors
    /// What in it is not an event.
    pub fn from_json(body: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(body)
    }
}

/// The id under which a gateway of `group` is seen.
pub fn client_id(group: &str, gateway: &str) -> String {
    format!("{group}{SEPARATOR}{gateway}")
}

/// The id under which a local client of a gateway is seen.
pub fn local_client_id(group: &str, gateway: &str, name: &str) -> String {
    format!("{group}{SEPARATOR}{gateway}{LOCAL_SEPARATOR}{name}")
}

/// The client id of the gateway that a local client is connected to; `None` of one that is none.
pub fn gateway_of_local(client_id: &str) -> Option<&str> {
    let (group, device) = client_id.split_once(SEPARATOR)?;
    let (gateway, _) = device.split_once(LOCAL_SEPARATOR)?;
    client_id.get(..group.len() + SEPARATOR.len() + gateway.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_is_read_and_written_as_it_is() {
        let lines: Vec<&str> = include_str!("../vectors/presence.jsonl").lines().collect();
        let events: Vec<Event> =
            lines.iter().map(|line| Event::from_json(line.as_bytes()).unwrap()).collect();
        let kinds = [EventType::Connect, EventType::Disconnect, EventType::TcpClean];
        assert_eq!(events.iter().map(|event| event.event_type).collect::<Vec<_>>(), kinds);
        for (line, event) in lines.iter().zip(&events) {
            assert_eq!(String::from_utf8(event.to_json().unwrap()).unwrap(), *line);
            assert_eq!(event.client(), Some(("GID_gateways", "gw-0042")));
            assert_eq!(event.event_type.tag().unwrap().as_str(), event.event_type.as_str());
        }
        assert_eq!(client_id("GID_gateways", "gw-0042"), events[0].client_id);
    }

    #[test]
    fn a_local_client_is_found_with_its_gateway() {
        let id = local_client_id("GID_gateways", "gw-0042", "his");
        assert_eq!(id, "GID_gateways@@@gw-0042:his");
        assert_eq!(gateway_of_local(&id), Some("GID_gateways@@@gw-0042"));
        assert_eq!(gateway_of_local("GID_gateways@@@gw-0042"), None);
        assert_eq!(gateway_of_local("a:b"), None);
        // No gateway can be called so.
        assert!(crate::record::RecordId::parse("gw:0042").is_err());
    }

    #[test]
    fn what_newer_servers_add_is_passed_over() {
        let line = include_str!("../vectors/presence.jsonl").lines().next().unwrap();
        let more = line.replace('}', ",\"certificateChainSn\":\"7\"}");
        assert_eq!(Event::from_json(more.as_bytes()).unwrap().event_type, EventType::Connect);
    }
}
