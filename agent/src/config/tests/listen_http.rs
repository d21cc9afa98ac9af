//! `[listen.http]`, and clients that are known by a token.

use super::super::{ListenHttp, Secret};
use super::{SMALL, Setup};

const TOKEN: &str = "token = { env = \"TOKEN\" }\n";
const HIS: &str = "[[client]]\nname = \"his\"\ntoken = { env = \"HIS\" }\n";
const LAB: &str = "[[client]]\nname = \"lab\"\nuid = 991\n";

fn setup(http: &str, rest: &str) -> Setup {
    let http = match http {
        "" => String::new(),
        _ => format!("[listen.http]\n{http}"),
    };
    let text = format!("{http}{rest}{SMALL}");
    Setup::new(&text).variable("TOKEN", "0123456789abcdef").variable("HIS", "his-0123456789abc")
}

fn on_loopback(rest: &str) -> String {
    format!("address = \"127.0.0.1:9466\"\n{rest}")
}

#[track_caller]
fn faults(http: &str, rest: &str) -> Vec<String> {
    setup(http, rest).faults_by_line()
}

#[test]
fn address_and_token_are_read_and_no_debug_shows_it() {
    let http = setup(&on_loopback(TOKEN), "").good().listen.http.unwrap();
    let (address, token) =
        ("127.0.0.1:9466".parse().unwrap(), Some(Secret::new("0123456789abcdef")));
    assert_eq!(http, ListenHttp { address, token });
    assert!(!format!("{http:?}").contains("0123456789abcdef"));
    assert_eq!(setup("", "").good().listen.http, None);
}

#[test]
fn only_loopback_is_listened_on() {
    for address in ["0.0.0.0:9466", "192.168.1.5:9466", "[::]:9466"] {
        let found = faults(&format!("address = \"{address}\"\n{TOKEN}"), "");
        let expected = "2: listen.http.address: can be reached from other machines, but there is no \
                        TLS here: records and the token would cross the network in the clear; have \
                        an app there talk to an agent of its own, or to a proxy with TLS on this \
                        machine; write for example \"127.0.0.1:9466\"";
        assert_eq!(found, [expected]);
    }
    for (address, problem) in
        [("localhost:9466", "is not an IP address and a port"), ("127.0.0.1:0", "has the port 0")]
    {
        let found = faults(&format!("address = \"{address}\"\n{TOKEN}"), "");
        assert!(found.len() == 1 && found[0].contains(problem), "{found:?}");
    }
    assert!(faults(TOKEN, "")[0].starts_with("1: listen.http.address: is missing; "));
}

#[test]
fn a_token_is_needed_and_cannot_be_guessed() {
    let found = faults(&on_loopback(""), "");
    let expected = "1: listen.http.token: is missing, and no [[client]] has one; write token = \
                    { file = \"/etc/spillway/http_token\" } (make one: openssl rand -hex 24)";
    assert_eq!(found, [expected]);
    let nobody = "2: listen.http.address: lets in nobody, since no [[client]] has a token; write token = \
                  { file = \"/etc/spillway/http_token\" } there, or leave [listen.http] out";
    assert_eq!(faults(&on_loopback(""), LAB), [nobody]);
    let short = faults(&on_loopback("token = \"short\"\n"), "");
    assert!(short[0].contains("could be guessed"), "{short:?}");
}

#[test]
fn clients_have_tokens_of_their_own_and_then_the_section_has_none() {
    let config = setup(&on_loopback(""), &format!("{HIS}{LAB}")).good();
    assert_eq!((config.clients[0].uid, config.clients[1].uid), (None, Some(991)));
    assert_eq!(config.clients[0].token.as_ref().unwrap().reveal(), "his-0123456789abc");
    for clients in [HIS, LAB] {
        let both = faults(&on_loopback(TOKEN), clients);
        let expected = "3: listen.http.token: would let in whoever has it to all lanes, though with \
                        [[client]] entries everybody else is refused; leave it out, and give a \
                        [[client]] that token";
        assert_eq!(both, [expected]);
    }
    let nowhere = faults("", HIS);
    assert!(nowhere[0].contains("has a token, but there is no [listen.http]"), "{nowhere:?}");
    let same = faults(&on_loopback(""), &format!("{HIS}{}", HIS.replace("\"his\"", "\"lab\"")));
    assert!(same[0].contains("client.lab.token: is that of client his"), "{same:?}");
    let nobody = faults("", "[[client]]\nname = \"x\"\n");
    assert!(nobody[0].contains("client.x.uid: is missing"), "{nobody:?}");
    let group = faults(&on_loopback(""), &format!("{HIS}gid = 5\n"));
    assert!(group[0].contains("client.his.gid: has no uid beside it"), "{group:?}");
}
