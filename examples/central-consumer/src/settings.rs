//! RocketMQ's side of the environment: the variables that users of the MQ HTTP SDK know.
//!
//! | variable | meaning |
//! |---|---|
//! | `ROCKETMQ_ENDPOINT` | `https://host` or `http://host`: the MQ HTTP API; `grpcs://host:port` or `grpc://host:port`: RocketMQ 5, several joined by commas |
//! | `ROCKETMQ_INSTANCE_ID` | instance (HTTP) or namespace (gRPC) |
//! | `ROCKETMQ_TOPIC`, `ROCKETMQ_GROUP_ID` | what is consumed, and as whom |
//! | `ROCKETMQ_TAG` | tags, joined by `\|\|`; all messages without |
//! | `ALIBABA_ACCESS_KEY`, `ALIBABA_SECRET_KEY` | the access key |
//! | `ALIBABA_SECURITY_TOKEN` | with a temporary key |
//! | `ROCKETMQ_CA` | PEM file of the authority to trust |

use std::sync::Arc;

use spillway_protocol::consumer::grpc::GrpcFeed;
use spillway_protocol::consumer::http::HttpFeed;
use spillway_protocol::consumer::{Access, BuildError, Credentials, Feed, Subscription, Tls};

/// A setting is missing or has no meaning.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// Missing.
    #[error("{0} is not set; it names {1}")]
    Missing(&'static str, &'static str),
    /// The endpoint's scheme.
    #[error(
        "ROCKETMQ_ENDPOINT is {0:?}; write https://host, http://host, grpcs://host:port or grpc://host:port"
    )]
    Scheme(String),
    /// Half an access key.
    #[error("ALIBABA_ACCESS_KEY and ALIBABA_SECRET_KEY belong together; one of them is not set")]
    HalfKey,
    /// The rest.
    #[error("ROCKETMQ_ENDPOINT: {0}")]
    Build(#[from] BuildError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Http,
    Grpc,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Settings {
    transport: Transport,
    access: Access,
    pub(crate) subscription: Subscription,
}

impl Settings {
    /// From this process's environment.
    pub(crate) fn from_env() -> Result<Self, SettingsError> {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let need = |name, what| set(name).ok_or(SettingsError::Missing(name, what));
        let endpoint = need("ROCKETMQ_ENDPOINT", "where RocketMQ is")?;
        let (transport, endpoints) = endpoints(&endpoint)?;
        let credentials = match (set("ALIBABA_ACCESS_KEY"), set("ALIBABA_SECRET_KEY")) {
            (Some(id), Some(secret)) => {
                Some(Credentials { id, secret, security_token: set("ALIBABA_SECURITY_TOKEN") })
            }
            (None, None) => None,
            _ => return Err(SettingsError::HalfKey),
        };
        let mut subscription = Subscription::new(
            need("ROCKETMQ_TOPIC", "the topic")?,
            need("ROCKETMQ_GROUP_ID", "the consumer group")?,
        );
        subscription.tag = set("ROCKETMQ_TAG");
        let tls = Tls { ca: set("ROCKETMQ_CA").map(Into::into), ..Tls::default() };
        // Whoever writes http:// or grpc:// means it.
        let instance = set("ROCKETMQ_INSTANCE_ID");
        let access = Access { endpoints, plaintext: true, instance, credentials, tls };
        Ok(Self { transport, access, subscription })
    }

    /// The way to the messages; nothing is connected yet.
    pub(crate) fn feed(&self) -> Result<Arc<dyn Feed>, SettingsError> {
        Ok(match self.transport {
            Transport::Http => Arc::new(HttpFeed::new(&self.access, &self.subscription)?),
            Transport::Grpc => Arc::new(GrpcFeed::new(&self.access, &self.subscription)?),
        })
    }
}

/// The library knows http and https, whichever the transport.
fn endpoints(text: &str) -> Result<(Transport, Vec<String>), SettingsError> {
    let mut transport = None;
    let mut endpoints = Vec::new();
    for one in text.split(',').map(str::trim) {
        let unknown = || SettingsError::Scheme(one.to_owned());
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
    let transport = transport.ok_or_else(|| SettingsError::Scheme(text.to_owned()))?;
    Ok((transport, endpoints))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_chooses_the_transport() {
        let (transport, list) = endpoints("grpc://a:8081, grpcs://b:8081").unwrap();
        assert_eq!(
            (transport, list),
            (Transport::Grpc, vec!["http://a:8081".into(), "https://b:8081".into()])
        );
        assert_eq!(endpoints("https://mq").unwrap().0, Transport::Http);
        for wrong in ["mq:8081", "tcp://mq", "grpc://a:1,http://b", ""] {
            assert!(endpoints(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let read = |pairs: &[(&'static str, &str)]| {
            let find = |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            Settings::read(find).map(drop).map_err(|error| error.to_string())
        };
        let mut pairs = vec![("ROCKETMQ_ENDPOINT", "http://127.0.0.1:1")];
        assert!(read(&pairs).unwrap_err().contains("ROCKETMQ_TOPIC"));
        pairs.extend([("ROCKETMQ_TOPIC", "ward"), ("ROCKETMQ_GROUP_ID", "GID_ward")]);
        assert_eq!(read(&pairs), Ok(()));
        pairs.push(("ALIBABA_ACCESS_KEY", "id"));
        assert!(read(&pairs).unwrap_err().contains("ALIBABA_SECRET_KEY"));
    }
}
