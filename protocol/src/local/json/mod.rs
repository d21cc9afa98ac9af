//! A record as JSON: one object, all but the body optional.
//!
//! | field | form |
//! |---|---|
//! | `body` | text; or instead `body_base64`: standard base64, padded or not |
//! | `lane`, `topic`, `tag`, `id`, `key`, `order_key` | text |
//! | `properties` | object of texts |
//! | `traceparent` | text; becomes the property of that name |
//! | `level` | `"disk"` (the default) or `"broker"` |
//!
//! `null` means left out. An unknown field, a field given twice and a value of another type are
//! errors that name the field. Decoding keeps at most the text it was given twice, whatever the
//! text is made of.

mod escapes;
mod fields;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

pub use self::escapes::unescaped_bytes;
use self::fields::Fields;
use super::{Code, Level, Refusal, Request};
use crate::record::{BODY_MAX, Draft, Fault, RecordError};

/// Largest JSON text of one record, in bytes: a body of 4 MiB of which each byte is escaped
/// (`\u001b`), with room for the rest.
pub const JSON_MAX: usize = 6 * BODY_MAX + 1024 * 1024;
/// The same once its escapes are undone: a body of 4 MiB as base64, with room for the rest.
pub const UNESCAPED_MAX: usize = 6 * 1024 * 1024;
/// Largest line of NDJSON, in bytes. A longer one goes alone, or as `application/octet-stream`.
pub const LINE_MAX: usize = UNESCAPED_MAX;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A record that could not be read, and what is known of its place in an order all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What is wrong.
    pub refusal: Refusal,
    /// Lane, as far as it was read.
    pub lane: Option<String>,
    /// What is known of the order key.
    pub order_key: KnownKey,
}

/// What is known of an unreadable record's order key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownKey {
    /// This one.
    Key(String),
    /// It has none.
    None,
    /// It was not read: it may be any.
    Unknown,
}

/// Reads one record.
pub fn parse(text: &[u8]) -> Result<Request, Box<Unreadable>> {
    let mut fields = Fields::default();
    let read = fields.read(text);
    let fault = match read {
        Err(error) => {
            let message = format!("is not one JSON object: {error}");
            Some(Refusal::new(Code::Malformed, message))
        }
        Ok(()) => fields.fault.take().map(Refusal::from),
    };
    match fault {
        None => {
            let lane = fields.lane.clone();
            let order_key = fields.order_key.clone();
            request(fields).map_err(|error| {
                Box::new(Unreadable {
                    refusal: error.into(),
                    lane,
                    order_key: order_key.map_or(KnownKey::None, KnownKey::Key),
                })
            })
        }
        Some(refusal) => Err(Box::new(Unreadable {
            order_key: known_key(&mut fields, refusal.code),
            lane: fields.lane,
            refusal,
        })),
    }
}

fn known_key(fields: &mut Fields, code: Code) -> KnownKey {
    match fields.order_key.take() {
        Some(key) => KnownKey::Key(key),
        None if code == Code::Malformed || fields.order_key_lost => KnownKey::Unknown,
        None => KnownKey::None,
    }
}

fn request(fields: Fields) -> Result<Request, RecordError> {
    let body = body(fields.body, fields.body_base64)?;
    let level = fields.level.as_deref().map_or(Ok(Level::Disk), parse_level)?;
    let mut properties = fields.properties;
    if let Some(trace) = fields.traceparent {
        add_traceparent(&mut properties, trace)?;
    }
    let draft = Draft {
        id: fields.id,
        key: fields.key,
        topic: fields.topic,
        tag: fields.tag,
        order_key: fields.order_key,
        properties,
        body,
    };
    Ok(Request { draft, lane: fields.lane, level })
}

fn body(text: Option<String>, base64: Option<String>) -> Result<Bytes, RecordError> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into()),
        (None, Some(base64)) => BASE64.decode(base64).map(Bytes::from).map_err(|error| {
            RecordError::new("body_base64", Fault::Form, format!("is not base64: {error}"))
        }),
        (None, None) => Err(RecordError::new(
            "body",
            Fault::Empty,
            "is missing; give body (text) or body_base64",
        )),
        (Some(_), Some(_)) => Err(RecordError::new(
            "body_base64",
            Fault::Form,
            "stands beside body; give one of them",
        )),
    }
}

/// A level by its name.
pub(super) fn parse_level(name: &str) -> Result<Level, RecordError> {
    match name {
        "disk" => Ok(Level::Disk),
        "broker" => Ok(Level::Broker),
        _ => Err(RecordError::new(
            "level",
            Fault::Form,
            "is not a level; \"disk\" and \"broker\" are",
        )),
    }
}

/// Puts a `traceparent` among the properties, unless another one is there.
pub fn add_traceparent(
    properties: &mut std::collections::BTreeMap<String, String>,
    trace: String,
) -> Result<(), RecordError> {
    match properties.get("traceparent") {
        Some(other) if *other != trace => Err(RecordError::new(
            "traceparent",
            Fault::Form,
            "differs from the property of that name; give one of them",
        )),
        _ => {
            properties.insert("traceparent".to_owned(), trace);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
