//! RocketMQ's side of the environment: the variables that users of the MQ HTTP SDK know.
//!
//! | variable | meaning |
//! |---|---|
//! | `ROCKETMQ_ENDPOINT` | `https://host` or `http://host`: the MQ HTTP API; `grpcs://host:port` or `grpc://host:port`: RocketMQ 5, several joined by commas |
//! | `ROCKETMQ_INSTANCE_ID` | instance (HTTP) or namespace (gRPC) |
//! | `ROCKETMQ_TOPIC`, `ROCKETMQ_GROUP_ID` | what is consumed, and as whom; an auditor takes several topics joined by commas |
//! | `ROCKETMQ_TAG` | tags, joined by `\|\|`; all messages without |
//! | `ALIBABA_ACCESS_KEY`, `ALIBABA_SECRET_KEY` | the access key |
//! | `ALIBABA_SECURITY_TOKEN` | with a temporary key |
//! | `ROCKETMQ_CA` | PEM file of the authority to trust |

use std::collections::BTreeSet;
use std::sync::Arc;

use spillway_protocol::consumer::{BuildError, Environment, EnvironmentError, Feed, Subscription};

/// A setting is missing or has no meaning.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// Missing.
    #[error("{0} is not set; it names {1}")]
    Missing(&'static str, &'static str),
    /// One too many.
    #[error("ROCKETMQ_TOPIC is {0:?}; run takes one topic (auditor takes several, by commas)")]
    Several(String),
    /// A part of the messages.
    #[error("ROCKETMQ_TAG is set; unset it: to an auditor, what it leaves out would be missing")]
    Tag,
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
    /// One a topic.
    pub(crate) subscriptions: Vec<Subscription>,
}

impl Settings {
    /// From this process's environment; `group` stands for a group that is not set.
    pub(crate) fn from_env(group: Option<&str>) -> Result<Self, SettingsError> {
        Self::read(|name| std::env::var(name).ok(), group)
    }

    fn read(
        variable: impl Fn(&'static str) -> Option<String>,
        group: Option<&str>,
    ) -> Result<Self, SettingsError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let need = |name, what| set(name).ok_or(SettingsError::Missing(name, what));
        let environment = Environment::read(&variable)?;
        let text = need("ROCKETMQ_TOPIC", "the topic")?;
        let group = match (set("ROCKETMQ_GROUP_ID"), group) {
            (None, Some(group)) => group.to_owned(),
            (named, _) => {
                let missing = SettingsError::Missing("ROCKETMQ_GROUP_ID", "the consumer group");
                named.ok_or(missing)?
            }
        };
        let tag = set("ROCKETMQ_TAG");
        let topics: BTreeSet<&str> =
            text.split(',').map(str::trim).filter(|topic| !topic.is_empty()).collect();
        let subscription = |topic: &str| {
            let mut subscription = Subscription::new(topic, group.as_str());
            subscription.tag.clone_from(&tag);
            subscription
        };
        Ok(Self { environment, subscriptions: topics.into_iter().map(subscription).collect() })
    }

    /// The one topic.
    pub(crate) fn only(&self) -> Result<&Subscription, SettingsError> {
        let topics: Vec<&str> = self.subscriptions.iter().map(|one| one.topic.as_str()).collect();
        match &self.subscriptions[..] {
            [only] => Ok(only),
            _ => Err(SettingsError::Several(topics.join(","))),
        }
    }

    /// All topics, of each all messages.
    pub(crate) fn whole(&self) -> Result<&[Subscription], SettingsError> {
        match self.subscriptions.iter().any(|subscription| subscription.tag.is_some()) {
            true => Err(SettingsError::Tag),
            false => Ok(&self.subscriptions),
        }
    }

    /// Instance or namespace.
    pub(crate) fn instance(&self) -> Option<&str> {
        self.environment.instance()
    }

    /// The way to the messages; nothing is connected yet.
    pub(crate) fn feed(&self, subscription: &Subscription) -> Result<Arc<dyn Feed>, SettingsError> {
        Ok(self.environment.feed(subscription)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        pairs: &[(&'static str, &str)],
        group: Option<&str>,
    ) -> Result<Settings, SettingsError> {
        let find = |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::read(find, group)
    }

    #[test]
    fn what_is_missing_is_named() {
        let read = |pairs: &[(&'static str, &str)]| {
            read(pairs, None).map(drop).map_err(|error| error.to_string())
        };
        let mut pairs = vec![("ROCKETMQ_ENDPOINT", "http://127.0.0.1:1")];
        assert!(read(&pairs).unwrap_err().contains("ROCKETMQ_TOPIC"));
        pairs.push(("ROCKETMQ_TOPIC", "ward"));
        assert!(read(&pairs).unwrap_err().contains("ROCKETMQ_GROUP_ID"));
        pairs.push(("ROCKETMQ_GROUP_ID", "GID_ward"));
        assert_eq!(read(&pairs), Ok(()));
        pairs.push(("ALIBABA_ACCESS_KEY", "id"));
        assert!(read(&pairs).unwrap_err().contains("ALIBABA_SECRET_KEY"));
    }

    #[test]
    fn an_auditor_has_several_topics_and_a_group_by_itself_and_no_tag() {
        let mut pairs =
            vec![("ROCKETMQ_ENDPOINT", "http://127.0.0.1:1"), ("ROCKETMQ_TOPIC", "ward, report,")];
        let settings = read(&pairs, Some("central-auditor")).unwrap();
        let told: Vec<(&str, &str)> =
            settings.whole().unwrap().iter().map(|one| (&*one.topic, &*one.group)).collect();
        assert_eq!(told, [("report", "central-auditor"), ("ward", "central-auditor")]);
        assert!(settings.only().unwrap_err().to_string().contains("report,ward"));
        pairs.extend([("ROCKETMQ_GROUP_ID", "GID_audit"), ("ROCKETMQ_TAG", "a")]);
        let settings = read(&pairs, Some("central-auditor")).unwrap();
        assert_eq!(settings.subscriptions[0].group, "GID_audit");
        assert!(settings.whole().unwrap_err().to_string().contains("ROCKETMQ_TAG"));
    }
}
