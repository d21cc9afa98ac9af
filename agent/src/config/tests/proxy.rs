//! `upstream.proxy`.

use super::*;

const UPSTREAM: &str = "[upstream]\ntransport = \"grpc\"\nendpoint = \"a:8081\"\n";

fn with(proxy: &str) -> Setup {
    Setup::new(&format!("{UPSTREAM}{proxy}\n{SMALL}"))
        .file("password", "s3cret\n")
        .variable("PROXY_PASSWORD", "s3cret")
}

fn proxy(setup: &Setup) -> (String, Option<String>) {
    let proxy = setup.good().upstream.unwrap().proxy.unwrap();
    (proxy.endpoint().authority(), proxy.user().map(str::to_owned))
}

#[test]
fn an_address_is_enough_and_a_password_may_come_from_where_secrets_come_from() {
    let plain = with("proxy = \"http://proxy.plant.example:3128\"");
    assert_eq!(proxy(&plain), ("proxy.plant.example:3128".to_owned(), None));
    assert_eq!(plain.warnings(), [""; 0]);
    let url = "url = \"http://[fd00::1]:8080\", user = \"gw\"";
    let expected = ("[fd00::1]:8080".to_owned(), Some("gw".to_owned()));
    let from_env = with(&format!("proxy = {{ {url}, password = {{ env = \"PROXY_PASSWORD\" }} }}"));
    assert_eq!(proxy(&from_env), expected);
    assert_eq!(from_env.warnings(), [""; 0]);
    let file = from_env.path("password");
    let from_file = with("").file(
        "conf.d/1.toml",
        &format!("[upstream.proxy]\n{}\npassword = {{ file = {file:?} }}", url.replace(", ", "\n")),
    );
    assert_eq!(proxy(&from_file), expected);
    let variable = with("").variable("SPILLWAY__UPSTREAM__PROXY", "http://gw:s3cret@proxy:1");
    assert_eq!(proxy(&variable), ("proxy:1".to_owned(), Some("gw".to_owned())));
    assert_eq!(variable.warnings(), [""; 0]);
}

#[test]
fn a_password_as_it_is_draws_a_warning_and_never_shows() {
    let address = "\"http://gw:s3cret@proxy:3128\"";
    for (form, key) in [
        (format!("proxy = {address}"), "upstream.proxy: "),
        (format!("proxy = {{ url = {address} }}"), "upstream.proxy.url: "),
    ] {
        let setup = with(&form);
        assert_eq!(proxy(&setup), ("proxy:3128".to_owned(), Some("gw".to_owned())));
        let warnings = setup.warnings();
        let words = format!("{key}holds a password as it is");
        assert!(warnings.len() == 1 && warnings[0].contains(&words), "{warnings:?}");
        let shown = format!("{warnings:?} {:?}", setup.good());
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn each_mistake_is_named() {
    let url = "url = \"http://p:1\"";
    for (proxy, words) in [
        ("proxy = \"proxy:3128\"", "upstream.proxy: has no scheme; write for example"),
        ("proxy = \"https://proxy:3128\"", "upstream.proxy: has the scheme \"https\""),
        ("proxy = 3128", "upstream.proxy: is"),
        ("proxy = { user = \"u\", password = \"p\" }", "upstream.proxy.url: is missing"),
        (&format!("proxy = {{ {url}, user = \"u\" }}"), "upstream.proxy.user: has no password"),
        (&format!("proxy = {{ {url}, pasword = \"u\" }}"), "did you mean \"password\"?"),
        (
            "endpoint = \"127.0.0.1:8081\"\nproxy = \"http://p:1\"",
            "upstream.endpoint: http://127.0.0.1:8081 is not encrypted and leaves this machine",
        ),
        (
            "proxy = { url = \"http://a:b@p:1\", user = \"u\", password = \"p\" }",
            "upstream.proxy.url: names a user too",
        ),
    ] {
        let text = match proxy.starts_with("endpoint") {
            true => format!("[upstream]\ntransport = \"grpc\"\n{proxy}\n{SMALL}"),
            false => format!("{UPSTREAM}{proxy}\n{SMALL}"),
        };
        let found = Setup::new(&text).faults();
        assert!(found.len() == 1 && found[0].contains(words), "{found:#?}");
    }
}
