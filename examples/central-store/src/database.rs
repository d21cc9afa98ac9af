//! The pool. Every session is strict (a value that does not fit is refused, never cut), reads what
//! is committed (so that inserts beside each other do not lock gaps) and lives in UTC.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Pool, TxOpts};

use crate::fault::Fault;
use crate::settings::Settings;

/// Tries of a transaction that was in another's way.
const TRIES: u32 = 8;

/// See the module. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Database {
    pool: Pool,
}

/// A transaction; dropped, it is rolled back.
pub type Transaction = mysql_async::Transaction<'static>;

impl Database {
    /// Connects on first use.
    pub fn new(settings: &Settings) -> Self {
        Self { pool: Pool::new(settings.options()) }
    }

    /// A connection of the pool, once one is free.
    ///
    /// # Errors
    /// The database is away.
    pub async fn connection(&self) -> Result<Conn, Fault> {
        // A fault at connecting is never a record's, whatever its class.
        self.pool.get_conn().await.map_err(|error| Fault::Away(error.to_string()))
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// The database is away.
    pub async fn begin(&self) -> Result<Transaction, Fault> {
        let begun = self.pool.start_transaction(TxOpts::default()).await;
        begun.map_err(|error| Fault::Away(error.to_string()))
    }

    /// Runs a statement by itself.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn run(&self, statement: &str) -> Result<(), Fault> {
        Ok(self.connection().await?.query_drop(statement).await?)
    }

    /// Ends all connections.
    pub async fn close(self) {
        if let Err(error) = self.pool.disconnect().await {
            tracing::debug!(%error, "the connections did not end well");
        }
    }
}

/// How often a transaction was tried that is in another's way.
///
/// ```ignore
/// let mut tries = Tries::default();
/// loop {
///     match once().await {
///         Err(fault) => tries.again(fault)?,
///         done => return done,
///     }
/// }
/// ```
#[derive(Debug, Default)]
pub struct Tries(u32);

impl Tries {
    /// Allows another try.
    ///
    /// # Errors
    /// Any fault but [`Fault::Again`]; that one too, as [`Fault::Away`], after a few tries.
    pub fn again(&mut self, fault: Fault) -> Result<(), Fault> {
        let Fault::Again(reason) = fault else { return Err(fault) };
        self.0 += 1;
        if self.0 == TRIES {
            return Err(Fault::Away(reason));
        }
        tracing::debug!(tries = self.0, reason, "in another's way");
        Ok(())
    }
}
