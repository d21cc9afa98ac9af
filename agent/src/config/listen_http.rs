//! `[listen.http]`: the intake's HTTP on loopback TCP, for apps without Unix sockets.

use std::net::SocketAddr;

use super::load::Surroundings;
use super::section::Section;
use super::{Client, ListenHttp, admin};

const ADDRESS: &str = "\"127.0.0.1:9466\"";
const TOKEN: &str = "{ file = \"/etc/spillway/http_token\" }";

pub(super) fn read(section: Section<'_>, surroundings: &Surroundings) -> Option<ListenHttp> {
    if section.node("address").is_none() {
        section.fault("address", "is missing", format!("write for example address = {ADDRESS}"));
    }
    let address = section.text("address", ADDRESS, address);
    let token = admin::token(&section, surroundings);
    section.finish();
    Some(ListenHttp { address: address?, token })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err("is not an IP address and a port".to_owned());
    };
    if !address.ip().is_loopback() {
        return Err("can be reached from other machines, but there is no TLS here: records and the \
                    token would cross the network in the clear; have an app there talk to an agent of \
                    its own, or to a proxy with TLS on this machine"
            .to_owned());
    }
    match address.port() {
        0 => Err("has the port 0, which no app could find".to_owned()),
        _ => Ok(address),
    }
}

/// Somebody has a token, and where there are clients, nobody else.
pub(super) fn check(root: &Section<'_>, clients: &[Client]) {
    let by_token = clients.iter().any(|client| client.token.is_some());
    let listen = root.section("listen");
    let Some(http) = listen.and_then(|listen| listen.section("http")) else {
        if by_token {
            let remedy = format!("write [listen.http] with address = {ADDRESS}, or uid instead");
            root.fault(
                "client",
                "has a token, but there is no [listen.http] to show it at",
                remedy,
            );
        }
        return;
    };
    match (http.node("token").is_some(), by_token) {
        (true, _) if !clients.is_empty() => {
            let problem = "would let in whoever has it to all lanes, though with [[client]] entries \
                           everybody else is refused";
            http.fault("token", problem, "leave it out, and give a [[client]] that token");
        }
        (false, false) if !clients.is_empty() => {
            let remedy = format!("write token = {TOKEN} there, or leave [listen.http] out");
            http.fault("address", "lets in nobody, since no [[client]] has a token", remedy);
        }
        (false, false) => {
            let remedy = format!("write token = {TOKEN} (make one: openssl rand -hex 24)");
            http.fault("token", "is missing, and no [[client]] has one", remedy);
        }
        _ => {}
    }
}
