//! `spillway admin url`: where the status page is, for a browser or a phone's camera.

use std::fmt::Write;
use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::{Args, Subcommand};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::json;

use super::exit::finish;
use super::{ControlAt, Exit, Failure, load, output};
use crate::control::{AdminAt, Door};

/// White on black, whatever the terminal's own colours are: cameras need the contrast this way.
const WHITE_ON_BLACK: &str = "\x1b[97;40m";
const PLAIN: &str = "\x1b[0m";

/// `admin` and what it can be asked.
#[derive(Debug, Subcommand)]
pub(super) enum Admin {
    /// Prints where the status page is, with the token that lets in, and a code for a phone's camera
    Url(Url),
}

/// Arguments of `admin url`.
#[derive(Debug, Args)]
pub(super) struct Url {
    #[command(flatten)]
    at: ControlAt,
    /// Only the page at this address or name of the machine
    #[arg(long, value_name = "ADDRESS or NAME")]
    host: Option<String>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Admin) -> Exit {
    let Admin::Url(args) = args;
    finish(url(args).await)
}

async fn url(args: Url) -> Result<String, Failure> {
    let Some(admin) = door(&args.at).await?.admin else {
        let message = "there is no [listen.admin] in the configuration: add it, with an address \
                       and a token where phones are to reach it; then spillway reload";
        return Err(Failure::new(Exit::Configuration, message));
    };
    let mut hosts = hosts(&admin, &addresses()?);
    hosts.retain(|host| args.host.as_ref().is_none_or(|only| host == only));
    if hosts.is_empty() {
        let message = "the page is not there under this address or name; see spillway admin url";
        return Err(Failure::new(Exit::Usage, message));
    }
    let urls: Vec<String> = hosts.iter().map(|host| address(&admin, host)).collect();
    if args.json {
        return Ok(output::json(&json!({"urls": urls, "token": admin.token.is_some()})));
    }
    show(&admin, &urls)
}

/// The running agent knows best, also what came from its environment or as a credential; without
/// one the configuration says what will be.
async fn door(at: &ControlAt) -> Result<Door, Failure> {
    match at.agent().await {
        Ok(mut agent) => agent.get("/v1/admin").await?.json(),
        Err(gone) if at.is_stopped(&gone) => {
            output::err("no agent runs; this is what the configuration says\n");
            Ok(Door::of(load(&at.file.config)?.listen.admin.as_ref()))
        }
        Err(failure) => Err(failure),
    }
}

/// Addresses of this machine by which others reach it, IPv4 first.
fn addresses() -> Result<Vec<IpAddr>, Failure> {
    let all = if_addrs::get_if_addrs().map_err(|error| {
        let message = format!("this machine's addresses cannot be listed: {error}");
        Failure::new(Exit::TryAgain, message)
    })?;
    let reached = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        // A link-local one says nothing without the name of a device, which no browser takes.
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    };
    let mut all: Vec<IpAddr> = all.iter().map(|one| one.ip()).filter(reached).collect();
    all.sort_by_key(IpAddr::is_ipv6);
    all.dedup();
    Ok(all)
}

/// By what a browser may ask, the most useful first; `own` are this machine's addresses.
fn hosts(admin: &AdminAt, own: &[IpAddr]) -> Vec<String> {
    let address = admin.address.ip();
    let listened = |own: &&IpAddr| address.is_ipv6() || own.is_ipv4();
    let mut all: Vec<IpAddr> = match address.is_unspecified() {
        true => own.iter().filter(listened).copied().collect(),
        false => vec![address],
    };
    if all.is_empty() {
        all.push(Ipv4Addr::LOCALHOST.into());
    }
    all.iter().map(IpAddr::to_string).chain(admin.hosts.iter().cloned()).collect()
}

/// The token stands behind the `#`, which browsers keep to themselves.
fn address(admin: &AdminAt, host: &str) -> String {
    let port = admin.address.port();
    let authority = match host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::from((address, port)).to_string(),
        Err(_) => format!("{host}:{port}"),
    };
    let token = admin.token.as_ref().map(|token| format!("#token={}", escaped(token)));
    format!("http://{authority}/{}", token.unwrap_or_default())
}

fn escaped(token: &str) -> String {
    token.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(byte.into());
            }
            // Writing to a text does not fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
        text
    })
}

fn show(admin: &AdminAt, urls: &[String]) -> Result<String, Failure> {
    let mut text: String = urls.iter().map(|url| format!("{url}\n")).collect();
    if admin.address.ip().is_loopback() {
        text.push_str("Only this machine reaches it. For a phone give [listen.admin] another address and a token.\n");
        return Ok(text);
    }
    text.push_str(&code(&urls[0], std::io::stdout().is_terminal())?);
    if urls.len() > 1 {
        text.push_str("The code is of the first; --host ADDRESS shows another.\n");
    }
    if admin.token.is_some() {
        text.push_str("Whoever has this address sees the page: it holds the token.\n");
    }
    Ok(text)
}

/// Two rows of the code in each line. What is light in the code is drawn, what is dark is left out.
fn code(url: &str, coloured: bool) -> Result<String, Failure> {
    let code = QrCode::new(url).map_err(|error| {
        Failure::new(Exit::Refused, format!("the address is too long for a code: {error}"))
    })?;
    let mut image = code.render::<Dense1x2>();
    let image = image.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    let (before, after) = if coloured { (WHITE_ON_BLACK, PLAIN) } else { ("", "") };
    Ok(image.lines().map(|line| format!("{before}{line}{after}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin(address: &str, token: Option<&str>, hosts: &[&str]) -> AdminAt {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        AdminAt { address: address.parse().unwrap(), hosts, token: token.map(str::to_owned) }
    }

    fn own() -> Vec<IpAddr> {
        ["10.0.0.7", "192.168.3.4", "fd00::7"].map(|text| text.parse().unwrap()).into()
    }

    #[test]
    fn where_it_listens_everywhere_all_of_the_machines_addresses_are_named() {
        let everywhere = admin("0.0.0.0:9465", None, &["gw.plant.example"]);
        assert_eq!(hosts(&everywhere, &own()), ["10.0.0.7", "192.168.3.4", "gw.plant.example"]);
        let both = admin("[::]:9465", None, &[]);
        assert_eq!(hosts(&both, &own()), ["10.0.0.7", "192.168.3.4", "fd00::7"]);
        assert_eq!(hosts(&admin("192.168.3.4:1", None, &[]), &own()), ["192.168.3.4"]);
        assert_eq!(hosts(&everywhere, &[]), ["127.0.0.1", "gw.plant.example"]);
    }

    #[test]
    fn an_address_holds_the_token_where_no_server_sees_it() {
        let with = admin("10.0.0.7:9465", Some("a/b+%# c"), &[]);
        assert_eq!(address(&with, "10.0.0.7"), "http://10.0.0.7:9465/#token=a%2Fb%2B%25%23%20c");
        let without = admin("[::1]:80", None, &[]);
        assert_eq!(address(&without, "::1"), "http://[::1]:80/");
        assert_eq!(address(&without, "gw"), "http://gw:80/");
    }

    #[test]
    fn a_phone_gets_a_code_and_a_page_for_this_machine_alone_has_none() {
        let (urls, blocks) = (vec!["http://10.0.0.7:9465/".to_owned()], ['\u{2588}', '\u{2580}']);
        let phone = show(&admin("10.0.0.7:9465", None, &[]), &urls).unwrap();
        assert!(blocks.iter().all(|block| phone.contains(*block)), "{phone}");
        let frame = code(&urls[0], false).unwrap();
        assert!(frame.lines().next().unwrap().chars().all(|block| block == blocks[0]), "{frame}");
        assert!(!phone.contains('\x1b') && code(&urls[0], true).unwrap().contains(PLAIN));
        let here = show(&admin("127.0.0.1:9465", None, &[]), &urls).unwrap();
        assert!(!here.contains(blocks[0]) && here.contains("another address"), "{here}");
    }
}
