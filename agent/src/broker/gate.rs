//! Who may pass: headers, date, version, signature, digest. Pure, and in MQ's own codes.

use std::time::{Duration, UNIX_EPOCH};

use hyper::http::request::Parts;
use spillway_protocol::rocketmq::http::digest::content_md5;
use spillway_protocol::rocketmq::http::fault::Code;
use spillway_protocol::rocketmq::http::sign::{Signable, parse_authorization};
use spillway_protocol::rocketmq::http::{VERSION, VERSION_HEADER};

use super::refusal::Refusal;
use crate::config::Secret;

/// A date further off than this is refused.
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

/// Lets a request pass whose headers, date, signature and digest are right.
pub(super) fn check(
    parts: &Parts,
    body: &[u8],
    access_keys: &[(String, Secret)],
    now_ms: u64,
) -> Result<(), Refusal> {
    let authorization = header(parts, "authorization");
    if authorization.is_empty() {
        return refuse(Code::MissingAuthorizationHeader, "the authorization header is missing");
    }
    let Some((access_key, signature)) = parse_authorization(authorization) else {
        return refuse(Code::InvalidAuthorizationHeader, "authorization is not MQ key:signature");
    };
    check_date(header(parts, "date"), now_ms)?;
    if header(parts, VERSION_HEADER) != VERSION {
        return Err(Refusal::argument(format!("{VERSION_HEADER} is not {VERSION}")));
    }
    let Some((_, secret)) = access_keys.iter().find(|(id, _)| id == access_key) else {
        return refuse(Code::InvalidAccessKeyId, "no such access key");
    };
    check_signature(parts, secret, signature)?;
    let digest = header(parts, "content-md5");
    if !digest.is_empty() && digest != content_md5(body) {
        return refuse(Code::InvalidDigest, "content-md5 is not base64 of the body's hex MD5");
    }
    Ok(())
}

fn check_date(date: &str, now_ms: u64) -> Result<(), Refusal> {
    if date.is_empty() {
        return refuse(Code::MissingDateHeader, "the date header is missing");
    }
    let Ok(date) = httpdate::parse_http_date(date) else {
        return refuse(Code::InvalidDateHeader, "date is not like Thu, 07 Mar 2024 18:49:58 GMT");
    };
    let now = UNIX_EPOCH + Duration::from_millis(now_ms);
    let off = now.duration_since(date).unwrap_or_else(|early| early.duration());
    if off > SKEW_MAX {
        return refuse(Code::TimeExpired, "date is more than 15 minutes from the server's clock");
    }
    Ok(())
}

fn check_signature(parts: &Parts, secret: &Secret, signature: &str) -> Result<(), Refusal> {
    let mq_headers: Vec<(&str, &str)> = parts
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-mq-"))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()))
        .collect();
    let signable = Signable {
        method: parts.method.as_str(),
        content_md5: header(parts, "content-md5"),
        content_type: header(parts, "content-type"),
        date: header(parts, "date"),
        mq_headers: &mq_headers,
        resource: parts.uri.path_and_query().map_or("/", |resource| resource.as_str()),
    };
    if signable.verify(secret.reveal(), signature) {
        return Ok(());
    }
    let message = format!("signed must be exactly {:?}", signable.canonical());
    refuse(Code::SignatureDoesNotMatch, &message)
}

fn header<'a>(parts: &'a Parts, name: &str) -> &'a str {
    let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

fn refuse<T>(code: Code, message: &str) -> Result<T, Refusal> {
    Err(Refusal::new(code, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    const NOW_MS: u64 = 1_709_837_398_000;

    fn code(change: impl FnOnce(&mut Parts), body: &[u8]) -> Option<Code> {
        let request = Request::post("/topics/edge_topic/messages?ns=MQ_INST_1_abc")
            .header("date", "Thu, 07 Mar 2024 18:49:58 GMT")
            .header("content-type", "text/xml;charset=utf-8")
            .header("x-mq-version", "2015-06-06")
            .header("authorization", "MQ AKIDEXAMPLE:yyJp5IHJrn/xVkui9G8PX2s2NGk=");
        let mut parts = request.body(()).unwrap().into_parts().0;
        change(&mut parts);
        let keys = [("AKIDEXAMPLE".to_owned(), Secret::new("sk-Example/Secret+Key"))];
        check(&parts, body, &keys, NOW_MS).err().map(|refusal| refusal.code)
    }

    fn with(name: &'static str, value: &'static str) -> Option<Code> {
        code(|parts| drop(parts.headers.insert(name, value.parse().unwrap())), b"")
    }

    fn without(name: &'static str) -> Option<Code> {
        code(|parts| drop(parts.headers.remove(name)), b"")
    }

    #[test]
    fn a_rightly_signed_request_passes() {
        assert_eq!(code(|_| (), b"body"), None);
    }

    #[test]
    fn every_fault_has_the_code_of_the_real_thing() {
        assert_eq!(without("authorization"), Some(Code::MissingAuthorizationHeader));
        assert_eq!(with("authorization", "MQ x"), Some(Code::InvalidAuthorizationHeader));
        assert_eq!(with("authorization", "MQ other:c2ln"), Some(Code::InvalidAccessKeyId));
        assert_eq!(with("authorization", "MQ AKIDEXAMPLE:c2ln"), Some(Code::SignatureDoesNotMatch));
        assert_eq!(without("date"), Some(Code::MissingDateHeader));
        assert_eq!(with("date", "yesterday"), Some(Code::InvalidDateHeader));
        assert_eq!(with("date", "Thu, 07 Mar 2024 19:05:00 GMT"), Some(Code::TimeExpired));
        assert_eq!(with("date", "Thu, 07 Mar 2024 18:34:00 GMT"), Some(Code::TimeExpired));
        assert_eq!(
            with("date", "Thu, 07 Mar 2024 18:50:00 GMT"),
            Some(Code::SignatureDoesNotMatch)
        );
        assert_eq!(without("x-mq-version"), Some(Code::InvalidArgument));
        assert_eq!(
            with("content-type", "text/xml; charset=utf-8"),
            Some(Code::SignatureDoesNotMatch)
        );
        assert_eq!(with("x-mq-extra", "1"), Some(Code::SignatureDoesNotMatch));
        assert_eq!(
            code(|parts| parts.uri = "/topics/other/messages".parse().unwrap(), b""),
            Some(Code::SignatureDoesNotMatch)
        );
    }

    #[test]
    fn a_digest_is_checked_where_it_is_sent() {
        let signed = |md5: &'static str, signature: &'static str, body: &[u8]| {
            code(
                |parts| {
                    parts.headers.insert("content-md5", md5.parse().unwrap());
                    parts.headers.insert("authorization", signature.parse().unwrap());
                },
                body,
            )
        };
        let md5 = "MWE2NzgxMjEwZjRhNWMzN2NjY2YzMWU4YjczODRmMTI=";
        let signature = "MQ AKIDEXAMPLE:flZ+FxSrMf4ogwqvRUZcoMjy1sI=";
        assert_eq!(signed(md5, signature, b"another body"), Some(Code::InvalidDigest));
    }
}
