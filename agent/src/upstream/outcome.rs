//! What an answer means. Three kinds of trouble that are never mixed: link trouble costs no
//! attempts, a throttle slows the pace, record trouble goes to the dead letters behind a breaker.

use std::time::Duration;

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// RocketMQ has it.
    Delivered {
        /// The broker's id of the message.
        message_id: String,
    },
    /// The broker is busy or a rate is exceeded: slow down, same record later.
    Throttled {
        /// The broker's wish (Retry-After), if it gave one.
        after: Option<Duration>,
        /// Its words.
        reason: String,
    },
    /// The request did not get through: not stored.
    LinkDown {
        /// What failed.
        reason: String,
    },
    /// Something answered that is not RocketMQ, such as a captive portal: that a connection comes about
    /// proves nothing then.
    Stranger {
        /// What it is.
        reason: String,
        /// It is a gateway that failed, and may have passed the request on: it may be stored.
        passed_on: bool,
    },
    /// It may be stored: a deadline, a lost reply, a server error, a wrong MD5. Same id again.
    Unknown {
        /// What was seen.
        reason: String,
        /// Whether it speaks against the link (deadline, cut connection) rather than the broker.
        link: bool,
    },
    /// The broker refused this record.
    Rejected {
        /// The broker's code, such as `MalformedXML` or `40008`.
        code: String,
        /// Its words.
        reason: String,
        /// The code can only mean the record itself (its size, a property), never the lane or the
        /// account. Only such a refusal is dead-lettered without the breaker's count.
        own: bool,
    },
    /// The access key was refused, and another one is in use from now on: the same record again,
    /// at once. Not stored.
    OtherKey {
        /// The words of the refusal.
        reason: String,
    },
    /// An operator has to put something right; nothing of it is the record's fault.
    Misconfigured {
        /// What is held.
        scope: Scope,
        /// Hold code: `credentials`, `topic_missing`, `topic_type`, `permission`, `clock`.
        code: &'static str,
        /// The broker's words.
        reason: String,
    },
}

/// What a misconfiguration stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything: credentials, clock.
    Link,
    /// The topic's records: a missing topic, one of another type, no permission on it.
    Topic,
}
