//! Who may look. Pages of other sites must not read here through an operator's browser: the names
//! under which this machine is asked are known (a foreign name that was made to lead here is not
//! among them), and no other origin is served. A page that does not want to read what it asks for
//! (`no-cors`) names no origin, but its browser says whether it is of another site: what is held open
//! for it would be missing to people.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};

use crate::intake::bearer::{self, Digest, digest};

/// Whose page asks, in the browser's words: [`NOBODYS`] where a person does, by an address typed in.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const ITS_OWN: &str = "same-origin";
const NOBODYS: &str = "none";

/// What a request needs to be answered.
#[derive(Debug, Clone)]
pub struct Guard {
    address: IpAddr,
    hosts: Vec<String>,
    /// Of the token.
    digest: Option<Digest>,
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    /// Its method.
    #[error("this is read-only; GET and HEAD are answered")]
    Method,
    /// The name by which it asks.
    #[error("ask by the address of [listen.admin], or by a name that is among its hosts")]
    Host,
    /// Whose page asks.
    #[error("pages of other sites may not read here")]
    Origin,
    /// Its token.
    #[error("send the token of [listen.admin]: Authorization: Bearer TOKEN")]
    Token,
}

impl Denied {
    /// The status that says so.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Host | Self::Origin => StatusCode::FORBIDDEN,
            Self::Token => StatusCode::UNAUTHORIZED,
        }
    }
}

impl Guard {
    /// Of what listens on `address` and may be asked by `hosts`, too, which are in lower case. With
    /// a token each request must bring it.
    pub fn new(address: SocketAddr, hosts: Vec<String>, token: Option<&str>) -> Self {
        Self { address: address.ip(), hosts, digest: token.map(digest) }
    }

    /// Whether a request with this head may be answered, with a token or without one.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), Denied> {
        if method != Method::GET && method != Method::HEAD {
            return Err(Denied::Method);
        }
        let host = only(headers, &HOST)?.ok_or(Denied::Host)?;
        let asked = uri.authority().map(Authority::as_str);
        if ![Some(host), asked].into_iter().flatten().all(|name| self.is_own(name)) {
            return Err(Denied::Host);
        }
        let origin = only(headers, &ORIGIN).map_err(|_| Denied::Origin)?;
        match origin.is_none_or(|origin| is_same(origin, host)) && is_for_people(uri, headers)? {
            true => Ok(()),
            false => Err(Denied::Origin),
        }
    }

    /// Whether the token is there, where there is one. For all that tells of this gateway.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn check_token(&self, headers: &HeaderMap) -> Result<(), Denied> {
        match self.has_token(headers) {
            true => Ok(()),
            false => Err(Denied::Token),
        }
    }

    /// Whether `name` (with a port or without: it may be another one, through a tunnel) stands for
    /// this machine. A number can be trusted, since nobody can make it lead elsewhere.
    fn is_own(&self, name: &str) -> bool {
        let Ok(authority) = name.parse::<Authority>() else { return false };
        if authority.as_str().contains('@') {
            return false;
        }
        let host = authority.host().to_ascii_lowercase();
        let local = self.address.is_loopback() || self.address.is_unspecified();
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => address == self.address || self.address.is_unspecified(),
            Err(_) => (local && host == "localhost") || self.hosts.contains(&host),
        }
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        self.digest.is_none_or(|token| bearer::brought(headers).map(digest) == Some(token))
    }
}

/// The header's value; refused where there are several, or where it is no text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Denied> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Denied::Host),
        (Some(_), Some(_)) => Err(Denied::Host),
    }
}

/// Whether no page of another site asks; by a link it leads to the status page, and no further.
fn is_for_people(uri: &Uri, headers: &HeaderMap) -> Result<bool, Denied> {
    let site = only(headers, &SITE).map_err(|_| Denied::Origin)?;
    Ok(uri.path() == "/" || site.is_none_or(|site| [ITS_OWN, NOBODYS].contains(&site)))
}

/// Whether `origin` is the one that `host` has. A proxy may have added TLS.
fn is_same(origin: &str, host: &str) -> bool {
    let name = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    name.is_some_and(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn guard(address: &str) -> Guard {
        Guard::new(address.parse().unwrap(), vec!["gw.plant.example".into()], None)
    }

    fn check(guard: &Guard, method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<Denied> {
        let name = |name: &str| name.parse::<HeaderName>().unwrap();
        let headers = headers.iter().map(|(n, value)| (name(n), value.parse().unwrap())).collect();
        let headers: HeaderMap = headers;
        let checked = guard.check(&method.parse().unwrap(), &uri.parse().unwrap(), &headers);
        checked.and_then(|()| guard.check_token(&headers)).err()
    }

    fn asked(address: &str, host: &str) -> Option<Denied> {
        check(&guard(address), "GET", "/metrics", &[("host", host)])
    }

    #[test]
    fn only_looking_is_allowed() {
        let guard = guard("127.0.0.1:9465");
        let by = |method| check(&guard, method, "/metrics", &[("host", "localhost")]);
        assert_eq!((by("GET"), by("HEAD")), (None, None));
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get"] {
            assert_eq!(by(method), Some(Denied::Method), "{method}");
        }
    }

    #[test]
    fn it_is_asked_by_its_own_address_and_by_names_that_are_listed() {
        for host in ["127.0.0.1", "127.0.0.1:9465", "LOCALHOST:9000", "GW.plant.example:9465"] {
            assert_eq!(asked("127.0.0.1:9465", host), None, "{host}");
        }
        assert_eq!(asked("[::1]:9465", "[::1]:9465"), None);
        assert_eq!(asked("[::1]:9465", "[::1]"), None);
        for host in ["192.168.1.5:9465", "gw.plant.example"] {
            assert_eq!(asked("192.168.1.5:9465", host), None, "{host}");
            assert_eq!(asked("0.0.0.0:9465", host), None, "{host}");
        }
    }

    #[test]
    fn a_foreign_name_that_leads_here_is_not_answered() {
        let foreign = [
            "evil.example",
            "evil.example:9465",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "xgw.plant.example",
            "gw.plant.example.",
            "user@127.0.0.1",
            "10.0.0.9",
            "",
            "127.0.0.1 evil",
        ];
        for host in foreign {
            assert_eq!(asked("127.0.0.1:9465", host), Some(Denied::Host), "{host}");
        }
        assert_eq!(asked("192.168.1.5:9465", "localhost"), Some(Denied::Host));
        let guard = guard("127.0.0.1:9465");
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(check(&guard, "GET", "/", &[]), Some(Denied::Host));
        assert_eq!(check(&guard, "GET", "/", &twice), Some(Denied::Host));
        let whole = "http://evil.example/metrics";
        assert_eq!(check(&guard, "GET", whole, &[("host", "localhost")]), Some(Denied::Host));
    }

    #[test]
    fn pages_of_other_origins_are_refused_and_its_own_are_not() {
        let guard = guard("127.0.0.1:9465");
        let from = |origin| {
            let headers = [("host", "127.0.0.1:9465"), ("origin", origin)];
            check(&guard, "GET", "/metrics", &headers)
        };
        assert_eq!(from("http://127.0.0.1:9465"), None);
        let foreign = [
            "null",
            "http://evil.example",
            "http://127.0.0.1:8080",
            "http://127.0.0.1",
            "http://localhost:9465",
            "127.0.0.1:9465",
            "",
        ];
        for origin in foreign {
            assert_eq!(from(origin), Some(Denied::Origin), "{origin}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_led_to_the_page_and_hold_nothing_open() {
        let guard = guard("127.0.0.1:9465");
        let from = |path, site| {
            let headers = [("host", "127.0.0.1:9465"), ("sec-fetch-site", site)];
            check(&guard, "GET", path, &headers)
        };
        for path in ["/events", "/metrics", "/healthz", "/page.js"] {
            assert_eq!((from(path, "same-origin"), from(path, "none")), (None, None), "{path}");
            for site in ["cross-site", "same-site", "", "Same-Origin"] {
                assert_eq!(from(path, site), Some(Denied::Origin), "{path} {site}");
            }
        }
        assert_eq!(from("/", "cross-site"), None);
        let local = ("host", "localhost");
        let twice = [local, ("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")];
        assert_eq!(check(&guard, "GET", "/events", &twice), Some(Denied::Origin));
    }

    #[test]
    fn with_a_token_each_request_brings_it() {
        let guard = Guard::new("127.0.0.1:1".parse().unwrap(), vec![], Some(TOKEN));
        let with = |authorization: &str| {
            let headers = [("host", "localhost"), ("authorization", authorization)];
            check(&guard, "GET", "/healthz", &headers)
        };
        assert_eq!(with(&format!("Bearer {TOKEN}")), None);
        assert_eq!(with(&format!("bearer {TOKEN}")), None);
        let wrong = [&TOKEN[1..], "", "0123456789abcdeF", "0123456789abcdef0"];
        for token in wrong {
            assert_eq!(with(&format!("Bearer {token}")), Some(Denied::Token), "{token}");
        }
        for other in ["", TOKEN, "Bearer", "Basic 0123456789abcdef", "Bearer  "] {
            assert_eq!(with(other), Some(Denied::Token), "{other}");
        }
        let none = check(&guard, "GET", "/", &[("host", "localhost")]);
        assert_eq!(none, Some(Denied::Token));
        assert!(!format!("{guard:?}").contains(TOKEN));
    }

    #[test]
    fn each_refusal_has_its_status() {
        let status = |denied: Denied| denied.status().as_u16();
        assert_eq!([Denied::Method, Denied::Host].map(status), [405, 403]);
        assert_eq!([Denied::Origin, Denied::Token].map(status), [403, 401]);
    }
}
