//! Redis, from 6.2 on: sorted sets whose scores are store times (ms since 1970), so that each
//! command by itself is a union.
//!
//! | key | members | score |
//! |---|---|---|
//! | `presence:events` | status events, as their JSON | when the newest repeat was stored |
//! | `presence:heard` | gateways | when the newest of it was stored |
//! | `presence:announced` | gateways that send status events | the same |
//! | `presence:intervals` | `SECONDS GATEWAY`: reported intervals | when the newest such report was stored |
//!
//! An event of a forgotten channel is removed; a gateway's few members stay.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, Pipeline};
use spillway_protocol::presence::Event;

use super::{Store, StoreError};
use crate::table::{Fact, Table};

const EVENTS: &str = "presence:events";
const HEARD: &str = "presence:heard";
const ANNOUNCED: &str = "presence:announced";
const INTERVALS: &str = "presence:intervals";
/// Without an answer for so long it is away.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Redis(ConnectionManager);

impl Redis {
    /// Connects on first use.
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        let no_url = |error: redis::RedisError| StoreError::Url(error.to_string());
        let client = redis::Client::open(url).map_err(no_url)?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        Ok(Self(ConnectionManager::new_lazy_with_config(client, config)?))
    }

    async fn scores(&self, key: &str) -> Result<Vec<(String, u64)>, StoreError> {
        Ok(self.0.clone().zrange_withscores(key, 0, -1).await?)
    }

    async fn read(&self) -> Result<Table, StoreError> {
        let mut table = Table::default();
        for (json, stored_ms) in self.scores(EVENTS).await? {
            table.learn(&Fact::Event { event: event(&json)?, stored_ms });
        }
        for (key, presence) in [(HEARD, false), (ANNOUNCED, true)] {
            for (gateway, stored_ms) in self.scores(key).await? {
                table.learn(&Fact::Heard { gateway, stored_ms, presence });
            }
        }
        for (member, stored_ms) in self.scores(INTERVALS).await? {
            let parsed = member.split_once(' ').and_then(|(s, g)| Some((s.parse().ok()?, g)));
            let (every_s, gateway) = parsed.ok_or(StoreError::Content(member.clone()))?;
            table.learn(&Fact::Interval { gateway: gateway.to_owned(), stored_ms, every_s });
        }
        Ok(table)
    }

    async fn remove(&self, before_ms: u64) -> Result<u64, StoreError> {
        let events = self.scores(EVENTS).await?;
        let mut table = Table::default();
        let mut members = Vec::new();
        for (json, stored_ms) in events {
            let event = event(&json)?;
            members.push((event.client_id.clone(), event.channel_id.clone(), json));
            table.learn(&Fact::Event { event, stored_ms });
        }
        let gone: BTreeSet<_> = table.forgettable(before_ms).cloned().collect();
        let of_gone = |(client, channel, json)| gone.contains(&(client, channel)).then_some(json);
        let members: Vec<String> = members.into_iter().filter_map(of_gone).collect();
        if !members.is_empty() {
            // In one command: an end must not go before its beginning.
            let () = self.0.clone().zrem(EVENTS, members).await?;
        }
        Ok(gone.len() as u64)
    }
}

fn event(json: &str) -> Result<Event, StoreError> {
    Event::from_json(json.as_bytes()).map_err(|_| StoreError::Content(json.to_owned()))
}

/// Adds the member, or raises its score.
fn raise(pipeline: &mut Pipeline, key: &str, member: &str, stored_ms: u64) {
    pipeline.cmd("ZADD").arg(key).arg("GT").arg(stored_ms).arg(member).ignore();
}

fn write(pipeline: &mut Pipeline, fact: &Fact) -> Result<(), StoreError> {
    match fact {
        Fact::Event { event, stored_ms } => {
            let json = serde_json::to_string(event)
                .map_err(|error| StoreError::Content(error.to_string()))?;
            raise(pipeline, EVENTS, &json, *stored_ms);
        }
        Fact::Heard { gateway, stored_ms, presence } => {
            raise(pipeline, HEARD, gateway, *stored_ms);
            if *presence {
                raise(pipeline, ANNOUNCED, gateway, *stored_ms);
            }
        }
        Fact::Interval { gateway, stored_ms, every_s } => {
            raise(pipeline, INTERVALS, &format!("{every_s} {gateway}"), *stored_ms);
        }
    }
    Ok(())
}

impl Store for Redis {
    fn prepare(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async { Ok(self.0.clone().ping().await?) }.boxed()
    }

    fn learn<'a>(&'a self, facts: &'a [Fact]) -> BoxFuture<'a, Result<(), StoreError>> {
        async {
            let mut pipeline = redis::pipe();
            pipeline.atomic();
            facts.iter().try_for_each(|fact| write(&mut pipeline, fact))?;
            Ok(pipeline.query_async(&mut self.0.clone()).await?)
        }
        .boxed()
    }

    fn table(&self) -> BoxFuture<'_, Result<Table, StoreError>> {
        self.read().boxed()
    }

    fn forget(&self, before_ms: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.remove(before_ms).boxed()
    }
}
