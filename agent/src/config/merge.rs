//! One tree out of several files: the main one, then `conf.d/*.toml`.
//!
//! Sections merge key by key and lanes by name, lists of clients and routes are one behind the other;
//! any other value replaces what was there.

use std::collections::BTreeMap;

use super::fault::{Findings, Place};
use super::tree::{Node, Table, Value};

/// Where a secret comes from; such a table is one value, not a section to be merged.
pub(super) const SOURCES: [&str; 3] = ["env", "file", "credential"];

/// Lays one file's tree over what was read before it.
pub(super) fn file(base: &mut Table, over: Table, findings: &mut Findings) {
    for (name, node) in over.entries {
        match (name.as_str(), node.value) {
            ("lane", Value::List(lanes)) => merge_lanes(base, lanes, node.place, findings),
            ("client" | "route", Value::List(more)) => append(base, &name, more, node.place),
            (_, value) => put(base, &name, Node { place: node.place, value }),
        }
    }
}

fn put(base: &mut Table, name: &str, node: Node) {
    let below = base.get_mut(name).map(|old| &mut old.value);
    match (below, node) {
        (Some(Value::Table(old)), Node { value: Value::Table(new), .. })
            if !is_source(old) && !is_source(&new) =>
        {
            for (name, node) in new.entries {
                put(old, &name, node);
            }
        }
        (_, node) => base.set(name, node),
    }
}

/// Whether the table says where a secret comes from.
pub(super) fn is_source(table: &Table) -> bool {
    let mut names = table.entries.iter().map(|(name, _)| name.as_str());
    !table.entries.is_empty() && names.all(|name| SOURCES.contains(&name))
}

fn append(base: &mut Table, name: &str, more: Vec<Node>, place: Place) {
    match base.get_mut(name).map(|old| &mut old.value) {
        Some(Value::List(all)) => all.extend(more),
        _ => base.set(name, Node { place, value: Value::List(more) }),
    }
}

fn merge_lanes(base: &mut Table, lanes: Vec<Node>, place: Place, findings: &mut Findings) {
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    for lane in lanes {
        let name = lane_name(&lane).map(str::to_owned);
        if let Some(name) = &name
            && let Some(first) = seen.insert(name.clone(), lane.place.clone())
        {
            let problem = format!("is the name of two lanes, the first at {first}");
            let remedy = "give one of them another name, or make them one";
            findings.fault(&lane.place, &format!("lane.{name}"), problem, remedy);
            continue;
        }
        match (find_lane(base, |other| Some(other) == name.as_deref()), lane) {
            (Some(old), Node { value: Value::Table(new), .. }) => {
                new.entries.into_iter().for_each(|(name, node)| put(old, &name, node));
            }
            (_, lane) => append(base, "lane", vec![lane], place.clone()),
        }
    }
}

fn lane_name(lane: &Node) -> Option<&str> {
    match &lane.value {
        Value::Table(table) => match table.get("name").map(|node| &node.value) {
            Some(Value::Text(name)) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// The lane whose name is `wanted`.
pub(super) fn find_lane(base: &mut Table, wanted: impl Fn(&str) -> bool) -> Option<&mut Table> {
    let Value::List(lanes) = &mut base.get_mut("lane")?.value else {
        return None;
    };
    let lane = lanes.iter_mut().find(|lane| lane_name(lane).is_some_and(&wanted))?;
    match &mut lane.value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}
