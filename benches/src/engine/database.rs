//! Embedded databases as their documents advise to use them for this.

use std::fs::File;
use std::path::Path;

use rusqlite::Connection;
use spillway_protocol::record::Record;

use super::Engine;
use crate::Error;

/// SQLite with a write-ahead log that is synced at each commit (`synchronous = FULL`): one
/// transaction for a group, one prepared statement, the number as the row's own.
pub struct Sqlite(Connection);

impl Sqlite {
    /// A database of its own in `folder`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let connection = Connection::open(folder.join("records.db"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS records (seq INTEGER PRIMARY KEY, id TEXT, body BLOB)",
        )?;
        Ok(Self(connection))
    }
}

impl Engine for Sqlite {
    fn commit(&mut self, first: u64, records: &[Record]) -> Result<(), Error> {
        let transaction = self.0.transaction()?;
        let mut insert = transaction
            .prepare_cached("INSERT INTO records (seq, id, body) VALUES (?1, ?2, ?3)")?;
        for (record, seq) in records.iter().zip(first..) {
            let seq = i64::try_from(seq)?;
            insert.execute((seq, record.id.as_str(), &record.body[..]))?;
        }
        drop(insert);
        transaction.commit()?;
        Ok(())
    }
}

/// One sled tree with a key for each record: what a queue on sled is without packs. A group is
/// flushed once; since sled's flush reaches no platter, its file is synced behind that.
pub struct Sled {
    db: sled::Db,
    file: File,
}

impl Sled {
    /// A database of its own in `folder`.
    ///
    /// # Errors
    /// sled's.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let folder = folder.join("sled");
        let db = sled::Config::new().path(&folder).flush_every_ms(None).open()?;
        Ok(Self { db, file: File::open(folder.join("db"))? })
    }
}

impl Engine for Sled {
    fn commit(&mut self, first: u64, records: &[Record]) -> Result<(), Error> {
        for (record, seq) in records.iter().zip(first..) {
            let mut value = record.id.as_str().as_bytes().to_vec();
            value.extend_from_slice(&record.body);
            self.db.insert(seq.to_be_bytes(), value)?;
        }
        self.db.flush()?;
        self.file.sync_data()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use spillway_protocol::record::{Draft, RecordId};

    use super::*;

    fn records() -> Vec<Record> {
        let body = |n: u8| Draft { body: Bytes::from(vec![n; 9]), ..Draft::default() };
        let id = || RecordId::from(uuid::Uuid::now_v7());
        (0..3).map(|n| body(n).parse(id).unwrap()).collect()
    }

    #[test]
    fn each_engine_keeps_what_it_committed() {
        let folder = tempfile::tempdir().unwrap();
        let mut sqlite = Sqlite::open(folder.path()).unwrap();
        sqlite.commit(1, &records()).unwrap();
        let count = |sqlite: &Sqlite| {
            sqlite.0.query_row("SELECT count(*) FROM records", (), |row| row.get::<_, i64>(0))
        };
        assert_eq!(count(&sqlite).unwrap(), 3);
        let full = sqlite.0.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0));
        assert_eq!(full.unwrap(), 2);
        let mut sled = Sled::open(folder.path()).unwrap();
        sled.commit(1, &records()).unwrap();
        assert_eq!(sled.db.len(), 3);
    }
}
