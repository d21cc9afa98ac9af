//! Addresses of the far end.

use std::net::IpAddr;

/// One address of the far end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address; an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
}

impl Endpoint {
    /// Reads `https://host:port` or `host:port`, which means TLS except to loopback and where
    /// `plaintext` was asked for. Whether `http://` may leave the machine is for the caller to say.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with the text.
    pub fn parse(text: &str, plaintext: bool) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(c) = rest.chars().find(|&c| "/?#@".contains(c) || c.is_whitespace()) {
            return Err(format!("holds {c:?}; only host and port belong here"));
        }
        let (host, port) = host_and_port(rest)?;
        let tls = match scheme {
            Some("https") => true,
            Some("http") => false,
            Some(other) => return Err(other_scheme(other)),
            None => !plaintext && !is_loopback(&host),
        };
        let port = match (port, scheme) {
            (Some(port), _) => port,
            (None, None) => return Err("has no port".to_owned()),
            (None, Some(_)) if tls => 443,
            (None, Some(_)) => 80,
        };
        Ok(Self { host, port, tls })
    }

    /// `host:port`, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// `https://host:port` or `http://host:port`.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// Whether nothing of it leaves this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether a host is this machine: a loopback address or `localhost`.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What is wrong with a `scheme` that is none of ours; a password in front of `://` is not quoted.
pub(super) fn other_scheme(scheme: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    match scheme.chars().all(word) {
        true => format!("has the scheme {scheme:?}"),
        false => "has a scheme that is none of http and https".to_owned(),
    }
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("has an IPv6 address without brackets".to_owned());
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err("has no host".to_owned());
    }
    let number = |port: &str| port.parse::<u16>().ok().filter(|&port| port > 0);
    match port.map(|port| number(port).ok_or(())) {
        // Not quoted: behind a colon a password may stand, its host forgotten.
        Some(Err(_)) => Err("has a port which is not from 1 to 65535".to_owned()),
        Some(Ok(port)) => Ok((host.to_owned(), Some(port))),
        None => Ok((host.to_owned(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str, plaintext: bool) -> Result<String, String> {
        Endpoint::parse(text, plaintext).map(|endpoint| endpoint.url())
    }

    #[test]
    fn with_a_scheme_its_port_may_be_left_out() {
        assert_eq!(url("https://mq.example:8443", false), Ok("https://mq.example:8443".into()));
        assert_eq!(url("https://mq.example/", false), Ok("https://mq.example:443".into()));
        assert_eq!(url("http://[::1]", false), Ok("http://[::1]:80".into()));
        assert_eq!(url("ftp://mq.example", false).unwrap_err(), "has the scheme \"ftp\"");
    }

    #[test]
    fn without_a_scheme_tls_is_spoken_beyond_this_machine() {
        assert_eq!(url("mq.example:8081", false), Ok("https://mq.example:8081".into()));
        assert_eq!(url("mq.example:8081", true), Ok("http://mq.example:8081".into()));
        for loopback in ["127.0.0.1:8081", "127.9.9.9:1", "localhost:8081", "[::1]:8081"] {
            assert_eq!(url(loopback, false), Ok(format!("http://{loopback}")));
        }
        assert_eq!(url("https://localhost:8081", false), Ok("https://localhost:8081".into()));
        assert_eq!(url("mq.example", false).unwrap_err(), "has no port");
    }

    #[test]
    fn what_is_no_address_is_refused_in_words() {
        for (text, problem) in [
            ("https://mq.example:0", "has a port which is not from 1 to 65535"),
            ("https://mq.example:x", "has a port which is not from 1 to 65535"),
            ("https://mq.example/path", "holds '/'; only host and port belong here"),
            ("https://user@mq.example", "holds '@'; only host and port belong here"),
            ("https://:80", "has no host"),
            ("https://::1", "has an IPv6 address without brackets"),
        ] {
            assert_eq!(url(text, false).unwrap_err(), problem, "{text}");
        }
    }

    #[test]
    fn only_this_machines_addresses_are_loopback() {
        let host = |host: &str| Endpoint { host: host.into(), port: 1, tls: false }.is_loopback();
        assert!(host("127.0.0.1") && host("127.1.2.3") && host("::1") && host("LocalHost"));
        assert!(!host("128.0.0.1") && !host("localhost.example") && !host("::2"));
    }
}
