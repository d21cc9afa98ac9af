//! `[listen.admin]`: metrics and health, for those who watch over the gateway.

use std::net::{Ipv4Addr, SocketAddr};

use super::load::Surroundings;
use super::secret::{self, Secrecy};
use super::section::Section;
use super::tree::{Node, Value};
use super::{Admin, Secret};

const PORT: u16 = 9465;
const ADDRESS: &str = "\"127.0.0.1:9465\"";
const HOSTS: &str = "[\"gw-0042.plant.example\"]";
const TOKEN: &str = "token = { file = \"/etc/spillway/admin_token\" }";
/// What is shorter could be found by trying.
const TOKEN_LEAST: usize = 16;
/// Longest name of a machine, in characters (RFC 1035).
const HOST_MAX: usize = 253;

pub(super) fn read(section: Section<'_>, surroundings: &Surroundings) -> Option<Admin> {
    let written = section.node("address").is_some();
    let address = section.text("address", ADDRESS, address);
    let given = section.node("token").is_some();
    let token = token(&section, surroundings);
    if let Some(address) = address.filter(|address| !address.ip().is_loopback() && !given) {
        let problem =
            format!("{} can be reached from other machines, but there is no token", address.ip());
        section.fault("address", problem, format!("add {TOKEN}, or write {ADDRESS}"));
    }
    let hosts = hosts(&section);
    section.finish();
    let address = if written { address? } else { (Ipv4Addr::LOCALHOST, PORT).into() };
    Some(Admin { address, token, hosts })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Err(_) => Err("is not an IP address and a port".to_owned()),
        Ok(address) if address.port() == 0 => {
            Err("has the port 0, which nobody could find".to_owned())
        }
        Ok(address) => Ok(address),
    }
}

pub(super) fn token(section: &Section<'_>, surroundings: &Surroundings) -> Option<Secret> {
    let text = secret::read(section, "token", Secrecy::Secret, surroundings)?;
    let remedy = "make one: openssl rand -hex 24";
    if text.len() < TOKEN_LEAST {
        let problem = format!("has less than {TOKEN_LEAST} characters, and could be guessed");
        section.fault("token", problem, remedy);
    } else if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
        section.fault("token", format!("holds {c:?}, which no header carries"), remedy);
    }
    Some(Secret::new(text))
}

/// Names by which browsers and scrapers may ask, in lower case.
fn hosts(section: &Section<'_>) -> Vec<String> {
    let read = section.parsed("hosts", HOSTS, |value| match value {
        Value::List(items) => items.iter().map(host).collect(),
        other => Err(format!("is {}, not a list of names", other.kind())),
    });
    read.unwrap_or_default()
}

fn host(node: &Node) -> Result<String, String> {
    let (Value::Text(name) | Value::Raw(name)) = &node.value else {
        return Err(format!("holds {}, not a name", node.value.kind()));
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match name.len() {
        1..=HOST_MAX if name.chars().all(fits) => Ok(name.to_ascii_lowercase()),
        _ => Err(format!("holds {name:?}, which is not a machine's name without a port")),
    }
}
