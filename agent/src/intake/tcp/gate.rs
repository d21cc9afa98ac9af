//! Which requests are a local program's and no web page's: a page's name may be made to lead here, and
//! a browser says where a page comes from. Pure.

use std::net::{IpAddr, SocketAddr};

use hyper::Uri;
use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::http::uri::Authority;
use spillway_protocol::local::{Code, Refusal};

use crate::intake::bearer::only;

/// Looks at the head of each request.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    address: IpAddr,
}

impl Gate {
    /// Of what listens on `address`.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address: address.ip() }
    }

    /// Whether a request with this head may be answered to whoever has a token.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        if headers.contains_key(ORIGIN) {
            let message =
                "web pages are not served (the request has an Origin); ask from a program";
            return Err(Refusal::new(Code::NotAllowed, message));
        }
        let named = [only(headers, &HOST), uri.authority().map(Authority::as_str)];
        let own = named.iter().flatten().all(|name| self.is_own(name));
        if named[0].is_some() && own {
            return Ok(());
        }
        let message = format!(
            "ask by the address of [listen.http] ({}) or as localhost: the Host of this request is \
             another name",
            self.address
        );
        Err(Refusal::new(Code::NotAllowed, message))
    }

    /// Whether `name`, with a port or without, is this address. A number can be trusted, since
    /// nobody can make it lead elsewhere.
    fn is_own(&self, name: &str) -> bool {
        let Ok(authority) = name.parse::<Authority>() else { return false };
        let host = authority.host();
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            _ if authority.as_str().contains('@') => false,
            Ok(address) => address == self.address,
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let name = |name: &str| name.parse::<HeaderName>().unwrap();
        pairs.iter().map(|(n, value)| (name(n), value.parse().unwrap())).collect()
    }

    fn passes(uri: &str, pairs: &[(&str, &str)]) -> bool {
        let gate = Gate::new("127.0.0.1:9466".parse().unwrap());
        gate.check(&uri.parse().unwrap(), &headers(pairs)).is_ok()
    }

    #[test]
    fn it_is_asked_by_its_address_or_as_localhost_and_by_no_other_name() {
        for host in ["127.0.0.1", "127.0.0.1:9466", "LocalHost:80", "localhost"] {
            assert!(passes("/v1/status", &[("host", host)]), "{host}");
        }
        let foreign = [
            "evil.example",
            "evil.example:9466",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "127.0.0.2",
            "[::1]:9466",
            "10.0.0.9",
            "user@127.0.0.1",
            "127.0.0.1 evil",
            "",
        ];
        for host in foreign {
            assert!(!passes("/v1/status", &[("host", host)]), "{host}");
        }
        assert!(!passes("/", &[]));
        assert!(!passes("/", &[("host", "localhost"), ("host", "evil.example")]));
        assert!(!passes("http://evil.example/v1/status", &[("host", "localhost")]));
        let six = Gate::new("[::1]:9466".parse().unwrap());
        assert!(six.check(&"/".parse().unwrap(), &headers(&[("host", "[::1]:9466")])).is_ok());
    }

    #[test]
    fn no_page_is_served_not_even_one_of_its_own_address() {
        for origin in ["http://evil.example", "http://127.0.0.1:9466", "null", ""] {
            assert!(!passes("/", &[("host", "localhost"), ("origin", origin)]), "{origin}");
        }
    }
}
