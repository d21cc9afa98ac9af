//! The environment, laid over the files: any scalar by its path, lanes by name.

use std::collections::BTreeMap;

use super::fault::{Findings, Place};
use super::merge::{find_lane, is_source};
use super::tree::{Node, Table, Value};

/// Environment variables with this prefix are settings: `SPILLWAY__UPSTREAM__ENDPOINT`.
const PREFIX: &str = "SPILLWAY__";

/// Lays the environment over the files: `SPILLWAY__DRAIN__ADAPTIVE`, and for lanes by name
/// `SPILLWAY__LANE__CRITICAL__TOPIC` (a `-` of the name is written `_`).
pub(super) fn apply(
    base: &mut Table,
    variables: &BTreeMap<String, String>,
    findings: &mut Findings,
) {
    for (variable, text) in variables {
        let Some(path) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        let node = Node {
            place: Place::Variable(variable.as_str().into()),
            value: Value::Raw(text.clone()),
        };
        match path.strip_prefix("LANE__") {
            None => set_path(base, path, node),
            Some(path) => set_lane(base, path, node, findings),
        }
    }
}

fn set_path(base: &mut Table, path: &str, node: Node) {
    let Some((first, rest)) = path.split_once("__") else {
        base.set(&path.to_ascii_lowercase(), node);
        return;
    };
    let name = first.to_ascii_lowercase();
    if !matches!(base.get(&name), Some(Node { value: Value::Table(_), .. })) {
        let empty = Node { place: node.place.clone(), value: Value::Table(Table::default()) };
        base.set(&name, empty);
    }
    if let Some(Node { value: Value::Table(table), .. }) = base.get_mut(&name) {
        if is_source(table) {
            table.entries.clear();
        }
        set_path(table, rest, node);
    }
}

fn set_lane(base: &mut Table, path: &str, node: Node, findings: &mut Findings) {
    let rest_of = |name: &str| {
        let upper = name.to_ascii_uppercase().replace('-', "_");
        path.strip_prefix(&upper)?.strip_prefix("__").map(str::to_owned)
    };
    let found = find_lane(base, |name| rest_of(name).is_some());
    let rest = path.split_once("__").map(|(_, rest)| rest);
    match (found, rest) {
        (Some(lane), Some(_)) => {
            let name = match lane.get("name").map(|node| &node.value) {
                Some(Value::Text(name)) => name.clone(),
                _ => return,
            };
            if let Some(rest) = rest_of(&name) {
                set_path(lane, &rest, node);
            }
        }
        _ => findings.fault(
            &node.place,
            "lane",
            "names no lane of the files",
            "write SPILLWAY__LANE__<NAME>__<KEY>, the name in capitals with _ for -",
        ),
    }
}
