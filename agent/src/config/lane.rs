//! `[[lane]]`.

use std::time::Duration;

use spillway_protocol::record::{Fault, LaneName, RecordError, Tag, Topic};

use super::company;
use super::degrade;
use super::fault::Place;
use super::limits::{quota, when_full};
use super::section::{Reading, Section};
use super::tree::{Node, Table, Value};
use super::unit::{self, percent};
use super::{Lane, OnReject, Order, Transport};

/// Longest topic of the MQ HTTP API, in characters.
const HTTP_TOPIC_MAX: usize = 64;
/// Goals outside this are mistakes: no link answers as fast, and a later record is no live one.
const FRESHNESS_LEAST: Duration = Duration::from_millis(100);
const FRESHNESS_MAX: Duration = Duration::from_secs(3600);
/// Ages are looked at once a second.
const TTL_LEAST: Duration = Duration::from_secs(1);
const MISSING: &str = "write [[lane]] with name = \"main\" and topic = \"the-topic\"";

/// A lane while it is read, with what only all of them together can prove.
struct Read {
    lane: Lane,
    said_default: Option<bool>,
    place: Place,
}

pub(super) fn read_all(
    root: &Section<'_>,
    reading: &Reading,
    transport: Option<Transport>,
) -> Vec<Lane> {
    let lanes = match root.node("lane").map(|node| &node.value) {
        None => {
            root.fault("lane", "is missing", MISSING);
            return Vec::new();
        }
        Some(Value::List(lanes)) if lanes.is_empty() => {
            root.fault("lane", "is an empty list", MISSING);
            return Vec::new();
        }
        Some(Value::List(lanes)) => lanes,
        Some(other) => {
            root.fault("lane", format!("is {}, not a list of lanes", other.kind()), MISSING);
            return Vec::new();
        }
    };
    let has_budget = root.node("budget").is_some();
    let around = (transport, has_budget);
    let read = lanes.iter().enumerate().filter_map(|(i, node)| one(i, node, reading, around));
    let mut read: Vec<Read> = read.collect();
    if read.len() == lanes.len() {
        check_default(&mut read, reading);
        let lanes: Vec<(&Lane, &Place)> = read.iter().map(|r| (&r.lane, &r.place)).collect();
        degrade::check(&lanes, reading);
    }
    read.into_iter().map(|read| read.lane).collect()
}

/// One lane; beside it the transport, and whether there is a `[budget]`.
fn one(
    index: usize,
    node: &Node,
    reading: &Reading,
    (transport, has_budget): (Option<Transport>, bool),
) -> Option<Read> {
    let Value::Table(table) = &node.value else {
        let problem = format!("is {}, not a lane", node.value.kind());
        reading.fault(&node.place, &format!("lane[{index}]"), problem, MISSING);
        return None;
    };
    let section = Section::new(reading, table, node.place.clone(), "lane", shown(index, table));
    let name = required(&section, "name", "\"critical\"", lane_name);
    let topic = required(&section, "topic", "\"ward-critical\"", |text| topic(text, transport));
    let said_default = section.flag("default");
    let lane = settings(&section, name, topic, (transport, has_budget));
    section.finish();
    let default = said_default == Some(true);
    let lane = lane.map(|lane| Lane { default, ..lane })?;
    Some(Read { lane, said_default, place: node.place.clone() })
}

/// Why dead-lettering is rare where one order is a lane's.
const LONE_ORDER: &str = "with order = \"lane\" only a refusal that is plainly the record's own goes to the \
     dead letters at once: whether another one means the record or a mistake at the broker, no other \
     record can tell, so it holds the lane until it passes or spillway dead accept";

fn settings(
    section: &Section<'_>,
    name: Option<LaneName>,
    topic: Option<Topic>,
    (transport, has_budget): (Option<Transport>, bool),
) -> Option<Lane> {
    let tag = section.text("tag", "\"SyncEvent\"", |text| Tag::parse(text).map_err(words));
    let words = [("none", Order::None), ("key", Order::Key), ("lane", Order::Lane)];
    let order = section.choice("order", &words).unwrap_or(Order::None);
    let words = [("dead-letter", OnReject::DeadLetter), ("hold", OnReject::Hold)];
    let chosen = section.choice("on_reject", &words);
    if (order, chosen) == (Order::Lane, Some(OnReject::DeadLetter)) {
        section.warn("on_reject", LONE_ORDER);
    }
    let on_reject = chosen.unwrap_or(match order {
        Order::None => OnReject::DeadLetter,
        Order::Key | Order::Lane => OnReject::Hold,
    });
    let priority = section.count("priority", 0, "1").unwrap_or(1);
    let weight = section.count("weight", 1, "1").unwrap_or(1);
    let min_share_percent = section.with_unit("min_share", "\"5%\"", percent).unwrap_or(5);
    let ttl = ttl(section);
    let words = [("none", false), ("lz4", true)];
    let lz4 = section.choice("compress", &words).unwrap_or(false);
    let quota_bytes = quota(section);
    let when_full = when_full(section);
    let bundle = company::bundle(section);
    let batch = company::batch(section, transport, order);
    company::hint(section, order);
    let freshness = freshness(section, order);
    let degrade = degrade::rules(section, order, has_budget);
    Some(Lane {
        name: name?,
        topic: topic?,
        tag,
        priority,
        weight,
        min_share_percent,
        default: false,
        order,
        on_reject,
        quota_bytes,
        when_full,
        bundle,
        batch,
        freshness,
        lz4,
        degrade,
        ttl,
    })
}

/// The age at which records are given up.
fn ttl(section: &Section<'_>) -> Option<Duration> {
    let age = section.with_unit("ttl", "\"7d\", or \"none\"", |text| match text {
        "none" => Ok(None),
        text => match unit::duration(text)? {
            age if age < TTL_LEAST => Err("is less than a second".to_owned()),
            age => Ok(Some(age)),
        },
    });
    age.flatten()
}

/// The goal for live records, and why there cannot be one in this lane.
fn freshness(section: &Section<'_>, order: Order) -> Option<Duration> {
    let goal = section.with_unit("freshness", "\"5s\"", |text| match unit::duration(text)? {
        goal if goal < FRESHNESS_LEAST => Err("is less than 100 ms".to_owned()),
        goal if goal > FRESHNESS_MAX => Err("is longer than an hour".to_owned()),
        goal => Ok(goal),
    })?;
    if order != Order::None {
        let problem = "breaks the order: live records would overtake the backlog";
        section.fault("freshness", problem, "leave it out, or write order = \"none\"");
    }
    Some(goal)
}

/// `lane.critical`, or `lane[0]` while it has no name.
fn shown(index: usize, table: &Table) -> String {
    match table.get("name").map(|node| &node.value) {
        Some(Value::Text(name)) if !name.is_empty() => format!("lane.{name}"),
        _ => format!("lane[{index}]"),
    }
}

pub(super) fn required<T>(
    section: &Section<'_>,
    name: &str,
    example: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    if section.node(name).is_none() {
        section.fault(name, "is missing", format!("write for example {name} = {example}"));
    }
    section.text(name, example, parse)
}

fn lane_name(text: &str) -> Result<LaneName, String> {
    if text.starts_with('_') {
        return Err("begins with _, which is kept for the agent's own lanes".to_owned());
    }
    LaneName::parse(text).map_err(words)
}

pub(super) fn topic(text: &str, transport: Option<Transport>) -> Result<Topic, String> {
    match transport {
        Some(Transport::Http) => http_topic(text).and_then(|()| Topic::parse(text)),
        _ => Topic::parse(text),
    }
    .map_err(words)
}

/// Whether the HTTP API takes a topic of this name.
pub(super) fn http_topic(text: &str) -> Result<(), RecordError> {
    let length = text.len();
    if length > HTTP_TOPIC_MAX {
        let message = format!("has {length} characters, the HTTP API takes {HTTP_TOPIC_MAX}");
        return Err(RecordError::new("topic", Fault::TooLong, message));
    }
    Topic::parse(text).map(drop)
}

fn words(error: RecordError) -> String {
    error.message
}

/// Exactly one lane is the default: the one that says so, or the only one.
fn check_default(lanes: &mut [Read], reading: &Reading) {
    if let [only] = lanes {
        if only.said_default == Some(false) {
            let key = format!("lane.{}.default", only.lane.name);
            let problem = "is false, but the only lane is the default";
            reading.fault(&only.place, &key, problem, "leave it out");
        }
        only.lane.default = true;
        return;
    }
    let mut defaults = lanes.iter().filter(|read| read.lane.default);
    let Some(first) = defaults.next() else {
        if let Some(read) = lanes.first() {
            let problem = "none of the lanes is the default";
            reading.fault(&read.place, "lane", problem, "write default = true in one of them");
        }
        return;
    };
    for second in defaults {
        let key = format!("lane.{}.default", second.lane.name);
        let problem = format!("is true, as in lane {} ({})", first.lane.name, first.place);
        reading.fault(&second.place, &key, problem, "leave it true in one lane only");
    }
}
