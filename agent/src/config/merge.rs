//! One tree out of several files: the main one, then `conf.d/*.toml`.
//!
//! Sections merge key by key, lanes and clients by name; lists of routes are one behind the other;
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
            ("lane" | "client", Value::List(more)) => {
                merge_named(base, &name, more, node.place, findings);
            }
            ("route", Value::List(more)) => append(base, &name, more, node.place),
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

/// Lays the items of a list over those of the same name, and appends the others. `kind` is the
/// list's own name.
fn merge_named(
    base: &mut Table,
    kind: &str,
    items: Vec<Node>,
    place: Place,
    findings: &mut Findings,
) {
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    if items.is_empty() && base.get(kind).is_none() {
        // Whether that means anything is judged later.
        base.set(kind, Node { place: place.clone(), value: Value::List(Vec::new()) });
    }
    for item in items {
        let name = name_of(&item).map(str::to_owned);
        if let Some(name) = &name
            && let Some(first) = seen.insert(name.clone(), item.place.clone())
        {
            let problem = format!("is the name of two {kind}s, the first at {first}");
            let remedy = "give one of them another name, or make them one";
            findings.fault(&item.place, &format!("{kind}.{name}"), problem, remedy);
            continue;
        }
        match (find_named(base, kind, |other| Some(other) == name.as_deref()), item) {
            (Some(old), Node { value: Value::Table(new), .. }) => {
                new.entries.into_iter().for_each(|(name, node)| put(old, &name, node));
            }
            (_, item) => append(base, kind, vec![item], place.clone()),
        }
    }
}

fn name_of(item: &Node) -> Option<&str> {
    match &item.value {
        Value::Table(table) => match table.get("name").map(|node| &node.value) {
            Some(Value::Text(name)) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// The item of the list `kind` whose name is `wanted`.
pub(super) fn find_named<'a>(
    base: &'a mut Table,
    kind: &str,
    wanted: impl Fn(&str) -> bool,
) -> Option<&'a mut Table> {
    let Value::List(items) = &mut base.get_mut(kind)?.value else {
        return None;
    };
    let item = items.iter_mut().find(|item| name_of(item).is_some_and(&wanted))?;
    match &mut item.value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}
