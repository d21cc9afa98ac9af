//! An answer that refuses: a code of the API and one sentence.

use spillway_protocol::rocketmq::http::fault::{Code, ErrorBody};
use spillway_protocol::rocketmq::http::resource::ResourceError;
use spillway_protocol::rocketmq::http::xml::XmlError;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
    /// Seconds for a `Retry-After` header.
    pub(super) retry_after_s: Option<u64>,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_s: None }
    }

    pub(super) fn argument(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub(super) fn to_xml(&self, request_id: &str, host: &str) -> String {
        let body = ErrorBody {
            code: self.code.as_str().to_owned(),
            message: self.message.clone(),
            request_id: request_id.to_owned(),
            host_id: host.to_owned(),
        };
        body.to_xml()
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

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::new(Code::InternalError, format!("the broker's folder: {error}"))
    }
}
