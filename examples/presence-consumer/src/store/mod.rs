//! Where the table is kept, chosen at the start by a URL. Several consumers may write into one.

mod mysql;
mod redis;

use futures::future::BoxFuture;

use crate::table::{Fact, Table};

/// A table on a server.
pub(crate) trait Store: Send + Sync {
    /// Makes what has to be there before the first [`Store::learn`].
    fn prepare(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Takes facts in, all or none. As in [`Table::learn`] neither order nor repetition counts,
    /// also between consumers that write at the same time.
    fn learn<'a>(&'a self, facts: &'a [Fact]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// All that is known.
    fn table(&self) -> BoxFuture<'_, Result<Table, StoreError>>;

    /// Forgets the [forgettable](Table::forgettable) channels, and answers how many those were.
    fn forget(&self, before_ms: u64) -> BoxFuture<'_, Result<u64, StoreError>>;
}

/// The table cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The URL.
    #[error(
        "PRESENCE_STORE is no URL of a store ({0}); write redis://host:port or \
         mysql://user:password@host:port/database"
    )]
    Url(String),
    /// Redis.
    #[error("Redis cannot do what was asked: {0}")]
    Redis(#[from] ::redis::RedisError),
    /// MySQL or MariaDB.
    #[error("the database cannot do what was asked: {0}")]
    MySql(#[from] mysql_async::Error),
    /// Something else has been written there.
    #[error(
        "the store holds something that is not presence: {0}; give presence a place of its own"
    )]
    Content(String),
}

/// The store that a URL names; nothing is connected yet.
pub(crate) fn open(url: &str) -> Result<Box<dyn Store>, StoreError> {
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("redis" | "rediss") => Ok(Box::new(redis::Redis::new(url)?)),
        Some("mysql") => Ok(Box::new(mysql::MySql::new(url)?)),
        // The rest may hold a password.
        scheme => Err(StoreError::Url(format!("its scheme is {scheme:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_scheme_chooses_the_store_and_no_password_is_shown() {
        for url in ["redis://127.0.0.1:6379", "mysql://u:hush@127.0.0.1:3306/central"] {
            assert!(open(url).is_ok(), "{url}");
        }
        for url in ["postgres://u:hush@h/d", "mysql:u:hush@h", "mysql://u:hush@:no/", ""] {
            let refused = open(url).map(drop).unwrap_err().to_string();
            assert!(refused.contains("PRESENCE_STORE") && !refused.contains("hush"), "{refused}");
        }
    }
}
