//! Secrets and where they come from. No message shows one.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::fault::Place;
use super::load::Surroundings;
use super::section::Section;
use super::tree::{Node, Table, Value};

const FORMS: &str =
    "write { file = \"/path\" }, { credential = \"name\" } or { env = \"VARIABLE\" }";

/// Whether a value may stand in the file as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// An access key's id.
    Public,
    /// Its secret.
    Secret,
}

/// Reads the value of `name` from wherever the configuration says it is.
pub(super) fn read(
    section: &Section<'_>,
    name: &str,
    secrecy: Secrecy,
    surroundings: &Surroundings,
) -> Option<String> {
    of_node(section, name, section.node(name)?, secrecy, surroundings)
}

/// The same of a value that is, or stands in, that of `name`.
pub(super) fn of_node(
    section: &Section<'_>,
    name: &str,
    node: &Node,
    secrecy: Secrecy,
    surroundings: &Surroundings,
) -> Option<String> {
    let found = match &node.value {
        Value::Text(text) | Value::Raw(text) => {
            if secrecy == Secrecy::Secret {
                section.hide(node);
            }
            if secrecy == Secrecy::Secret && matches!(node.place, Place::Line(..)) {
                section.warn(name, format!("stands in the file as it is; {FORMS}"));
            }
            Ok(text.clone())
        }
        Value::Table(table) => source(table).and_then(|(source, from)| {
            from_source(section, name, secrecy, (source, from), surroundings)
        }),
        other => Err((format!("is {}", other.kind()), FORMS.to_owned())),
    };
    match found {
        Ok(text) if text.trim().is_empty() => {
            section.fault(name, "is empty", "put the value there")
        }
        Ok(text) => return Some(text.trim().to_owned()),
        Err((problem, remedy)) => section.fault(name, problem, remedy),
    }
    None
}

/// The file that a value comes from, if it comes from one.
pub(super) fn file_of(node: &Node, surroundings: &Surroundings) -> Option<PathBuf> {
    let Value::Table(table) = &node.value else { return None };
    match source(table).ok()? {
        ("file", from) => Some(PathBuf::from(from)),
        ("credential", from) => credential(from, surroundings).ok(),
        _ => None,
    }
}

/// What is wrong, and what would be right.
type Wrong = (String, String);

fn source(table: &Table) -> Result<(&str, &str), Wrong> {
    match table.entries.as_slice() {
        [(source, node)] => match &node.value {
            Value::Text(from) | Value::Raw(from) => Ok((source, from)),
            other => Err((format!("has {} for its {source}", other.kind()), FORMS.to_owned())),
        },
        _ => Err(("does not name exactly one source".to_owned(), FORMS.to_owned())),
    }
}

fn from_source(
    section: &Section<'_>,
    name: &str,
    secrecy: Secrecy,
    (source, from): (&str, &str),
    surroundings: &Surroundings,
) -> Result<String, Wrong> {
    match source {
        "env" => surroundings.variables.get(from).cloned().ok_or_else(|| {
            let problem =
                format!("is to come from the environment variable {from}, which is not set");
            (problem, format!("set {from}, or use {{ file = \"/path\" }}"))
        }),
        "file" => {
            if secrecy == Secrecy::Secret {
                warn_if_open(section, name, Path::new(from));
            }
            from_file(Path::new(from), "let the user that runs the agent read it")
        }
        "credential" => {
            let path = credential(from, surroundings)?;
            from_file(&path, &format!("add LoadCredential={from}:/path to the systemd unit"))
        }
        other => Err((format!("is to come from {other:?}, which is no source"), FORMS.to_owned())),
    }
}

fn from_file(path: &Path, remedy: &str) -> Result<String, Wrong> {
    std::fs::read_to_string(path).map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::NotFound => format!("create it, or {remedy}"),
            std::io::ErrorKind::InvalidData => "put the secret there as text".to_owned(),
            _ => remedy.to_owned(),
        };
        (format!("cannot be read from {}: {error}", path.display()), remedy)
    })
}

fn credential(name: &str, surroundings: &Surroundings) -> Result<PathBuf, Wrong> {
    if name.contains('/') {
        let remedy = "write the name that stands before the colon in LoadCredential=";
        return Err(("is a path, not a credential's name".to_owned(), remedy.to_owned()));
    }
    let folder = surroundings.variables.get("CREDENTIALS_DIRECTORY");
    folder.map(|folder| Path::new(folder).join(name)).ok_or_else(|| {
        let problem = format!("is the systemd credential {name}, but systemd passed none");
        let remedy =
            format!("add LoadCredential={name}:/path to the unit, or use {{ file = \"/path\" }}");
        (problem, remedy)
    })
}

fn warn_if_open(section: &Section<'_>, name: &str, path: &Path) {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode());
    if mode & 0o004 != 0 {
        let path = path.display();
        section.warn(name, format!("every user can read {path}; chmod o-r {path}"));
    }
}
