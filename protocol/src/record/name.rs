//! The texts of a record that have rules: ids, keys, topics, tags, order keys, lane names.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::{Fault, RecordError};

/// Characters that the HTTP SDKs refuse in keys and properties, since they do not escape them.
pub(super) const UNCARRIED: &[char] = &['"', '\'', '&', '<', '>', ':', '|'];

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $field:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Proves `text`, or says what is wrong with it.
            pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, RecordError> {
                let text = text.into();
                let rule: &Rule = &$rule;
                rule.check($field, &text)?;
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = RecordError;

            fn try_from(text: String) -> Result<Self, RecordError> {
                Self::parse(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                (&*name.0).into()
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

struct Rule {
    max_bytes: usize,
    allowed: fn(char) -> bool,
    says: &'static str,
}

impl Rule {
    fn check(&self, field: &str, text: &str) -> Result<(), RecordError> {
        if text.is_empty() {
            return Err(RecordError::new(field, Fault::Empty, "is empty; leave it out instead"));
        }
        if text.len() > self.max_bytes {
            let message = format!("has {} bytes, at most {} fit", text.len(), self.max_bytes);
            return Err(RecordError::new(field, Fault::TooLong, message));
        }
        match text.chars().find(|&c| !(self.allowed)(c)) {
            None => Ok(()),
            Some(c) => {
                let message = format!("holds {}; {}", spell(c), self.says);
                Err(RecordError::new(field, Fault::Character, message))
            }
        }
    }
}

/// A character as a person can read it in an error.
pub(super) fn spell(c: char) -> String {
    if c.is_control() || c.is_whitespace() {
        format!("U+{:04X}", u32::from(c))
    } else {
        format!("'{c}'")
    }
}

/// Whether XML 1.0 can carry the character: the narrowest of RocketMQ's transports.
pub fn xml_carries(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

fn plain(c: char) -> bool {
    // What nearly all ids are made of, first: this is asked of each character of each record.
    c.is_ascii_alphanumeric() || c == '-' || is_carried(c)
}

fn is_carried(c: char) -> bool {
    !c.is_control() && !c.is_whitespace() && !UNCARRIED.contains(&c) && xml_carries(c)
}

name!(
    /// Identity of a record: 1 to 64 bytes without white space, controls or `"'&<>:|`.
    RecordId, "id",
    Rule { max_bytes: 64, allowed: plain, says: "white space, controls and \"'&<>:| cannot travel in an id" }
);

name!(
    /// RocketMQ's KEYS, for search: characters as in an id, 1 to 128 bytes. Need not be unique.
    MessageKey, "key",
    Rule { max_bytes: 128, allowed: plain, says: "white space, controls and \"'&<>:| cannot travel in a key" }
);

name!(
    /// A topic: letters, digits, `_` and `-`, 1 to 127 bytes.
    Topic, "topic",
    Rule {
        max_bytes: 127,
        allowed: |c| c.is_ascii_alphanumeric() || c == '_' || c == '-',
        says: "a topic has letters, digits, _ and - only",
    }
);

name!(
    /// A tag: 1 to 64 bytes without white space, controls, `|` (the list separator) or `*`.
    Tag, "tag",
    Rule {
        max_bytes: 64,
        allowed: |c| !c.is_control() && !c.is_whitespace() && c != '|' && c != '*' && xml_carries(c),
        says: "a tag has no white space, controls, | or *",
    }
);

name!(
    /// Order key: free text, 1 to 1,024 bytes.
    OrderKey, "order_key",
    Rule { max_bytes: 1024, allowed: |_| true, says: "" }
);

name!(
    /// A lane's name: lower-case letters, digits, `_` and `-`, 1 to 32 bytes. It is also a folder
    /// and a message property. Names that begin with `_` are the agent's own.
    LaneName, "lane",
    Rule {
        max_bytes: 32,
        allowed: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-',
        says: "a lane's name has lower-case letters, digits, _ and - only",
    }
);

impl From<uuid::Uuid> for RecordId {
    /// 36 characters, all of which any transport carries.
    fn from(id: uuid::Uuid) -> Self {
        let mut text = uuid::Uuid::encode_buffer();
        Self(Arc::from(&*id.hyphenated().encode_lower(&mut text)))
    }
}

impl From<&RecordId> for MessageKey {
    /// An id is always a valid key: the same characters, and shorter.
    fn from(id: &RecordId) -> Self {
        Self(id.0.clone())
    }
}

impl OrderKey {
    /// Whether `key` is made of characters that a sharding key and a message group carry.
    pub(crate) fn travels(key: &str) -> bool {
        key.chars().all(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_takes_what_all_transports_carry() {
        for good in ["a", "0191-7c", "réf/1#2", &"x".repeat(64), "日本"] {
            assert!(RecordId::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_refused_id_names_the_character() {
        for (bad, needle) in [
            ("a b", "U+0020"),
            ("a:b", "':'"),
            ("a|b", "'|'"),
            ("a\u{0}", "U+0000"),
            ("a\u{FFFE}", "U+FFFE"),
        ] {
            let error = RecordId::parse(bad).unwrap_err();
            assert_eq!((error.field.as_str(), error.fault), ("id", Fault::Character), "{bad:?}");
            assert!(error.message.contains(needle) || bad.ends_with('\u{FFFE}'), "{error}");
        }
        assert_eq!(RecordId::parse("").unwrap_err().fault, Fault::Empty);
        assert_eq!(RecordId::parse("x".repeat(65)).unwrap_err().fault, Fault::TooLong);
    }

    #[test]
    fn topics_and_tags_keep_to_the_brokers_rules() {
        assert!(Topic::parse("ward-critical_2").is_ok());
        assert!(Topic::parse("a%b").is_err());
        assert!(Topic::parse("x".repeat(128)).is_err());
        assert!(Tag::parse("SyncEvent").is_ok());
        assert!(Tag::parse("a||b").is_err());
        assert!(Tag::parse("*").is_err());
    }

    #[test]
    fn order_keys_are_free_text() {
        assert!(OrderKey::parse("bed 12: <left>\n").is_ok());
        assert!(OrderKey::parse("").is_err());
    }

    #[test]
    fn names_survive_serde_and_refuse_through_it() {
        let id: RecordId = serde_json::from_str("\"r-1\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"r-1\"");
        assert!(serde_json::from_str::<RecordId>("\"r 1\"").is_err());
    }
}
