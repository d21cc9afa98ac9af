//! The intake's refusals in MQ's codes, so that the SDKs do what is right: those that try again
//! by themselves do so on 500 and 503, and apps on the codes that MQ says to try again on.

use spillway_protocol::local::{Code as Kind, Refusal as Local};
use spillway_protocol::rocketmq::http::fault::Code;

use crate::mq_http::Refusal;

impl From<Local> for Refusal {
    fn from(refusal: Local) -> Self {
        let code = match refusal.code {
            Kind::Malformed => Code::MalformedXML,
            Kind::BadRecord
            | Kind::UnknownLane
            | Kind::NotBuiltYet
            | Kind::TooLarge
            | Kind::IdReused
            | Kind::NotAttempted
            | Kind::UnsupportedMediaType
            | Kind::IncompatibleVersion => Code::InvalidArgument,
            Kind::NotAllowed | Kind::NoToken => Code::AccessDenied,
            Kind::NotFound | Kind::MethodNotAllowed => Code::InvalidRequestURL,
            Kind::Timeout => Code::RequestTimeout,
            Kind::OverRate | Kind::Overloaded => Code::QpsLimitExceeded,
            Kind::DiskFull | Kind::DiskFailed | Kind::Stopping => Code::InternalError,
        };
        let message = match &refusal.field {
            Some(field) => format!("{field} {}", refusal.message),
            None => refusal.message.clone(),
        };
        let mut answer = Self::new(code, message);
        if let Some(seconds) = refusal.retry_after_s() {
            answer = answer.after(seconds.into());
            answer.status = 503;
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_later_is_503_with_a_time_and_what_never_will_is_not() {
        for (kind, code, status, after_s) in [
            (Kind::Overloaded, Code::QpsLimitExceeded, 503, Some(1)),
            (Kind::OverRate, Code::QpsLimitExceeded, 503, Some(1)),
            (Kind::DiskFull, Code::InternalError, 503, Some(30)),
            (Kind::DiskFailed, Code::InternalError, 503, Some(5)),
            (Kind::Stopping, Code::InternalError, 503, Some(5)),
            (Kind::BadRecord, Code::InvalidArgument, 400, None),
            (Kind::TooLarge, Code::InvalidArgument, 400, None),
            (Kind::NotAllowed, Code::AccessDenied, 403, None),
            (Kind::Timeout, Code::RequestTimeout, 408, None),
        ] {
            let refusal = Refusal::from(Local::of("field", kind, "is wrong"));
            let said = (refusal.code, refusal.status, refusal.retry_after_s);
            assert_eq!(said, (code, status, after_s), "{kind}");
            assert_eq!(refusal.message, "field is wrong");
        }
    }
}
