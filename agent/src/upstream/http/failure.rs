//! What a request that brought no answer means: could it have reached the broker or not?

use std::error::Error;
use std::time::Duration;

use hyper_util::client::legacy as client;
use rustls::{AlertDescription, CertificateError};
use spillway_protocol::dial::DialError;

use crate::upstream::{Outcome, Scope};

/// A request that could not be made: the endpoint was proven by the configuration; what is left are
/// the key and the token.
pub(super) fn unsendable(error: &http::Error) -> Outcome {
    let reason = format!("the access key or token cannot travel in a header: {error}");
    Outcome::Misconfigured { scope: Scope::Link, code: "credentials", reason }
}

/// A request that failed before an answer began.
pub(super) fn outcome(error: &client::Error) -> Outcome {
    if let Some(dial) = dial_error(error) {
        return Outcome::LinkDown { reason: not_dialled(dial) };
    }
    let reason = broken(error);
    if tls_error(error).is_some_and(is_about_client_certificate) {
        return Outcome::LinkDown { reason };
    }
    Outcome::Unknown { reason, link: true }
}

/// Why there is no connection, with what to do about it.
pub(super) fn not_dialled(error: &DialError) -> String {
    match tls_error(error) {
        Some(tls) => format!("{}: TLS: {}", error.place, tls_reason(tls)),
        None => error.to_string(),
    }
}

fn dial_error(error: &client::Error) -> Option<&DialError> {
    error.source()?.downcast_ref()
}

/// Names of a certificate that a message lists.
const NAMES_MAX: usize = 3;

/// There is no key to sign with.
pub(super) fn no_credentials() -> Outcome {
    let reason = "upstream.access_key_id and access_key_secret are missing".to_owned();
    Outcome::Misconfigured { scope: Scope::Link, code: "credentials", reason }
}

/// The intake takes no such body for this transport: it was taken in for another one, or by an agent
/// that did not look at that before there was an `[upstream]`, so the record is not at fault.
pub(super) fn beyond_http() -> Outcome {
    Outcome::Rejected {
        code: "body_too_large".to_owned(),
        reason: "the body is not text and over 3 MiB, more than the HTTP API can carry as base64; \
                 the record was taken in for another transport and can leave with \
                 upstream.transport = \"grpc\""
            .to_owned(),
        own: false,
    }
}

/// An answer that broke off: the message may be stored.
pub(super) fn cut(error: &hyper::Error) -> Outcome {
    let reason = format!("the answer broke off: {}", broken(error));
    Outcome::Unknown { reason, link: true }
}

/// No whole answer within the deadline.
pub(super) fn deadline(deadline: Duration) -> Outcome {
    let reason = format!("no answer within {} s", deadline.as_secs());
    Outcome::Unknown { reason, link: true }
}

/// The innermost cause tells a person most; the outer ones repeat it.
fn broken(error: &(dyn Error + 'static)) -> String {
    if let Some(tls) = tls_error(error) {
        return format!("TLS: {}", tls_reason(tls));
    }
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    format!("the connection broke: {innermost}")
}

/// A TLS error in words that help.
pub(super) fn tls_reason(error: &rustls::Error) -> String {
    let hint = match error {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::Expired
            | CertificateError::ExpiredContext { .. },
        ) => "; check this machine's clock, then the certificate",
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "; name the broker's authority in upstream.tls.ca",
        error if is_about_client_certificate(error) => "; check upstream.tls.certificate and key",
        _ => "",
    };
    format!("{}{hint}", with_few_names(error))
}

/// A certificate of many names is not listed in full: of those it has, none is the one that was asked for.
fn with_few_names(error: &rustls::Error) -> rustls::Error {
    let rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
        expected,
        presented,
    }) = error
    else {
        return error.clone();
    };
    let mut names: Vec<String> = presented.iter().take(NAMES_MAX).cloned().collect();
    if presented.len() > NAMES_MAX {
        names.push(format!("{} more", presented.len() - NAMES_MAX));
    }
    CertificateError::NotValidForNameContext { expected: expected.clone(), presented: names }.into()
}

/// The server does not take our certificate, or misses one. With TLS 1.3 it says so only after
/// its own handshake, when the request is already on its way; it never reads that request.
fn is_about_client_certificate(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
        )
    )
}

/// The TLS error among the causes. An `io::Error` hides its content from `source()`.
pub(super) fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn of_a_certificate_for_others_the_first_names_are_listed() {
        let reason = |count: usize| {
            let presented = (0..count).map(|n| format!("DnsName(\"n{n}.example\")")).collect();
            let expected = ServerName::try_from("mq.example").unwrap();
            tls_reason(&CertificateError::NotValidForNameContext { expected, presented }.into())
        };
        let many = reason(17);
        assert!(many.contains("mq.example") && many.contains("n2.example"), "{many}");
        assert!(many.ends_with(" or 14 more") && !many.contains("n3.example"), "{many}");
        let few = reason(3);
        assert!(few.contains("n2.example") && !few.contains("more"), "{few}");
    }
}
