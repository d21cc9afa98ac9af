//! Records and dead letters as they are shown.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use spillway_protocol::message::Stamp;
use spillway_protocol::record;

use super::api::{Content, Format, Letter, NewerFile, Record};
use crate::queue::{DeadLetter, Level, Newer, Standing};

/// A dead letter, with what its app wrote if `body` says so.
pub(super) fn letter(letter: &DeadLetter, body: bool) -> Letter {
    Letter {
        number: letter.number,
        code: letter.code.clone(),
        reason: letter.reason.clone(),
        died_ms: letter.died_ms,
        attempts: letter.attempts,
        record: self::record(&letter.record, &letter.stamp, body),
    }
}

/// A record, with what its app wrote if `body` says so.
pub(crate) fn record(record: &record::Record, stamp: &Stamp, body: bool) -> Record {
    Record {
        lane: stamp.lane.to_string(),
        stream: stamp.stream.to_string(),
        seq: stamp.seq,
        id: record.id.to_string(),
        topic: record.topic.as_ref().map(ToString::to_string),
        tag: record.tag.as_ref().map(ToString::to_string),
        body_bytes: record.body.len() as u64,
        accepted_ms: stamp.accepted_ms,
        clock_set: stamp.clock_set,
        content: body.then(|| content(record)),
    }
}

fn content(record: &record::Record) -> Content {
    let text = std::str::from_utf8(&record.body).ok().map(str::to_owned);
    Content {
        key: record.key.as_ref().map(ToString::to_string),
        order_key: record.order_key.as_ref().map(ToString::to_string),
        properties: record.properties.clone().into(),
        body_base64: text.is_none().then(|| STANDARD.encode(&record.body)),
        body: text,
    }
}

/// How a data folder stands, as it is told.
pub(crate) fn format(standing: &Standing) -> Format {
    let shown = |path: &std::path::Path| path.display().to_string();
    let Standing { level, root, newer, aside, beside } = standing;
    Format {
        level: level.number(),
        newest: Level::NEWEST.number(),
        newer: newer
            .as_ref()
            .map(|Newer { path, version }| NewerFile { file: shown(path), version: *version }),
        folder: aside.then(|| shown(root)),
        beside: beside.iter().map(|folder| shown(folder)).collect(),
    }
}
