//! A signed request. What is signed is built once and sent as it is.

use std::error::Error;
use std::time::{Duration, UNIX_EPOCH};

use reqwest::{Client, Method, RequestBuilder};

use crate::consumer::{Credentials, FeedError};
use crate::rocketmq::http::sign::{Signable, authorization};
use crate::rocketmq::http::{CONTENT_TYPE, VERSION, VERSION_HEADER};

/// What is asked.
pub(super) struct Request<'a> {
    pub(super) method: &'static str,
    pub(super) resource: &'a str,
    pub(super) body: String,
}

impl Request<'_> {
    /// The request to send, signed as of `server_ms`.
    pub(super) fn sign(
        &self,
        client: &Client,
        origin: &str,
        credentials: &Credentials,
        server_ms: u64,
    ) -> RequestBuilder {
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(server_ms));
        let signable = Signable {
            method: self.method,
            content_md5: "",
            content_type: CONTENT_TYPE,
            date: &date,
            mq_headers: &[(VERSION_HEADER, VERSION)],
            resource: self.resource,
        };
        let signature = signable.signature(&credentials.secret);
        let method = if self.method == "DELETE" { Method::DELETE } else { Method::GET };
        let request = client
            .request(method, format!("{origin}{}", self.resource))
            .header("content-type", CONTENT_TYPE)
            .header(VERSION_HEADER, VERSION)
            .header("authorization", authorization(&credentials.id, &signature))
            .header("date", date)
            .body(self.body.clone());
        match &credentials.security_token {
            Some(token) => request.header("security-token", token),
            None => request,
        }
    }
}

/// A request that brought no answer. The innermost cause tells a person most.
pub(super) fn failure(error: &reqwest::Error) -> FeedError {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if error.is_builder() {
        let words = format!("the access key or token cannot travel in a header: {innermost}");
        return FeedError::Refused(words);
    }
    FeedError::Link(innermost.to_string())
}
