//! Where access keys come from while the agent runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::config::Credentials;

/// A secret's file system may hang; then the old key has to do.
const READ_DEADLINE: Duration = Duration::from_secs(5);

/// An access key as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub credentials: Credentials,
    /// How long it is good from now on, where that is known.
    pub lasts: Option<Duration>,
    /// When it is to be read anew.
    pub renew_in: Option<Duration>,
}

impl From<Credentials> for Key {
    fn from(credentials: Credentials) -> Self {
        Self { credentials, lasts: None, renew_in: None }
    }
}

/// The keys, in the order in which they are tried, or why there are none.
pub type Reading = BoxFuture<'static, Result<Vec<Key>, String>>;

/// Reads the keys anew: after a refusal, when a file changed, when one is about to end.
#[derive(Clone)]
pub struct CredentialsSource {
    pub(super) read: Arc<dyn Fn() -> Reading + Send + Sync>,
    /// Read when one of them changes.
    pub(super) files: Vec<PathBuf>,
    /// It brings the first keys, too.
    pub(super) brings: bool,
    /// Least time between two readings of which the first went well.
    pub(super) apart: Duration,
}

impl CredentialsSource {
    /// Keys that are read from `files` or the like. `read` may block; what it says is for people.
    pub fn reading(
        files: Vec<PathBuf>,
        read: impl Fn() -> Result<Vec<Credentials>, String> + Send + Sync + 'static,
    ) -> Self {
        let read = Arc::new(read);
        let read = move || {
            let read = Arc::clone(&read);
            let reading = tokio::task::spawn_blocking(move || read());
            let within = tokio::time::timeout(READ_DEADLINE, reading);
            within
                .map(|read| match read {
                    Ok(Ok(keys)) => Ok(keys?.into_iter().map(Key::from).collect()),
                    Ok(Err(error)) => Err(format!("the access keys cannot be read: {error}")),
                    Err(_) => Err("the access keys' files do not answer".to_owned()),
                })
                .boxed()
        };
        Self { read: Arc::new(read), files, brings: false, apart: Duration::ZERO }
    }

    /// Keys that somebody brings each time, the first time as well; `apart` is the least time
    /// between two of them.
    pub fn bringing(apart: Duration, read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read), files: Vec::new(), brings: true, apart }
    }
}
