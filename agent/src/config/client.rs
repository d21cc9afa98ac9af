//! `[[client]]`.

use std::num::NonZeroU32;

use spillway_protocol::record::LaneName;

use super::fault::Place;
use super::lane::required;
use super::load::Surroundings;
use super::own::id_part;
use super::route::known_lane;
use super::section::{Reading, Section};
use super::tree::{Node, Value};
use super::{Client, Lane, admin};

const EXAMPLE: &str = "write [[client]] with name = \"his\" and uid = 991";
const LANES: &str = "[\"critical\"]";

pub(super) fn read_all(
    root: &Section<'_>,
    reading: &Reading,
    lanes: &[Lane],
    surroundings: &Surroundings,
) -> Vec<Client> {
    let items = match root.node("client").map(|node| &node.value) {
        None => return Vec::new(),
        Some(Value::List(items)) => items,
        Some(other) => {
            root.fault("client", format!("is {}, not a list of clients", other.kind()), EXAMPLE);
            return Vec::new();
        }
    };
    if items.is_empty() {
        // Who writes it wants somebody refused; without any client, nobody is.
        root.fault("client", "is an empty list, which refuses nobody", EXAMPLE);
    }
    let told = root.node("presence").is_some();
    let mut read: Vec<(Client, &Place)> = Vec::new();
    for (index, node) in items.iter().enumerate() {
        let Some(client) = one(index, node, reading, (lanes, told), surroundings) else { continue };
        let user = |client: &Client| client.uid.map(|uid| (uid, client.gid));
        let clash = |name: &str, other: &Client, place: &Place, remedy: &str| {
            let key = format!("client.{}.{name}", client.name);
            let problem = format!("is that of client {} ({place}) too", other.name);
            reading.fault(&node.place, &key, problem, remedy);
        };
        let same =
            |(other, _): &&(Client, _)| user(other).is_some() && user(other) == user(&client);
        if let Some((other, place)) = read.iter().find(same) {
            clash("uid", other, place, "make them one, or tell them apart by gid");
        }
        let same =
            |(other, _): &&(Client, _)| client.token.is_some() && other.token == client.token;
        if let Some((other, place)) = read.iter().find(same) {
            clash("token", other, place, "give each a token of its own");
        }
        read.push((client, &node.place));
    }
    read.into_iter().map(|(client, _)| client).collect()
}

fn one(
    index: usize,
    node: &Node,
    reading: &Reading,
    (lanes, told): (&[Lane], bool),
    surroundings: &Surroundings,
) -> Option<Client> {
    let Value::Table(table) = &node.value else {
        let problem = format!("is {}, not a client", node.value.kind());
        reading.fault(&node.place, &format!("client[{index}]"), problem, EXAMPLE);
        return None;
    };
    let shown = match table.get("name").map(|node| &node.value) {
        Some(Value::Text(name)) if !name.is_empty() => format!("client.{name}"),
        _ => format!("client[{index}]"),
    };
    let section = Section::new(reading, table, node.place.clone(), "client", shown);
    let name = required(&section, "name", "\"his\"", id_part);
    let (by_uid, by_token) = (section.node("uid").is_some(), section.node("token").is_some());
    if !by_uid && !by_token {
        let remedy =
            "write for example uid = 991 (id -u USER says it), or a token for [listen.http]";
        section.fault("uid", "is missing", remedy);
    }
    let uid = section.count("uid", 0, "991");
    let gid = section.count("gid", 0, "991");
    if gid.is_some() && !by_uid {
        section.fault("gid", "has no uid beside it", "add uid, or leave gid out");
    }
    let token = admin::token(&section, surroundings);
    let lanes = section.parsed("lanes", LANES, |value| allowed(value, lanes));
    let presence = section.flag("presence").unwrap_or(false);
    if presence && !told {
        let remedy = "write [presence] with topic and client_group, or leave it out";
        section.fault("presence", "is true, but there is no [presence] to tell it", remedy);
    }
    let records_per_second = section.count("records_per_second", 1, "100");
    section.finish();
    Some(Client {
        name: name?,
        uid,
        gid,
        token,
        lanes,
        presence,
        records_per_second: records_per_second.and_then(NonZeroU32::new),
    })
}

fn allowed(value: &Value, lanes: &[Lane]) -> Result<Vec<LaneName>, String> {
    let Value::List(items) = value else {
        return Err(format!("is {}, not a list of lanes", value.kind()));
    };
    if items.is_empty() {
        return Err("is an empty list; left out, it is all lanes".to_owned());
    }
    let mut allowed = Vec::new();
    for item in items {
        let Value::Text(text) = &item.value else {
            return Err(format!("holds {}, not the name of a lane", item.value.kind()));
        };
        let lane = known_lane(text, lanes)
            .map_err(|problem| format!("holds {text:?}, which {problem}"))?;
        if allowed.contains(&lane) {
            return Err(format!("holds {text:?} twice"));
        }
        allowed.push(lane);
    }
    Ok(allowed)
}
