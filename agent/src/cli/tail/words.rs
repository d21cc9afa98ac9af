//! A line for people.

use std::time::{Duration, UNIX_EPOCH};

use crate::cli::{human, records};
use crate::control::tail::{Event, KINDS, Kind, Line};

/// Without its end; with the record's content below it where that was asked for.
pub(super) fn line(line: &Line) -> String {
    match line {
        Line::Event(event) => self::event(event),
        Line::Skipped { skipped } => {
            let kinds = skipped.iter();
            let kinds: Vec<String> =
                kinds.map(|(kind, count)| format!("{} {}", grouped(*count), name(*kind))).collect();
            format!("… and {} more", kinds.join(", "))
        }
        Line::Stopping { .. } => String::new(),
    }
}

fn event(event: &Event) -> String {
    let number =
        format!("{}/{}", event.stream, human::span((event.seq, event.seq_to.unwrap_or(event.seq))));
    let mut text =
        format!("{}  {}  {number}  {:<9}", time(event.at_ms), event.lane, name(event.event));
    let mut add = |part: &str| text.push_str(&format!("  {part}"));
    event.topic.iter().for_each(|topic| add(topic));
    event.body_bytes.iter().for_each(|bytes| add(&human::bytes(*bytes)));
    event.id.iter().for_each(|id| add(&human::line(id)));
    event.flags.iter().for_each(|flag| add(flag));
    event.except_every.iter().for_each(|every| add(&format!("except multiples of {every}")));
    let reason = event.code.iter().zip(&event.reason);
    reason.for_each(|(code, reason)| add(&human::line(&format!("{code}: {reason}"))));
    let mut text = text.trim_end().to_owned();
    if let Some(content) = &event.content {
        text.push('\n');
        text.push_str(records::content(content).trim_end());
    }
    if let Some(bytes) = event.body_shown {
        text.push_str(&format!("\n    … the body's first {}", human::bytes(bytes)));
    }
    text
}

fn name(kind: Kind) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| name)
}

/// `2026-05-01T12:00:00.123Z`.
fn time(ms: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

/// `4,120`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = (digits.len() + 2) % 3 + 1;
    let (head, rest) = digits.split_at(first.min(digits.len()));
    let groups = rest.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    std::iter::once(head.to_owned()).chain(groups).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: serde_json::Value) -> String {
        line(&serde_json::from_value(json).unwrap())
    }

    #[test]
    fn a_record_a_run_and_what_was_left_out() {
        let record = serde_json::json!({
            "event": "dead", "at_ms": 1_700_000_000_123_u64, "lane": "ward", "stream": "0000002a",
            "seq": 7, "id": "r-7", "topic": "readings", "body_bytes": 36, "flags": ["replay"],
            "code": "13", "reason": "too\nlong"
        });
        assert_eq!(
            shown(record),
            "2023-11-14T22:13:20.123Z  ward  0000002a/7  dead       readings  36 B  r-7  replay  \
             13: too long"
        );
        let long = serde_json::json!({
            "event": "accepted", "at_ms": 0, "lane": "ward", "stream": "0000002a", "seq": 8,
            "id": "r-8", "body_bytes": 70_000, "body_shown": 65_536,
            "content": {"key": null, "order_key": null, "properties": {}, "body": "ab"}
        });
        assert_eq!(
            shown(long),
            "1970-01-01T00:00:00.000Z  ward  0000002a/8  accepted   68.4 KiB  r-8\n    body: ab\n    \
             … the body's first 64.0 KiB"
        );
        let run = serde_json::json!({
            "event": "dropped", "at_ms": 0, "lane": "bulk", "stream": "0000002a", "seq": 5,
            "seq_to": 90, "except_every": 10
        });
        assert_eq!(
            shown(run),
            "1970-01-01T00:00:00.000Z  bulk  0000002a/5-90  dropped    except multiples of 10"
        );
        let skipped = serde_json::json!({ "skipped": { "delivered": 12, "accepted": 4_120 } });
        assert_eq!(shown(skipped), "… and 4,120 accepted, 12 delivered more");
    }

    #[test]
    fn thousands_have_commas() {
        let numbers = [0, 12, 999, 1_000, 23_456, 1_234_567];
        let texts = ["0", "12", "999", "1,000", "23,456", "1,234,567"];
        assert_eq!(numbers.map(grouped), texts);
    }
}
