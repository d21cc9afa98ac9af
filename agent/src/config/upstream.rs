//! `[upstream]`: the way to RocketMQ.

use std::path::PathBuf;

use super::fault::Place;
use super::lane::required;
use super::load::Surroundings;
use super::secret::{self, Secrecy};
use super::section::Section;
use super::tree::{Node, Table, Value};
use super::{Endpoint, Proxy, Tls, Transport, Upstream, access, written};

const PROXY_EXAMPLE: &str = "\"http://proxy.example:3128\"";

const TRANSPORTS: [(&str, Transport); 2] = [("http", Transport::Http), ("grpc", Transport::Grpc)];

/// What `[upstream]` says in `tree`, whatever else is wrong with it; without it, the default.
pub(super) fn transport(tree: &Table) -> Transport {
    let Some(Value::Table(section)) = tree.get("upstream").map(|node| &node.value) else {
        return Transport::Http;
    };
    let word = section.get("transport").map(|node| &node.value);
    let said = TRANSPORTS.into_iter().find(
        |(name, _)| matches!(word, Some(Value::Text(word) | Value::Raw(word)) if word == name),
    );
    said.map_or(Transport::Http, |(_, transport)| transport)
}

pub(super) fn read(section: Section<'_>, surroundings: &Surroundings) -> Option<Upstream> {
    let transport = section.choice("transport", &TRANSPORTS).unwrap_or(Transport::Http);
    let proxy = proxy(&section, surroundings);
    let endpoints = endpoints(&section, transport, proxy.as_ref());
    let namespace = namespace(&section, transport);
    let access = access::read(&section, transport, surroundings);
    let tls = section.section("tls").map(tls).unwrap_or_default();
    if tls != Tls::default() && endpoints.iter().all(|endpoint| !endpoint.tls) {
        section.warn("tls", "is not used, since no endpoint speaks TLS; write https://host:port");
    }
    section.finish();
    let upstream = Upstream { transport, endpoints, namespace, access, tls, proxy };
    (!upstream.endpoints.is_empty()).then_some(upstream)
}

fn endpoints(section: &Section<'_>, transport: Transport, proxy: Option<&Proxy>) -> Vec<Endpoint> {
    let plaintext = section.flag("plaintext").unwrap_or(false);
    let example = match transport {
        Transport::Http => "\"https://host:port\"",
        Transport::Grpc => "\"host:port\" or [\"host1:port\", \"host2:port\"]",
    };
    if section.node("endpoint").is_none() {
        section.fault("endpoint", "is missing", format!("write for example {example}"));
    }
    let read = |value: &Value| all(value, transport, plaintext);
    let endpoints = section.parsed("endpoint", example, read).unwrap_or_default();
    // A proxy's loopback is the proxy's machine.
    let near = proxy.is_none_or(|proxy| proxy.endpoint().is_loopback());
    let stays = |e: &Endpoint| near && e.is_loopback();
    for open in endpoints.iter().filter(|e| !e.tls && !plaintext && !stays(e)) {
        let problem = format!("{} is not encrypted and leaves this machine", open.url());
        let remedy = format!("write https://{}, or add plaintext = true", open.authority());
        section.fault("endpoint", problem, remedy);
    }
    endpoints
}

fn all(value: &Value, transport: Transport, plaintext: bool) -> Result<Vec<Endpoint>, String> {
    let one = |value: &Value| match value {
        Value::Text(text) | Value::Raw(text) => {
            address(text, transport, plaintext).map_err(|problem| {
                // One of several is named, but not with a password in it.
                let shown = written::without_secrets(text);
                format!("{}{problem}", shown.map(|text| format!("{text:?} ")).unwrap_or_default())
            })
        }
        other => Err(format!("is {}, not an address in quotes", other.kind())),
    };
    match (value, transport) {
        (Value::List(items), Transport::Http) if items.len() > 1 => {
            Err("lists several, but transport = \"http\" takes one".to_owned())
        }
        (Value::List(items), _) if items.is_empty() => Err("is an empty list".to_owned()),
        (Value::List(items), _) => items.iter().map(|item| one(&item.value)).collect(),
        (value, _) => one(value).map(|endpoint| vec![endpoint]),
    }
}

fn address(text: &str, transport: Transport, plaintext: bool) -> Result<Endpoint, String> {
    match transport {
        Transport::Http if !text.contains("://") => Err("has no scheme".to_owned()),
        _ => Endpoint::parse(text, plaintext),
    }
}

/// `instance_id` over HTTP, `namespace` over gRPC; the other one is an error.
fn namespace(section: &Section<'_>, transport: Transport) -> Option<String> {
    let (own, others) = match transport {
        Transport::Http => ("instance_id", "namespace"),
        Transport::Grpc => ("namespace", "instance_id"),
    };
    if section.node(others).is_some() {
        let problem = "does not belong to this transport";
        section.fault(others, problem, format!("write {own} instead, or change transport"));
    }
    section.text(own, "\"MQ_INST_123\"", |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-%".contains(c);
        match text.chars().find(|&c| !plain(c)) {
            Some(c) => Err(format!("holds {c:?}")),
            None => Ok(text.to_owned()),
        }
    })
}

fn has(section: &Section<'_>, name: &str) -> bool {
    section.node(name).is_some()
}

fn tls(section: Section<'_>) -> Tls {
    let ca = file(&section, "ca");
    let certificate = file(&section, "certificate");
    let key = file(&section, "key");
    for (one, other) in [("certificate", "key"), ("key", "certificate")] {
        if has(&section, one) && !has(&section, other) {
            section.fault(one, format!("has no {other} beside it"), format!("add {other}"));
        }
    }
    let server_name = section.text("server_name", "\"mq.example\"", |text| {
        if text.contains(['/', ':', ' ']) {
            return Err("is not a host name".to_owned());
        }
        Ok(text.to_owned())
    });
    section.finish();
    Tls { ca, identity: certificate.zip(key), server_name }
}

/// `proxy = "http://host:port"`, or a section with url, user and password.
fn proxy(section: &Section<'_>, surroundings: &Surroundings) -> Option<Proxy> {
    match section.node("proxy")? {
        Node { value: Value::Table(_), .. } => {
            proxy_section(section.section("proxy")?, surroundings)
        }
        node => {
            let proxy = section.text("proxy", PROXY_EXAMPLE, Proxy::parse)?;
            hide_password(section, "proxy", node, &proxy);
            Some(proxy)
        }
    }
}

/// Of an address with a user and a password in it.
fn hide_password(section: &Section<'_>, name: &str, node: &Node, proxy: &Proxy) {
    if proxy.user().is_none() {
        return;
    }
    section.hide(node);
    if matches!(node.place, Place::Line(..)) {
        let message = "holds a password as it is; write { url = \"http://host:port\", \
                       user = \"name\", password = { file = \"/path\" } }";
        section.warn(name, message);
    }
}

fn proxy_section(section: Section<'_>, surroundings: &Surroundings) -> Option<Proxy> {
    let url = required(&section, "url", PROXY_EXAMPLE, Proxy::parse);
    let user = secret::read(&section, "user", Secrecy::Public, surroundings);
    let password = secret::read(&section, "password", Secrecy::Secret, surroundings);
    for (one, other) in [("user", "password"), ("password", "user")] {
        if has(&section, one) && !has(&section, other) {
            section.fault(one, format!("has no {other} beside it"), format!("add {other}"));
        }
    }
    if let (Some(proxy), Some(node)) = (&url, section.node("url")) {
        hide_password(&section, "url", node, proxy);
    }
    if url.as_ref().is_some_and(|proxy| proxy.user().is_some()) && has(&section, "user") {
        section.fault("url", "names a user too", "write the user once");
    }
    section.finish();
    let url = url?;
    Some(match user.zip(password) {
        Some((user, password)) => url.with_user(user, password),
        None => url,
    })
}

/// A file that is there and can be read.
pub(super) fn file(section: &Section<'_>, name: &str) -> Option<PathBuf> {
    section.text(
        name,
        "\"/etc/spillway/file.pem\", a file that the agent's user can read",
        |text| match std::fs::read(text) {
            Ok(content) if !content.is_empty() => Ok(PathBuf::from(text)),
            Ok(_) => Err(format!("names {text}, which is empty")),
            Err(error) => Err(format!("names {text}, which cannot be read: {error}")),
        },
    )
}
