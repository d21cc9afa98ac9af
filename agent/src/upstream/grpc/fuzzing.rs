//! RocketMQ's answers, for fuzzing (`fuzz/`): whatever comes, nothing panics.

use spillway_protocol::fuzzing::send_answer;

use super::answer::{outcome, wants_new_session};
use crate::upstream::Outcome;

/// An answer to a message, or to several.
///
/// # Panics
/// If it counts as delivered though nothing in it says so.
pub fn answers(bytes: &[u8]) {
    let Some(response) = send_answer(bytes) else { return };
    let _ = wants_new_session(&response);
    for count in [1, 3] {
        let delivered = matches!(outcome(&response, count), Outcome::Delivered { .. });
        let said = response.entries.iter().any(|entry| entry.status.is_some());
        assert!(!delivered || said, "delivered only if an entry says so");
    }
}
