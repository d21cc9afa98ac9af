//! De-duplication in Redis: for tables without a unique key, or to spare the database what it knows.
//!
//! A key for each id is first *claimed* (`SET NX` with a short limit) and, once the row is committed,
//! marked *stored* for as long as repeats may come. A failure releases the claim, and a consumer that
//! dies loses it to the limit; one key with a long limit alone would turn that death into a lost
//! record. Between the commit and the mark a death still means a second row, unless the table has its
//! unique key: only that makes it exactly once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use central_store::Fault;
use redis::aio::ConnectionManager;
use redis::{AsyncCommands, ExistenceCheck, RedisError, SetExpiry, SetOptions};
use tokio::time::sleep;

/// How long an id is held while its row is written.
const CLAIM: Duration = Duration::from_secs(60);
/// Whoever claims has to be done by then.
pub(crate) const HELD: Duration = Duration::from_secs(50);
/// Between two looks at another's claim.
const LOOK: Duration = Duration::from_millis(100);
const STORED: &str = "stored";
/// Deletes a key that still has our value.
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// See the module.
pub(crate) struct Claims {
    redis: ConnectionManager,
    /// What all keys begin with.
    prefix: String,
    /// Of this process alone.
    instance: String,
    held: AtomicU64,
    keep: Duration,
}

/// Ids that one call holds; all others of its batch are stored already.
pub(crate) struct Held<'a> {
    claims: &'a Claims,
    token: String,
    ids: BTreeSet<&'a str>,
}

impl Claims {
    /// `instance` has to be of this process alone; `keep` is how long a stored id is remembered.
    pub(crate) fn new(
        redis: ConnectionManager,
        group: &str,
        instance: String,
        keep: Duration,
    ) -> Self {
        let prefix = format!("central:{group}:");
        Self { redis, prefix, instance, held: AtomicU64::new(0), keep }
    }

    /// Claims ids, waiting for those that others hold.
    pub(crate) async fn claim<'a>(&'a self, ids: &[&'a str]) -> Result<Held<'a>, Fault> {
        let token = format!("{}-{}", self.instance, self.held.fetch_add(1, Ordering::Relaxed));
        let mut held = Held { claims: self, token, ids: BTreeSet::new() };
        // In one order for all, so that no two wait for each other.
        for id in ids.iter().copied().collect::<BTreeSet<_>>() {
            match self.claim_one(id, &held.token).await {
                Ok(true) => drop(held.ids.insert(id)),
                Ok(false) => {}
                Err(error) => {
                    held.release_all().await;
                    return Err(away(error));
                }
            }
        }
        Ok(held)
    }

    /// Whether it is ours to store; else it is stored.
    async fn claim_one(&self, id: &str, token: &str) -> Result<bool, RedisError> {
        let mut redis = self.redis.clone();
        let key = self.key(id);
        let options = SetOptions::default()
            .conditional_set(ExistenceCheck::NX)
            .with_expiration(SetExpiry::PX(ms(CLAIM)));
        loop {
            if redis.set_options::<_, _, bool>(&key, token, options.clone()).await? {
                return Ok(true);
            }
            let holder: Option<String> = redis.get(&key).await?;
            match holder.as_deref() {
                Some(STORED) => return Ok(false),
                // Somebody is at it, or was when it died.
                Some(_) => sleep(LOOK).await,
                None => {}
            }
        }
    }

    fn key(&self, id: &str) -> String {
        format!("{}{id}", self.prefix)
    }
}

impl Held<'_> {
    /// Whether the call has to store this one.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// The row is committed.
    pub(crate) async fn stored(&mut self, id: &str) -> Result<(), Fault> {
        self.ids.remove(id);
        let mut redis = self.claims.redis.clone();
        let stored = redis.pset_ex(self.claims.key(id), STORED, ms(self.claims.keep)).await;
        stored.map_err(away)
    }

    /// What is left is not stored, and somebody else may try. What cannot be released now, the
    /// limit releases.
    pub(crate) async fn release_all(self) {
        for id in &self.ids {
            let mut release = redis::cmd("EVAL");
            release.arg(RELEASE).arg(1).arg(self.claims.key(id)).arg(&self.token);
            let released: Result<(), _> = release.query_async(&mut self.claims.redis.clone()).await;
            if let Err(error) = released {
                tracing::debug!(id, %error, "a claim is left to its limit");
            }
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn away(error: RedisError) -> Fault {
    Fault::Away(format!("Redis: {error}"))
}
