//! The access keys of `[upstream]`: one, several that overlap, or a program that brings them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::load::Surroundings;
use super::secret::{self, Secrecy};
use super::section::Section;
use super::tree::Value;
use super::{AccessKeys, Credentials, Secret, Transport};

const SINGLE: [&str; 3] = ["access_key_id", "access_key_secret", "security_token"];
const LIST: &str =
    "[{ access_key_id = \"LTAI...\", access_key_secret = { file = \"/path\" } }, { ... }]";
/// What arguments call a secret.
const TELLING: [&str; 5] = ["secret", "password", "passwd", "token", "authorization"];
const COMMAND: &str = "[\"/usr/local/bin/get-sts\", \"argument\"]";

pub(super) fn read(
    section: &Section<'_>,
    transport: Transport,
    surroundings: &Surroundings,
) -> AccessKeys {
    one_form(section);
    let command = section.parsed("credential_command", COMMAND, command);
    if command.as_ref().is_some_and(|words| announce(&words[1..])) {
        let message = "has an argument that speaks of a secret: arguments are seen by everybody on this \
                       machine, so the command is not kept for a start without this file; let the \
                       program read secrets from a file";
        section.warn("credential_command", message);
        section.node("credential_command").into_iter().for_each(|node| section.hide(node));
    }
    if command.is_some() || has(section, "credential_command") {
        return AccessKeys { command, ..AccessKeys::default() };
    }
    if has(section, "credentials") {
        return list(section, surroundings);
    }
    let needed = transport == Transport::Http || has(section, SINGLE[0]) || has(section, SINGLE[1]);
    let key = single(section, needed, surroundings);
    AccessKeys {
        keys: key.into_iter().collect(),
        files: files(section, surroundings),
        command: None,
    }
}

/// Of the three forms one is written: which would count otherwise?
fn one_form(section: &Section<'_>) {
    // Each is asked for: what nobody asks for is not known.
    let single: Vec<&str> = SINGLE.into_iter().filter(|name| has(section, name)).collect();
    let others =
        ["credentials", "credential_command"].into_iter().filter(|name| has(section, name));
    let written: Vec<&str> = single.into_iter().take(1).chain(others).collect();
    let (true, Some(first)) = (written.len() > 1, written.first()) else { return };
    let problem = format!("stands beside {}", written[1..].join(" and "));
    let remedy = match written.contains(&"credentials") {
        true => "keep credentials, with this key in it, where keys overlap; else leave it out",
        false => "keep credential_command where a program brings the key; else leave it out",
    };
    section.fault(first, problem, remedy);
}

fn list(section: &Section<'_>, surroundings: &Surroundings) -> AccessKeys {
    let mut access = AccessKeys::default();
    for entry in section.sections("credentials", LIST) {
        let key = single(&entry, true, surroundings);
        access.files.extend(files(&entry, surroundings));
        entry.finish();
        let Some(key) = key else { continue };
        if access.keys.contains(&key) {
            let problem = format!("lists {} twice with one secret", key.id);
            section.fault("credentials", problem, "leave one of them out");
        }
        access.keys.push(key);
    }
    access
}

fn single(section: &Section<'_>, needed: bool, surroundings: &Surroundings) -> Option<Credentials> {
    let read = |name, secrecy| secret::read(section, name, secrecy, surroundings);
    let id = read("access_key_id", Secrecy::Public);
    let secret = read("access_key_secret", Secrecy::Secret);
    let security_token = read("security_token", Secrecy::Secret).map(Secret::new);
    for name in ["access_key_id", "access_key_secret"] {
        if needed && !has(section, name) {
            section.fault(name, "is missing", "write for example { file = \"/path\" }");
        }
    }
    if !needed && has(section, "security_token") {
        let remedy = "add access_key_id and access_key_secret";
        section.fault("security_token", "has no access key that it belongs to", remedy);
    }
    Some(Credentials { id: id?, secret: Secret::new(secret?), security_token })
}

/// Files that a key is read from: it changes with them.
fn files(section: &Section<'_>, surroundings: &Surroundings) -> Vec<PathBuf> {
    let nodes = SINGLE.iter().filter_map(|name| section.node(name));
    nodes.filter_map(|node| secret::file_of(node, surroundings)).collect()
}

fn has(section: &Section<'_>, name: &str) -> bool {
    section.node(name).is_some()
}

/// A program that is there, and its arguments. No shell reads it.
fn command(value: &Value) -> Result<Vec<String>, String> {
    let Value::List(items) = value else {
        return Err(format!("is {}, not a list of a program and its arguments", value.kind()));
    };
    let word = |value: &Value| match value {
        Value::Text(text) | Value::Raw(text) if text.contains('\0') => {
            Err("holds a word with a zero byte".to_owned())
        }
        Value::Text(text) | Value::Raw(text) => Ok(text.clone()),
        other => Err(format!("holds {}, not a word in quotes", other.kind())),
    };
    let words = items.iter().map(|item| word(&item.value)).collect::<Result<Vec<_>, _>>()?;
    match words.first().map(Path::new) {
        None => Err("is an empty list".to_owned()),
        Some(program) if !program.is_absolute() => {
            Err(format!("names {}, which is no absolute path", program.display()))
        }
        Some(program) => runnable(program).map(|()| words),
    }
}

/// Whether one of the words speaks of a secret, and neither it nor the next one is the path of a file
/// that is there: a secret may begin with a slash as well. Reads the disk.
fn announce(words: &[String]) -> bool {
    let is_path = |word: &str| {
        let path = Path::new(word.trim_start_matches('@'));
        path.is_absolute() && path.exists()
    };
    let next = words.iter().skip(1).map(Some).chain([None]);
    words.iter().zip(next).any(|(word, next)| {
        let lower = word.to_ascii_lowercase();
        let tells = TELLING.iter().any(|telling| lower.contains(telling));
        let value = word.split_once('=').map(|(_, value)| value).or(next.map(String::as_str));
        tells && !is_path(word) && !value.is_some_and(is_path)
    })
}

fn runnable(program: &Path) -> Result<(), String> {
    let shown = program.display();
    match std::fs::metadata(program) {
        Err(error) => Err(format!("names {shown}, which cannot be found: {error}")),
        Ok(found) if !found.is_file() => Err(format!("names {shown}, which is no file")),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            Err(format!("names {shown}, which nobody may execute"))
        }
        Ok(_) => Ok(()),
    }
}
