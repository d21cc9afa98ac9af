//! Who may pass: headers, date, version, signature, digest. Pure, and in MQ's own codes.
//!
//! All but the digest is in the head of a request, so that strangers are refused before anything
//! of their bodies is held.

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

/// Which dates of requests pass. All are signed and have to be well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dates {
    /// Those near this time, in ms since 1970, as MQ has it.
    Near(u64),
    /// All: client and server have one clock, which may be wrong and may be set meanwhile.
    Any,
}

/// Lets a request pass whose headers, date and signature are right.
pub(crate) fn check(
    parts: &Parts,
    access_keys: &[(String, Secret)],
    dates: Dates,
) -> Result<(), Refusal> {
    let authorization = header(parts, "authorization");
    if authorization.is_empty() {
        return refuse(Code::MissingAuthorizationHeader, "the authorization header is missing");
    }
    let Some((access_key, signature)) = parse_authorization(authorization) else {
        return refuse(Code::InvalidAuthorizationHeader, "authorization is not MQ key:signature");
    };
    check_date(header(parts, "date"), dates)?;
    if header(parts, VERSION_HEADER) != VERSION {
        return Err(Refusal::argument(format!("{VERSION_HEADER} is not {VERSION}")));
    }
    let Some((_, secret)) = access_keys.iter().find(|(id, _)| id == access_key) else {
        return refuse(Code::InvalidAccessKeyId, "no such access key");
    };
    check_signature(parts, secret, signature)
}

/// Lets a request pass whose body is the one that its head announced, where it did.
pub(crate) fn check_digest(parts: &Parts, body: &[u8]) -> Result<(), Refusal> {
    let digest = header(parts, "content-md5");
    if !digest.is_empty() && digest != content_md5(body) {
        return refuse(Code::InvalidDigest, "content-md5 is not base64 of the body's hex MD5");
    }
    Ok(())
}

fn check_date(date: &str, dates: Dates) -> Result<(), Refusal> {
    if date.is_empty() {
        return refuse(Code::MissingDateHeader, "the date header is missing");
    }
    let Ok(date) = httpdate::parse_http_date(date) else {
        return refuse(Code::InvalidDateHeader, "date is not like Thu, 07 Mar 2024 18:49:58 GMT");
    };
    let Dates::Near(now_ms) = dates else {
        return Ok(());
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

    fn request(change: impl FnOnce(&mut Parts)) -> Parts {
        let request = Request::post("/topics/edge_topic/messages?ns=MQ_INST_1_abc")
            .header("date", "Thu, 07 Mar 2024 18:49:58 GMT")
            .header("content-type", "text/xml;charset=utf-8")
            .header("x-mq-version", "2015-06-06")
            .header("authorization", "MQ AKIDEXAMPLE:yyJp5IHJrn/xVkui9G8PX2s2NGk=");
        let mut parts = request.body(()).unwrap().into_parts().0;
        change(&mut parts);
        parts
    }

    fn checked(parts: &Parts, dates: Dates) -> Option<Code> {
        let keys = [("AKIDEXAMPLE".to_owned(), Secret::new("sk-Example/Secret+Key"))];
        check(parts, &keys, dates).err().map(|refusal| refusal.code)
    }

    fn code(change: impl FnOnce(&mut Parts)) -> Option<Code> {
        checked(&request(change), Dates::Near(NOW_MS))
    }

    fn with(name: &'static str, value: &'static str) -> Option<Code> {
        code(|parts| drop(parts.headers.insert(name, value.parse().unwrap())))
    }

    fn without(name: &'static str) -> Option<Code> {
        code(|parts| drop(parts.headers.remove(name)))
    }

    #[test]
    fn a_rightly_signed_request_passes() {
        assert_eq!(code(|_| ()), None);
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
            code(|parts| parts.uri = "/topics/other/messages".parse().unwrap()),
            Some(Code::SignatureDoesNotMatch)
        );
    }

    #[test]
    fn where_any_date_passes_it_is_still_signed_and_well_formed() {
        let checked = |date: &'static str| {
            let parts = request(|parts| drop(parts.headers.insert("date", date.parse().unwrap())));
            checked(&parts, Dates::Any)
        };
        let late = request(|_| ());
        assert_eq!(self::checked(&late, Dates::Near(NOW_MS + 3_600_000)), Some(Code::TimeExpired));
        assert_eq!(self::checked(&late, Dates::Any), None);
        assert_eq!(checked("Thu, 01 Jan 1970 00:00:09 GMT"), Some(Code::SignatureDoesNotMatch));
        assert_eq!(checked("yesterday"), Some(Code::InvalidDateHeader));
    }

    #[test]
    fn a_digest_is_checked_where_it_is_sent() {
        let parts = |md5: &'static str| {
            request(|parts| drop(parts.headers.insert("content-md5", md5.parse().unwrap())))
        };
        let digest = |parts: &Parts, body: &[u8]| check_digest(parts, body).err().map(|r| r.code);
        let hello = "NWQ0MTQwMmFiYzRiMmE3NmI5NzE5ZDkxMTAxN2M1OTI=";
        assert_eq!(digest(&parts(hello), b"hello"), None);
        assert_eq!(digest(&parts(hello), b"another body"), Some(Code::InvalidDigest));
        assert_eq!(digest(&request(|_| ()), b"another body"), None);
    }
}
