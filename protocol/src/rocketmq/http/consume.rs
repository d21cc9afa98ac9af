//! Consume: the answer with messages.

use super::properties;
use super::xml::{self, Element, XmlError};

/// A message as a consumer gets it. Times are ms since 1970 by the broker's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consumed {
    /// The broker's id.
    pub message_id: String,
    /// Hex MD5 of the body.
    pub body_md5: String,
    /// Payload.
    pub body: String,
    /// What acknowledges this one delivery, until [`Consumed::next_consume_ms`].
    pub receipt_handle: String,
    /// When it was published.
    pub publish_ms: u64,
    /// When it was first handed out; without meaning in ordered mode.
    pub first_consume_ms: u64,
    /// When it is handed out again unless acknowledged.
    pub next_consume_ms: u64,
    /// How often it was handed out, this time included.
    pub consumed_times: u64,
    /// Tag.
    pub tag: Option<String>,
    /// Properties, KEYS and the sharding key among them.
    pub properties: Vec<(String, String)>,
}

/// The answer's body.
pub fn to_xml(messages: &[Consumed]) -> String {
    xml::answer("Messages", |out| {
        for message in messages {
            out.push_str("<Message>");
            message.push_fields(out);
            out.push_str("</Message>");
        }
    })
}

/// Reads an answer's body.
pub fn parse(text: &str) -> Result<Vec<Consumed>, XmlError> {
    let root = Element::parse(text, "Messages")?;
    let messages = root.children.iter().filter(|child| child.name == "Message");
    messages.map(Consumed::from_element).collect()
}

/// Receipt handles found in an answer that is not well-formed, so that a consumer can dispose of
/// a batch which one illegal character made unreadable, instead of getting it again for ever.
pub fn salvage_handles(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    let after_starts = text.split("<ReceiptHandle>").skip(1);
    after_starts
        .filter_map(|rest| rest.split_once("</ReceiptHandle>"))
        .map(|(handle, _)| handle.trim().to_owned())
        .filter(|handle| !handle.is_empty() && !handle.contains('<'))
        .collect()
}

impl Consumed {
    fn push_fields(&self, out: &mut String) {
        xml::push_field(out, "MessageId", &self.message_id);
        xml::push_field(out, "MessageBodyMD5", &self.body_md5);
        xml::push_field(out, "MessageBody", &self.body);
        xml::push_field(out, "ReceiptHandle", &self.receipt_handle);
        for (name, value) in [
            ("PublishTime", self.publish_ms),
            ("FirstConsumeTime", self.first_consume_ms),
            ("NextConsumeTime", self.next_consume_ms),
            ("ConsumedTimes", self.consumed_times),
        ] {
            xml::push_field(out, name, &value.to_string());
        }
        if let Some(tag) = &self.tag {
            xml::push_field(out, "MessageTag", tag);
        }
        if !self.properties.is_empty() {
            let pairs = self.properties.iter().map(|(n, v)| (n.as_str(), v.as_str()));
            xml::push_field(out, "Properties", &(properties::join(pairs) + "|"));
        }
    }

    fn from_element(element: &Element) -> Result<Self, XmlError> {
        Ok(Self {
            message_id: element.required("MessageId")?.to_owned(),
            body_md5: element.field("MessageBodyMD5").unwrap_or_default().to_owned(),
            body: element.field("MessageBody").unwrap_or_default().to_owned(),
            receipt_handle: element.required("ReceiptHandle")?.to_owned(),
            publish_ms: element.number("PublishTime")?,
            first_consume_ms: element.number("FirstConsumeTime")?,
            next_consume_ms: element.number("NextConsumeTime")?,
            consumed_times: element.number("ConsumedTimes")?,
            tag: element.field("MessageTag").filter(|t| !t.is_empty()).map(str::to_owned),
            properties: properties::split_lenient(element.field("Properties").unwrap_or_default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumed(body: &str, handle: &str) -> Consumed {
        Consumed {
            message_id: "1E05".into(),
            body_md5: "AB".into(),
            body: body.into(),
            receipt_handle: handle.into(),
            publish_ms: 1,
            first_consume_ms: 2,
            next_consume_ms: 3,
            consumed_times: 4,
            tag: Some("T".into()),
            properties: vec![("KEYS".into(), "k".into()), ("__SHARDINGKEY".into(), "s".into())],
        }
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        let messages = [consumed("a ]]> <b>\r\n", "h1"), consumed("🩺", "h2")];
        assert_eq!(parse(&to_xml(&messages)).unwrap(), messages);
    }

    #[test]
    fn handles_are_salvaged_from_a_broken_answer() {
        let broken = to_xml(&[consumed("bad \u{1} body", "h1"), consumed("good", "h2")]);
        assert!(parse(&broken).is_err());
        assert_eq!(salvage_handles(broken.as_bytes()), ["h1", "h2"]);
        let cut = broken.split("<ReceiptHandle>h2").next().unwrap().to_owned() + "<ReceiptHandle>h";
        assert_eq!(salvage_handles(cut.as_bytes()), ["h1"]);
    }
}
