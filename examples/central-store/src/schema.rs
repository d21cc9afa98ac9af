//! The tables. All names begin with `sw_`; the users' own tables stay as they are.
//!
//! | table | one row is | rows |
//! |---|---|---|
//! | `sw_lanes` | a gateway's stream and lane, and the number that stands for them | one each |
//! | `sw_seen` | numbers that arrived, without a gap, of one day of acceptance | one a day and lane, if nothing is missing |
//! | `sw_explained` | numbers that will not come, and why | one a tombstone range |
//! | `sw_reported` | the newest number that a gateway had accepted at some time, and how many waited | up to 100 a day and lane, for 8 days |
//! | `sw_reports` | the newest report of a gateway | one a gateway |
//! | `parked_messages` | a message that the centre could not store | one each |
//! | `sw_consumers` | what a running consumer says of itself | one each |
//!
//! The columns `live_*` of `sw_seen` are the signs of life among a row's numbers: see [`crate::clones`].
//!
//! Texts that name something compare byte by byte: ids that differ in case are two.

use mysql_async::prelude::Queryable;

use crate::database::Database;
use crate::fault::Fault;

/// What makes them, each unless it is there.
pub const STATEMENTS: [&str; 7] = [
    "CREATE TABLE IF NOT EXISTS sw_lanes (
        id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        gateway VARCHAR(255) NOT NULL,
        stream CHAR(8) NOT NULL,
        lane VARCHAR(64) NOT NULL,
        UNIQUE KEY place (gateway, lane, stream)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS sw_seen (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        lane_id INT UNSIGNED NOT NULL,
        day DATE NOT NULL,
        first_seq BIGINT UNSIGNED NOT NULL,
        last_seq BIGINT UNSIGNED NOT NULL,
        since TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
        until TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
        live_at_first BIGINT UNSIGNED NULL,
        live_at_last BIGINT UNSIGNED NULL,
        live_stored_first BIGINT UNSIGNED NULL,
        live_stored_last BIGINT UNSIGNED NULL,
        KEY place (lane_id, day, first_seq)
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS sw_explained (
        lane_id INT UNSIGNED NOT NULL,
        first_seq BIGINT UNSIGNED NOT NULL,
        last_seq BIGINT UNSIGNED NOT NULL,
        reason VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        kept_every INT UNSIGNED NOT NULL,
        first_ms BIGINT UNSIGNED NOT NULL,
        last_ms BIGINT UNSIGNED NOT NULL,
        note VARCHAR(255) CHARACTER SET utf8mb4 NULL,
        since TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
        PRIMARY KEY (lane_id, first_seq, last_seq, reason, kept_every)
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS sw_reported (
        lane_id INT UNSIGNED NOT NULL,
        accepted_seq BIGINT UNSIGNED NOT NULL,
        waiting BIGINT UNSIGNED NOT NULL,
        since TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
        until TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
        stored_ms BIGINT UNSIGNED NOT NULL,
        PRIMARY KEY (lane_id, accepted_seq, waiting)
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS sw_reports (
        gateway VARCHAR(255) NOT NULL PRIMARY KEY,
        stream CHAR(8) NOT NULL,
        at_ms BIGINT UNSIGNED NOT NULL,
        stored_ms BIGINT UNSIGNED NOT NULL,
        every_s BIGINT UNSIGNED NOT NULL,
        report LONGTEXT NOT NULL
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS parked_messages (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        topic VARCHAR(128) NOT NULL,
        consumer_group VARCHAR(128) NOT NULL,
        record_id VARCHAR(255) NOT NULL,
        message_id VARCHAR(255) NOT NULL,
        tag VARCHAR(255) NULL,
        message_keys VARCHAR(1024) NULL,
        order_key VARCHAR(255) NULL,
        reason TEXT NOT NULL,
        deliveries INT UNSIGNED NOT NULL,
        gateway VARCHAR(255) NULL,
        stream CHAR(8) NULL,
        lane VARCHAR(64) NULL,
        seq BIGINT UNSIGNED NULL,
        flags VARCHAR(255) NULL,
        accepted_ms BIGINT UNSIGNED NULL,
        stored_ms BIGINT UNSIGNED NULL,
        parked_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
        properties LONGTEXT NOT NULL,
        body LONGBLOB NOT NULL,
        UNIQUE KEY message (topic, consumer_group, record_id, message_id),
        KEY at (parked_at)
    ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS sw_consumers (
        topic VARCHAR(128) NOT NULL,
        consumer_group VARCHAR(128) NOT NULL,
        instance VARCHAR(128) NOT NULL,
        state VARCHAR(255) NOT NULL,
        received BIGINT UNSIGNED NOT NULL,
        done BIGINT UNSIGNED NOT NULL,
        in_hand BIGINT UNSIGNED NOT NULL,
        newest_ms BIGINT UNSIGNED NULL,
        at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
        PRIMARY KEY (topic, consumer_group, instance)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
];

impl Database {
    /// Makes the tables that are not there.
    ///
    /// # Errors
    /// What the database answers, such as a missing permission.
    pub async fn create_tables(&self) -> Result<(), Fault> {
        let mut connection = self.connection().await?;
        for statement in STATEMENTS {
            connection.query_drop(statement).await?;
        }
        Ok(())
    }
}
