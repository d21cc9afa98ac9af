//! From files and environment to a proven [`Config`], or to every fault at once.

use std::collections::BTreeMap;
#[cfg(test)]
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::{ConfigError, Fault, Findings, Place, Warning};
use super::kept::{self, Kept, Revived};
use super::section::{Reading, Section};
use super::tree::{Node, Table, Value};
use super::{
    Config, Listen, Transport, basic, budget, client, control, environment, lane, limits,
    listen_http, merge, own, route, tree, upstream,
};

/// The lane that takes records where no lane of a configuration is known.
pub const STAND_IN: &str = "default";

/// What a configuration depends on beside its files.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// The file that holds the machine's id.
    pub machine_id: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self {
            variables: std::env::vars_os().map(|(n, v)| (text(n), text(v))).collect(),
            machine_id: "/etc/machine-id".into(),
        }
    }
}

/// A configuration as it was read.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// What should not stay so.
    pub warnings: Vec<Warning>,
    /// What of it is kept for times when it cannot be read.
    pub kept: Kept,
}

/// Reads `file`, `conf.d/*.toml` beside it and the environment.
pub fn load(
    file: &Path,
    surroundings: &Surroundings,
) -> Result<(Config, Vec<Warning>), ConfigError> {
    read(file, surroundings).map(|loaded| (loaded.config, loaded.warnings))
}

/// The same, with what is to be kept of it.
pub fn read(file: &Path, surroundings: &Surroundings) -> Result<Loaded, ConfigError> {
    let mut findings = Findings::default();
    let (tree, files) = read_files(file, surroundings, &mut findings);
    if findings.faults.is_empty() {
        let whole = Place::File(file.into());
        let (config, found, secrets) = judge(&tree, whole, surroundings);
        if found.faults.is_empty() {
            let kept = Kept::of(&tree, &secrets, &config.gateway.id);
            return Ok(Loaded { config, warnings: found.warnings, kept });
        }
        findings = found;
    }
    findings.faults.sort_by_key(|fault| rank(fault, &files));
    Err(ConfigError { file: file.into(), faults: findings.faults })
}

/// Only `[listen]`, for commands that talk to an agent: it must be found although secrets or
/// other sections are none of this user's business. What cannot be read is the default.
pub fn listen(file: &Path, surroundings: &Surroundings) -> Listen {
    let mut findings = Findings::default();
    let (tree, _) = read_files(file, surroundings, &mut findings);
    let reading = Reading::default();
    let root = Section::new(&reading, &tree, Place::File(file.into()), "", "");
    basic::listen(within(&root, &reading, "listen"), surroundings)
}

/// Why `file` could not be read at all, where [`listen()`] found nothing but the defaults: it is
/// not there, is another user's, or is not TOML.
pub fn unreadable(file: &Path) -> Option<Unreadable> {
    let mut findings = Findings::default();
    let why = match std::fs::read_to_string(file) {
        Ok(text) => {
            tree::parse(&Arc::from(file), &text, &mut findings);
            ErrorKind::InvalidData
        }
        Err(error) => {
            findings.faults.push(unreadable_file(&file.into(), &error));
            error.kind()
        }
    };
    findings.faults.into_iter().next().map(|fault| Unreadable { fault, why })
}

/// What is wrong with the sockets that `[listen]` names, where [`listen()`] found the defaults instead.
pub fn socket_fault(file: &Path, surroundings: &Surroundings) -> Option<Fault> {
    let (tree, _) = read_files(file, surroundings, &mut Findings::default());
    let (_, findings, _) = judge(&tree, Place::File(file.into()), surroundings);
    let sockets = ["listen", "listen.socket", "listen.control"];
    findings.faults.into_iter().find(|fault| sockets.contains(&fault.key.as_str()))
}

/// A file of which nothing can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What is wrong, in words.
    pub fault: Fault,
    /// What kind of fault it is: `InvalidData` where it is not TOML.
    pub why: ErrorKind,
}

/// What can be used of a file that [`read`] refuses, for an agent that has to take records in all the
/// same; where no lane of it can, there is one of the name [`STAND_IN`]. Nothing is sent by it. `None`:
/// records are to be sealed, and the key is not there.
pub fn salvage(file: &Path, surroundings: &Surroundings) -> Option<Revived> {
    let (mut tree, _) = read_files(file, surroundings, &mut Findings::default());
    for away in ["upstream", "control", "report", "presence"] {
        tree.remove(away);
    }
    // Clients whose presence nobody tells would be a fault of their own.
    if let Some(Node { value: Value::List(clients), .. }) = tree.get_mut("client") {
        for client in clients {
            if let Value::Table(client) = &mut client.value {
                client.remove("presence");
            }
        }
    }
    let place = Place::File(file.into());
    let bare = |sections: &[&str]| {
        kept::revive(kept::bare(&tree, sections, STAND_IN, &place), &place, surroundings)
    };
    kept::revive(tree.clone(), &place, surroundings)
        .or_else(|| bare(&["gateway", "listen", "limits"]))
        .or_else(|| bare(&["listen"]).filter(|_| !kept::seals(&tree)))
        .or_else(|| bare(&[]).filter(|_| !kept::seals(&tree)))
}

/// What records are to be taken in for by a file, whatever else is wrong with it.
pub fn transport(file: &Path, surroundings: &Surroundings) -> Transport {
    upstream::transport(&read_files(file, surroundings, &mut Findings::default()).0)
}

/// `gateway.data_dir` of a file, whatever else is wrong with it: the last line that can be read.
pub fn data_dir(file: &Path, surroundings: &Surroundings) -> PathBuf {
    let (tree, _) = read_files(file, surroundings, &mut Findings::default());
    let within = match tree.get("gateway").map(|node| &node.value) {
        Some(Value::Table(gateway)) => gateway.get("data_dir").map(|node| &node.value),
        _ => None,
    };
    match within {
        Some(Value::Text(path) | Value::Raw(path)) => path.into(),
        _ => line_of_data_dir(file).unwrap_or_else(|| basic::DATA_DIR.into()),
    }
}

/// In a file in which no section can be told from another.
fn line_of_data_dir(file: &Path) -> Option<PathBuf> {
    let bytes = std::fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let named = |line: &str| {
        let line = line.trim_start();
        let value = line.strip_prefix("gateway.").unwrap_or(line).strip_prefix("data_dir")?;
        let value = value.trim_start().strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let path = value[1..].split(quote).next()?;
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    text.lines().rev().find_map(named)
}

/// Place in the order of the files; the environment comes last.
fn rank(fault: &Fault, files: &[Arc<Path>]) -> (usize, usize) {
    let index = |file: &Arc<Path>| files.iter().position(|other| other == file);
    match &fault.place {
        Place::File(file) => (index(file).unwrap_or(0), 0),
        Place::Line(file, line) => (index(file).unwrap_or(0), *line),
        Place::Variable(_) => (files.len(), 0),
    }
}

pub(super) fn read_files(
    main: &Path,
    surroundings: &Surroundings,
    findings: &mut Findings,
) -> (Table, Vec<Arc<Path>>) {
    let mut files = vec![Arc::from(main)];
    match fragments(main) {
        Ok(more) => files.extend(more.into_iter().map(Arc::from)),
        Err((folder, error)) => {
            let problem = format!("cannot be read: {error}");
            let remedy = "let the user that runs the agent read it";
            findings.fault(&Place::File(folder.into()), "", problem, remedy);
        }
    }
    let mut tree = Table::default();
    for file in &files {
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let over = tree::parse(file, &text, findings);
                merge::file(&mut tree, over, findings);
            }
            Err(error) => findings.faults.push(unreadable_file(file, &error)),
        }
    }
    environment::apply(&mut tree, &surroundings.variables, findings);
    (tree, files)
}

fn unreadable_file(file: &Arc<Path>, error: &std::io::Error) -> Fault {
    let remedy = match error.kind() {
        std::io::ErrorKind::NotFound => "create it, or name another with --config FILE",
        std::io::ErrorKind::InvalidData => "write it in UTF-8",
        _ => "let the user that runs the agent read it",
    };
    Fault {
        place: Place::File(file.clone()),
        key: String::new(),
        problem: format!("cannot be read: {error}"),
        remedy: remedy.to_owned(),
    }
}

/// `conf.d/*.toml` beside the main file, by name.
fn fragments(main: &Path) -> Result<Vec<PathBuf>, (PathBuf, std::io::Error)> {
    let folder = main.with_file_name("conf.d");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err((folder, error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| (folder.clone(), error))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The settings there are, as (section, name).
#[cfg(test)]
type Known = BTreeSet<(String, String)>;

/// Judges every section; the configuration counts only if no fault was found.
#[cfg(test)]
pub(super) fn prove(
    tree: &Table,
    whole: Place,
    surroundings: &Surroundings,
) -> (Config, Findings, Known) {
    let reading = Reading::default();
    let config = all(&reading, tree, whole, surroundings);
    let (findings, known) = reading.finish();
    (config, findings, known)
}

/// The same, with the values that nobody may see.
pub(super) fn judge(
    tree: &Table,
    whole: Place,
    surroundings: &Surroundings,
) -> (Config, Findings, Vec<*const Node>) {
    let reading = Reading::default();
    let config = all(&reading, tree, whole, surroundings);
    let secrets = reading.secrets();
    (config, reading.finish().0, secrets)
}

fn all(reading: &Reading, tree: &Table, whole: Place, surroundings: &Surroundings) -> Config {
    let root = Section::new(reading, tree, whole, "", "");
    let part = |name| within(&root, reading, name);
    let upstream = root.section("upstream");
    let upstream = upstream.and_then(|section| upstream::read(section, surroundings));
    let transport = upstream.as_ref().map(|upstream| upstream.transport);
    let lanes = lane::read_all(&root, reading, transport);
    let gateway = basic::gateway(part("gateway"), surroundings);
    let control = root.section("control");
    let config = Config {
        control: control.and_then(|section| control::read(section, &gateway.id, surroundings)),
        gateway,
        budget: root.section("budget").and_then(|section| budget::read(section, &lanes)),
        limits: limits::limits(part("limits")),
        listen: basic::listen(part("listen"), surroundings),
        clients: client::read_all(&root, reading, &lanes, surroundings),
        routes: route::read_all(&root, reading, &lanes, transport),
        lanes,
        retired: Vec::new(),
        dead: basic::dead(part("dead")),
        drain: basic::drain(part("drain")),
        backoff: basic::backoff(part("backoff")),
        report: root.section("report").and_then(|section| own::report(section, transport)),
        presence: root.section("presence").and_then(|section| own::presence(section, transport)),
        audit: root.section("audit").map(own::audit),
        transport: upstream::transport(tree),
        upstream,
    };
    if tree.get("upstream").is_none() {
        let message = "is missing: records are taken in and wait, nothing is sent";
        root.warn("upstream", message);
    }
    limits::check(&root, &config.limits, &config.lanes);
    listen_http::check(&root, &config.clients);
    control::needs(&root);
    root.finish();
    config
}

/// A section that is read even where it is not written, for its defaults.
fn within<'a>(root: &Section<'a>, reading: &'a Reading, name: &'static str) -> Section<'a> {
    static EMPTY: Table = Table { entries: Vec::new() };
    let absent = || Section::new(reading, &EMPTY, root.place().clone(), name, name);
    root.section(name).unwrap_or_else(absent)
}
