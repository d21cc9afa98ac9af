//! An answer that refuses: a code of the API and one sentence.

use spillway_protocol::rocketmq::http::delay::DelayError;
use spillway_protocol::rocketmq::http::fault::{Code, ErrorBody};
use spillway_protocol::rocketmq::http::properties::{PropertyError, SortError};
use spillway_protocol::rocketmq::http::resource::ResourceError;
use spillway_protocol::rocketmq::http::xml::XmlError;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    /// HTTP status; the code's own unless said otherwise.
    pub(crate) status: u16,
    pub(crate) message: String,
    /// Seconds for a `Retry-After` header.
    pub(crate) retry_after_s: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, status: code.status(), message: message.into(), retry_after_s: None }
    }

    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// The same, to be asked again after `seconds`: what would be 500 is 503.
    pub(crate) fn after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        if self.status == 500 {
            self.status = 503;
        }
        self
    }

    pub(crate) fn to_xml(&self, request_id: &str, host: &str) -> String {
        let body = ErrorBody {
            code: self.code.as_str().to_owned(),
            message: self.message.clone(),
            request_id: request_id.to_owned(),
            host_id: host.to_owned(),
        };
        body.to_xml()
    }
}

impl From<PropertyError> for Refusal {
    fn from(error: PropertyError) -> Self {
        Self::argument(error.to_string())
    }
}

impl From<SortError> for Refusal {
    fn from(error: SortError) -> Self {
        Self::argument(error.to_string())
    }
}

impl From<DelayError> for Refusal {
    fn from(error: DelayError) -> Self {
        Self::argument(error.to_string())
    }
}

impl From<XmlError> for Refusal {
    fn from(error: XmlError) -> Self {
        Self::new(Code::MalformedXML, error.to_string())
    }
}

impl From<ResourceError> for Refusal {
    fn from(error: ResourceError) -> Self {
        let code = match error {
            ResourceError::Url => Code::InvalidRequestURL,
            ResourceError::Query => Code::InvalidQueryString,
        };
        Self::new(code, error.to_string())
    }
}
