//! What an answer means for the record. Pure.

use std::error::Error;

use spillway_protocol::dial::wire::{self, WireError};
use spillway_protocol::rocketmq::grpc::code::{MULTIPLE_RESULTS, Meaning, OK, meaning};
use spillway_protocol::rocketmq::grpc::v2;
use tonic::{Code, Status};

use crate::upstream::{Outcome, Scope};

/// Servers put whole stack traces into their words.
const WORDS_MAX_CHARS: usize = 300;

/// What became of the messages of a request that was answered, of which there were `count`. They
/// are delivered only if their own entries say so: the status over all of them does not.
///
/// A batch has one entry for all of it from the servers of today (5.5.0 and before), and one for
/// each from those that put that right.
pub(super) fn outcome(response: &v2::SendMessageResponse, count: usize) -> Outcome {
    let status = response.status.clone().unwrap_or_default();
    let entries = &response.entries[..];
    if !matches!(status.code, OK | MULTIPLE_RESULTS) {
        return sorted(status.code, &status.message, "");
    }
    if entries.is_empty() || ![1, count].contains(&entries.len()) {
        let reason = format!("{} results for {count} messages", entries.len());
        return Outcome::Unknown { reason, link: false };
    }
    let mut outcomes: Vec<Outcome> = entries.iter().map(of_entry).collect();
    let stored = |outcome: &Outcome| matches!(outcome, Outcome::Delivered { .. });
    match outcomes.iter().filter(|outcome| stored(outcome)).count() {
        0 => outcomes.remove(0),
        all if all == outcomes.len() => outcomes.remove(0),
        some => {
            let reason = format!("{some} of {count} messages were stored, and not which");
            Outcome::Unknown { reason, link: false }
        }
    }
}

fn of_entry(entry: &v2::SendResultEntry) -> Outcome {
    let status = entry.status.clone().unwrap_or_default();
    sorted(status.code, &status.message, &entry.message_id)
}

/// Whether the server has lost this client's session, or never had it.
pub(super) fn wants_new_session(response: &v2::SendMessageResponse) -> bool {
    let entries = response.entries.iter().map(|entry| &entry.status);
    let mut statuses = entries.chain([&response.status]).flatten();
    statuses.any(|status| meaning(status.code, &status.message) == Meaning::Stranger)
}

fn sorted(code: i32, text: &str, message_id: &str) -> Outcome {
    let words = brief(text);
    let reason = format!("{code}: {words}");
    match meaning(code, text) {
        Meaning::Stored => Outcome::Delivered { message_id: message_id.to_owned() },
        Meaning::Busy => Outcome::Throttled { after: None, reason },
        Meaning::Uncertain | Meaning::Stranger => Outcome::Unknown { reason, link: false },
        Meaning::Credentials => misconfigured(Scope::Link, "credentials", reason),
        Meaning::TopicMissing => misconfigured(Scope::Topic, "topic_missing", reason),
        Meaning::TopicType => misconfigured(Scope::Topic, "topic_type", reason),
        Meaning::TopicPermission => misconfigured(Scope::Topic, "permission", reason),
        Meaning::OwnFault => rejected(code.to_string(), words, true),
        Meaning::Refused => rejected(code.to_string(), words, false),
    }
}

/// What a call without an answer of RocketMQ's own means. A status with a cause was made here,
/// of a connection that broke; one without came from the server.
pub(super) fn failure(status: &Status) -> Outcome {
    let reason = words(status);
    match wire::error_of(status) {
        Some(WireError::NotSent) => return Outcome::LinkDown { reason },
        Some(WireError::NotGrpc(_)) => return stranger(reason),
        Some(WireError::Cut(_)) => return Outcome::Unknown { reason, link: true },
        None => {}
    }
    if status.source().is_some() {
        return Outcome::Unknown { reason, link: true };
    }
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => {
            misconfigured(Scope::Link, "credentials", reason)
        }
        Code::ResourceExhausted => Outcome::Throttled { after: None, reason },
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => {
            Outcome::Unknown { reason, link: true }
        }
        // No such service, so it was not taken in.
        Code::Unimplemented => stranger(reason),
        Code::InvalidArgument | Code::FailedPrecondition | Code::NotFound => {
            rejected(format!("{:?}", status.code()), reason, false)
        }
        _ => Outcome::Unknown { reason, link: false },
    }
}

/// A status for people.
pub(super) fn words(status: &Status) -> String {
    match wire::error_of(status) {
        Some(error) => error.to_string(),
        None => format!("gRPC {:?}: {}", status.code(), brief(status.message())),
    }
}

fn rejected(code: String, reason: String, own: bool) -> Outcome {
    Outcome::Rejected { code, reason, own }
}

fn stranger(reason: String) -> Outcome {
    Outcome::Stranger { reason, passed_on: false }
}

fn misconfigured(scope: Scope, code: &'static str, reason: String) -> Outcome {
    Outcome::Misconfigured { scope, code, reason }
}

/// A server's words on one line of bearable length.
pub(super) fn brief(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn response(top: i32, entries: &[i32]) -> v2::SendMessageResponse {
        let status = |code: i32| v2::Status { code, message: "words".into() };
        let entry = |code: &i32| v2::SendResultEntry {
            status: Some(status(*code)),
            message_id: "m-1".into(),
            offset: 7,
        };
        v2::SendMessageResponse {
            status: Some(status(top)),
            entries: entries.iter().map(entry).collect(),
        }
    }

    fn kind(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Delivered { .. } => "delivered",
            Outcome::Throttled { .. } => "throttled",
            Outcome::LinkDown { .. } => "link down",
            Outcome::Stranger { .. } => "stranger",
            Outcome::Unknown { link: true, .. } => "unknown link",
            Outcome::Unknown { link: false, .. } => "unknown",
            Outcome::Rejected { own: true, .. } => "own fault",
            Outcome::Rejected { own: false, .. } => "refused",
            Outcome::OtherKey { .. } => "other key",
            Outcome::Misconfigured { code, .. } => code,
        }
    }

    #[test]
    fn the_entry_decides_where_there_is_one() {
        for (top, entries, expected) in [
            (20_000, &[20_000][..], "delivered"),
            (30_000, &[20_000], "delivered"),
            (30_000, &[42_900], "throttled"),
            (20_000, &[40_014], "topic_type"),
            (20_000, &[], "unknown"),
            (20_000, &[20_000, 20_000], "unknown"),
            (40_402, &[], "topic_missing"),
            (40_100, &[20_000], "credentials"),
            (43_100, &[], "credentials"),
            (43_101, &[], "own fault"),
            (40_015, &[], "unknown"),
            (20_000, &[40_017], "unknown"),
            (40_000, &[], "refused"),
            (50_400, &[], "unknown"),
        ] {
            assert_eq!(kind(&outcome(&response(top, entries), 1)), expected, "{top} {entries:?}");
        }
        let silent = v2::SendMessageResponse::default();
        assert_eq!(kind(&outcome(&silent, 1)), "unknown");
    }

    #[test]
    fn a_batch_is_delivered_only_if_all_of_it_is() {
        for (entries, expected) in [
            (&[20_000][..], "delivered"),
            (&[20_000, 20_000, 20_000], "delivered"),
            (&[20_000, 20_000], "unknown"),
            (&[], "unknown"),
            (&[20_000, 42_900, 20_000], "unknown"),
            (&[42_900, 42_900, 42_900], "throttled"),
            (&[40_004], "own fault"),
        ] {
            assert_eq!(kind(&outcome(&response(20_000, entries), 3)), expected, "{entries:?}");
        }
    }

    #[test]
    fn a_status_of_the_transport_is_never_the_records_fault() {
        for (status, expected) in [
            (Status::unauthenticated("no"), "credentials"),
            (Status::resource_exhausted("slow"), "throttled"),
            (Status::unavailable("gone"), "unknown link"),
            (Status::unimplemented("what?"), "stranger"),
            (Status::invalid_argument("bad"), "refused"),
            (Status::internal("oops"), "unknown"),
            (Status::from_error(Box::new(WireError::NotSent)), "link down"),
            (Status::from_error(Box::new(WireError::NotGrpc("page".into()))), "stranger"),
            (Status::from_error(Box::new(WireError::Cut("x".into()))), "unknown link"),
            (Status::from_error(Box::new(std::io::Error::other("x"))), "unknown link"),
        ] {
            assert_eq!(kind(&failure(&status)), expected, "{status:?}");
        }
    }

    #[test]
    fn a_servers_stack_trace_is_cut_to_a_line() {
        let text = "java.lang.NullPointerException\n\tat org.apache".repeat(100);
        let line = brief(&text);
        assert!(line.chars().count() == WORDS_MAX_CHARS && !line.contains('\n'));
    }

    proptest! {
        #[test]
        fn nothing_but_ok_twice_is_delivered(top: i32, entry: i32) {
            let delivered = kind(&outcome(&response(top, &[entry]), 1)) == "delivered";
            prop_assert_eq!(delivered, [OK, MULTIPLE_RESULTS].contains(&top) && entry == OK);
        }
    }
}
