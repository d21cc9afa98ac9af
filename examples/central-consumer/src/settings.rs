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

use spillway_protocol::consumer::{BuildError, Environment, EnvironmentError, Feed, Subscription};

/// A setting is missing or has no meaning.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// Missing.
    #[error("{0} is not set; it names {1}")]
    Missing(&'static str, &'static str),
    /// RocketMQ's.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The rest.
    #[error("ROCKETMQ_ENDPOINT: {0}")]
    Build(#[from] BuildError),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Settings {
    environment: Environment,
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
        let environment = Environment::read(&variable)?;
        let mut subscription = Subscription::new(
            need("ROCKETMQ_TOPIC", "the topic")?,
            need("ROCKETMQ_GROUP_ID", "the consumer group")?,
        );
        subscription.tag = set("ROCKETMQ_TAG");
        Ok(Self { environment, subscription })
    }

    /// Instance or namespace.
    pub(crate) fn instance(&self) -> Option<&str> {
        self.environment.instance()
    }

    /// The way to the messages; nothing is connected yet.
    pub(crate) fn feed(&self) -> Result<Arc<dyn Feed>, SettingsError> {
        Ok(self.environment.feed(&self.subscription)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
