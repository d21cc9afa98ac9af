//! `[[route]]`.

use spillway_protocol::record::{LaneName, OrderKey, RecordError, Tag, Topic};

use super::section::{Reading, Section};
use super::tree::{Node, Value};
use super::{Lane, Route, Template, Transport, lane};

const EXAMPLE: &str = "write [[route]] with when = { kind = \"alarm\" } and lane = \"critical\"";

pub(super) fn read_all(
    root: &Section<'_>,
    reading: &Reading,
    lanes: &[Lane],
    transport: Option<Transport>,
) -> Vec<Route> {
    let routes = match root.node("route").map(|node| &node.value) {
        None => return Vec::new(),
        Some(Value::List(routes)) => routes,
        Some(other) => {
            root.fault("route", format!("is {}, not a list of routes", other.kind()), EXAMPLE);
            return Vec::new();
        }
    };
    let read = routes.iter().enumerate();
    read.filter_map(|(index, node)| one(index, node, reading, lanes, transport)).collect()
}

fn one(
    index: usize,
    node: &Node,
    reading: &Reading,
    lanes: &[Lane],
    transport: Option<Transport>,
) -> Option<Route> {
    let shown = format!("route[{index}]");
    let Value::Table(table) = &node.value else {
        let problem = format!("is {}, not a route", node.value.kind());
        reading.fault(&node.place, &shown, problem, EXAMPLE);
        return None;
    };
    let section = Section::new(reading, table, node.place.clone(), "route", shown.clone());
    let when = conditions(&section);
    let known = |name: &str| when.iter().any(|(property, _)| property == name);
    let template = |name: &str, example: &str, check: fn(&str) -> Result<(), RecordError>| {
        section.text(name, example, |text| {
            let template = Template::parse(text)?;
            if let Some(stranger) = template.properties().find(|property| !known(property)) {
                return Err(format!("names {stranger:?}, which `when` does not ask for"));
            }
            // Values are proven when they come; what stands around them is proven here.
            let sample = template.fill(|_| Some("x")).unwrap_or_default();
            check(&sample).map(|()| template).map_err(|error| error.message)
        })
    };
    let lane = section.text("lane", "\"critical\"", |text| known_lane(text, lanes));
    let topic = match transport {
        Some(Transport::Http) => template("topic", "\"ward-{zone}\"", lane::http_topic),
        _ => template("topic", "\"ward-{zone}\"", |text| Topic::parse(text).map(drop)),
    };
    let tag = template("tag", "\"{kind}\"", |text| Tag::parse(text).map(drop));
    let order_key = template("order_key", "\"{device}\"", |text| OrderKey::parse(text).map(drop));
    let names = ["lane", "topic", "tag", "order_key"];
    if names.iter().all(|name| table.get(name).is_none()) {
        let remedy = format!("name at least one of {}", names.join(", "));
        reading.fault(&node.place, &shown, "leads nowhere", remedy);
    }
    section.finish();
    Some(Route { when, lane, topic, tag, order_key })
}

/// What a record must have; at least one property.
fn conditions(section: &Section<'_>) -> Vec<(String, Option<String>)> {
    let example = "{ kind = \"alarm\", zone = \"*\" }";
    if section.node("when").is_none() {
        section.fault("when", "is missing", format!("write for example when = {example}"));
    }
    let conditions = section.parsed("when", example, |value| match value {
        Value::Table(table) if table.entries.is_empty() => Err("asks for nothing".to_owned()),
        Value::Table(table) => table.entries.iter().map(condition).collect(),
        other => Err(format!("is {}, not properties with their values", other.kind())),
    });
    conditions.unwrap_or_default()
}

fn condition((name, node): &(String, Node)) -> Result<(String, Option<String>), String> {
    match &node.value {
        Value::Text(value) => Ok((name.clone(), (value != "*").then(|| value.clone()))),
        other => Err(format!("has {} for {name}, not a text in quotes", other.kind())),
    }
}

pub(super) fn known_lane(text: &str, lanes: &[Lane]) -> Result<LaneName, String> {
    let found = lanes.iter().find(|lane| lane.name.as_str() == text);
    found.map(|lane| lane.name.clone()).ok_or_else(|| {
        let names: Vec<&str> = lanes.iter().map(|lane| lane.name.as_str()).collect();
        format!("is not among the lanes: {}", names.join(", "))
    })
}
