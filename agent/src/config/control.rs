//! `[control]`: where the centre's page is, and whose it is.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use spillway_protocol::control::PublicKey;

use super::lane::required;
use super::load::Surroundings;
use super::secret::{self, Secrecy};
use super::section::Section;
use super::{Control, unit, upstream};
use spillway_protocol::dial::is_loopback;

const EVERY: Duration = Duration::from_secs(30 * 60);
/// A shorter interval would be a load of its own.
const EVERY_LEAST: Duration = Duration::from_secs(1);
const RECORDS_PER_DAY: u32 = 10_000;
const EXAMPLE: &str = "\"https://centre.example/spillway/{gateway}.json\"";

pub(super) fn read(
    section: Section<'_>,
    gateway: &str,
    surroundings: &Surroundings,
) -> Option<Control> {
    let plaintext = section.flag("plaintext").unwrap_or(false);
    let url = required(&section, "url", EXAMPLE, |text| self::url(text, gateway, plaintext));
    let every = section.with_unit("every", "\"30m\"", |text| match unit::duration(text)? {
        every if every < EVERY_LEAST => Err("is less than a second".to_owned()),
        every => Ok(every),
    });
    let public_key = public_key(&section, surroundings);
    let ca: Option<PathBuf> = upstream::file(&section, "ca");
    let proxy = section.flag("proxy").unwrap_or(true);
    let records_per_day = section.count("records_per_day", 1, "10000");
    section.finish();
    Some(Control {
        url: url?,
        every: every.unwrap_or(EVERY),
        public_key: public_key?,
        ca,
        proxy,
        records_per_day: u64::from(records_per_day.unwrap_or(RECORDS_PER_DAY)),
    })
}

/// What `[control]` needs of other sections.
pub(super) fn needs(root: &Section<'_>) {
    if root.node("control").is_none() {
        return;
    }
    if root.node("audit").is_none() {
        let problem = "needs [audit], which keeps what the centre may ask for";
        root.fault("control", problem, "add [audit], or leave [control] out");
    }
    if root.node("report").is_none() {
        let message = "has no way to answer for records that cannot be sent again; add [report]";
        root.warn("control", message);
    }
}

fn url(text: &str, gateway: &str, plaintext: bool) -> Result<String, String> {
    let mut url = Url::parse(text).map_err(|error| format!("is no address: {error}"))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    match url.scheme() {
        "https" => {}
        "http" if plaintext || is_loopback(host) => {}
        "http" => {
            return Err(
                "is not encrypted and leaves this machine (plaintext = true allows it)".to_owned()
            );
        }
        other => return Err(format!("has the scheme {other:?}")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user; nothing secret belongs here".to_owned());
    }
    url.set_fragment(None);
    // The braces are encoded in a path, but not in a query.
    let url = url.as_str().replace("%7Bgateway%7D", "{gateway}");
    Ok(url.replace("{gateway}", &encoded(gateway)))
}

/// A gateway's id as one segment of a path.
fn encoded(gateway: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    gateway.bytes().map(one).collect()
}

fn public_key(section: &Section<'_>, surroundings: &Surroundings) -> Option<PublicKey> {
    let example = "the line that central-control keygen prints, or { file = \"/path\" }";
    if section.node("public_key").is_none() {
        section.fault("public_key", "is missing", format!("write {example}"));
    }
    let text = secret::read(section, "public_key", Secrecy::Public, surroundings)?;
    text.parse()
        .map_err(|problem: String| section.fault("public_key", problem, format!("write {example}")))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        url(text, "gw/ü", false)
    }

    #[test]
    fn the_gateways_id_takes_its_place_in_the_address() {
        let filled = "https://centre.example/spillway/gw%2F%C3%BC.json";
        assert_eq!(read("https://centre.example/spillway/{gateway}.json").unwrap(), filled);
        let query = read("https://centre.example/?g={gateway}&x=1#y").unwrap();
        assert_eq!(query, "https://centre.example/?g=gw%2F%C3%BC&x=1");
    }

    #[test]
    fn an_open_address_beyond_this_machine_has_to_be_asked_for() {
        for loopback in ["http://127.0.0.1:1/x", "http://[::1]:1/x", "http://localhost/x"] {
            assert_eq!(read(loopback).unwrap(), loopback);
        }
        assert!(read("http://centre.example/x").unwrap_err().contains("plaintext = true"));
        assert!(url("http://centre.example/x", "g", true).is_ok());
        for wrong in ["ftp://centre.example/", "centre.example", "https://me:secret@centre/"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
