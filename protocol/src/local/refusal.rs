//! Why a record or a request was refused.

use serde::{Deserialize, Serialize};

use crate::record::{Fault, RecordError};

/// The kind of a refusal. JSON carries its name, frames its place in this list: new ones go to
/// the end, together with a new frame version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not JSON, not a frame, not HTTP.
    Malformed,
    /// A field of the record is wrong.
    BadRecord,
    /// There is no such lane.
    UnknownLane,
    /// Promised, but not built yet.
    NotBuiltYet,
    /// Larger than a record may be.
    TooLarge,
    /// The id was used for another body.
    IdReused,
    /// This client may not do this.
    NotAllowed,
    /// Over this client's rate.
    OverRate,
    /// Quota or disk full.
    DiskFull,
    /// The disk fails or stalls.
    DiskFailed,
    /// The agent is stopping.
    Stopping,
    /// The agent's memory or its connections are used up.
    Overloaded,
    /// An earlier record of the same order key was refused, so this one was not tried.
    NotAttempted,
    /// There is nothing at this path.
    NotFound,
    /// The path knows other methods.
    MethodNotAllowed,
    /// The content type is none of those a record may have.
    UnsupportedMediaType,
    /// The client was too slow.
    Timeout,
    /// No frame version is known to both sides.
    IncompatibleVersion,
    /// No token, or nobody's. Only over TCP, where there are no frames.
    NoToken,
}

impl Code {
    /// The HTTP status that says the same.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::BadRecord | Self::UnknownLane | Self::NotBuiltYet => 400,
            Self::NoToken => 401,
            Self::NotAllowed => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::NotAttempted => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::IdReused => 422,
            Self::IncompatibleVersion => 426,
            Self::OverRate => 429,
            Self::DiskFailed | Self::Stopping | Self::Overloaded => 503,
            Self::DiskFull => 507,
        }
    }

    /// Seconds after which the same record may be taken; `None` where repeating does not help.
    pub fn retry_after_s(self) -> Option<u32> {
        match self {
            Self::OverRate | Self::Overloaded => Some(1),
            Self::DiskFailed | Self::Stopping => Some(5),
            Self::DiskFull => Some(30),
            _ => None,
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// A refusal. Nothing was stored, unless the message says that it may have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{code}: {}{message}", .field.as_ref().map(|f| format!("{f} ")).unwrap_or_default())]
pub struct Refusal {
    /// The kind.
    pub code: Code,
    /// The field that is to blame, as the client named it.
    pub field: Option<String>,
    /// One sentence for a person.
    pub message: String,
}

impl Refusal {
    /// A refusal that no single field is to blame for.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, field: None, message: message.into() }
    }

    /// A refusal because of `field`.
    pub fn of(field: impl Into<String>, code: Code, message: impl Into<String>) -> Self {
        Self { code, field: Some(field.into()), message: message.into() }
    }

    /// Seconds after which the same record may be taken.
    pub fn retry_after_s(&self) -> Option<u32> {
        self.code.retry_after_s()
    }

    /// `{"error":{"code","field","message"}}`, without a line end.
    pub fn to_json(&self) -> String {
        serde_json::json!({ "error": self }).to_string()
    }
}

impl From<RecordError> for Refusal {
    fn from(error: RecordError) -> Self {
        let code = match (error.field.as_str(), error.fault) {
            ("body", Fault::TooLong) => Code::TooLarge,
            _ => Code::BadRecord,
        };
        Self::of(error.field, code, error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_line_has_the_documented_names() {
        let refusal = Refusal::of("id", Code::IdReused, "was used");
        assert_eq!(
            refusal.to_json(),
            r#"{"error":{"code":"id_reused","field":"id","message":"was used"}}"#
        );
        assert_eq!(refusal.to_string(), "id_reused: id was used");
    }

    #[test]
    fn the_statuses_that_ask_for_a_retry_say_when() {
        for code in
            [Code::OverRate, Code::DiskFull, Code::Stopping, Code::DiskFailed, Code::Overloaded]
        {
            assert!(matches!(code.status(), 429 | 503 | 507), "{code}");
            assert!(code.retry_after_s().is_some(), "{code}");
        }
        assert_eq!(Code::BadRecord.retry_after_s(), None);
    }

    #[test]
    fn a_body_too_long_is_413_and_any_other_fault_400() {
        let long = RecordError::new("body", Fault::TooLong, "x");
        assert_eq!(Refusal::from(long).code.status(), 413);
        let long = RecordError::new("id", Fault::TooLong, "x");
        assert_eq!(Refusal::from(long).code.status(), 400);
    }
}
