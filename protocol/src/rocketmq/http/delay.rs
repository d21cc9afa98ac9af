//! A delivery that is put off: [`super::properties::START_DELIVER_TIME`] and MQ's limits on it.
//!
//! The time is absolute. The broker keeps the message until then; one that reaches it later is
//! handed out at once.

use std::time::Duration;

/// Largest body of a message that is to be delivered later, in bytes.
pub const BODY_MAX: usize = 64 * 1024;
/// Furthest that a delivery may be put off.
pub const AHEAD_MAX: Duration = Duration::from_secs(40 * 24 * 3600);

/// Why a delivery cannot be put off as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DelayError {
    /// Not a number.
    #[error("__STARTDELIVERTIME is not a number of ms since 1970")]
    Form,
    /// Beyond [`AHEAD_MAX`].
    #[error("__STARTDELIVERTIME is more than 40 days ahead, which is the most MQ takes")]
    Far,
    /// The body is larger than [`BODY_MAX`].
    #[error(
        "a delayed message has at most 64 KiB; send it without __STARTDELIVERTIME, or split it"
    )]
    Body,
}

/// Proves a time of delivery as written; ms since 1970.
pub fn parse(text: &str, body_bytes: usize, now_ms: u64) -> Result<u64, DelayError> {
    let at_ms: u64 = text.parse().map_err(|_| DelayError::Form)?;
    if u128::from(at_ms.saturating_sub(now_ms)) > AHEAD_MAX.as_millis() {
        return Err(DelayError::Far);
    }
    if body_bytes > BODY_MAX {
        return Err(DelayError::Body);
    }
    Ok(at_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_767_225_600_000;

    #[test]
    fn past_and_near_times_pass_and_each_limit_has_its_error() {
        let far_ms = NOW_MS + 40 * 24 * 3_600_000;
        assert_eq!(parse("5", 1, NOW_MS), Ok(5));
        assert_eq!(parse(&far_ms.to_string(), BODY_MAX, NOW_MS), Ok(far_ms));
        assert_eq!(parse(&(far_ms + 1).to_string(), 1, NOW_MS), Err(DelayError::Far));
        assert_eq!(parse("5", BODY_MAX + 1, NOW_MS), Err(DelayError::Body));
        for text in ["", "soon", "-5", "1.5"] {
            assert_eq!(parse(text, 1, NOW_MS), Err(DelayError::Form), "{text}");
        }
    }
}
