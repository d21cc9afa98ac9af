//! RocketMQ as users of the MQ HTTP SDK name it in the environment of a program.
//!
//! | variable | meaning |
//! |---|---|
//! | `ROCKETMQ_ENDPOINT` | `https://host` or `http://host`: the MQ HTTP API; `grpcs://host:port` or `grpc://host:port`: RocketMQ 5, several joined by commas |
//! | `ROCKETMQ_INSTANCE_ID` | instance (HTTP) or namespace (gRPC) |
//! | `ALIBABA_ACCESS_KEY`, `ALIBABA_SECRET_KEY` | the access key |
//! | `ALIBABA_SECURITY_TOKEN` | with a temporary key |
//! | `ROCKETMQ_CA` | PEM file of the authority to trust |

use std::sync::Arc;

use super::grpc::GrpcFeed;
use super::http::HttpFeed;
use super::{Access, BuildError, Credentials, Feed, Subscription, Tls};

/// A variable is missing or has no meaning.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// Missing.
    #[error("ROCKETMQ_ENDPOINT is not set; it names where RocketMQ is")]
    Endpoint,
    /// The endpoint's scheme.
    #[error(
        "ROCKETMQ_ENDPOINT is {0:?}; write https://host, http://host, grpcs://host:port or grpc://host:port"
    )]
    Scheme(String),
    /// Half an access key.
    #[error("ALIBABA_ACCESS_KEY and ALIBABA_SECRET_KEY belong together; one of them is not set")]
    HalfKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Http,
    Grpc,
}

/// See the module.
#[derive(Debug)]
pub struct Environment {
    transport: Transport,
    access: Access,
}

impl Environment {
    /// From what `set` knows of each variable; an empty one is none.
    ///
    /// # Errors
    /// The variable to change, and how.
    pub fn read(set: impl Fn(&'static str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let set = |name| set(name).filter(|value| !value.is_empty());
        let endpoint = set("ROCKETMQ_ENDPOINT").ok_or(EnvironmentError::Endpoint)?;
        let (transport, endpoints) = endpoints(&endpoint)?;
        let credentials = match (set("ALIBABA_ACCESS_KEY"), set("ALIBABA_SECRET_KEY")) {
            (Some(id), Some(secret)) => {
                Some(Credentials { id, secret, security_token: set("ALIBABA_SECURITY_TOKEN") })
            }
            (None, None) => None,
            _ => return Err(EnvironmentError::HalfKey),
        };
        let tls = Tls { ca: set("ROCKETMQ_CA").map(Into::into), ..Tls::default() };
        // Whoever writes http:// or grpc:// means it.
        let instance = set("ROCKETMQ_INSTANCE_ID");
        let access = Access { endpoints, plaintext: true, instance, credentials, tls };
        Ok(Self { transport, access })
    }

    /// Instance (HTTP) or namespace (gRPC).
    pub fn instance(&self) -> Option<&str> {
        self.access.instance.as_deref()
    }

    /// The way to a topic's messages; nothing is connected yet.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn feed(&self, subscription: &Subscription) -> Result<Arc<dyn Feed>, BuildError> {
        Ok(match self.transport {
            Transport::Http => Arc::new(HttpFeed::new(&self.access, subscription)?),
            Transport::Grpc => Arc::new(GrpcFeed::new(&self.access, subscription)?),
        })
    }
}

/// The feeds know http and https, whichever the transport.
fn endpoints(text: &str) -> Result<(Transport, Vec<String>), EnvironmentError> {
    let mut transport = None;
    let mut endpoints = Vec::new();
    for one in text.split(',').map(str::trim) {
        let unknown = || EnvironmentError::Scheme(one.to_owned());
        let (scheme, rest) = one.split_once("://").ok_or_else(unknown)?;
        let (kind, scheme) = match scheme {
            "http" | "https" => (Transport::Http, scheme),
            "grpc" => (Transport::Grpc, "http"),
            "grpcs" => (Transport::Grpc, "https"),
            _ => return Err(unknown()),
        };
        if transport.is_some_and(|earlier| earlier != kind) {
            return Err(unknown());
        }
        transport = Some(kind);
        endpoints.push(format!("{scheme}://{rest}"));
    }
    let transport = transport.ok_or_else(|| EnvironmentError::Scheme(text.to_owned()))?;
    Ok((transport, endpoints))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_chooses_the_transport() {
        let (transport, list) = endpoints("grpc://a:8081, grpcs://b:8081").unwrap();
        let both = vec!["http://a:8081".to_owned(), "https://b:8081".to_owned()];
        assert_eq!((transport, list), (Transport::Grpc, both));
        assert_eq!(endpoints("https://mq").unwrap().0, Transport::Http);
        for wrong in ["mq:8081", "tcp://mq", "grpc://a:1,http://b", ""] {
            assert!(endpoints(wrong).is_err(), "{wrong}");
        }
    }
}
