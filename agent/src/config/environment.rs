//! The environment, laid over the files: any scalar by its path, lanes and clients by name.

use std::collections::BTreeMap;

use super::fault::{Findings, Place};
use super::merge::{find_named, is_source};
use super::tree::{Node, Table, Value};

/// Environment variables with this prefix are settings: `SPILLWAY__UPSTREAM__ENDPOINT`.
const PREFIX: &str = "SPILLWAY__";

/// Lists whose items go by name.
const NAMED: [(&str, &str); 2] = [("LANE__", "lane"), ("CLIENT__", "client")];

/// Lays the environment over the files: `SPILLWAY__DRAIN__ADAPTIVE`, and for lanes and clients by
/// name `SPILLWAY__LANE__CRITICAL__TOPIC` (a `-` of the name is written `_`).
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
        let named =
            NAMED.iter().find_map(|(prefix, kind)| Some((*kind, path.strip_prefix(prefix)?)));
        match named {
            None => set_path(base, path, node),
            Some((kind, path)) => set_named(base, kind, path, node, findings),
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

fn set_named(base: &mut Table, kind: &str, path: &str, node: Node, findings: &mut Findings) {
    let rest_of = |name: &str| {
        let upper = name.to_ascii_uppercase().replace('-', "_");
        path.strip_prefix(&upper)?.strip_prefix("__").map(str::to_owned)
    };
    let found = find_named(base, kind, |name| rest_of(name).is_some());
    let rest = path.split_once("__").map(|(_, rest)| rest);
    match (found, rest) {
        (Some(item), Some(_)) => {
            let name = match item.get("name").map(|node| &node.value) {
                Some(Value::Text(name)) => name.clone(),
                _ => return,
            };
            if let Some(rest) = rest_of(&name) {
                set_path(item, &rest, node);
            }
        }
        _ => {
            let capitals = kind.to_ascii_uppercase();
            let remedy = format!(
                "write SPILLWAY__{capitals}__<NAME>__<KEY>, the name in capitals with _ for -"
            );
            findings.fault(&node.place, kind, format!("names no {kind} of the files"), remedy);
        }
    }
}
