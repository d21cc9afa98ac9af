//! Addresses of RocketMQ, and why a feed cannot be built.

use super::Access;
use crate::dial::{Endpoint, TargetError, TlsError};

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

impl From<TargetError> for BuildError {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::Tls(error) => Self::Tls(error),
            TargetError::Endpoint(text) => {
                Self::Endpoint { text, problem: "is not a host and a port".to_owned() }
            }
        }
    }
}

/// All of an access, at least one.
pub(super) fn all(access: &Access) -> Result<Vec<Endpoint>, BuildError> {
    if access.endpoints.is_empty() {
        let problem = "is missing".to_owned();
        return Err(BuildError::Endpoint { text: String::new(), problem });
    }
    let parse = |text: &String| {
        one(text, access.plaintext)
            .map_err(|problem| BuildError::Endpoint { text: text.clone(), problem })
    };
    access.endpoints.iter().map(parse).collect()
}

fn one(text: &str, plaintext: bool) -> Result<Endpoint, String> {
    let endpoint = Endpoint::parse(text, plaintext)?;
    match endpoint.tls || plaintext || endpoint.is_loopback() {
        true => Ok(endpoint),
        false => Err("leads to another machine without TLS".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_left_out_only_to_this_machine_or_when_allowed() {
        let url = |text, plaintext| one(text, plaintext).map(|endpoint| endpoint.url());
        for (text, plaintext, expected) in [
            ("https://mq.example/", false, "https://mq.example:443"),
            ("http://127.0.0.1", false, "http://127.0.0.1:80"),
            ("http://mq.example:80", true, "http://mq.example:80"),
            ("mq.example:8081", false, "https://mq.example:8081"),
            ("mq.example:8081", true, "http://mq.example:8081"),
        ] {
            assert_eq!(url(text, plaintext).as_deref(), Ok(expected), "{text}");
        }
        assert!(url("http://mq.example:80", false).unwrap_err().contains("without TLS"));
        assert!(all(&Access::default()).is_err());
    }
}
