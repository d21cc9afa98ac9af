//! Error answers: their codes, and what each means. The *code* decides before the status, since
//! `QpsLimitExceeded` comes as 400 among the permanent ones.

use super::xml::{self, Element, XmlError};

/// What an error answer means for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Too fast: slow down, then the same again.
    Throttle,
    /// The request's date is too far from the server's.
    Clock,
    /// The key or its signature, so every request: an operator's matter.
    Credentials,
    /// The key is right but may not do this here; on other topics it may: an operator's matter.
    Forbidden,
    /// The topic (or the subscription) does not exist: an operator's matter.
    Missing,
    /// A consumer found nothing; no fault at all.
    Empty,
    /// The server failed; it may have stored the message.
    Server,
    /// This request will never be accepted as it is.
    Refused,
    /// A receipt handle is expired, used up or wrong.
    Handle,
}

macro_rules! codes {
    ($($code:ident, $status:literal, $meaning:ident;)*) => {
        /// Codes of the MQ HTTP API (and of its twin MNS, where MQ's own list is silent).
        #[allow(missing_docs)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($code,)* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// The code as it is written.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$code => stringify!($code),)* }
            }

            /// The status it comes with; where no document says, the likeliest.
            pub fn status(self) -> u16 {
                match self { $(Self::$code => $status,)* }
            }

            /// What it means.
            pub fn meaning(self) -> Meaning {
                match self { $(Self::$code => Meaning::$meaning,)* }
            }
        }
    };
}

codes! {
    InvalidAuthorizationHeader, 400, Credentials;
    MissingAuthorizationHeader, 400, Credentials;
    InvalidDateHeader, 400, Clock;
    MissingDateHeader, 400, Clock;
    InvalidArgument, 400, Refused;
    InvalidDigest, 400, Refused;
    InvalidDegist, 400, Refused;
    InvalidRequestURL, 400, Refused;
    InvalidQueryString, 400, Refused;
    MalformedXML, 400, Refused;
    InvalidContent, 400, Refused;
    MissingReceiptHandle, 400, Handle;
    ReceiptHandleError, 400, Handle;
    AckMessageFail, 400, Handle;
    AckFail, 400, Handle;
    QpsLimitExceeded, 400, Throttle;
    AccessDenied, 403, Forbidden;
    InvalidAccessKeyId, 403, Credentials;
    InvalidSecurityToken, 403, Credentials;
    SignatureDoesNotMatch, 403, Credentials;
    HTTPForbidden, 403, Forbidden;
    MessageNotExist, 404, Empty;
    TopicNotExist, 404, Missing;
    SubscriptionNotExist, 404, Missing;
    TimeExpired, 408, Clock;
    RequestTimeout, 408, Server;
    StateConflict, 409, Server;
    InternalError, 500, Server;
    InternalServerError, 500, Server;
}

impl Code {
    /// The code called `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl Meaning {
    /// What an error answer means: by its code if that is known, or names the key or its token;
    /// else by its status.
    pub fn of(status: u16, code: Option<&str>) -> Self {
        match (code.and_then(Code::parse), code) {
            (Some(known), _) => known.meaning(),
            (None, Some(code)) if names_key(code) => Self::Credentials,
            _ => Self::of_status(status),
        }
    }

    fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Credentials,
            403 => Self::Forbidden,
            404 => Self::Missing,
            408 | 500.. => Self::Server,
            429 => Self::Throttle,
            _ => Self::Refused,
        }
    }
}

/// No page lists what is said of a token of STS that has ended; elsewhere the provider says
/// `InvalidSecurityToken.Expired`, `SecurityTokenExpired`, `InvalidAccessKeyId.NotFound`.
fn names_key(code: &str) -> bool {
    code.contains("SecurityToken") || code.starts_with("InvalidAccessKeyId")
}

/// The body of an error answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorBody {
    /// Code as written; see [`Code::parse`].
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Id of the request, for the provider's support.
    pub request_id: String,
    /// Host that answered.
    pub host_id: String,
}

impl ErrorBody {
    /// The answer's body.
    pub fn to_xml(&self) -> String {
        xml::answer("Error", |out| {
            xml::push_field(out, "Code", &self.code);
            xml::push_field(out, "Message", &self.message);
            xml::push_field(out, "RequestId", &self.request_id);
            xml::push_field(out, "HostId", &self.host_id);
        })
    }

    /// Reads an answer's body. Anything but MQ's own error document is an error here, and the
    /// status alone has to do.
    pub fn parse(text: &str) -> Result<Self, XmlError> {
        let root = Element::parse(text, "Error")?;
        let field = |name| root.field(name).unwrap_or_default().trim().to_owned();
        Ok(Self {
            code: root.required("Code")?.trim().to_owned(),
            message: field("Message"),
            request_id: field("RequestId"),
            host_id: field("HostId"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_before_the_status() {
        assert_eq!(Meaning::of(400, Some("QpsLimitExceeded")), Meaning::Throttle);
        assert_eq!(Meaning::of(403, Some("TimeExpired")), Meaning::Clock);
        assert_eq!(Meaning::of(404, Some("MessageNotExist")), Meaning::Empty);
        assert_eq!(Meaning::of(400, Some("TopicNotExist")), Meaning::Missing);
    }

    #[test]
    fn a_code_that_names_the_key_or_its_token_is_about_them() {
        for code in
            ["InvalidSecurityToken.Expired", "SecurityTokenExpired", "InvalidAccessKeyId.NotFound"]
        {
            assert_eq!(Meaning::of(403, Some(code)), Meaning::Credentials, "{code}");
        }
        assert_eq!(Meaning::of(403, Some("TokenBucketEmpty")), Meaning::Forbidden);
    }

    #[test]
    fn unknown_codes_and_bodies_fall_back_on_the_status() {
        for (status, meaning) in [
            (400, Meaning::Refused),
            (401, Meaning::Credentials),
            (403, Meaning::Forbidden),
            (404, Meaning::Missing),
            (408, Meaning::Server),
            (429, Meaning::Throttle),
            (503, Meaning::Server),
        ] {
            assert_eq!(Meaning::of(status, Some("BrandNew")), meaning, "{status}");
            assert_eq!(Meaning::of(status, None), meaning, "{status}");
        }
    }

    #[test]
    fn every_code_is_found_by_its_name_in_both_spellings() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(*code));
        }
        assert_eq!(Code::parse("InvalidDigest").unwrap().meaning(), Meaning::Refused);
        assert_eq!(Code::parse("InvalidDegist").unwrap().meaning(), Meaning::Refused);
        assert_eq!(Code::parse("invaliddigest"), None);
    }

    #[test]
    fn an_error_body_is_read_as_it_is_written_and_a_web_page_is_none() {
        let body = ErrorBody {
            code: "TopicNotExist".into(),
            message: "no <topic>".into(),
            request_id: "R".into(),
            host_id: "http://h".into(),
        };
        assert_eq!(ErrorBody::parse(&body.to_xml()), Ok(body));
        assert!(ErrorBody::parse("<html><head><title>502</title></head></html>").is_err());
        assert!(ErrorBody::parse("<Error><Message>x</Message></Error>").is_err());
    }
}
