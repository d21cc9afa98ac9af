//! What is kept of a configuration that was accepted, for times when its file cannot be used: all that
//! the files and the environment said, without secrets. Where a secret comes from is kept.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};
use spillway_protocol::record::{LaneName, Topic};

use super::fault::{Fault, Place};
use super::load::{Surroundings, judge};
use super::merge::find_named;
use super::tree::{Node, Table, Value};
use super::{Config, Lane, Transport, own, upstream};

/// Stands for a secret that was written where it is used.
const LEFT_OUT: &str = "left_out";
/// Stands for a text of the environment, which may mean a number or a flag.
const RAW: &str = "raw";
/// What seals records.
const KEY: &str = "encryption_key";
/// A user that the system gives to nobody.
const NOBODY: u32 = u32::MAX;
/// So often what cannot be used is taken out.
const ROUNDS: usize = 64;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    settings: Map<String, Json>,
    /// Lanes that the settings do not name any more, as they were written.
    #[serde(default)]
    retired: Vec<Json>,
}

/// A configuration made of what was kept.
#[derive(Debug)]
pub struct Revived {
    /// Without the sections that cannot be used.
    pub config: Config,
    /// Why they cannot.
    pub faults: Vec<Fault>,
    /// What is to be kept of it.
    pub kept: Kept,
}

impl Kept {
    /// Of `tree`, of which `secrets` are the values that nobody may see.
    pub(super) fn of(tree: &Table, secrets: &[*const Node], gateway: &str) -> Self {
        let mut settings = table(tree, secrets);
        // Where it was made from the machine's id, that may be gone by then.
        let own = settings.entry("gateway").or_insert_with(|| json!({}));
        if let Json::Object(own) = own {
            own.entry("id").or_insert_with(|| gateway.into());
        }
        Self { settings, retired: Vec::new() }
    }

    /// Tells it from others; the lanes of former configurations are no part of it.
    pub fn fingerprint(&self) -> String {
        let text = Json::Object(self.settings.clone()).to_string();
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Adds those of `lanes` that it does not name itself, as whoever of `sources` knows them.
    pub fn retire<'a>(&mut self, sources: &[&Self], lanes: impl Iterator<Item = &'a Lane>) {
        let own: Vec<&str> = self.live().filter_map(name).collect();
        let gone = lanes.filter(|lane| !own.contains(&lane.name.as_str()));
        self.retired = gone.map(|lane| written_by(sources, lane)).collect();
    }

    /// Whether records are to be sealed.
    pub fn seals(&self) -> bool {
        self.settings.get("gateway").is_some_and(|gateway| gateway.get(KEY).is_some())
    }

    fn live(&self) -> impl Iterator<Item = &Json> {
        self.settings.get("lane").and_then(Json::as_array).into_iter().flatten()
    }

    /// All lanes that it said, retired ones and the agent's own too, whatever of the rest can be used.
    pub fn lanes(&self, file: &Path, surroundings: &Surroundings) -> Vec<Lane> {
        let mut bare = self.clone();
        for away in ["upstream", "control", "listen", "client"] {
            bare.settings.remove(away);
        }
        bare.settings.insert("gateway".to_owned(), json!({"id": "any"}));
        let revived = bare.revive(file, surroundings);
        revived.map(|revived| revived.config.all_lanes().collect()).unwrap_or_default()
    }

    /// What it said, as far as that can be used now; faults are of `file`. `None`: nothing can.
    pub fn revive(&self, file: &Path, surroundings: &Surroundings) -> Option<Revived> {
        let place = Place::File(file.into());
        let mut revived = revive(tree(&self.settings, &place), &place, surroundings)?;
        let transport = revived.config.upstream.as_ref().map(|upstream| upstream.transport);
        let read = |lane| retired(lane, &place, transport, surroundings);
        let present: Vec<Lane> = revived.config.all_lanes().collect();
        let gone = |lane: &Lane| present.iter().all(|known| known.name != lane.name);
        revived.config.retired = self.retired.iter().filter_map(read).filter(gone).collect();
        Some(revived)
    }
}

fn name(lane: &Json) -> Option<&str> {
    lane.get("name").and_then(Json::as_str)
}

fn written_by(sources: &[&Kept], lane: &Lane) -> Json {
    let own = lane.name.as_str();
    let mut all = sources.iter().flat_map(|kept| kept.live().chain(&kept.retired));
    let known = all.find(|known| name(known) == Some(own));
    known.cloned().unwrap_or_else(|| json!({"name": own, "topic": lane.topic.as_str()}))
}

/// Whether `tree` has records sealed.
pub(super) fn seals(tree: &Table) -> bool {
    match tree.get("gateway").map(|node| &node.value) {
        Some(Value::Table(gateway)) => gateway.get(KEY).is_some(),
        _ => false,
    }
}

/// Of `tree`, these sections, and one lane of that name.
pub(super) fn bare(tree: &Table, sections: &[&str], lane: &str, place: &Place) -> Table {
    let text = |text: &str| Node { place: place.clone(), value: Value::Text(text.to_owned()) };
    let entries = ["name", "topic"].map(|key| (key.to_owned(), text(lane)));
    let lane = Value::Table(Table { entries: entries.into() });
    let lanes = Value::List(vec![Node { place: place.clone(), value: lane }]);
    let mut bare = tree.clone();
    bare.entries.retain(|(name, _)| sections.contains(&name.as_str()));
    bare.set("lane", Node { place: place.clone(), value: lanes });
    if bare.get("gateway").is_none() {
        let id = Table { entries: vec![("id".to_owned(), text("unconfigured"))] };
        bare.set("gateway", Node { place: place.clone(), value: Value::Table(id) });
    }
    bare
}

/// What of `tree` can be used.
pub(super) fn revive(
    mut tree: Table,
    place: &Place,
    surroundings: &Surroundings,
) -> Option<Revived> {
    let mut faults: Vec<Fault> = Vec::new();
    let transport = upstream::transport(&tree);
    for _ in 0..ROUNDS {
        let (config, found, secrets) = judge(&tree, place.clone(), surroundings);
        let Some(first) = found.faults.first() else {
            let kept = Kept::of(&tree, &secrets, &config.gateway.id);
            let config = Config { transport, ..config };
            return Some(Revived { config, faults, kept });
        };
        take_out(&mut tree, &first.key)?;
        faults.extend(found.faults.into_iter().take(1));
    }
    None
}

/// Takes out the least that stands by itself and holds `key`. `None` where nothing can go.
fn take_out(tree: &mut Table, key: &str) -> Option<()> {
    let parts: Vec<&str> = key.split('.').collect();
    match parts.as_slice() {
        ["client", name, "token"] => return silence(tree, Some(name)),
        ["client"] => return silence(tree, None),
        // Without these it would be another agent, or let in whom it should not.
        [] | [""] | ["gateway"] | ["client", ..] | ["lane"] => return None,
        // Nothing is written in the clear that was to be sealed.
        ["gateway", KEY] => return None,
        ["lane", name, "name" | "topic"] => drop_named(tree, "lane", name),
        ["lane", name, key, ..] => find_named(tree, "lane", |n| n == *name)?.remove(plain(key)),
        [section @ ("gateway" | "listen" | "limits"), key, ..] => match tree.get_mut(section) {
            Some(Node { value: Value::Table(section), .. }) => section.remove(plain(key)),
            _ => tree.remove(section),
        },
        [section, ..] => tree.remove(plain(section)),
    }
    Some(())
}

/// Nobody comes by the token of that client, or of any. One that has no user stays, as nobody's: without
/// any client everybody would be let in. `None` where there is no such token.
fn silence(tree: &mut Table, name: Option<&str>) -> Option<()> {
    let Value::List(items) = &mut tree.get_mut("client")?.value else { return None };
    let mut silenced = None;
    for item in items {
        let Value::Table(client) = &mut item.value else { continue };
        let named = client.get("name").map(|node| &node.value);
        let is_it = name.is_none_or(
            |name| matches!(named, Some(Value::Text(own) | Value::Raw(own)) if own == name),
        );
        let Some(token) = client.get("token").filter(|_| is_it) else { continue };
        let nobody = Node { place: token.place.clone(), value: Value::Integer(NOBODY.into()) };
        client.remove("token");
        if client.get("uid").is_none() {
            client.set("uid", nobody);
        }
        silenced = Some(());
    }
    silenced
}

/// `route` of `route[0]`.
fn plain(key: &str) -> &str {
    key.split('[').next().unwrap_or(key)
}

fn drop_named(tree: &mut Table, kind: &str, name: &str) {
    if let Some(Node { value: Value::List(items), .. }) = tree.get_mut(kind) {
        items.retain(|item| match &item.value {
            Value::Table(table) => !matches!(
                table.get("name").map(|node| &node.value),
                Some(Value::Text(known) | Value::Raw(known)) if known == name
            ),
            _ => true,
        });
    }
}

/// A lane that was left behind, as it may be used over `transport`.
fn retired(
    lane: &Json,
    place: &Place,
    transport: Option<Transport>,
    surroundings: &Surroundings,
) -> Option<Lane> {
    let name = lane.get("name")?.as_str()?;
    if name.starts_with('_') {
        let topic = Topic::parse(lane.get("topic")?.as_str()?).ok()?;
        return own::behind_all(LaneName::parse(name).ok()?.as_str(), &topic);
    }
    let Json::Object(lane) = lane else { return None };
    let mut lane = tree(lane, place);
    lane.remove("default");
    let item = Node { place: place.clone(), value: Value::Table(lane) };
    let list = Node { place: place.clone(), value: Value::List(vec![item]) };
    let mut alone = bare(&Table::default(), &[], "", place);
    alone.set("lane", list);
    let revived = revive(alone, place, surroundings)?;
    let lane = revived.config.lanes.into_iter().next()?;
    Some(lane.retired(transport))
}

impl Lane {
    /// The same without what it has as one of the configuration's, over `transport`.
    pub fn retired(self, transport: Option<Transport>) -> Self {
        let batch = self.batch.filter(|_| transport == Some(Transport::Grpc));
        Self { default: false, batch, ..self }
    }
}

fn table(table: &Table, secrets: &[*const Node]) -> Map<String, Json> {
    table.entries.iter().map(|(name, node)| (name.clone(), value(node, secrets))).collect()
}

fn value(node: &Node, secrets: &[*const Node]) -> Json {
    let is_secret = secrets.iter().any(|secret| std::ptr::eq(*secret, node));
    match (&node.value, &node.place) {
        (_, Place::Variable(variable)) if is_secret => json!({"env": &**variable}),
        _ if is_secret => json!({ LEFT_OUT: true }),
        (Value::Text(text), _) => text.as_str().into(),
        (Value::Raw(text), _) => json!({ RAW: text }),
        (Value::Flag(flag), _) => (*flag).into(),
        (Value::Integer(number), _) => i64::try_from(*number).map_or(Json::Null, Json::from),
        (Value::List(items), _) => items.iter().map(|item| value(item, secrets)).collect(),
        (Value::Table(inner), _) => table(inner, secrets).into(),
        // No setting takes it.
        (Value::Other(_), _) => Json::Null,
    }
}

fn tree(map: &Map<String, Json>, place: &Place) -> Table {
    let entry = |(name, json): (&String, &Json)| {
        let value = written(json, place);
        (name.clone(), Node { place: place.clone(), value })
    };
    Table { entries: map.iter().map(entry).collect() }
}

fn written(json: &Json, place: &Place) -> Value {
    match json {
        Json::String(text) => Value::Text(text.clone()),
        Json::Bool(flag) => Value::Flag(*flag),
        Json::Number(number) => Value::Integer(number.as_i64().unwrap_or_default().into()),
        Json::Array(items) => {
            let node = |item| Node { place: place.clone(), value: written(item, place) };
            Value::List(items.iter().map(node).collect())
        }
        Json::Object(map) if map.contains_key(LEFT_OUT) => {
            Value::Other("a secret that is kept in its own file only")
        }
        Json::Object(map) => match (map.len(), map.get(RAW)) {
            (1, Some(Json::String(text))) => Value::Raw(text.clone()),
            _ => Value::Table(tree(map, place)),
        },
        Json::Null => Value::Other("nothing"),
    }
}
