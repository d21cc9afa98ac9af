//! `[[client]]`.

use std::num::NonZeroU32;

use spillway_protocol::record::LaneName;

use super::fault::Place;
use super::lane::required;
use super::own::id_part;
use super::route::known_lane;
use super::section::{Reading, Section};
use super::tree::{Node, Value};
use super::{Client, Lane};

const EXAMPLE: &str = "write [[client]] with name = \"his\" and uid = 991";
const LANES: &str = "[\"critical\"]";

pub(super) fn read_all(root: &Section<'_>, reading: &Reading, lanes: &[Lane]) -> Vec<Client> {
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
        let Some(client) = one(index, node, reading, lanes, told) else { continue };
        let same = |(other, _): &&(Client, _)| (other.uid, other.gid) == (client.uid, client.gid);
        if let Some((other, place)) = read.iter().find(same) {
            let key = format!("client.{}.uid", client.name);
            let problem = format!("is that of client {} ({place}) too", other.name);
            let remedy = "make them one, or tell them apart by gid";
            reading.fault(&node.place, &key, problem, remedy);
        }
        read.push((client, &node.place));
    }
    read.into_iter().map(|(client, _)| client).collect()
}

fn one(index: usize, node: &Node, reading: &Reading, lanes: &[Lane], told: bool) -> Option<Client> {
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
    if section.node("uid").is_none() {
        section.fault("uid", "is missing", "write for example uid = 991 (id -u USER says it)");
    }
    let uid = section.count("uid", 0, "991");
    let gid = section.count("gid", 0, "991");
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
        uid: uid?,
        gid,
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
