//! Messages out of an answer, also out of one that is broken.
//!
//! A broker that does not escape what XML 1.0 cannot carry breaks the whole answer with one
//! message. So the pieces are read one by one: the good ones as ever, and a broken one is
//! delivered as unreadable with its receipt, since it would otherwise come again for ever.

use std::time::Duration;

use tokio::time::Instant;

use crate::consumer::{Delivery, Fault, Receipt};
use crate::rocketmq::http::consume::{self, Consumed, salvage_handles};
use crate::rocketmq::http::digest::md5_matches;
use crate::rocketmq::http::properties::{KEYS, SHARDING_KEY};

const START: &[u8] = b"<Message>";
const END: &[u8] = b"</Message>";

/// The messages of an answer; `None` if it is no answer of RocketMQ's. `server_ms` is the
/// server's time.
pub(super) fn read(answer: &[u8], topic: &str, server_ms: u64) -> Option<Vec<Delivery>> {
    let whole = std::str::from_utf8(answer).ok().map(consume::parse);
    if let Some(Ok(messages)) = whole {
        return Some(messages.into_iter().map(|m| delivery(m, topic, server_ms)).collect());
    }
    let pieces = pieces(answer);
    let read = pieces.iter().filter_map(|piece| match parse_piece(piece) {
        Ok(message) => Some(delivery(message, topic, server_ms)),
        Err(reason) => unreadable(piece, reason, topic, server_ms),
    });
    (!pieces.is_empty()).then(|| read.collect())
}

/// Each from a start tag to its end tag, or to the next start tag where the end is missing.
fn pieces(answer: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = answer;
    while let Some(start) = find(rest, START) {
        let body = &rest[start..];
        let next = find(&body[START.len()..], START).map_or(body.len(), |at| at + START.len());
        let end = find(&body[..next], END).map_or(next, |at| at + END.len());
        pieces.push(&body[..end]);
        rest = &body[next..];
    }
    pieces
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn parse_piece(piece: &[u8]) -> Result<Consumed, String> {
    let text = std::str::from_utf8(piece).map_err(|error| error.to_string())?;
    let read = consume::parse(&format!("<Messages>{text}</Messages>"));
    let mut messages = read.map_err(|error| error.to_string())?;
    messages.pop().ok_or_else(|| "there is no message in it".to_owned())
}

fn delivery(message: Consumed, topic: &str, server_ms: u64) -> Delivery {
    let mut delivery = Delivery {
        topic: topic.to_owned(),
        tag: message.tag,
        message_id: message.message_id.clone(),
        attempt: u32::try_from(message.consumed_times).unwrap_or(u32::MAX),
        stored_ms: Some(message.publish_ms),
        receipt: receipt(
            message.receipt_handle,
            message.message_id,
            Some(message.next_consume_ms),
            server_ms,
        ),
        ..Delivery::default()
    };
    if !message.body_md5.is_empty() && !md5_matches(&message.body_md5, message.body.as_bytes()) {
        delivery.faults.push(Fault::Digest(message.body_md5));
    }
    delivery.body = message.body.into();
    let mut apps = Vec::new();
    for (name, value) in message.properties {
        match name.as_str() {
            KEYS => delivery.keys = Some(value),
            SHARDING_KEY => delivery.order_key = Some(value),
            // RocketMQ's own.
            _ if name.starts_with("__") => {}
            _ => apps.push((name, value)),
        }
    }
    delivery.read_properties(apps);
    delivery
}

/// A broken message, if it can be acknowledged at all.
fn unreadable(piece: &[u8], reason: String, topic: &str, server_ms: u64) -> Option<Delivery> {
    let Some(handle) = salvage_handles(piece).pop() else {
        tracing::warn!(reason, "a broken message without a receipt handle is left to the broker");
        return None;
    };
    let text = String::from_utf8_lossy(piece);
    let field = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.trim().to_owned())
    };
    let number = |name: &str| field(name).and_then(|value| value.parse::<u64>().ok());
    let message_id = field("MessageId").unwrap_or_else(|| handle.clone());
    let attempt = number("ConsumedTimes").and_then(|times| u32::try_from(times).ok());
    Some(Delivery {
        topic: topic.to_owned(),
        message_id: message_id.clone(),
        attempt: attempt.unwrap_or(1),
        stored_ms: number("PublishTime"),
        body: piece.to_vec().into(),
        faults: vec![Fault::Unreadable(reason)],
        receipt: receipt(handle, message_id, number("NextConsumeTime"), server_ms),
        ..Delivery::default()
    })
}

fn receipt(handle: String, message_id: String, until_ms: Option<u64>, server_ms: u64) -> Receipt {
    let left = |until_ms: u64| Duration::from_millis(until_ms.saturating_sub(server_ms));
    let expires = until_ms.and_then(|until_ms| Instant::now().checked_add(left(until_ms)));
    Receipt { handle, message_id, expires }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rocketmq::http::digest::body_md5;

    fn consumed(body: &str, handle: &str) -> Consumed {
        Consumed {
            message_id: format!("id-{handle}"),
            body_md5: body_md5(body.as_bytes()),
            body: body.into(),
            receipt_handle: handle.into(),
            publish_ms: 1_000,
            next_consume_ms: 301_000,
            consumed_times: 3,
            properties: vec![("KEYS".into(), "k".into()), ("__SHARDINGKEY".into(), "s".into())],
            ..Consumed::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_read_with_its_times() {
        let answer = consume::to_xml(&[consumed("a <b>", "h1")]);
        let read = read(answer.as_bytes(), "ward", 1_000).unwrap();
        let delivery = &read[0];
        assert_eq!((delivery.topic.as_str(), &delivery.body[..]), ("ward", &b"a <b>"[..]));
        assert_eq!(
            (delivery.keys.as_deref(), delivery.order_key.as_deref()),
            (Some("k"), Some("s"))
        );
        assert_eq!((delivery.attempt, delivery.stored_ms), (3, Some(1_000)));
        assert_eq!(delivery.receipt.expires, Some(Instant::now() + Duration::from_secs(300)));
        assert!(delivery.faults.is_empty() && delivery.properties.is_empty());
    }

    #[tokio::test]
    async fn one_broken_message_spoils_no_other() {
        let xml = consume::to_xml(&[
            consumed("good", "h1"),
            consumed("bad \u{1} body", "h2"),
            consumed("good too", "h3"),
        ]);
        let read = read(xml.as_bytes(), "ward", 0).unwrap();
        let handles: Vec<&str> = read.iter().map(|d| d.receipt.handle.as_str()).collect();
        assert_eq!(handles, ["h1", "h2", "h3"]);
        assert!(read[0].faults.is_empty() && read[2].faults.is_empty());
        assert!(read[1].unreadable().is_some());
        assert_eq!((read[1].message_id.as_str(), read[1].attempt), ("id-h2", 3));
        assert!(read[1].body.windows(3).any(|window| window == b"bad"));
    }

    #[tokio::test]
    async fn broken_bytes_and_a_missing_end_are_survived() {
        let xml = consume::to_xml(&[consumed("good", "h1"), consumed("XYZ", "h2")]);
        let mut bytes = xml.clone().into_bytes();
        let at = find(&bytes, b"XYZ").unwrap();
        bytes[at] = 0xff;
        let one = read(&bytes, "ward", 0).unwrap();
        assert!(one[0].faults.is_empty() && one[1].unreadable().is_some());
        let cut = &xml.as_bytes()[..find(xml.as_bytes(), b"XYZ").unwrap()];
        assert_eq!(read(cut, "ward", 0).unwrap().len(), 1, "the second has no handle");
    }

    #[tokio::test]
    async fn a_web_page_is_no_answer_and_a_changed_body_is_noted() {
        assert_eq!(read(b"<html>Please log in</html>", "ward", 0), None);
        let changed = Consumed { body: "another".into(), ..consumed("one", "h1") };
        let read = read(consume::to_xml(&[changed]).as_bytes(), "ward", 0).unwrap();
        assert!(matches!(read[0].faults[..], [Fault::Digest(_)]));
    }
}
