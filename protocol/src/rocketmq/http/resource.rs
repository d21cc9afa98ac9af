//! Path and query of a request. The string that is sent is the string that is signed, so it is
//! built once, with `%20` and upper-case hex, and never touched by a URL library again.

/// Longest request resource that MQ reads, in characters.
pub const RESOURCE_MAX: usize = 1024;

/// Resource of a publish.
pub fn publish(topic: &str, instance: Option<&str>) -> String {
    build(topic, &[("ns", instance)])
}

/// Resource of an acknowledgement.
pub fn ack(topic: &str, instance: Option<&str>, group: &str) -> String {
    build(topic, &[("consumer", Some(group)), ("ns", instance)])
}

/// What a consumer asks for.
#[derive(Debug, Clone, Copy)]
pub struct Consume<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Instance, where there is one.
    pub instance: Option<&'a str>,
    /// Consumer group.
    pub group: &'a str,
    /// Tags, joined by `||`; all messages without.
    pub tag: Option<&'a str>,
    /// Most messages to hand out, 1 to 16.
    pub count: u8,
    /// How long the server may wait for a message, 0 to 30 seconds.
    pub wait_s: u8,
    /// Whether messages of one sharding key wait for each other.
    pub orderly: bool,
}

impl Consume<'_> {
    /// The resource.
    pub fn resource(&self) -> String {
        let (count, wait_s) = (self.count.to_string(), self.wait_s.to_string());
        build(
            self.topic,
            &[
                ("consumer", Some(self.group)),
                ("ns", self.instance),
                ("tag", self.tag),
                ("numOfMessages", Some(&count)),
                ("waitseconds", (self.wait_s > 0).then_some(&wait_s)),
                ("trans", self.orderly.then_some("order")),
            ],
        )
    }
}

fn build(topic: &str, query: &[(&str, Option<&str>)]) -> String {
    let mut resource = String::from("/topics/");
    push_encoded(&mut resource, topic);
    resource.push_str("/messages");
    let given = query.iter().filter_map(|(name, v)| v.map(|v| (name, v)));
    for (index, (name, value)) in given.enumerate() {
        resource.push(if index == 0 { '?' } else { '&' });
        resource.push_str(name);
        resource.push('=');
        push_encoded(&mut resource, value);
    }
    resource
}

fn push_encoded(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// A resource taken apart by a server: the topic, and the query's names and values decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Topic.
    pub topic: String,
    /// Query, in the order sent; a name may stand there once only.
    pub query: Vec<(String, String)>,
}

/// Why a resource was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// Longer than [`RESOURCE_MAX`] or not `/topics/{topic}/messages`.
    #[error("the path is not /topics/{{topic}}/messages, or the request line is too long")]
    Url,
    /// A query that is not `name=value&name=value`, or names something twice.
    #[error("the query is not name=value pairs joined by &, each name once, percent-encoded")]
    Query,
}

impl Parsed {
    /// Takes `resource` apart.
    pub fn parse(resource: &str) -> Result<Self, ResourceError> {
        if resource.len() > RESOURCE_MAX {
            return Err(ResourceError::Url);
        }
        let (path, query) = match resource.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (resource, None),
        };
        let topic = path
            .strip_prefix("/topics/")
            .and_then(|rest| rest.strip_suffix("/messages"))
            .and_then(|topic| decode(topic, false))
            .filter(|topic| !topic.is_empty() && !topic.contains('/'))
            .ok_or(ResourceError::Url)?;
        Ok(Self { topic, query: query.map_or_else(|| Ok(Vec::new()), parse_query)? })
    }

    /// The value of `name` in the query.
    pub fn get(&self, name: &str) -> Option<&str> {
        let pair = self.query.iter().find(|(n, _)| n == name);
        pair.map(|(_, value)| value.as_str())
    }
}

fn parse_query(query: &str) -> Result<Vec<(String, String)>, ResourceError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').ok_or(ResourceError::Query)?;
        let name = decode(name, true).ok_or(ResourceError::Query)?;
        let value = decode(value, true).ok_or(ResourceError::Query)?;
        if name.is_empty() || pairs.iter().any(|(known, _)| *known == name) {
            return Err(ResourceError::Query);
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// Percent-decodes; in a query `+` is a space, as the Go and Java SDKs write it.
fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSUME: Consume<'_> = Consume {
        topic: "edge_topic",
        instance: Some("MQ_INST_1_abc"),
        group: "GID_edge",
        tag: Some("TagA||Tag B"),
        count: 16,
        wait_s: 30,
        orderly: true,
    };

    #[test]
    fn resources_are_encoded_as_the_signed_examples_are() {
        assert_eq!(publish("t", None), "/topics/t/messages");
        assert_eq!(publish("t", Some("MQ_INST")), "/topics/t/messages?ns=MQ_INST");
        assert_eq!(ack("t", None, "G"), "/topics/t/messages?consumer=G");
        assert_eq!(
            CONSUME.resource(),
            "/topics/edge_topic/messages?consumer=GID_edge&ns=MQ_INST_1_abc\
             &tag=TagA%7C%7CTag%20B&numOfMessages=16&waitseconds=30&trans=order"
        );
    }

    #[test]
    fn a_server_reads_what_a_client_built() {
        let parsed = Parsed::parse(&CONSUME.resource()).unwrap();
        assert_eq!(parsed.topic, "edge_topic");
        assert_eq!(parsed.get("tag"), Some("TagA||Tag B"));
        assert_eq!(parsed.get("trans"), Some("order"));
        assert_eq!(parsed.get("nothing"), None);
        let plus = Parsed::parse("/topics/t/messages?tag=a+b").unwrap();
        assert_eq!(plus.get("tag"), Some("a b"));
    }

    #[test]
    fn resources_of_another_form_are_refused() {
        let long = format!("/topics/{}/messages", "x".repeat(RESOURCE_MAX));
        for url in ["/", "/topics//messages", "/topics/t", "/topics/a/b/messages", &long] {
            assert_eq!(Parsed::parse(url), Err(ResourceError::Url), "{url}");
        }
        for query in ["ns", "ns=a&ns=b", "=a", "ns=%4", "ns=%zz", "ns=%ff", ""] {
            let resource = format!("/topics/t/messages?{query}");
            assert_eq!(Parsed::parse(&resource), Err(ResourceError::Query), "{query}");
        }
    }
}
