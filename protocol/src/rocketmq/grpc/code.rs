//! What a status code means for the record that was sent.
//!
//! Codes are read as numbers, so that one this build has never heard of is sorted by its class.
//! Texts are looked at where the code does not tell: a proxy in local mode folds every refusal of
//! its broker into 50001 and leaves only the broker's words.

/// Success.
pub const OK: i32 = 20_000;
/// The answer lies in the entries.
pub const MULTIPLE_RESULTS: i32 = 30_000;
/// The topic takes messages of another type.
pub const TYPE_CONFLICT: i32 = 40_014;
/// The server does not know the client's settings (any more).
pub const UNRECOGNIZED_CLIENT: i32 = 40_015;
/// The server saw no client id.
const CLIENT_ID_REQUIRED: i32 = 40_017;
/// The headers of the call are too large.
const HEADERS_TOO_LARGE: i32 = 43_100;
/// The properties of the message are too large.
const PROPERTIES_TOO_LARGE: i32 = 43_101;
/// The topic does not exist.
pub const TOPIC_NOT_FOUND: i32 = 40_402;

/// What a status means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// RocketMQ has the message.
    Stored,
    /// Not now, more slowly; not stored.
    Busy,
    /// It may be stored.
    Uncertain,
    /// The access key, its signature or the account is refused, or the headers that carry them.
    Credentials,
    /// The server does not know this client (any more): a fault of the session, so every message
    /// would be refused, and none is to blame.
    Stranger,
    /// The topic does not exist.
    TopicMissing,
    /// The topic takes another message type.
    TopicType,
    /// The topic must not be written to, or not with this access key.
    TopicPermission,
    /// The message is too large or one of its parts is not what RocketMQ takes.
    OwnFault,
    /// Refused, and the code does not tell whether for the message's sake.
    Refused,
}

/// Words by which a broker says that it has too much to do or no room. Nothing was stored.
const BUSY: &[&str] = &[
    "broker busy",
    "system busy",
    "start flow control",
    "clean_queue",
    "disk is full",
    "too many requests",
];
/// Words for a topic that is not there.
const MISSING: &[&str] =
    &["no route info of this topic", "topic not exist", "not exist, apply first"];
/// Words for a topic that must not be written to.
const CLOSED: &[&str] = &["no writable queue", "no_permission", "sending message is forbidden"];
/// Words for a message that the broker itself finds wrong.
const ILLEGAL: &[&str] = &["message is illegal", "message_illegal", "properties size exceed"];

/// Whether a status with this code is of RocketMQ's kind, be it known or not.
pub fn is_rocketmqs(code: i32) -> bool {
    (OK..60_000).contains(&code)
}

/// Sorts a status.
pub fn meaning(code: i32, text: &str) -> Meaning {
    match code {
        OK => Meaning::Stored,
        40_004..=40_007 | 40_009 => Meaning::OwnFault,
        UNRECOGNIZED_CLIENT | CLIENT_ID_REQUIRED => Meaning::Stranger,
        // What 5.5.0 answers for a topic that is not there at all.
        TYPE_CONFLICT if says(text, &["expected type is unspecified"]) => Meaning::TopicMissing,
        TYPE_CONFLICT => Meaning::TopicType,
        // What 5.5.0's ACL answers to a user whose key is good but not for this topic.
        40_100..=40_199 if says(text, &["no permission to access topic"]) => {
            Meaning::TopicPermission
        }
        40_100..=40_299 => Meaning::Credentials,
        // Of the call's headers only the key, its token and the namespace can be large.
        HEADERS_TOO_LARGE => Meaning::Credentials,
        40_300..=40_399 if says(text, CLOSED) || says(text, &["topic"]) => Meaning::TopicPermission,
        40_300..=40_399 => Meaning::Credentials,
        40_400 | TOPIC_NOT_FOUND => Meaning::TopicMissing,
        40_800..=40_899 => Meaning::Uncertain,
        41_300..=41_399 | PROPERTIES_TOO_LARGE => Meaning::OwnFault,
        42_900..=42_999 => Meaning::Busy,
        40_000..=49_999 => Meaning::Refused,
        50_000..=50_099 => folded(text),
        50_100..=50_199 | 50_500..=50_599 => Meaning::Refused,
        _ => Meaning::Uncertain,
    }
}

/// The meaning of a server error, by the broker's words.
fn folded(text: &str) -> Meaning {
    if says(text, BUSY) {
        Meaning::Busy
    } else if says(text, MISSING) {
        Meaning::TopicMissing
    } else if says(text, CLOSED) {
        Meaning::TopicPermission
    } else if says(text, ILLEGAL) {
        Meaning::OwnFault
    } else {
        Meaning::Uncertain
    }
}

fn says(text: &str, words: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_codes_mean_what_the_interface_says() {
        for (code, expected) in [
            (20_000, Meaning::Stored),
            (40_000, Meaning::Refused),
            (40_002, Meaning::Refused),
            (40_004, Meaning::OwnFault),
            (40_007, Meaning::OwnFault),
            (40_014, Meaning::TopicType),
            (40_015, Meaning::Stranger),
            (40_016, Meaning::Refused),
            (40_017, Meaning::Stranger),
            (40_100, Meaning::Credentials),
            (40_200, Meaning::Credentials),
            (40_300, Meaning::Credentials),
            (40_400, Meaning::TopicMissing),
            (40_402, Meaning::TopicMissing),
            (40_403, Meaning::Refused),
            (40_800, Meaning::Uncertain),
            (41_301, Meaning::OwnFault),
            (41_302, Meaning::OwnFault),
            (42_800, Meaning::Refused),
            (42_900, Meaning::Busy),
            (43_100, Meaning::Credentials),
            (43_101, Meaning::OwnFault),
            (43_102, Meaning::Refused),
            (50_001, Meaning::Uncertain),
            (50_002, Meaning::Uncertain),
            (50_100, Meaning::Refused),
            (50_401, Meaning::Uncertain),
            (50_501, Meaning::Refused),
        ] {
            assert_eq!(meaning(code, ""), expected, "{code}");
        }
    }

    #[test]
    fn a_brokers_words_tell_what_50001_hides() {
        for (text, expected) in [
            ("[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control", Meaning::Busy),
            ("[PCBUSY_CLEAN_QUEUE]broker busy", Meaning::Busy),
            ("[REJECTREQUEST]system busy, start flow control", Meaning::Busy),
            ("service not available now, the broker's disk is full", Meaning::Busy),
            ("No route info of this topic: t", Meaning::TopicMissing),
            ("the topic[t] sending message is forbidden", Meaning::TopicPermission),
            ("the message is illegal, maybe msg body", Meaning::OwnFault),
            ("java.lang.NullPointerException", Meaning::Uncertain),
        ] {
            assert_eq!(meaning(50_001, text), expected, "{text}");
        }
    }

    #[test]
    fn a_type_conflict_with_no_type_is_a_missing_topic() {
        let text = |expected: &str| {
            format!("validate failed, the expected type is {expected}, but actual type is NORMAL")
        };
        assert_eq!(meaning(TYPE_CONFLICT, &text("UNSPECIFIED")), Meaning::TopicMissing);
        assert_eq!(meaning(TYPE_CONFLICT, &text("FIFO")), Meaning::TopicType);
    }

    #[test]
    fn a_refusal_that_names_the_topic_is_the_topics() {
        for (text, expected) in [
            ("ProxyException: no writable queue", Meaning::TopicPermission),
            ("User:gw has no permission to access Topic:ward", Meaning::TopicPermission),
            ("the account is suspended", Meaning::Credentials),
        ] {
            assert_eq!(meaning(40_300, text), expected, "{text}");
        }
        let denied =
            "User:gw has no permission to access Topic:ward from 10.0.0.7, no matched policies.";
        assert_eq!(meaning(40_100, denied), Meaning::TopicPermission);
        assert_eq!(meaning(40_100, "User:gw is disabled."), Meaning::Credentials);
    }

    #[test]
    fn unknown_codes_go_by_their_class() {
        for (code, expected) in [
            (40_199, Meaning::Credentials),
            (42_955, Meaning::Busy),
            (44_444, Meaning::Refused),
            (50_499, Meaning::Uncertain),
            (20_099, Meaning::Uncertain),
            (0, Meaning::Uncertain),
            (-1, Meaning::Uncertain),
            (i32::MAX, Meaning::Uncertain),
        ] {
            assert_eq!(meaning(code, "?"), expected, "{code}");
        }
    }

    proptest! {
        #[test]
        fn only_20000_is_ever_taken_for_stored(code: i32, text: String) {
            prop_assert_eq!(meaning(code, &text) == Meaning::Stored, code == OK);
        }
    }
}
