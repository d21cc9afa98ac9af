//! The access key in use, and how it is read again when it is refused: a wrong secret on this
//! machine is put right without a restart, as one at the broker is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use super::Outcome;
use crate::config::Credentials;

/// Reads the credentials from wherever the configuration says they are; `None` if they cannot be
/// read. May block.
pub type CredentialsSource = Arc<dyn Fn() -> Option<Credentials> + Send + Sync>;

/// A secret's file system may hang; then the old key has to do.
const READ_DEADLINE: Duration = Duration::from_secs(5);

/// The credentials of one upstream.
#[derive(Default)]
pub(super) struct Access {
    current: RwLock<Option<Arc<Credentials>>>,
    source: OnceLock<CredentialsSource>,
    /// They were refused since they were last read.
    doubted: AtomicBool,
}

impl Access {
    pub(super) fn new(credentials: Option<Credentials>) -> Self {
        Self { current: RwLock::new(credentials.map(Arc::new)), ..Self::default() }
    }

    /// From now on refused credentials are read again from `source`.
    pub(super) fn read_from(&self, source: CredentialsSource) {
        let _ = self.source.set(source);
    }

    pub(super) fn current(&self) -> Option<Arc<Credentials>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers a refusal. A topic's counts too: another key may have the permission, and
    /// providers say it that way of an expired token.
    pub(super) fn learn_from(&self, outcome: &Outcome) {
        if matches!(outcome, Outcome::Misconfigured { code: "credentials" | "permission", .. }) {
            self.doubted.store(true, Ordering::Relaxed);
        }
    }

    /// Before a request: reads refused credentials again and takes them if they are others and
    /// `usable`. True if they are others now.
    pub(super) async fn refresh(&self, usable: impl Fn(&Credentials) -> bool) -> bool {
        let Some(source) = self.source.get() else {
            return false;
        };
        if !self.doubted.swap(false, Ordering::Relaxed) {
            return false;
        }
        let source = Arc::clone(source);
        let reading = tokio::task::spawn_blocking(move || source());
        let Ok(Ok(Some(read))) = tokio::time::timeout(READ_DEADLINE, reading).await else {
            tracing::warn!("the refused credentials could not be read again; the old ones stay");
            return false;
        };
        if self.current().is_some_and(|current| *current == read) {
            tracing::debug!("the refused credentials were read again and are the same");
            return false;
        }
        if !usable(&read) {
            tracing::warn!(
                "the credentials were read again, but hold characters that cannot travel in a header; the old ones stay"
            );
            return false;
        }
        tracing::info!(access_key_id = read.id, "the credentials were read again and have changed");
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(read));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::upstream::Scope;
    use std::sync::Mutex;

    fn credentials(secret: &str) -> Credentials {
        Credentials { id: "ak".into(), secret: Secret::new(secret), security_token: None }
    }

    fn refused(code: &'static str) -> Outcome {
        Outcome::Misconfigured { scope: Scope::Link, code, reason: String::new() }
    }

    #[tokio::test]
    async fn only_a_refusal_of_the_key_has_it_read_again_and_only_a_usable_one_is_taken() {
        let access = Access::new(Some(credentials("old")));
        let next = Arc::new(Mutex::new(Some(credentials("new"))));
        let source = Arc::clone(&next);
        access.read_from(Arc::new(move || source.lock().unwrap().clone()));
        let secret = || access.current().unwrap().secret.reveal().to_owned();
        let usable = |read: &Credentials| read.secret.reveal() != "unusable";
        access.learn_from(&refused("clock"));
        assert!(!access.refresh(usable).await);
        access.learn_from(&refused("credentials"));
        assert!(access.refresh(usable).await);
        assert_eq!(secret(), "new");
        for useless in [None, Some(credentials("new")), Some(credentials("unusable"))] {
            *next.lock().unwrap() = useless;
            access.learn_from(&refused("permission"));
            assert!(!access.refresh(usable).await);
            assert_eq!(secret(), "new");
        }
    }
}
