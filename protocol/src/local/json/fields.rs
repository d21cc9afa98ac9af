//! The fields of a record's JSON object, read in one pass without building a tree: a hostile text
//! costs no more memory than an honest one of its size.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::record::property::COUNT_MAX;
use crate::record::{Fault, RecordError};

/// What was read, and the first fault.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) body: Option<String>,
    pub(super) body_base64: Option<String>,
    pub(super) lane: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) id: Option<String>,
    pub(super) key: Option<String>,
    pub(super) order_key: Option<String>,
    pub(super) level: Option<String>,
    pub(super) traceparent: Option<String>,
    pub(super) properties: BTreeMap<String, String>,
    /// The first field that was wrong; reading went on behind it.
    pub(super) fault: Option<RecordError>,
    /// An order key was given, but not as text.
    pub(super) order_key_lost: bool,
    seen: Vec<Name>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    Body,
    BodyBase64,
    Lane,
    Topic,
    Tag,
    Id,
    Key,
    OrderKey,
    Level,
    Traceparent,
    Properties,
    Unknown(String),
}

impl Fields {
    /// Reads `text`, which must be one JSON object and nothing else.
    pub(super) fn read(&mut self, text: &[u8]) -> Result<(), serde_json::Error> {
        let mut json = serde_json::Deserializer::from_slice(text);
        Object(self).deserialize(&mut json)?;
        json.end()
    }

    fn take(&mut self, name: Name, value: Found) {
        if let Name::Unknown(name) = &name {
            let known = "body, body_base64, lane, topic, tag, id, key, order_key, properties, \
                         traceparent and level are";
            return self.blame(name, Fault::Form, format!("is not a known field; {known}"));
        }
        let field = name.text();
        if self.seen.contains(&name) {
            return self.blame(field, Fault::Form, "is given twice".to_owned());
        }
        self.seen.push(name.clone());
        match value {
            Found::Null => {}
            Found::Text(text) if name != Name::Properties => *self.slot(&name) = Some(text),
            Found::Object(pairs) if name == Name::Properties => self.take_properties(pairs),
            other => {
                self.order_key_lost |= name == Name::OrderKey;
                let wanted = if name == Name::Properties { "an object" } else { "a text" };
                let message = format!("is {}, not {wanted}", other.kind());
                self.blame(field, Fault::Form, message);
            }
        }
    }

    fn take_properties(&mut self, pairs: Vec<(String, Found)>) {
        for (name, value) in pairs {
            let field = format!("properties.{}", shorten(&name));
            match value {
                Found::Text(text) => {
                    if self.properties.insert(name, text).is_some() {
                        self.blame(&field, Fault::Form, "is given twice".to_owned());
                    }
                }
                other => {
                    let message = format!("is {}, not a text", other.kind());
                    self.blame(&field, Fault::Form, message);
                }
            }
        }
    }

    fn blame(&mut self, field: &str, fault: Fault, message: String) {
        self.fault.get_or_insert_with(|| RecordError::new(shorten(field), fault, message));
    }

    fn slot(&mut self, name: &Name) -> &mut Option<String> {
        match name {
            Name::Body => &mut self.body,
            Name::BodyBase64 => &mut self.body_base64,
            Name::Lane => &mut self.lane,
            Name::Topic => &mut self.topic,
            Name::Tag => &mut self.tag,
            Name::Id => &mut self.id,
            Name::Key => &mut self.key,
            Name::OrderKey => &mut self.order_key,
            Name::Traceparent => &mut self.traceparent,
            Name::Level | Name::Properties | Name::Unknown(_) => &mut self.level,
        }
    }
}

impl Name {
    fn text(&self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::BodyBase64 => "body_base64",
            Self::Lane => "lane",
            Self::Topic => "topic",
            Self::Tag => "tag",
            Self::Id => "id",
            Self::Key => "key",
            Self::OrderKey => "order_key",
            Self::Level => "level",
            Self::Traceparent => "traceparent",
            Self::Properties | Self::Unknown(_) => "properties",
        }
    }
}

/// A name as an error can quote it.
fn shorten(name: &str) -> String {
    name.chars().take(64).collect()
}

struct Object<'a>(&'a mut Fields);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a record as a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Name>()? {
            let nested = name == Name::Properties;
            let value = map.next_value_seed(Value { nested })?;
            self.0.take(name, value);
        }
        Ok(())
    }
}

/// A value, as far as a record can use it; what it cannot is read over.
pub(super) enum Found {
    Text(String),
    Object(Vec<(String, Found)>),
    Null,
    Other(&'static str),
}

impl Found {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Object(_) => "an object",
            Self::Null => "null",
            Self::Other(kind) => kind,
        }
    }
}

/// Reads a [`Found`]; an object's members only where `nested`.
struct Value {
    nested: bool,
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Found;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        Ok(Found::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::Other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Found::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        Ok(Found::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Other("a number"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Found, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut pairs = Vec::new();
        // One more than may be: enough to be refused, whatever else follows.
        while self.nested && pairs.len() <= COUNT_MAX {
            let Some(name) = map.next_key::<String>()? else {
                return Ok(Found::Object(pairs));
            };
            pairs.push((name, map.next_value_seed(Value { nested: false })?));
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        match self.nested {
            true => Ok(Found::Object(pairs)),
            false => Ok(Found::Other("an object")),
        }
    }
}
