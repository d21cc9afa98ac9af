//! Publish: the request with its message, and the answer that it is stored.

use std::borrow::Cow;

use super::properties::{self, KEYS, SHARDING_KEY};
use super::xml::{self, Element, XmlError};
use crate::message::{Message, xml_safe};

/// A message as a publish request carries it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Payload; text, since it travels in XML.
    pub body: Cow<'a, str>,
    /// Tag.
    pub tag: Option<Cow<'a, str>>,
    /// Properties as one string, see [`properties`]; empty if there are none.
    pub properties: Cow<'a, str>,
}

impl<'a> Publish<'a> {
    /// The request of a composed message, its key and order key among the properties. The
    /// message must have gone through [`Message::into_xml_safe`].
    pub fn of(message: &'a Message) -> Result<Self, XmlError> {
        if !xml_safe(&message.body) {
            return Err(XmlError::Character);
        }
        let body = std::str::from_utf8(&message.body).map_err(|_| XmlError::Character)?;
        let order_key = message.order_key.as_deref();
        let head = [(KEYS, message.key.as_str())].into_iter();
        let pairs = head
            .chain(order_key.map(|key| (SHARDING_KEY, key)))
            .chain(message.properties.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        Ok(Self {
            body: Cow::Borrowed(body),
            tag: message.tag.as_ref().map(|tag| Cow::Borrowed(tag.as_str())),
            properties: Cow::Owned(properties::join(pairs)),
        })
    }

    /// The request body.
    pub fn to_xml(&self) -> String {
        xml::document("Message", |out| {
            out.reserve(xml::escaped_len(&self.body) + self.properties.len() + 256);
            xml::push_field(out, "MessageBody", &self.body);
            if let Some(tag) = &self.tag {
                xml::push_field(out, "MessageTag", tag);
            }
            if !self.properties.is_empty() {
                xml::push_field(out, "Properties", &self.properties);
            }
        })
    }
}

impl Publish<'static> {
    /// Reads a request body, from whichever SDK: CDATA or entities, any name space or none.
    pub fn parse(text: &str) -> Result<Self, XmlError> {
        let mut root = Element::parse(text, "Message")?;
        let mut take = |name: &str| {
            let child = root.children.iter_mut().find(|child| child.name == name)?;
            let text = std::mem::take(&mut child.text);
            (!text.is_empty()).then_some(Cow::Owned(text))
        };
        Ok(Self {
            body: take("MessageBody").ok_or(XmlError::Field("MessageBody"))?,
            tag: take("MessageTag"),
            properties: take("Properties").unwrap_or_default(),
        })
    }
}

/// The answer to a publish: stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The broker's id.
    pub message_id: String,
    /// Hex MD5 of the body as the broker has it; its absence proves nothing.
    pub body_md5: Option<String>,
}

impl Published {
    /// The answer's body.
    pub fn to_xml(&self) -> String {
        xml::answer("Message", |out| {
            xml::push_field(out, "MessageId", &self.message_id);
            if let Some(md5) = &self.body_md5 {
                xml::push_field(out, "MessageBodyMD5", md5);
            }
        })
    }

    /// Reads an answer's body.
    pub fn parse(text: &str) -> Result<Self, XmlError> {
        let root = Element::parse(text, "Message")?;
        Ok(Self {
            message_id: root.required("MessageId")?.trim().to_owned(),
            body_md5: root.field("MessageBodyMD5").map(|md5| md5.trim().to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{RecordId, Tag, Topic};
    use proptest::prelude::*;

    fn message(body: &str) -> Message {
        Message {
            topic: Topic::parse("t").unwrap(),
            tag: Some(Tag::parse("Sync<Event>&co").unwrap()),
            id: RecordId::parse("id-1").unwrap(),
            key: "key-1".into(),
            order_key: Some("bed-12".into()),
            properties: vec![("sw_seq".into(), "7".into()), ("unit".into(), "°C".into())],
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn keys_and_sharding_key_travel_among_the_properties() {
        let message = message("x");
        let publish = Publish::of(&message).unwrap();
        assert_eq!(publish.properties, "KEYS:key-1|__SHARDINGKEY:bed-12|sw_seq:7|unit:°C");
        assert_eq!(publish.tag.as_deref(), Some("Sync<Event>&co"));
    }

    #[test]
    fn what_xml_cannot_carry_is_not_written() {
        assert_eq!(Publish::of(&message("a\u{0}")), Err(XmlError::Character));
        let mut binary = message("x");
        binary.body = vec![0xFF].into();
        assert_eq!(Publish::of(&binary), Err(XmlError::Character));
    }

    #[test]
    fn requests_of_all_sdks_are_read() {
        let node = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Message xmlns=\"http://mq.aliyuncs.com/doc/v1/\">\
                    <MessageBody><![CDATA[a <b> & c]]></MessageBody><MessageTag><![CDATA[T]]></MessageTag>\
                    <Properties><![CDATA[KEYS:k]]></Properties></Message>";
        let python = "<?xml version=\"1.0\" encoding=\"utf-8\"?><Message xmlns=\"http://mq.aliyuncs.com/doc/v1/\">\
                      <MessageBody>a &lt;b&gt; &amp; c</MessageBody><Properties>KEYS:k|</Properties>\
                      <MessageTag>T</MessageTag></Message>";
        let go = "<Message><MessageBody>a &lt;b&gt; &amp; c</MessageBody><MessageTag>T</MessageTag>\
                  <Properties>KEYS:k|</Properties></Message>";
        for request in [node, python, go] {
            let publish = Publish::parse(request).unwrap();
            assert_eq!((&*publish.body, publish.tag.as_deref()), ("a <b> & c", Some("T")));
            assert_eq!(
                properties::split(&publish.properties).unwrap(),
                [("KEYS".to_owned(), "k".to_owned())]
            );
        }
        let bodiless = Publish::parse("<Message><MessageBody></MessageBody></Message>");
        assert_eq!(bodiless, Err(XmlError::Field("MessageBody")));
    }

    #[test]
    fn an_answer_without_an_id_is_none() {
        let answer = Published { message_id: "1E05".into(), body_md5: Some("AB".into()) };
        assert_eq!(Published::parse(&answer.to_xml()), Ok(answer));
        let empty = Published::parse("<Message><MessageId/></Message>");
        assert_eq!(empty, Err(XmlError::Field("MessageId")));
        assert!(Published::parse("<html><body>Sign in</body></html>").is_err());
    }

    fn xml_text() -> impl Strategy<Value = String> {
        let legal = any::<char>().prop_filter("legal in XML", |c| crate::record::xml_carries(*c));
        let nasty = proptest::sample::select(vec![
            "\r",
            "\n",
            "]]>",
            "<![CDATA[",
            "&amp;",
            "&#13;",
            "🩺",
            "<a>",
        ]);
        let pieces =
            prop_oneof![3 => legal.prop_map(String::from), 1 => nasty.prop_map(String::from)];
        proptest::collection::vec(pieces, 1..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn every_legal_body_arrives_as_it_was(body in xml_text(), tag in "[^|*\\s\\x00-\\x1f]{1,9}") {
            prop_assume!(tag.chars().all(crate::record::xml_carries));
            let sent = Publish {
                body: Cow::Owned(body),
                tag: Some(Cow::Owned(tag)),
                properties: Cow::Borrowed("KEYS:k"),
            };
            prop_assert_eq!(Publish::parse(&sent.to_xml()).unwrap(), sent);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,60}") {
            let _ = Publish::parse(&text);
            let _ = Publish::parse(&format!("<Message><MessageBody>{text}</MessageBody></Message>"));
        }
    }
}
