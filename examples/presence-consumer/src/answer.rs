//! Who is online. Pure: decided from a [`Table`], the time and one setting.
//!
//! - A client is connected while any of its channels is live: a `connect` is known and no
//!   `tcpclean`. The events' order and times do not count, and a fast reconnect may show the new
//!   channel before the old one's end.
//! - A gateway that reports holds a *lease* of [`INTERVALS`] report intervals, renewed by whatever
//!   the broker stores of it. Once it has run out, the gateway is offline, whatever its channels
//!   say: an agent that was cut off cannot announce it.
//! - A gateway that reports but sends no presence events is online by its lease alone.
//! - A local client is online only while its gateway is: it has that one's lease, and is not shown
//!   while that one is not connected.

use std::collections::BTreeMap;

use serde::Serialize;
use spillway_protocol::presence::{SEPARATOR, gateway_of_local};

use crate::table::{Channel, Gateway, Table};

/// Report intervals after which a silent gateway is offline.
pub(crate) const INTERVALS: u64 = 3;

/// Who is there and who is not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    /// Clients that are online, by id.
    pub(crate) online: Vec<Client>,
    /// Clients that never said goodbye and whose lease has run out.
    pub(crate) silent: Vec<Client>,
}

/// A client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Client {
    /// Client id; of a gateway without presence events its gateway id.
    pub(crate) id: String,
    /// Its address as it knows it.
    pub(crate) client_ip: Option<String>,
    /// Its live channels.
    pub(crate) channels: Vec<String>,
    /// Since when, ms since 1970 by the client's clock.
    pub(crate) since_ms: Option<u64>,
    /// When the broker stored the newest of it, ms since 1970; none of clients that have no agent.
    pub(crate) heard_ms: Option<u64>,
}

/// Who is online at `now_ms` (ms since 1970, by a clock that agrees with the broker's).
/// `every_s`: the report interval of gateways that have not reported yet; none: these have no
/// lease.
pub(crate) fn answer(table: &Table, every_s: Option<u64>, now_ms: u64) -> Answer {
    let mut answer = Answer::default();
    let mut sort = |client: Client, gateway: Option<&Gateway>| {
        let lost = gateway.is_some_and(|gateway| lease_is_over(gateway, every_s, now_ms));
        if lost { &mut answer.silent } else { &mut answer.online }.push(client);
    };
    let live = live(table);
    for (id, channels) in &live {
        let host = gateway_of_local(id);
        let name = host.unwrap_or(id).split_once(SEPARATOR).map(|(_, name)| name);
        let gateway = name.and_then(|name| table.gateways.get(name));
        // Without its gateway, its end cannot be told.
        let stranded = gateway.is_some() && host.is_some_and(|host| !live.contains_key(host));
        if !stranded {
            sort(connected(id, channels, gateway), gateway);
        }
    }
    for (id, gateway) in &table.gateways {
        if !gateway.presence && gateway.report.is_some() {
            sort(connected(id, &[], Some(gateway)), Some(gateway));
        }
    }
    answer.online.sort_by(|a, b| a.id.cmp(&b.id));
    answer.silent.sort_by(|a, b| a.id.cmp(&b.id));
    answer
}

/// The live channels of each client.
fn live(table: &Table) -> BTreeMap<&str, Vec<(&str, &Channel)>> {
    let mut clients: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for ((client, id), channel) in table.channels.iter().filter(|(_, c)| c.is_live()) {
        clients.entry(client).or_default().push((id.as_str(), channel));
    }
    clients
}

fn connected(id: &str, channels: &[(&str, &Channel)], gateway: Option<&Gateway>) -> Client {
    let first = channels
        .iter()
        .filter_map(|(id, c)| Some((c.connected_ms?, *id, *c)))
        .min_by_key(|(ms, id, _)| (*ms, *id));
    Client {
        id: id.to_owned(),
        client_ip: first.map(|(.., channel)| channel.client_ip.clone()),
        channels: channels.iter().map(|(id, _)| (*id).to_owned()).collect(),
        since_ms: first.map(|(ms, ..)| ms),
        heard_ms: gateway.map(|gateway| gateway.heard_ms),
    }
}

fn lease_is_over(gateway: &Gateway, every_s: Option<u64>, now_ms: u64) -> bool {
    let every_s = gateway.report.map(|(_, every_s)| every_s).or(every_s);
    every_s.is_some_and(|every_s| {
        let lease_ms = every_s.saturating_mul(INTERVALS * 1000);
        gateway.heard_ms.saturating_add(lease_ms) < now_ms
    })
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
