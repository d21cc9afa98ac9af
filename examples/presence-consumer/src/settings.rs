//! RocketMQ's side of the environment.
//!
//! | variable | meaning |
//! |---|---|
//! | `ROCKETMQ_ENDPOINT` | `https://host` or `http://host`: the MQ HTTP API; `grpcs://host:port` or `grpc://host:port`: RocketMQ 5, several joined by commas |
//! | `ROCKETMQ_INSTANCE_ID` | instance (HTTP) or namespace (gRPC) |
//! | `PRESENCE_TOPIC`, `PRESENCE_GROUP_ID` | the agents' `[presence] topic`, and as whom it is consumed |
//! | `REPORT_TOPIC`, `REPORT_GROUP_ID` | the same for `[report] topic`; without them there is no lease |
//! | `ALIBABA_ACCESS_KEY`, `ALIBABA_SECRET_KEY` | the access key |
//! | `ALIBABA_SECURITY_TOKEN` | with a temporary key |
//! | `ROCKETMQ_CA` | PEM file of the authority to trust |
//!
//! Two topics need two groups: all members of a group have to ask for the same.

use std::sync::Arc;

use spillway_protocol::consumer::{BuildError, Environment, EnvironmentError, Feed, Subscription};

use crate::handler::Kind;

/// What is asked of the presence topic: `disconnect` says nothing that `tcpclean` does not.
const TAGS: &str = "connect||tcpclean";

/// A setting is missing or has no meaning.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// Missing.
    #[error("{0} is not set; it names {1}")]
    Missing(&'static str, &'static str),
    /// One group for both topics.
    #[error("PRESENCE_GROUP_ID and REPORT_GROUP_ID are both {0:?}; each topic needs its own group")]
    OneGroup(String),
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
    /// The topics.
    pub(crate) subscriptions: Vec<(Kind, Subscription)>,
}

impl Settings {
    /// From this process's environment.
    pub(crate) fn from_env() -> Result<Self, SettingsError> {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let environment = Environment::read(&variable)?;
        Ok(Self { environment, subscriptions: subscriptions(set)? })
    }

    /// The way to a topic's messages; nothing is connected yet.
    pub(crate) fn feed(&self, topic: &Subscription) -> Result<Arc<dyn Feed>, SettingsError> {
        Ok(self.environment.feed(topic)?)
    }
}

fn subscriptions(
    set: impl Fn(&'static str) -> Option<String>,
) -> Result<Vec<(Kind, Subscription)>, SettingsError> {
    let need = |name, what| set(name).ok_or(SettingsError::Missing(name, what));
    let mut presence = Subscription::new(
        need("PRESENCE_TOPIC", "the topic of status events")?,
        need("PRESENCE_GROUP_ID", "the consumer group of PRESENCE_TOPIC")?,
    );
    presence.tag = Some(TAGS.to_owned());
    let Some(topic) = set("REPORT_TOPIC") else { return Ok(vec![(Kind::Presence, presence)]) };
    let report =
        Subscription::new(topic, need("REPORT_GROUP_ID", "the consumer group of REPORT_TOPIC")?);
    if report.group == presence.group {
        return Err(SettingsError::OneGroup(report.group));
    }
    Ok(vec![(Kind::Presence, presence), (Kind::Report, report)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let mut pairs = vec![("ROCKETMQ_ENDPOINT", "http://127.0.0.1:1")];
        let read = |pairs: &[(&'static str, &str)]| {
            let find = |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            let topics = |settings: Settings| settings.subscriptions.len();
            Settings::read(find).map(topics).map_err(|error| error.to_string())
        };
        assert!(read(&pairs).unwrap_err().contains("PRESENCE_TOPIC"));
        pairs.extend([("PRESENCE_TOPIC", "status"), ("PRESENCE_GROUP_ID", "GID_p")]);
        assert_eq!(read(&pairs), Ok(1));
        pairs.push(("REPORT_TOPIC", "report"));
        assert!(read(&pairs).unwrap_err().contains("REPORT_GROUP_ID"));
        let same = [&pairs[..], &[("REPORT_GROUP_ID", "GID_p")]].concat();
        assert!(read(&same).unwrap_err().contains("GID_p"));
        pairs.push(("REPORT_GROUP_ID", "GID_r"));
        assert_eq!(read(&pairs), Ok(2));
        pairs.push(("ALIBABA_ACCESS_KEY", "id"));
        assert!(read(&pairs).unwrap_err().contains("ALIBABA_SECRET_KEY"));
    }
}
