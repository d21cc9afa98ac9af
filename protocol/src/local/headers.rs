//! A record as `application/octet-stream`: the body as it is, the rest in headers.
//!
//! | header | field |
//! |---|---|
//! | `spillway-lane`, `-topic`, `-tag`, `-id`, `-key`, `-order-key`, `-level` | as in JSON |
//! | `spillway-property-NAME: VALUE` | a property with a lower-case name (HTTP folds the case) |
//! | `spillway-property: NAME=VALUE` | a property with any name; may be repeated |
//! | `traceparent` | the property of that name |
//!
//! Values are UTF-8. An unknown `spillway-` header is an error that names it.

use bytes::Bytes;

use super::json::{add_traceparent, parse_level};
use super::{Code, Refusal, Request};
use crate::record::{Fault, RecordError};

/// What the names of the headers here begin with.
pub const PREFIX: &str = "spillway-";

const UNKNOWN: &str = "is not a known header; spillway-lane, -topic, -tag, -id, -key, -order-key, \
                       -level and -property are";

/// Reads a record from its headers (names in lower case; others are passed over) and body.
pub fn parse<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    body: Bytes,
) -> Result<Request, Refusal> {
    let mut request = Request::default();
    request.draft.body = body;
    for (name, value) in headers {
        if name == "traceparent" {
            add_traceparent(&mut request.draft.properties, text(name, value)?)?;
        } else if let Some(field) = name.strip_prefix(PREFIX) {
            take(&mut request, name, field, text(name, value)?)?;
        }
    }
    Ok(request)
}

fn take(request: &mut Request, header: &str, field: &str, value: String) -> Result<(), Refusal> {
    let draft = &mut request.draft;
    let slot = match field {
        "lane" => &mut request.lane,
        "topic" => &mut draft.topic,
        "tag" => &mut draft.tag,
        "id" => &mut draft.id,
        "key" => &mut draft.key,
        "order-key" => &mut draft.order_key,
        "level" => {
            request.level = parse_level(&value)?;
            return Ok(());
        }
        "property" => {
            let (name, value) = value
                .split_once('=')
                .ok_or_else(|| bad(header, "has no =; it is written NAME=VALUE"))?;
            return put(request, header, name, value.to_owned());
        }
        _ => {
            let name = field.strip_prefix("property-").ok_or_else(|| bad(header, UNKNOWN))?;
            return put(request, header, name, value);
        }
    };
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad(header, "is given twice")),
    }
}

fn put(request: &mut Request, header: &str, name: &str, value: String) -> Result<(), Refusal> {
    match request.draft.properties.insert(name.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(bad(header, "gives a property twice")),
    }
}

fn text(name: &str, value: &[u8]) -> Result<String, Refusal> {
    std::str::from_utf8(value)
        .map(str::to_owned)
        .map_err(|_| RecordError::new(name, Fault::Form, "is not UTF-8").into())
}

fn bad(header: &str, message: &str) -> Refusal {
    Refusal::of(header.chars().take(64).collect::<String>(), Code::BadRecord, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<Request, Refusal> {
        let headers = headers.iter().map(|(n, v)| (*n, v.as_bytes()));
        parse(headers, Bytes::from_static(b"\0\x01"))
    }

    #[test]
    fn every_header_lands_in_its_place() {
        let request = read(&[
            ("host", "x"),
            ("spillway-lane", "l"),
            ("spillway-topic", "to"),
            ("spillway-tag", "ta"),
            ("spillway-id", "i"),
            ("spillway-key", "k"),
            ("spillway-order-key", "Bett 12 süd"),
            ("spillway-property-unit", "°C"),
            ("spillway-property", "Site=a=b"),
            ("spillway-level", "broker"),
            ("traceparent", "00-a-b-01"),
        ]);
        let request = request.unwrap();
        let draft = &request.draft;
        assert_eq!(
            (request.lane.as_deref(), request.level),
            (Some("l"), super::super::Level::Broker)
        );
        assert_eq!((draft.topic.as_deref(), draft.tag.as_deref()), (Some("to"), Some("ta")));
        assert_eq!((draft.id.as_deref(), draft.key.as_deref()), (Some("i"), Some("k")));
        assert_eq!(draft.order_key.as_deref(), Some("Bett 12 süd"));
        let properties: Vec<_> = draft.properties.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        assert_eq!(properties, [("Site", "a=b"), ("traceparent", "00-a-b-01"), ("unit", "°C")]);
    }

    #[test]
    fn a_wrong_header_is_named() {
        for (headers, field) in [
            (&[("spillway-colour", "red")][..], "spillway-colour"),
            (&[("spillway-property", "novalue")], "spillway-property"),
            (&[("spillway-id", "a"), ("spillway-id", "b")], "spillway-id"),
            (&[("spillway-level", "memory")], "level"),
        ] {
            assert_eq!(read(headers).unwrap_err().field.as_deref(), Some(field));
        }
        let latin = [("spillway-id", &b"\xe9"[..])];
        let refusal = parse(latin.into_iter(), Bytes::new()).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("spillway-id"));
    }
}
