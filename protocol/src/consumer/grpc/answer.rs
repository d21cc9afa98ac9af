//! What statuses mean for a consumer.

use tonic::Code;

use crate::consumer::{AckFailure, FeedError, Receipt};
use crate::rocketmq::grpc::code::{self, MULTIPLE_RESULTS, OK, UNRECOGNIZED_CLIENT};
use crate::rocketmq::grpc::v2;

/// A receipt is used up, expired or garbled.
const INVALID_RECEIPT: i32 = 40_013;
/// Nothing to receive, or what was to be acknowledged is gone.
const MESSAGE_NOT_FOUND: i32 = 40_401;
/// The group is missing.
const GROUP_NOT_FOUND: i32 = 40_403;
/// What a broker says of a receipt whose time is over.
const EXPIRED_WORDS: &[&str] = &["invisible time", "receipt", "handle", "checkpoint"];

/// A call without an answer of RocketMQ's.
pub(super) fn failure(status: &tonic::Status) -> FeedError {
    let words = words(status);
    match status.code() {
        // 5.5.0 answers settings of a group that does not exist with the second.
        Code::Unauthenticated | Code::InvalidArgument | Code::PermissionDenied => {
            FeedError::Refused(words)
        }
        Code::ResourceExhausted => FeedError::Busy(words),
        _ => FeedError::Link(words),
    }
}

fn words(status: &tonic::Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => source.to_string(),
        None => format!("gRPC {:?}: {}", status.code(), status.message()),
    }
}

/// The status of a receive. Nothing to receive is none.
pub(super) fn received(status: Option<&v2::Status>) -> Result<(), FeedError> {
    match status {
        Some(status) if status.code == MESSAGE_NOT_FOUND => Ok(()),
        status => plain(status),
    }
}

/// The status of an answer that has nothing else.
pub(super) fn plain(status: Option<&v2::Status>) -> Result<(), FeedError> {
    let Some(status) = status else {
        return Err(FeedError::Link("an answer without a status".to_owned()));
    };
    let words = format!("{} {}", status.code, status.message);
    if status.code == OK {
        return Ok(());
    }
    if is_about_receipt(status) {
        return Err(FeedError::Receipt(words));
    }
    Err(match code::meaning(status.code, &status.message) {
        code::Meaning::Stored => return Ok(()),
        _ if lost_session(status) => FeedError::Link(words),
        code::Meaning::Busy | code::Meaning::Uncertain => FeedError::Busy(words),
        _ => FeedError::Refused(words),
    })
}

/// Whether the server does not know this client's settings (any more): the connection is to be
/// begun anew.
pub(super) fn lost_session(status: &v2::Status) -> bool {
    status.code == UNRECOGNIZED_CLIENT || status.message.contains("NullPointerException")
}

fn is_about_receipt(status: &v2::Status) -> bool {
    let text = status.message.to_ascii_lowercase();
    match status.code {
        INVALID_RECEIPT | MESSAGE_NOT_FOUND => true,
        GROUP_NOT_FOUND => false,
        50_000..=50_099 => EXPIRED_WORDS.iter().any(|words| text.contains(words)),
        _ => false,
    }
}

/// Which of `receipts` were not acknowledged.
pub(super) fn ack_failures(
    receipts: &[Receipt],
    answer: &v2::AckMessageResponse,
) -> Result<Vec<AckFailure>, FeedError> {
    let whole = answer.status.as_ref();
    if whole.is_none_or(|status| status.code != MULTIPLE_RESULTS) {
        plain(whole)?;
    }
    let of = |receipt: &Receipt| {
        let entry = answer.entries.iter().find(|e| e.receipt_handle == receipt.handle)?;
        let error = plain(entry.status.as_ref()).err()?;
        let again = !matches!(error, FeedError::Receipt(_));
        Some(AckFailure { receipt: receipt.clone(), reason: error.to_string(), again })
    };
    Ok(receipts.iter().filter_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: i32, message: &str) -> v2::Status {
        v2::Status { code, message: message.to_owned() }
    }

    #[test]
    fn statuses_are_sorted_for_a_consumer() {
        let said = |code, text| plain(Some(&status(code, text)));
        assert_eq!(said(OK, ""), Ok(()));
        assert!(matches!(said(40_013, "x"), Err(FeedError::Receipt(_))));
        assert!(matches!(said(50_001, "receipt handle is expired"), Err(FeedError::Receipt(_))));
        assert!(matches!(said(50_001, "java.lang.NullPointerException"), Err(FeedError::Link(_))));
        assert!(matches!(said(40_015, "x"), Err(FeedError::Link(_))));
        assert!(matches!(said(42_900, "x"), Err(FeedError::Busy(_))));
        assert!(matches!(said(50_400, "x"), Err(FeedError::Busy(_))));
        for code in [40_100, 40_300, 40_402, 40_403, 40_010] {
            assert!(matches!(said(code, "x"), Err(FeedError::Refused(_))), "{code}");
        }
        assert_eq!(received(Some(&status(40_401, "no new message"))), Ok(()));
        assert!(plain(None).is_err());
    }

    #[test]
    fn each_entry_of_an_acknowledgement_counts() {
        let receipt = |handle: &str| Receipt { handle: handle.into(), ..Receipt::default() };
        let receipts = [receipt("a"), receipt("b"), receipt("c")];
        let entry = |handle: &str, code| v2::AckMessageResultEntry {
            receipt_handle: handle.into(),
            status: Some(status(code, "words")),
            ..v2::AckMessageResultEntry::default()
        };
        let answer = v2::AckMessageResponse {
            status: Some(status(MULTIPLE_RESULTS, "")),
            entries: vec![entry("a", OK), entry("b", 40_013), entry("c", 50_400)],
        };
        let failures = ack_failures(&receipts, &answer).unwrap();
        let found: Vec<_> = failures.iter().map(|f| (f.receipt.handle.as_str(), f.again)).collect();
        assert_eq!(found, [("b", false), ("c", true)]);
    }
}
