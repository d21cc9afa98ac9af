//! MySQL, MariaDB or PolarDB: the tables `presence_channels`, by client id and channel id, and
//! `presence_gateways`. Each row is written by one statement that joins what comes with what is
//! there, so neither order nor repetition counts.
//!
//! Ids compare byte by byte: two that differ in case are two.

use futures::FutureExt;
use futures::future::BoxFuture;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Params, Pool, TxOpts, params};
use spillway_protocol::presence::EventType;

use super::{Store, StoreError};
use crate::table::{Channel, Fact, Gateway, Table};

const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS presence_channels (
        client_id VARCHAR(255) NOT NULL,
        channel_id VARCHAR(128) NOT NULL,
        connected_ms BIGINT UNSIGNED NULL,
        cleaned BOOLEAN NOT NULL,
        client_ip VARCHAR(64) NOT NULL,
        stored_ms BIGINT UNSIGNED NOT NULL,
        PRIMARY KEY (client_id, channel_id)
    ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS presence_gateways (
        gateway VARCHAR(255) NOT NULL PRIMARY KEY,
        heard_ms BIGINT UNSIGNED NOT NULL,
        sends_presence BOOLEAN NOT NULL,
        report_ms BIGINT UNSIGNED NULL,
        every_s BIGINT UNSIGNED NULL
    ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
];

const CONNECT: &str = "INSERT INTO presence_channels
        (client_id, channel_id, connected_ms, cleaned, client_ip, stored_ms)
    VALUES (:client, :channel, :time, FALSE, :ip, :stored)
    ON DUPLICATE KEY UPDATE
        connected_ms = LEAST(COALESCE(connected_ms, VALUES(connected_ms)), VALUES(connected_ms)),
        client_ip = GREATEST(client_ip, VALUES(client_ip)),
        stored_ms = GREATEST(stored_ms, VALUES(stored_ms))";

const CLEAN: &str = "INSERT INTO presence_channels
        (client_id, channel_id, connected_ms, cleaned, client_ip, stored_ms)
    VALUES (:client, :channel, NULL, TRUE, '', :stored)
    ON DUPLICATE KEY UPDATE
        cleaned = TRUE,
        stored_ms = GREATEST(stored_ms, VALUES(stored_ms))";

const HEARD: &str = "INSERT INTO presence_gateways (gateway, heard_ms, sends_presence)
    VALUES (:gateway, :stored, :presence)
    ON DUPLICATE KEY UPDATE
        heard_ms = GREATEST(heard_ms, VALUES(heard_ms)),
        sends_presence = sends_presence OR VALUES(sends_presence)";

// Assignments are done from left to right: the interval while the old report's time is there.
const INTERVAL: &str = "INSERT INTO presence_gateways
        (gateway, heard_ms, sends_presence, report_ms, every_s)
    VALUES (:gateway, 0, FALSE, :stored, :every)
    ON DUPLICATE KEY UPDATE
        every_s = CASE
            WHEN report_ms IS NULL OR report_ms < VALUES(report_ms) THEN VALUES(every_s)
            WHEN report_ms = VALUES(report_ms) THEN GREATEST(every_s, VALUES(every_s))
            ELSE every_s END,
        report_ms = GREATEST(COALESCE(report_ms, 0), VALUES(report_ms))";

const FORGET: &str = "DELETE FROM presence_channels WHERE cleaned AND stored_ms < ?";

/// See the module.
pub(super) struct MySql(Pool);

impl MySql {
    /// Connects on first use.
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        let options = Opts::from_url(url).map_err(|error| StoreError::Url(error.to_string()))?;
        Ok(Self(Pool::new(options)))
    }

    async fn connection(&self) -> Result<Conn, StoreError> {
        Ok(self.0.get_conn().await?)
    }

    /// Rows are locked in one order, so that no two consumers wait for each other.
    async fn write(&self, facts: &[Fact]) -> Result<(), StoreError> {
        let mut statements: Vec<_> = facts.iter().filter_map(statement).collect();
        statements.sort_by(|a, b| a.place.cmp(&b.place));
        let mut transaction = self.0.start_transaction(TxOpts::default()).await?;
        for statement in statements {
            transaction.exec_drop(statement.text, statement.values).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn read(&self) -> Result<Table, StoreError> {
        let mut connection = self.connection().await?;
        let channels = "SELECT client_id, channel_id, connected_ms, cleaned, client_ip, stored_ms
                        FROM presence_channels";
        let channel = |(client, id, connected_ms, cleaned, client_ip, stored_ms)| {
            ((client, id), Channel { connected_ms, cleaned, client_ip, stored_ms })
        };
        let channels = connection.query_map(channels, channel).await?;
        let gateways = "SELECT gateway, heard_ms, sends_presence, report_ms, every_s
                        FROM presence_gateways";
        type Row = (String, u64, bool, Option<u64>, Option<u64>);
        let gateway = |(name, heard_ms, presence, report_ms, every_s): Row| {
            (name, Gateway { heard_ms, presence, report: report_ms.zip(every_s) })
        };
        let gateways = connection.query_map(gateways, gateway).await?;
        Ok(Table {
            channels: channels.into_iter().collect(),
            gateways: gateways.into_iter().collect(),
        })
    }

    async fn remove(&self, before_ms: u64) -> Result<u64, StoreError> {
        let mut connection = self.connection().await?;
        connection.exec_drop(FORGET, (before_ms,)).await?;
        Ok(connection.affected_rows())
    }
}

/// A row's change.
struct Statement<'a> {
    /// Table and key.
    place: (u8, &'a str, &'a str),
    text: &'static str,
    values: Params,
}

fn statement(fact: &Fact) -> Option<Statement<'_>> {
    Some(match fact {
        Fact::Event { event, stored_ms } => {
            let place = (0, event.client_id.as_str(), event.channel_id.as_str());
            let (client, channel) = (&event.client_id, &event.channel_id);
            let (text, values) = match event.event_type {
                EventType::Connect => (
                    CONNECT,
                    params! { "client" => client, "channel" => channel, "time" => event.time,
                    "ip" => &event.client_ip, "stored" => stored_ms },
                ),
                EventType::TcpClean => (
                    CLEAN,
                    params! { "client" => client, "channel" => channel, "stored" => stored_ms },
                ),
                EventType::Disconnect => return None,
            };
            Statement { place, text, values }
        }
        Fact::Heard { gateway, stored_ms, presence } => Statement {
            place: (1, gateway, ""),
            text: HEARD,
            values: params! { gateway, "stored" => stored_ms, "presence" => presence },
        },
        Fact::Interval { gateway, stored_ms, every_s } => Statement {
            place: (1, gateway, ""),
            text: INTERVAL,
            values: params! { gateway, "stored" => stored_ms, "every" => every_s },
        },
    })
}

impl Store for MySql {
    fn prepare(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async {
            let mut connection = self.connection().await?;
            for table in TABLES {
                connection.query_drop(table).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn learn<'a>(&'a self, facts: &'a [Fact]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.write(facts).boxed()
    }

    fn table(&self) -> BoxFuture<'_, Result<Table, StoreError>> {
        self.read().boxed()
    }

    fn forget(&self, before_ms: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.remove(before_ms).boxed()
    }
}
