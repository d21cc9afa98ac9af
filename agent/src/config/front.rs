//! `[listen.mq_http]`: the MQ HTTP API for apps on this machine.

use std::net::SocketAddr;

use super::load::Surroundings;
use super::secret::{self, Secrecy};
use super::section::Section;
use super::{MqHttp, Secret};

const ADDRESS: &str = "\"127.0.0.1:8088\"";
const KEYS: &str = "[{ id = \"local-app\", secret = { file = \"/path\" } }]";

pub(super) fn read(section: Section<'_>, surroundings: &Surroundings) -> Option<MqHttp> {
    for (name, example) in [("address", ADDRESS), ("access_keys", KEYS)] {
        if section.node(name).is_none() {
            section.fault(name, "is missing", format!("write for example {name} = {example}"));
        }
    }
    let address = section.text("address", ADDRESS, address);
    let access_keys = access_keys(&section, surroundings);
    section.finish();
    let address = address?;
    (!access_keys.is_empty()).then_some(MqHttp { address, access_keys })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err("is not an IP address and a port".to_owned());
    };
    if !address.ip().is_loopback() {
        return Err("can be reached from other machines, but there is no TLS here: records and \
                    signed requests would cross the network in the clear"
            .to_owned());
    }
    match address.port() {
        0 => Err("has the port 0, which no app could find".to_owned()),
        _ => Ok(address),
    }
}

fn access_keys(section: &Section<'_>, surroundings: &Surroundings) -> Vec<(String, Secret)> {
    let mut keys: Vec<(String, Secret)> = Vec::new();
    for entry in section.sections("access_keys", KEYS) {
        let Some((id, secret)) = access_key(entry, surroundings) else {
            continue;
        };
        if keys.iter().any(|(known, _)| *known == id) {
            let problem = format!("lists {id:?} twice");
            section.fault("access_keys", problem, "give each app an id of its own");
        }
        keys.push((id, secret));
    }
    keys
}

fn access_key(entry: Section<'_>, surroundings: &Surroundings) -> Option<(String, Secret)> {
    for name in ["id", "secret"] {
        if entry.node(name).is_none() {
            entry.fault(name, "is missing", format!("write for example {KEYS}"));
        }
    }
    let id = secret::read(&entry, "id", Secrecy::Public, surroundings);
    let secret = secret::read(&entry, "secret", Secrecy::Secret, surroundings);
    if let Some(c) = id.iter().flat_map(|id| id.chars()).find(|c| !travels(*c)) {
        let remedy = "use letters, digits and punctuation other than a colon";
        entry.fault("id", format!("holds {c:?}, which no Authorization header carries"), remedy);
    }
    entry.finish();
    Some((id?, Secret::new(secret?)))
}

/// In `Authorization: MQ id:signature` the id ends at the first colon.
fn travels(c: char) -> bool {
    c.is_ascii_graphic() && c != ':'
}
