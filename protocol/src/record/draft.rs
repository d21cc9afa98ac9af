//! A record as it came in, unproven.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    BODY_MAX, Fault, IdOrigin, MessageKey, OrderKey, Properties, Record, RecordError, RecordId,
    Tag, Topic,
};

/// What an app sent, from any dialect, before it is proven.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// The app's own id, if it gave one.
    pub id: Option<String>,
    /// KEYS.
    pub key: Option<String>,
    /// Topic, where it is not the lane's.
    pub topic: Option<String>,
    /// Tag, where it is not the lane's.
    pub tag: Option<String>,
    /// Order key.
    pub order_key: Option<String>,
    /// Properties.
    pub properties: BTreeMap<String, String>,
    /// Payload.
    pub body: Bytes,
}

impl Draft {
    /// Proves every field. `fresh_id` is asked only where the app gave no id; it must return
    /// one that is valid and unique (the agent's is a UUIDv7).
    pub fn parse(self, fresh_id: impl FnOnce() -> RecordId) -> Result<Record, RecordError> {
        check_body(&self.body)?;
        let (id, id_origin) = match self.id {
            Some(id) => (RecordId::parse(id)?, IdOrigin::App),
            None => (fresh_id(), IdOrigin::Agent),
        };
        Ok(Record {
            id,
            id_origin,
            key: self.key.map(MessageKey::parse).transpose()?,
            topic: self.topic.map(Topic::parse).transpose()?,
            tag: self.tag.map(Tag::parse).transpose()?,
            order_key: self.order_key.map(OrderKey::parse).transpose()?,
            properties: Properties::parse(self.properties)?,
            body: self.body,
        })
    }
}

fn check_body(body: &[u8]) -> Result<(), RecordError> {
    if body.is_empty() {
        return Err(RecordError::new(
            "body",
            Fault::Empty,
            "is empty; RocketMQ takes 1 byte to 4 MiB",
        ));
    }
    if body.len() > BODY_MAX {
        let message = format!("has {} bytes, at most {BODY_MAX} fit; split it", body.len());
        return Err(RecordError::new("body", Fault::TooLong, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> RecordId {
        RecordId::parse("fresh").unwrap()
    }

    #[test]
    fn an_app_id_is_kept_and_a_missing_one_is_drawn() {
        let body = Bytes::from_static(b"x");
        let own = Draft { id: Some("a-1".into()), body: body.clone(), ..Draft::default() };
        let own = own.parse(fresh).unwrap();
        assert_eq!(
            (own.id.as_str(), own.id_origin, own.message_key()),
            ("a-1", IdOrigin::App, "a-1")
        );
        let drawn = Draft { body, ..Draft::default() }.parse(fresh).unwrap();
        assert_eq!((drawn.id.as_str(), drawn.id_origin), ("fresh", IdOrigin::Agent));
    }

    #[test]
    fn a_body_is_neither_empty_nor_beyond_four_mebibytes() {
        let sized =
            |n: usize| Draft { body: vec![b'x'; n].into(), ..Draft::default() }.parse(fresh);
        assert_eq!(sized(0).unwrap_err().fault, Fault::Empty);
        assert!(sized(1).is_ok());
        assert!(sized(BODY_MAX).is_ok());
        assert_eq!(sized(BODY_MAX + 1).unwrap_err().fault, Fault::TooLong);
    }
}
