//! Signature of a request: base64(HMAC-SHA1(secret, canonical string)).
//!
//! Traps that this module keeps: the MD5 line stays, empty, when that header is not sent; the
//! content type is signed byte for byte as sent; the resource is signed as on the request line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// What of a request is signed.
#[derive(Debug, Clone, Copy)]
pub struct Signable<'a> {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'a str,
    /// The `content-md5` header; empty when it is not sent.
    pub content_md5: &'a str,
    /// The `content-type` header; empty when it is not sent.
    pub content_type: &'a str,
    /// The `date` header.
    pub date: &'a str,
    /// Every `x-mq-*` header, its name in lower case, in any order.
    pub mq_headers: &'a [(&'a str, &'a str)],
    /// Path and query exactly as on the request line.
    pub resource: &'a str,
}

impl Signable<'_> {
    /// The string that is signed.
    pub fn canonical(&self) -> String {
        let mut text = format!(
            "{}\n{}\n{}\n{}\n",
            self.method, self.content_md5, self.content_type, self.date
        );
        let mut headers = self.mq_headers.to_vec();
        headers.sort_unstable();
        for (name, value) in headers {
            text.push_str(name);
            text.push(':');
            text.push_str(value);
            text.push('\n');
        }
        text + self.resource
    }

    /// The signature under `secret`, in base64.
    pub fn signature(&self, secret: &str) -> String {
        STANDARD.encode(self.mac(secret).finalize().into_bytes())
    }

    /// Whether `signature` (base64) is this request's under `secret`; takes the same time for
    /// every wrong one.
    pub fn verify(&self, secret: &str, signature: &str) -> bool {
        STANDARD.decode(signature).is_ok_and(|bytes| self.mac(secret).verify_slice(&bytes).is_ok())
    }

    fn mac(&self, secret: &str) -> Hmac<Sha1> {
        let key = secret.as_bytes();
        // HMAC takes keys of every length, so the fallback is never reached.
        let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(key)
            .unwrap_or_else(|_| <Hmac<Sha1> as KeyInit>::new(&Default::default()));
        mac.update(self.canonical().as_bytes());
        mac
    }
}

/// Value of the `authorization` header.
pub fn authorization(access_key: &str, signature: &str) -> String {
    format!("MQ {access_key}:{signature}")
}

/// Access key and signature of an `authorization` header; `None` if it has another form.
pub fn parse_authorization(header: &str) -> Option<(&str, &str)> {
    let (access_key, signature) = header.strip_prefix("MQ ")?.split_once(':')?;
    (!access_key.is_empty() && !signature.is_empty()).then_some((access_key, signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk-Example/Secret+Key";
    const DATE: &str = "Thu, 07 Mar 2024 18:49:58 GMT";
    const PUBLISH: &str = "/topics/edge_topic/messages?ns=MQ_INST_1_abc";
    const CONSUME: &str = "/topics/edge_topic/messages?consumer=GID_edge&ns=MQ_INST_1_abc\
                           &tag=TagA%7C%7CTagB&numOfMessages=16&waitseconds=30";
    const ACK: &str = "/topics/edge_topic/messages?consumer=GID_edge&ns=MQ_INST_1_abc";
    const LOWER: &str = "text/xml;charset=utf-8";
    const PUBLISH_MD5: &str = "MWE2NzgxMjEwZjRhNWMzN2NjY2YzMWU4YjczODRmMTI=";
    const ACK_MD5: &str = "NTk5MjdiNGEwM2Q0ZGVlZWQ3M2RhNWIxNDI0OWE0NmQ=";

    fn signable<'a>(
        method: &'a str,
        resource: &'a str,
        content_type: &'a str,
        content_md5: &'a str,
    ) -> Signable<'a> {
        Signable {
            method,
            content_md5,
            content_type,
            date: DATE,
            mq_headers: &[("x-mq-version", "2015-06-06")],
            resource,
        }
    }

    #[test]
    fn signatures_are_those_of_the_official_sdks() {
        let ordered = format!("{CONSUME}&trans=order");
        let upper = "text/xml;charset=UTF-8";
        for (number, request, expected) in [
            (1, signable("POST", PUBLISH, LOWER, ""), "yyJp5IHJrn/xVkui9G8PX2s2NGk="),
            (2, signable("POST", PUBLISH, upper, ""), "jD7R4llUp1746r+6KkxOHUucow4="),
            (3, signable("POST", PUBLISH, LOWER, PUBLISH_MD5), "flZ+FxSrMf4ogwqvRUZcoMjy1sI="),
            (4, signable("GET", CONSUME, LOWER, ""), "epY8s+MsDgpccRWA0gF91JJsllw="),
            (5, signable("GET", &ordered, LOWER, ""), "NF9TE/VySvvxCgZKElQdHs0Qz/A="),
            (6, signable("GET", CONSUME, "", ""), "SOYSavLboPIkoGxXDwe8RL09q9A="),
            (7, signable("DELETE", ACK, LOWER, ""), "MzaGjxc+ih8DRRLfyJm7BiswHKM="),
            (8, signable("DELETE", ACK, LOWER, ACK_MD5), "e07wtzb3TgRGCG9XAxzw+xnC1bo="),
        ] {
            assert_eq!(request.signature(SECRET), expected, "vector {number}");
            assert!(request.verify(SECRET, expected), "vector {number}");
            assert!(!request.verify("another", expected), "vector {number}");
        }
    }

    #[test]
    fn a_truncated_or_garbled_signature_is_not_verified() {
        let request = signable("POST", PUBLISH, LOWER, "");
        for wrong in ["", "yyJp", "not base64!", "yyJp5IHJrn/xVkui9G8PX2s2NGg="] {
            assert!(!request.verify(SECRET, wrong), "{wrong}");
        }
    }

    #[test]
    fn mq_headers_are_signed_in_the_order_of_their_names() {
        let mut request = signable("POST", "/r", "", "");
        request.mq_headers = &[("x-mq-version", "v"), ("x-mq-a", "1")];
        let expected = format!("POST\n\n\n{DATE}\nx-mq-a:1\nx-mq-version:v\n/r");
        assert_eq!(request.canonical(), expected);
    }

    #[test]
    fn an_authorization_header_is_read_as_it_is_written() {
        let header = authorization("ak", "c2ln");
        assert_eq!(parse_authorization(&header), Some(("ak", "c2ln")));
        for wrong in ["MQ ak", "MQ :c2ln", "MQ ak:", "Basic ak:c2ln", ""] {
            assert_eq!(parse_authorization(wrong), None, "{wrong}");
        }
    }
}
