//! A signed request. What is signed is built once and sent as it is.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use spillway_protocol::rocketmq::http::sign::{Signable, authorization};
use spillway_protocol::rocketmq::http::{CONTENT_TYPE, VERSION, VERSION_HEADER};

use crate::config::{Credentials, Endpoint};

const USER_AGENT: &str = concat!("spillway/", env!("CARGO_PKG_VERSION"));

/// Method, resource and the headers that prove who asks.
pub(super) struct Signed<'a> {
    method: &'static str,
    resource: &'a str,
    date: String,
    authorization: String,
    credentials: &'a Credentials,
}

impl<'a> Signed<'a> {
    /// Signs a request as of `server_ms`, ms since 1970 by the server's clock.
    pub(super) fn new(
        method: &'static str,
        resource: &'a str,
        credentials: &'a Credentials,
        server_ms: u64,
    ) -> Self {
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(server_ms));
        let signable = Signable {
            method,
            content_md5: "",
            content_type: CONTENT_TYPE,
            date: &date,
            mq_headers: &[(VERSION_HEADER, VERSION)],
            resource,
        };
        let signature = signable.signature(credentials.secret.reveal());
        let authorization = authorization(&credentials.id, &signature);
        Self { method, resource, date, authorization, credentials }
    }

    /// The request to send.
    ///
    /// # Errors
    /// A header cannot carry its text: a secret file holds a line break, say.
    pub(super) fn into_request(
        self,
        endpoint: &Endpoint,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("{}{}", endpoint.url(), self.resource))
            .header("user-agent", USER_AGENT)
            .header("date", self.date)
            .header("content-type", CONTENT_TYPE)
            .header(VERSION_HEADER, VERSION)
            .header("authorization", self.authorization);
        if let Some(token) = &self.credentials.security_token {
            request = request.header("security-token", token.reveal());
        }
        request.body(Full::new(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn credentials(token: Option<&str>) -> Credentials {
        Credentials {
            id: "AKIDEXAMPLE".into(),
            secret: Secret::new("sk-Example/Secret+Key"),
            security_token: token.map(Secret::new),
        }
    }

    #[test]
    fn the_request_carries_the_known_signature_and_the_resource_untouched() {
        let resource = "/topics/edge_topic/messages?ns=MQ_INST_1_abc";
        let credentials = credentials(Some("sts"));
        let signed = Signed::new("POST", resource, &credentials, 1_709_837_398_000);
        let endpoint = Endpoint { host: "::1".into(), port: 80, tls: false };
        let request = signed.into_request(&endpoint, Bytes::new()).unwrap();
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("date"), "Thu, 07 Mar 2024 18:49:58 GMT");
        assert_eq!(header("authorization"), "MQ AKIDEXAMPLE:yyJp5IHJrn/xVkui9G8PX2s2NGk=");
        assert_eq!(header("security-token"), "sts");
        assert_eq!(request.uri(), format!("http://[::1]:80{resource}").as_str());
    }
}
