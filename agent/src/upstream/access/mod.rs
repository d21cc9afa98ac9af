//! The access keys in use. Where one is refused, the next one is tried, and all are read again:
//! what is wrong on this machine is put right without a restart, as it is at the broker, and a
//! key can be replaced by another one without a pause.

mod keeper;
mod ring;
mod source;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use spillway_protocol::record::Topic;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use self::ring::{After, Ring};
use super::{Finding, Outcome, Scope, Verdict};
use crate::config::{AccessKeys, Credentials};

pub(super) use self::ring::Grip;
pub use self::ring::KeysView;
pub use self::source::{CredentialsSource, Key, Reading};

/// The access keys of one upstream.
pub(super) struct Access {
    inside: Arc<Inside>,
    keeper: OnceLock<AbortHandle>,
}

/// What is shared with the keeper.
struct Inside {
    ring: Mutex<Ring>,
    source: OnceLock<CredentialsSource>,
    /// Held while they are read: one at a time.
    reading: tokio::sync::Mutex<()>,
    read_at: Mutex<Option<Instant>>,
    /// Counts the readings that brought others.
    changes: watch::Sender<u64>,
}

impl Access {
    pub(super) fn new(access: &AccessKeys) -> Self {
        let mut ring = Ring::default();
        ring.replace(access.keys.iter().cloned().map(Key::from).collect(), Instant::now());
        let inside = Inside {
            ring: Mutex::new(ring),
            source: OnceLock::new(),
            reading: tokio::sync::Mutex::default(),
            read_at: Mutex::default(),
            changes: watch::Sender::new(0),
        };
        Self { inside: Arc::new(inside), keeper: OnceLock::new() }
    }

    /// From now on keys are read again from `source`. Must be called within a tokio runtime.
    pub(super) fn read_from(&self, source: CredentialsSource) {
        if self.inside.source.set(source).is_ok() {
            let keeper = tokio::spawn(keeper::keep(Arc::clone(&self.inside)));
            let _ = self.keeper.set(keeper.abort_handle());
        }
    }

    /// The key to use; waits for the first one where somebody brings it.
    ///
    /// # Errors
    /// There is none yet.
    pub(super) async fn key(&self) -> Result<Option<Grip>, Outcome> {
        let now = Instant::now();
        if let Some(grip) = self.inside.ring().grip(now) {
            return Ok(Some(grip));
        }
        if !self.inside.source.get().is_some_and(|source| source.brings) {
            return Ok(None);
        }
        self.inside.read_since(now).await;
        let ring = self.inside.ring();
        let reason = || ring.fault().unwrap_or("there is no access key yet").to_owned();
        ring.grip(now).map(Some).ok_or_else(|| refused(reason()))
    }

    /// The key in use, if there is one now.
    pub(super) fn current(&self) -> Option<Grip> {
        self.inside.ring().grip(Instant::now())
    }

    /// All of them, for whoever wants to know which are good.
    pub(super) fn all(&self) -> Vec<Grip> {
        self.inside.ring().all(Instant::now())
    }

    pub(super) fn view(&self) -> KeysView {
        self.inside.ring().view(Instant::now())
    }

    /// Counts how often others were read.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.inside.changes.subscribe()
    }

    /// What `outcome` of a request for `topic` with the key means, once those that may have come meanwhile
    /// are known and the next one is in use.
    pub(super) async fn judge(
        &self,
        grip: Option<&Grip>,
        topic: &Topic,
        outcome: Outcome,
    ) -> Outcome {
        let Some(grip) = grip else { return outcome };
        match outcome {
            Outcome::Misconfigured { code: "credentials", reason, .. } => {
                self.inside.read_since(grip.taken_at).await;
                match self.inside.refuse(grip, topic, &reason) {
                    After::Other => Outcome::OtherKey { reason },
                    After::Refused(reason) => refused(reason),
                }
            }
            // Another key may have the permission, and providers say it so of an expired token.
            Outcome::Misconfigured { code: "permission", scope, reason } => {
                self.inside.read_since(grip.taken_at).await;
                match self.inside.ring().has(grip) {
                    true => Outcome::Misconfigured { scope, code: "permission", reason },
                    false => Outcome::OtherKey { reason },
                }
            }
            Outcome::Delivered { .. } | Outcome::Rejected { .. } => {
                self.inside.ring().taken(grip, topic);
                outcome
            }
            other => other,
        }
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
        }
    }
}

impl Inside {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_at(&self) -> Option<Instant> {
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, grip: &Grip, topic: &Topic, words: &str) -> After {
        let now = Instant::now();
        let mut ring = self.ring();
        let before = ring.grip(now).map(|grip| grip.serial);
        let verdict = ring.refuse(grip, topic, words, now);
        let after = ring.grip(now);
        if let (After::Other, Some(after)) = (&verdict, after)
            && before != Some(after.serial)
        {
            let (refused, next) = (&grip.credentials.id, &after.credentials.id);
            tracing::warn!(refused, next, "an access key is refused ({words}); the next is tried");
        }
        verdict
    }

    /// Reads the keys, unless they were read since `then`.
    async fn read_since(&self, then: Instant) {
        let Some(source) = self.source.get() else { return };
        let _alone = self.reading.lock().await;
        let well = self.ring().fault().is_none();
        let recent = |at: Instant| at > then || (well && at.elapsed() < source.apart);
        if self.read_at().is_some_and(recent) {
            return;
        }
        let read = (source.read)().await;
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.take(read);
    }

    fn take(&self, read: Result<Vec<Key>, String>) {
        let keys = read.and_then(|keys| match keys.iter().find(|key| !travels(&key.credentials)) {
            Some(key) => Err(format!(
                "access key {:?} or its token holds characters that no header carries",
                key.credentials.id
            )),
            None if keys.is_empty() => Err("no access key is there any more".to_owned()),
            None => Ok(keys),
        });
        let mut ring = self.ring();
        match keys {
            Err(fault) => {
                tracing::warn!(
                    "the access keys could not be read again, the old ones stay: {fault}"
                );
                ring.unread(fault);
            }
            Ok(keys) => {
                let ids: Vec<&str> = keys.iter().map(|key| key.credentials.id.as_str()).collect();
                let ids = ids.join(", ");
                if ring.replace(keys, Instant::now()) {
                    tracing::info!(
                        access_key_ids = ids,
                        "the access keys were read and have changed"
                    );
                    drop(ring);
                    self.changes.send_modify(|changes| *changes += 1);
                } else {
                    tracing::debug!("the access keys were read again and are the same");
                }
            }
        }
    }
}

/// What became of a key that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trial {
    Accepted,
    /// In the server's words.
    Refused(String),
    /// Nobody said anything of it; why.
    Unknown(String),
}

/// The doctor's lines on keys that were tried.
pub(super) fn findings(access: &Access, tried: Vec<(Grip, Trial)>) -> Vec<Finding> {
    if tried.len() < 2 {
        return Vec::new();
    }
    let passed = tried.iter().find(|(_, trial)| *trial == Trial::Accepted);
    // What is looked at besides is asked with one that is good.
    if let Some((passed, _)) = passed {
        access.inside.ring().choose(passed);
    }
    let passed = passed.is_some();
    let all_refused = tried.iter().all(|(_, trial)| matches!(trial, Trial::Refused(_)));
    let finding = |(n, (key, trial)): (usize, (Grip, Trial))| {
        let subject = format!("access key {n} ({})", key.credentials.id);
        let (verdict, detail) = match trial {
            Trial::Accepted => (Verdict::Good, "accepted".to_owned()),
            Trial::Refused(words) if all_refused => (Verdict::Bad, words),
            Trial::Refused(words) if passed => {
                (Verdict::Note, format!("refused: {words}; another one is used"))
            }
            Trial::Refused(words) => (Verdict::Note, format!("refused: {words}")),
            Trial::Unknown(words) => (Verdict::Note, format!("not tried: {words}")),
        };
        Finding { subject, verdict, detail }
    };
    (1..).zip(tried).map(finding).collect()
}

/// The doctor's line where there is no key at all.
pub(super) fn finding(outcome: &Outcome) -> Option<Finding> {
    let Outcome::Misconfigured { reason, .. } = outcome else { return None };
    let (subject, detail) = ("access key".to_owned(), reason.clone());
    Some(Finding { subject, verdict: Verdict::Bad, detail })
}

fn refused(reason: String) -> Outcome {
    Outcome::Misconfigured { scope: Scope::Link, code: "credentials", reason }
}

/// Whether a request can carry it.
fn travels(credentials: &Credentials) -> bool {
    let token = credentials.security_token.as_ref().map_or("", |token| token.reveal());
    [&credentials.id, token].iter().all(|text| text.chars().all(|c| c.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    pub(super) fn key(id: &str) -> Key {
        credentials(id, "secret").into()
    }

    fn credentials(id: &str, secret: &str) -> Credentials {
        Credentials { id: id.into(), secret: Secret::new(secret), security_token: None }
    }

    fn misconfigured(code: &'static str) -> Outcome {
        Outcome::Misconfigured { scope: Scope::Link, code, reason: "no".into() }
    }

    async fn judged(access: &Access, code: &'static str) -> Outcome {
        let grip = access.key().await.unwrap();
        access.judge(grip.as_ref(), &Topic::parse("ward").unwrap(), misconfigured(code)).await
    }

    fn is_other(outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::OtherKey { .. })
    }

    #[tokio::test]
    async fn only_a_refusal_of_the_key_has_it_read_again_and_only_a_usable_one_is_taken() {
        let access = Access::new(&credentials("ak", "old").into());
        let next = Arc::new(Mutex::new(Ok(vec![credentials("ak", "new")])));
        let source = Arc::clone(&next);
        let read = move || source.lock().unwrap().clone();
        access.read_from(CredentialsSource::reading(vec![], read));
        let secret = || access.current().unwrap().credentials.secret.reveal().to_owned();
        assert_eq!(judged(&access, "clock").await, misconfigured("clock"));
        assert_eq!(secret(), "old");
        assert!(is_other(&judged(&access, "credentials").await));
        assert_eq!(secret(), "new");
        let useless = [
            Err("gone".to_owned()),
            Ok(vec![]),
            Ok(vec![credentials("ak", "new")]),
            Ok(vec![credentials("ü", "newer")]),
        ];
        for useless in useless {
            *next.lock().unwrap() = useless;
            assert_eq!(judged(&access, "permission").await, misconfigured("permission"));
            assert!(!is_other(&judged(&access, "credentials").await));
            assert_eq!(secret(), "new");
        }
        *next.lock().unwrap() = Ok(vec![credentials("ak", "newest")]);
        assert!(is_other(&judged(&access, "permission").await));
        assert_eq!(secret(), "newest");
    }

    #[tokio::test]
    async fn the_first_key_is_waited_for_where_it_is_brought_and_why_it_is_not_is_told() {
        let access = Access::new(&AccessKeys::default());
        assert!(access.key().await.unwrap().is_none());
        let access = Access::new(&AccessKeys::default());
        let brought = Arc::new(Mutex::new(vec![Ok(vec![key("sts")]), Err("broken".to_owned())]));
        let source = move || -> Reading {
            let next = brought.lock().unwrap().pop().unwrap_or(Ok(vec![key("sts")]));
            Box::pin(async move { next })
        };
        let second = std::time::Duration::from_secs(1);
        access.read_from(CredentialsSource::bringing(second, source));
        let Err(Outcome::Misconfigured { reason, .. }) = access.key().await else { panic!() };
        assert_eq!(reason, "broken");
        assert_eq!(access.key().await.unwrap().unwrap().credentials.id, "sts");
    }
    #[tokio::test]
    async fn a_key_that_nobody_judged_is_neither_accepted_nor_chosen() {
        let keys = ["first", "second"].map(|id| credentials(id, "secret")).to_vec();
        let access = Access::new(&AccessKeys { keys, ..AccessKeys::default() });
        let said = |trials: [Trial; 2]| {
            let found = findings(&access, access.all().into_iter().zip(trials).collect());
            found.into_iter().map(|found| (found.verdict, found.detail)).collect::<Vec<_>>()
        };
        let in_use = || access.current().unwrap().credentials.id.clone();
        let (unknown, refused) = (Trial::Unknown("no way".into()), Trial::Refused("403".into()));
        let note = |text: &str| (Verdict::Note, text.to_owned());
        let found = said([unknown.clone(), unknown.clone()]);
        assert_eq!(found, [note("not tried: no way"), note("not tried: no way")]);
        assert_eq!(said([refused.clone(), unknown.clone()])[0], note("refused: 403"));
        assert_eq!(said([refused.clone(), refused])[1], (Verdict::Bad, "403".into()));
        assert_eq!(in_use(), "first");
        let found = said([unknown, Trial::Accepted]);
        assert_eq!(found[1], (Verdict::Good, "accepted".to_owned()));
        assert_eq!(in_use(), "second");
    }
}
