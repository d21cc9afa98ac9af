//! `[listen.admin]`.

use super::super::{Admin, Secret};
use super::{SMALL, Setup};

const TOKEN: &str = "0123456789abcdef-hidden";

fn setup(admin: &str) -> Setup {
    Setup::new(&format!("[listen.admin]\n{admin}\n{SMALL}")).variable("TOKEN", TOKEN)
}

#[track_caller]
fn faults(admin: &str) -> Vec<String> {
    setup(admin).faults_by_line()
}

#[test]
fn without_more_it_is_loopback_alone() {
    let address = "127.0.0.1:9465".parse().unwrap();
    let expected = Admin { address, token: None, hosts: vec![] };
    assert_eq!(setup("").good().listen.admin.unwrap(), expected);
    assert_eq!(setup("address = \"[::1]:1\"").good().listen.admin.unwrap().address.port(), 1);
}

#[test]
fn a_token_comes_from_where_secrets_do_and_lets_it_listen_to_others() {
    let text = "address = \"0.0.0.0:9465\"\ntoken = { env = \"TOKEN\" }\n\
                hosts = [\"GW-0042.plant.example\", \"gw\"]";
    let admin = setup(text).good().listen.admin.unwrap();
    assert_eq!(admin.token, Some(Secret::new(TOKEN)));
    assert_eq!(admin.hosts, ["gw-0042.plant.example", "gw"]);
    assert!(!format!("{admin:?}").contains("hidden"));
}

#[test]
fn others_are_let_in_by_a_token_only() {
    for address in ["0.0.0.0:9465", "192.168.1.5:9465", "[::]:9465"] {
        let ip = address.rsplit_once(':').unwrap().0.trim_matches(['[', ']']);
        assert_eq!(
            faults(&format!("address = \"{address}\"")),
            [format!(
                "2: listen.admin.address: {ip} can be reached from other machines, but there is \
                 no token; add token = {{ file = \"/etc/spillway/admin_token\" }}, or write \
                 \"127.0.0.1:9465\""
            )]
        );
    }
}

#[test]
fn what_cannot_be_is_refused_with_what_could() {
    let example = "write for example";
    let make = "make one: openssl rand -hex 24";
    for (line, fault) in [
        (
            "address = \"localhost:1\"",
            format!("address: is not an IP address and a port; {example} \"127.0.0.1:9465\""),
        ),
        (
            "address = \"127.0.0.1:0\"",
            format!(
                "address: has the port 0, which nobody could find; {example} \"127.0.0.1:9465\""
            ),
        ),
        (
            "token = \"short\"",
            format!("token: has less than 16 characters, and could be guessed; {make}"),
        ),
        (
            "token = \"this is no token at all\"",
            format!("token: holds ' ', which no header carries; {make}"),
        ),
        (
            "hosts = \"gw\"",
            format!("hosts: is a text, not a list of names; {example} [\"gw-0042.plant.example\"]"),
        ),
        (
            "hosts = [\"gw:80\"]",
            format!(
                "hosts: holds \"gw:80\", which is not a machine's name without a port; \
                 {example} [\"gw-0042.plant.example\"]"
            ),
        ),
    ] {
        assert_eq!(faults(line), [format!("2: listen.admin.{fault}")]);
    }
}
