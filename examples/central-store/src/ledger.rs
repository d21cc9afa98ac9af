//! Reads what an audit needs.

use std::collections::BTreeMap;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use spillway_protocol::message::StreamId;

use crate::audit::{Books, Reported, Seen};
use crate::clones::{self, Cloned, Life};
use crate::database::Database;
use crate::explained::{Explained, reason_named};
use crate::fault::Fault;
use crate::lanes::Place;
use crate::ranges::Range;

/// A connection that reads.
#[derive(Debug)]
pub struct Ledger {
    connection: Conn,
}

impl Ledger {
    /// Opens it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn open(database: &Database) -> Result<Self, Fault> {
        Ok(Self { connection: database.connection().await? })
    }

    /// The database's clock, ms since 1970: all ages are counted by it.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn now_ms(&mut self) -> Result<u64, Fault> {
        let now = "SELECT CAST(ROUND(UNIX_TIMESTAMP(CURRENT_TIMESTAMP(3)) * 1000) AS UNSIGNED)";
        Ok(self.connection.query_first(now).await?.unwrap_or(0))
    }

    /// All places, or those of one gateway, in order.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn places(&mut self, gateway: Option<&str>) -> Result<Vec<(u32, Place)>, Fault> {
        let select = "SELECT id, gateway, lane, stream FROM sw_lanes \
                      WHERE gateway = COALESCE(?, gateway) ORDER BY gateway, lane, id";
        let rows: Vec<(u32, String, String, String)> =
            self.connection.exec(select, (gateway,)).await?;
        let place = |(id, gateway, lane, stream): (_, _, _, String)| {
            let stream = stream.parse().map_err(|_| Fault::Away(format!("stream {stream:?}")))?;
            Ok((id, Place { gateway, lane, stream }))
        };
        rows.into_iter().map(place).collect()
    }

    /// What is known of one place.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn books(&mut self, lane: u32) -> Result<Books, Fault> {
        Ok(Books {
            seen: self.seen(lane).await?,
            explained: self.explained(lane).await?,
            reported: self.reported(lane).await?,
        })
    }

    /// All gateways, and when anything of each came last, ms since 1970 by the database's clock.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn newest_of_gateways(&mut self) -> Result<Vec<(String, u64)>, Fault> {
        let select = "SELECT gateway, CAST(ROUND(UNIX_TIMESTAMP(MAX(until)) * 1000) AS UNSIGNED) \
             FROM sw_lanes JOIN sw_seen ON lane_id = sw_lanes.id GROUP BY gateway";
        Ok(self.connection.query(select).await?)
    }

    /// Gateways, or the one, whose id several machines share; `live_ms` as in [`clones::live`].
    ///
    /// # Errors
    /// What the database answers.
    pub async fn cloned(
        &mut self,
        gateway: Option<&str>,
        live_ms: u64,
    ) -> Result<Vec<Cloned>, Fault> {
        let select = "SELECT gateway, stream, MIN(live_at_first), MAX(live_at_last), \
             MIN(live_stored_first), MAX(live_stored_last) \
             FROM sw_lanes JOIN sw_seen ON lane_id = sw_lanes.id \
             WHERE gateway = COALESCE(?, gateway) AND live_stored_last >= ? AND gateway IN \
             (SELECT gateway FROM sw_lanes GROUP BY gateway HAVING COUNT(DISTINCT stream) > 1) \
             GROUP BY gateway, stream ORDER BY gateway, stream";
        let since_ms = self.now_ms().await?.saturating_sub(clones::REMEMBERED_MS);
        type Row = (String, String, Option<u64>, Option<u64>, Option<u64>, Option<u64>);
        let rows: Vec<Row> = self.connection.exec(select, (gateway, since_ms)).await?;
        let mut gateways: BTreeMap<String, Vec<(StreamId, Life)>> = BTreeMap::new();
        for (gateway, stream, a, b, c, d) in rows {
            let life = Life::of_columns([a, b, c, d]);
            let stream = stream.parse().map_err(|_| Fault::Away(format!("stream {stream:?}")))?;
            gateways.entry(gateway).or_default().extend(life.map(|life| (stream, life)));
        }
        let cloned = gateways.into_iter().map(|(gateway, lives)| {
            let streams = clones::live(&lives, live_ms);
            Cloned { gateway, streams }
        });
        Ok(cloned.filter(|cloned| !cloned.streams.is_empty()).collect())
    }

    async fn seen(&mut self, lane: u32) -> Result<Vec<Seen>, Fault> {
        let select = "SELECT DATEDIFF(day, '1970-01-01'), first_seq, last_seq, \
             CAST(ROUND(UNIX_TIMESTAMP(since) * 1000) AS UNSIGNED), \
             CAST(ROUND(UNIX_TIMESTAMP(until) * 1000) AS UNSIGNED) FROM sw_seen WHERE lane_id = ?";
        let seen = |(day, first, last, since_ms, until_ms)| {
            let range = Range { first, last };
            Seen { day, range, since_ms, until_ms }
        };
        Ok(self.connection.exec_map(select, (lane,), seen).await?)
    }

    async fn explained(&mut self, lane: u32) -> Result<Vec<Explained>, Fault> {
        let select = "SELECT first_seq, last_seq, reason, kept_every, first_ms, last_ms, note \
                      FROM sw_explained WHERE lane_id = ?";
        let explained = |(first, last, reason, kept_every, first_ms, last_ms, note): (
            _,
            _,
            String,
            _,
            _,
            _,
            _,
        )| {
            let (range, reason) = (Range { first, last }, reason_named(&reason));
            Explained { lane, range, reason, kept_every, first_ms, last_ms, note }
        };
        Ok(self.connection.exec_map(select, (lane,), explained).await?)
    }

    async fn reported(&mut self, lane: u32) -> Result<Vec<Reported>, Fault> {
        let select = "SELECT accepted_seq, waiting, \
             CAST(ROUND(UNIX_TIMESTAMP(since) * 1000) AS UNSIGNED), \
             CAST(ROUND(UNIX_TIMESTAMP(until) * 1000) AS UNSIGNED), stored_ms \
             FROM sw_reported WHERE lane_id = ?";
        let reported = |(accepted_seq, waiting, since_ms, until_ms, stored_ms)| Reported {
            accepted_seq,
            waiting,
            since_ms,
            until_ms,
            stored_ms,
        };
        Ok(self.connection.exec_map(select, (lane,), reported).await?)
    }
}
