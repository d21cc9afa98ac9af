//! The access keys that requests may be signed with. They come and go while the broker runs, as an
//! operator's or STS' do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::http::request::Parts;
use serde::Deserialize;
use spillway_protocol::rocketmq::http::fault::Code;
use spillway_protocol::rocketmq::http::sign::parse_authorization;
use tokio::time::Instant;

use crate::config::Secret;
use crate::mq_http::{Dates, Refusal, check};

/// The switch of a broker's access keys; clones are the same switch.
#[derive(Debug, Clone)]
pub struct Keys(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    id: String,
    secret: Secret,
    /// A key of STS: each request has to bring this, while it lasts.
    token: Option<(Secret, Instant)>,
}

/// What `POST /_keys` asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    #[serde(default)]
    grant: Vec<Granted>,
    #[serde(default)]
    revoke: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Granted {
    id: String,
    secret: String,
    /// Token and seconds that it lasts, for a key of STS.
    #[serde(default)]
    token: Option<(String, u64)>,
}

impl Keys {
    pub(super) fn new(keys: &[(String, Secret)]) -> Self {
        let all = Self(Arc::default());
        keys.iter().for_each(|(id, secret)| all.grant(id, secret.reveal()));
        all
    }

    /// Requests signed with this key pass from now on, and no longer with another secret.
    pub fn grant(&self, id: &str, secret: &str) {
        self.put(Entry { id: id.to_owned(), secret: Secret::new(secret), token: None });
    }

    /// The same if they bring the token as well, and for so long.
    pub fn grant_for(&self, id: &str, secret: &str, token: &str, lasts: Duration) {
        let token = Some((Secret::new(token), Instant::now() + lasts));
        self.put(Entry { id: id.to_owned(), secret: Secret::new(secret), token });
    }

    /// Requests signed with it are refused from now on.
    pub fn revoke(&self, id: &str) {
        self.entries().retain(|entry| entry.id != id);
    }

    /// Ids of those that are known.
    pub fn ids(&self) -> Vec<String> {
        self.entries().iter().map(|entry| entry.id.clone()).collect()
    }

    pub(super) fn change(&self, Change { grant, revoke }: Change) {
        revoke.iter().for_each(|id| self.revoke(id));
        for Granted { id, secret, token } in grant {
            match token {
                Some((token, s)) => self.grant_for(&id, &secret, &token, Duration::from_secs(s)),
                None => self.grant(&id, &secret),
            }
        }
    }

    /// Lets a request pass that is rightly signed with one of them.
    pub(super) fn check(&self, parts: &Parts, dates: Dates) -> Result<(), Refusal> {
        let entries = self.entries();
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let named = header("authorization").and_then(parse_authorization).map(|(id, _)| id);
        let entry = entries.iter().find(|entry| Some(entry.id.as_str()) == named);
        let pairs: Vec<_> = entry.iter().map(|e| (e.id.clone(), e.secret.clone())).collect();
        check(parts, &pairs, dates)?;
        match entry.and_then(|entry| entry.token.as_ref()) {
            Some((token, _)) if header("security-token") != Some(token.reveal()) => {
                Err(Refusal::new(Code::InvalidSecurityToken, "that is not this key's token"))
            }
            Some((_, until)) if Instant::now() >= *until => {
                Err(Refusal::new(Code::InvalidSecurityToken, "the token has expired"))
            }
            _ => Ok(()),
        }
    }

    fn put(&self, entry: Entry) {
        let mut entries = self.entries();
        entries.retain(|other| other.id != entry.id);
        entries.push(entry);
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
