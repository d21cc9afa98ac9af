//! What a column is filled from.

use mysql_async::Value;
use serde_json::Value as Json;
use spillway_protocol::consumer::{Delivery, Origin};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Id,
    Key,
    Tag,
    Topic,
    OrderKey,
    MessageId,
    Gateway,
    Stream,
    Lane,
    Seq,
    Flags,
    /// When the gateway accepted it, ms since 1970.
    Accepted,
    /// When the broker stored it, ms since 1970.
    Stored,
    /// The whole body.
    Body,
    /// A field of a JSON body: names from the outside in.
    Field(Vec<String>),
    /// A property of the app's.
    Property(String),
}

/// A message does not fit the table, whatever the database says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// Columns come from fields of the body, which has none.
    #[error("the body is no JSON object: {0}")]
    NoJson(String),
    /// A time that cannot be read.
    #[error("column {0} needs a time (RFC 3339, or seconds or milliseconds since 1970)")]
    Time(String),
}

/// A delivery, its body read if need be.
pub(super) struct Parts<'a> {
    delivery: &'a Delivery,
    json: Json,
}

impl<'a> Parts<'a> {
    pub(super) fn of(delivery: &'a Delivery, reads_json: bool) -> Result<Self, Unfit> {
        if !reads_json {
            return Ok(Self { delivery, json: Json::Null });
        }
        let json: Json = serde_json::from_slice(&delivery.body)
            .map_err(|error| Unfit::NoJson(error.to_string()))?;
        match json.is_object() {
            true => Ok(Self { delivery, json }),
            false => Err(Unfit::NoJson("it is another JSON value".to_owned())),
        }
    }
}

impl Source {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "id" => Self::Id,
            "key" => Self::Key,
            "tag" => Self::Tag,
            "topic" => Self::Topic,
            "order_key" => Self::OrderKey,
            "message_id" => Self::MessageId,
            "gateway" => Self::Gateway,
            "stream" => Self::Stream,
            "lane" => Self::Lane,
            "seq" => Self::Seq,
            "flags" => Self::Flags,
            "accepted" => Self::Accepted,
            "stored" => Self::Stored,
            "body" => Self::Body,
            _ => match text.split_once('.')? {
                ("property", name) if !name.is_empty() => Self::Property(name.to_owned()),
                ("body", path) if path.split('.').all(|name| !name.is_empty()) => {
                    Self::Field(path.split('.').map(str::to_owned).collect())
                }
                _ => return None,
            },
        })
    }

    pub(super) fn reads_json(&self) -> bool {
        matches!(self, Self::Field(_))
    }

    /// The column's type where the file names none.
    pub(super) fn sql_type(&self, time: bool) -> &'static str {
        match self {
            _ if time => "DATETIME(3)",
            Self::Seq | Self::Accepted | Self::Stored => "BIGINT UNSIGNED",
            Self::Body => "LONGBLOB",
            Self::Field(_) | Self::Property(_) => "TEXT",
            _ => "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        }
    }

    /// What the column gets; NULL where the message has nothing.
    pub(super) fn value(&self, parts: &Parts<'_>) -> Value {
        let Parts { delivery, json } = parts;
        let origin = |of: fn(&Origin) -> Value| delivery.origin.as_ref().map_or(Value::NULL, of);
        match self {
            Self::Id => delivery.id().into(),
            Self::Key => delivery.keys.as_deref().into(),
            Self::Tag => delivery.tag.as_deref().into(),
            Self::Topic => delivery.topic.as_str().into(),
            Self::OrderKey => delivery.order_key.as_deref().into(),
            Self::MessageId => delivery.message_id.as_str().into(),
            Self::Gateway => origin(|origin| origin.gateway.as_str().into()),
            Self::Stream => origin(|origin| origin.stream.to_string().into()),
            Self::Lane => origin(|origin| origin.lane.as_str().into()),
            Self::Seq => origin(|origin| origin.seq.into()),
            Self::Flags => origin(|origin| origin.flags.join(",").into()),
            Self::Accepted => origin(|origin| origin.accepted_ms.into()),
            Self::Stored => delivery.stored_ms.into(),
            Self::Body => delivery.body.to_vec().into(),
            Self::Property(name) => delivery.properties.get(name).into(),
            Self::Field(path) => {
                let found = path.iter().try_fold(json, |json, name| json.get(name));
                found.map_or(Value::NULL, of_json)
            }
        }
    }
}

/// Objects and lists are written as JSON.
fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::NULL,
        Json::Bool(truth) => (*truth).into(),
        Json::String(text) => text.as_str().into(),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => number.into(),
            (_, Some(number), _) => number.into(),
            (_, _, number) => number.into(),
        },
        Json::Array(_) | Json::Object(_) => json.to_string().into(),
    }
}

/// What decides which of two states is newer: `sw_origin`, `sw_seq`, `sw_at`. Within one stream and
/// lane the number decides, else the time of acceptance. Without a set clock that is when the message
/// was first sent, since it cannot be later; sent again, nobody knows, and anything else is newer.
pub(super) fn version(delivery: &Delivery) -> [Value; 3] {
    let sent_ms = delivery.born_ms.or(delivery.stored_ms).unwrap_or(0);
    let Some(origin) = &delivery.origin else {
        return ["".into(), 0_u64.into(), sent_ms.into()];
    };
    let at_ms = match origin.clock_set {
        true => origin.accepted_ms,
        false if delivery.flag("resend") => 0,
        false => sent_ms,
    };
    let place = format!("{}/{}/{}", origin.gateway, origin.lane, origin.stream);
    [place.into(), origin.seq.into(), at_ms.into()]
}
