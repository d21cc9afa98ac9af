//! Addresses of RocketMQ, and why a feed cannot be built.

use std::net::IpAddr;

use super::Access;
use super::tls::TlsError;

/// A feed cannot be built as asked.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// An endpoint is missing or unusable.
    #[error("endpoint {text:?} {problem}; write https://host:port")]
    Endpoint {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The HTTP API signs every request.
    #[error("the access key is missing; the HTTP API signs every request")]
    NoCredentials,
    /// Something cannot travel in a header.
    #[error("{0} holds characters that cannot travel in a header; use plain ASCII")]
    Header(&'static str),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP client could not be built.
    #[error("the HTTP client could not be built: {0}")]
    Client(#[from] reqwest::Error),
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl Endpoint {
    /// All of an access, at least one.
    pub(super) fn all(access: &Access) -> Result<Vec<Self>, BuildError> {
        if access.endpoints.is_empty() {
            let problem = "is missing".to_owned();
            return Err(BuildError::Endpoint { text: String::new(), problem });
        }
        let parse = |text: &String| {
            Self::parse(text, access.plaintext)
                .map_err(|problem| BuildError::Endpoint { text: text.clone(), problem })
        };
        access.endpoints.iter().map(parse).collect()
    }

    fn parse(text: &str, plaintext: bool) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(c) = rest.chars().find(|&c| "/?#@".contains(c) || c.is_whitespace()) {
            return Err(format!("holds {c:?}; only host and port belong here"));
        }
        let (host, port) = split(rest)?;
        let loopback = is_loopback(host);
        let tls = match scheme {
            Some("https") => true,
            Some("http") if loopback || plaintext => false,
            Some("http") => return Err("leads to another machine without TLS".to_owned()),
            Some(other) => return Err(format!("has the scheme {other:?}")),
            None => !loopback && !plaintext,
        };
        let port = match (port, scheme) {
            (Some(port), _) => port.parse().ok().filter(|port| *port > 0),
            (None, Some(_)) => Some(if tls { 443 } else { 80 }),
            (None, None) => None,
        };
        let port = port.ok_or("has no port from 1 to 65535")?;
        Ok(Self { host: host.to_owned(), port, tls })
    }

    /// `host:port`, an IPv6 address in brackets.
    pub(super) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Scheme and authority.
    pub(super) fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

/// Host without brackets, and the port's text.
fn split(text: &str) -> Result<(&str, Option<&str>), String> {
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
    Ok((host, port))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str, plaintext: bool) -> Result<String, String> {
        Endpoint::parse(text, plaintext).map(|endpoint| endpoint.origin())
    }

    #[test]
    fn tls_is_left_out_only_to_this_machine_or_when_allowed() {
        for (text, plaintext, expected) in [
            ("https://mq.example:8443", false, "https://mq.example:8443"),
            ("https://mq.example/", false, "https://mq.example:443"),
            ("http://127.0.0.1", false, "http://127.0.0.1:80"),
            ("http://mq.example:80", true, "http://mq.example:80"),
            ("mq.example:8081", false, "https://mq.example:8081"),
            ("mq.example:8081", true, "http://mq.example:8081"),
            ("localhost:8081", false, "http://localhost:8081"),
            ("[::1]:8081", false, "http://[::1]:8081"),
            ("https://[::1]:8081", false, "https://[::1]:8081"),
        ] {
            assert_eq!(origin(text, plaintext).as_deref(), Ok(expected), "{text}");
        }
        assert!(origin("http://mq.example:80", false).unwrap_err().contains("without TLS"));
    }

    #[test]
    fn what_is_no_address_is_refused_in_words() {
        for (text, problem) in [
            ("mq.example", "no port"),
            ("https://mq.example:0", "no port"),
            ("ftp://mq.example", "scheme"),
            ("https://mq.example/path", "only host and port"),
            ("https://user@mq.example", "only host and port"),
            ("https://:80", "no host"),
            ("https://::1", "brackets"),
        ] {
            let refused = origin(text, false).unwrap_err();
            assert!(refused.contains(problem), "{text}: {refused}");
        }
        assert!(Endpoint::all(&Access::default()).is_err());
    }
}
